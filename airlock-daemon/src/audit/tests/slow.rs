//! Requests that wait for a disk that does not keep up.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::call;
use super::scripted::{Bench, DEFECT, check_stored, told, told_to};
use crate::audit::*;
use crate::config::schema::{self, OnAuditFailure};
use crate::config::units::Period;

/// As many records as leave no room.
const SLOW: u64 = CAPACITY / 100 * 80;
/// Longer than any test.
const LONG: Period = Period::secs(3_600);

/// The log whose store holds the first batch; as many records wait as leave no room.
fn held(wait: Period, on_failure: OnAuditFailure) -> Bench {
    let bench = told_to(&schema::Audit { wait, on_failure, ..schema::Audit::default() }, None);
    bench.log.record(call(0)).unwrap();
    bench.asked.recv().unwrap();
    for n in 1..SLOW {
        let mut wait = RecordWait::default();
        assert_eq!(polled(&mut pin!(bench.log.room(&mut wait))), Poll::Ready(()), "{n}");
        bench.log.record(call(n)).unwrap();
    }
    bench
}

/// Asks a future how it stands, without waiting.
fn polled<F: Future>(future: &mut Pin<&mut F>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn a_disk_that_stalls_slows_requests_and_refuses_none() {
    let Bench { log, writer, orders, stored, .. } = held(LONG, OnAuditFailure::Buffer);
    {
        let mut wait = RecordWait::default();
        let mut waiting = pin!(log.record_in_time(|| call(9), &mut wait));
        assert!(polled(&mut waiting).is_pending());
        let alarms = log.alarms();
        assert!(
            alarms[0].contains("does not keep up") && alarms[0].contains("1 since the start"),
            "{alarms:?}"
        );
        drop(orders); // the disk works again
        waiting.await.unwrap();
    }
    writer.join().unwrap();
    assert_eq!((log.stats().waited, log.stats().refused, log.alarms()), (1, 0, Vec::new()));
    let report = check_stored(&stored);
    assert_eq!((report.records, report.gaps), (SLOW + 1, None));
}

#[tokio::test]
async fn a_disk_that_goes_on_stalling_refuses_after_the_wait() {
    let Bench { log, orders, writer, .. } = held(Period(Duration::from_millis(1)), OnAuditFailure::Buffer);
    let mut wait = RecordWait::default();
    log.room(&mut wait).await;
    assert_eq!(log.stats().waited, 1);
    // Those that have waited together find the rest of the queue, and then none. The message that has waited
    // does not do so again.
    while log.record(call(1)).is_ok() {}
    let again = polled(&mut pin!(log.record_in_time(|| call(1), &mut wait)));
    assert_eq!((again, log.stats().waited), (Poll::Ready(Err(AuditFull::QueueFull)), 1));
    assert!(log.healthy().is_err());
    drop(orders);
    writer.join().unwrap();
}

/// Two batches make room for fewer than there are who wait; each of them does something else between the end
/// of its wait and its record, as long calls do.
#[tokio::test]
async fn those_who_are_woken_together_wait_again_for_what_others_took() {
    const CROWD: u64 = 6_000;
    let Bench { log, writer, orders, stored, asked, .. } = held(LONG, OnAuditFailure::Buffer);
    let (gate, woken) = (tokio::sync::Semaphore::new(0), AtomicUsize::new(0));
    let one = async |n| {
        let mut wait = RecordWait::default();
        log.room(&mut wait).await;
        woken.fetch_add(1, Ordering::SeqCst);
        let _closed = gate.acquire().await;
        log.record_in_time(|| call(n), &mut wait).await
    };
    let mut crowd: Vec<_> = (0..CROWD).map(|n| Box::pin(one(n))).collect();
    assert!(crowd.iter_mut().all(|one| polled(&mut one.as_mut()).is_pending()));
    for _ in 0..2 {
        orders.send(Ok(())).unwrap();
        asked.recv().unwrap();
    }
    // Two batches are stored, and the third is held.
    assert!(crowd.iter_mut().all(|one| polled(&mut one.as_mut()).is_pending()));
    assert_eq!(woken.load(Ordering::SeqCst) as u64, CROWD);
    gate.close();
    let mut taken = 0;
    crowd.retain_mut(|one| match polled(&mut one.as_mut()) {
        Poll::Ready(recorded) => {
            recorded.unwrap();
            taken += 1;
            false
        }
        Poll::Pending => true,
    });
    assert!(taken < CROWD, "there is no room for all of them");
    drop(orders);
    for one in crowd {
        one.await.unwrap();
    }
    assert_eq!((log.stats().waited, log.stats().refused), (CROWD, 0));
    writer.join().unwrap();
    assert_eq!(check_stored(&stored).records, SLOW + CROWD);
}

#[tokio::test]
async fn nobody_waits_for_a_log_that_refuses_for_another_reason() {
    let Bench { log, orders, writer, asked, .. } = told(OnAuditFailure::Refuse, None);
    log.record(call(0)).unwrap();
    asked.recv().unwrap();
    while log.record(call(1)).is_ok() {}
    orders.send(Err(5)).unwrap();
    asked.recv().unwrap(); // tried again: the failure is known by now
    let refused = log.record_in_time(|| call(1), &mut RecordWait::default()).await;
    assert_eq!((refused, log.stats().waited), (Err(AuditFull::StoreFailed), 0));
    drop(orders);
    writer.join().unwrap();
}

#[tokio::test]
async fn a_store_that_fails_is_not_called_slow() {
    let Bench { log, orders, writer, asked, .. } = held(LONG, OnAuditFailure::Buffer);
    orders.send(Err(5)).unwrap();
    asked.recv().unwrap(); // tried again: the failure is known by now
    // It may come back within the wait.
    let mut wait = RecordWait::default();
    assert!(polled(&mut pin!(log.room(&mut wait))).is_pending());
    while log.record(call(1)).is_ok() {}
    assert_eq!(log.record(call(1)), Err(AuditFull::StoreFailed));
    assert!(log.healthy().unwrap_err().contains("Input/output error"));
    assert_eq!(log.alarms(), Vec::<String>::new());
    drop(orders);
    writer.join().unwrap();
}

#[tokio::test]
async fn who_waits_is_told_of_a_failure_that_refuses() {
    let Bench { log, orders, writer, asked, .. } = held(LONG, OnAuditFailure::Refuse);
    {
        let mut wait = RecordWait::default();
        let mut waiting = pin!(log.record_in_time(|| call(1), &mut wait));
        assert!(polled(&mut waiting).is_pending());
        orders.send(Err(5)).unwrap();
        asked.recv().unwrap(); // tried again: the failure is known by now
        assert_eq!(polled(&mut waiting), Poll::Ready(Err(AuditFull::StoreFailed)));
    }
    drop(orders);
    writer.join().unwrap();
}

/// Counts how often a future was told to go on.
#[derive(Default)]
struct Told(AtomicUsize);

impl Wake for Told {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn who_waits_is_told_that_the_disk_has_become_full() {
    let Bench { log, orders, writer, asked, space, .. } = held(LONG, OnAuditFailure::Buffer);
    // One batch of them is not enough.
    for n in 0..500 {
        log.record(call(n)).unwrap();
    }
    {
        let told = Arc::new(Told::default());
        let waker = Waker::from(Arc::clone(&told));
        let mut wait = RecordWait::default();
        let mut waiting = pin!(log.record_in_time(|| call(1), &mut wait));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let mut space = space.lock();
        orders.send(Ok(())).unwrap();
        while told.0.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending(), "one is stored");
        *space = Space::Gone;
        drop(space);
        asked.recv().unwrap(); // the next batch: the writer has looked how much room there is
        assert_eq!(polled(&mut waiting), Poll::Ready(Err(AuditFull::DiskFull)));
    }
    drop(orders);
    writer.join().unwrap();
}

#[tokio::test]
async fn who_waits_is_told_of_the_end() {
    let Bench { log, orders, writer, .. } = held(LONG, OnAuditFailure::Buffer);
    let mut wait = RecordWait::default();
    let mut waiting = pin!(log.record_in_time(|| call(1), &mut wait));
    assert!(polled(&mut waiting).is_pending());
    let ending = std::thread::spawn(move || writer.join());
    while log.record_done(call(2)) != Err(AuditFull::Closed) {
        std::thread::yield_now();
    }
    assert_eq!(waiting.await, Err(AuditFull::Closed), "while the store is still held");
    drop(orders);
    ending.join().unwrap().unwrap();
}

#[tokio::test]
async fn who_waits_is_told_of_a_writer_that_ended_by_a_defect() {
    let Bench { log, orders, writer, .. } = held(LONG, OnAuditFailure::Buffer);
    let mut wait = RecordWait::default();
    let mut waiting = pin!(log.record_in_time(|| call(1), &mut wait));
    assert!(polled(&mut waiting).is_pending());
    orders.send(Err(DEFECT)).unwrap();
    assert!(matches!(writer.join(), Err(AuditError::Panicked)));
    assert_eq!(polled(&mut waiting), Poll::Ready(Err(AuditFull::Closed)));
    assert!(log.healthy().unwrap_err().contains("ended by a defect; restart airlock"));
}
