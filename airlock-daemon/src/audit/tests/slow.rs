//! Requests that wait for a disk that does not keep up.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::call;
use super::scripted::{Bench, check_stored, told, told_to};
use crate::audit::*;
use crate::config::schema::{self, OnAuditFailure};
use crate::config::units::Period;

/// The log whose store holds the first batch; as many records wait as leave no room.
fn held(wait: Period) -> Bench {
    let bench = told_to(&schema::Audit { wait, ..schema::Audit::default() }, None);
    bench.log.record(call(0)).unwrap();
    bench.asked.recv().unwrap();
    for n in 1..CAPACITY / 100 * 80 {
        let waiting = pin!(bench.log.room()).poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(waiting, Poll::Ready(()), "{n}");
        bench.log.record(call(n)).unwrap();
    }
    bench
}

#[tokio::test]
async fn a_disk_that_stalls_slows_requests_and_refuses_none() {
    let Bench { log, writer, orders, stored, .. } = held(Period::secs(3_600));
    {
        let mut waiting = pin!(log.room());
        assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let alarms = log.alarms();
        assert!(
            alarms[0].contains("does not keep up") && alarms[0].contains("1 since the start"),
            "{alarms:?}"
        );
        drop(orders); // the disk works again
        waiting.await;
    }
    log.record(call(9)).unwrap();
    writer.join().unwrap();
    assert_eq!((log.stats().waited, log.stats().refused, log.alarms()), (1, 0, Vec::new()));
    let report = check_stored(&stored);
    assert_eq!((report.records, report.gaps), (CAPACITY / 100 * 80 + 1, None));
}

#[tokio::test]
async fn a_disk_that_goes_on_stalling_refuses_after_the_wait() {
    let Bench { log, orders, writer, .. } = held(Period(Duration::from_millis(1)));
    log.room().await;
    assert_eq!(log.stats().waited, 1);
    // Those that have waited together find the rest of the queue, and then none.
    while log.record(call(1)).is_ok() {}
    assert_eq!(log.record(call(1)), Err(AuditFull::QueueFull));
    assert!(log.healthy().is_err());
    drop(orders);
    writer.join().unwrap();
}

#[tokio::test]
async fn nobody_waits_for_a_log_that_refuses_for_another_reason() {
    let Bench { log, orders, writer, asked, .. } = told(OnAuditFailure::Refuse, None);
    log.record(call(0)).unwrap();
    asked.recv().unwrap();
    while log.record(call(1)).is_ok() {}
    orders.send(Err(5)).unwrap();
    asked.recv().unwrap(); // tried again: the failure is known by now
    log.room().await;
    assert_eq!((log.record(call(1)), log.stats().waited), (Err(AuditFull::StoreFailed), 0));
    drop(orders);
    writer.join().unwrap();
}
