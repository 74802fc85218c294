use std::fs;
use std::sync::mpsc::channel;

use super::*;

fn put(spool: &Spool, text: &str) -> Option<RingSlot> {
    spool.put(SystemTime::now(), 100, |out| out.extend_from_slice(text.as_bytes()))
}

fn texts(left: &Left) -> Vec<String> {
    left.records.iter().map(|(_, _, text)| String::from_utf8(text.clone()).unwrap()).collect()
}

#[test]
fn what_was_put_is_read_and_its_room_is_used_again() {
    let spool = Spool::in_memory(100);
    let mut freed = Freed::default();
    for lap in 0..200_usize {
        let text = "x".repeat(lap % 90);
        let one = put(&spool, &text).unwrap();
        let two = put(&spool, "two").unwrap();
        for (slot, expected) in [(two, "two"), (one, text.as_str())] {
            let mut out = b"before".to_vec();
            spool.copy(slot, &mut out);
            assert_eq!(out, [b"before", expected.as_bytes()].concat());
        }
        // Given back in the other order.
        spool.free(&mut freed, [two].into_iter());
        spool.free(&mut freed, [one].into_iter());
        assert!(freed.0.is_empty());
    }
}

#[test]
fn without_room_nothing_is_taken() {
    let spool = Spool::in_memory(100);
    let slots: Vec<_> = std::iter::from_fn(|| put(&spool, "12345678")).collect();
    assert_eq!(slots.len(), 20, "an entry of eight bytes takes five words");
    assert_eq!(spool.used(), 100);
    let mut freed = Freed::default();
    spool.free(&mut freed, slots[1..].iter().copied());
    assert_eq!(put(&spool, "12345678"), None, "the first one is in the way");
    spool.free(&mut freed, slots[..1].iter().copied());
    let half = |text: &str| spool.put(SystemTime::now(), 50, |out| out.extend_from_slice(text.as_bytes()));
    let halves = std::iter::from_fn(|| half("12345678")).count();
    assert_eq!((halves, spool.used()), (10, 50), "who may have half finds half");
    assert!(put(&spool, "12345678").is_some());
    assert_eq!(put(&spool, &"x".repeat(1_000)), None);
}

#[test]
fn many_threads_put_at_once() {
    let spool = Spool::in_memory(4_096);
    let (sender, slots) = channel();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (spool, sender) = (&spool, sender.clone());
            scope.spawn(move || {
                for number in 0..2_000 {
                    let text = format!("{thread}:{number}:{}", "y".repeat(number % 50));
                    let slot = loop {
                        match put(spool, &text) {
                            Some(slot) => break slot,
                            None => std::thread::yield_now(),
                        }
                    };
                    sender.send((slot, text)).unwrap();
                }
            });
        }
        drop(sender);
        let mut freed = Freed::default();
        let mut count = 0;
        for (slot, text) in slots {
            let mut out = Vec::new();
            spool.copy(slot, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
            spool.free(&mut freed, [slot].into_iter());
            count += 1;
        }
        assert_eq!(count, 8_000);
    });
}

/// Producers that are held up between reading head and tail see a tail that is ahead.
#[test]
fn nobody_is_refused_while_there_is_room() {
    let spool = Spool::in_memory(1 << 17);
    let (sender, slots) = channel();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (spool, sender) = (&spool, sender.clone());
            scope.spawn(move || {
                for _ in 0..20_000 {
                    // Fewer than fit wait at a time.
                    while spool.used() > 40 {
                        std::thread::yield_now();
                    }
                    sender.send(put(spool, "a record of some words").expect("room")).unwrap();
                }
            });
        }
        drop(sender);
        let mut freed = Freed::default();
        for slot in slots {
            spool.free(&mut freed, [slot].into_iter());
        }
    });
    assert_eq!(spool.used(), 0);
}

#[test]
fn the_next_process_finds_what_was_not_stored() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, left) = Spool::open(dir.path(), 0).unwrap();
    assert_eq!(left, Left::default());
    let slots = ["zero", "one", "two", "three"].map(|text| put(&spool, text).unwrap());
    // The first is stored and given back, the second stored, the third numbered and not stored, the
    // fourth not looked at.
    for (slot, seq) in slots.iter().zip(0..3) {
        spool.number(*slot, seq);
    }
    spool.free(&mut Freed::default(), [slots[0]].into_iter());
    // Reserved, and the process ended before it was whole.
    spool.header(AT_HEAD).fetch_add(7, Ordering::AcqRel);
    put(&spool, "five").unwrap();
    drop(spool);
    let (spool, left) = Spool::open(dir.path(), 2).unwrap();
    assert_eq!(texts(&left), ["two", "three", "five"]);
    drop(spool);
    // Nobody has said that they are stored.
    let (spool, left) = Spool::open(dir.path(), 2).unwrap();
    assert_eq!(texts(&left), ["two", "three", "five"]);
    // Stored now, under these numbers, but the process ended before it had given back their room.
    for ((slot, _, _), seq) in left.records.iter().zip(2..) {
        spool.number(*slot, seq);
    }
    drop(spool);
    let (spool, left) = Spool::open(dir.path(), 5).unwrap();
    assert_eq!(left, Left::default());
    let six = put(&spool, "six").unwrap();
    spool.forget_left();
    drop(spool);
    let (spool, left) = Spool::open(dir.path(), 5).unwrap();
    assert_eq!((texts(&left), left.records[0].0), (vec!["six".to_owned()], six));
    drop(spool);
}

#[test]
fn what_is_no_ring_is_set_apart() {
    let dir = tempfile::tempdir().unwrap();
    for (round, content) in [b"short".to_vec(), vec![7; 20 * 1024 * 1024]].into_iter().enumerate() {
        fs::write(dir.path().join(FILE), &content).unwrap();
        let (spool, left) = Spool::open(dir.path(), 0).unwrap();
        let name = format!("pending.unreadable.{round}");
        assert_eq!(left, Left { unreadable: Some(name.clone()), ..Left::default() });
        assert_eq!(fs::read(dir.path().join(name)).unwrap(), content);
        assert!(put(&spool, "works").is_some());
        drop(spool);
        fs::remove_file(dir.path().join(FILE)).unwrap();
    }
    std::os::unix::fs::symlink("/dev/null", dir.path().join(FILE)).unwrap();
    assert!(Spool::open(dir.path(), 0).is_err(), "no link is followed");
}

/// Any bytes behind a good header are read without a panic, and never beyond the ring.
#[test]
fn rubbish_in_the_ring_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = Spool::open(dir.path(), 0).unwrap();
    for at in 0..3_000 {
        let word = [COMMITTED | 8, at, u64::MAX, COMMITTED | u64::from(u32::MAX), at + 1][(at % 5) as usize];
        spool.word(at).store(word, Ordering::Relaxed);
    }
    spool.header(AT_HEAD).store(3_000, Ordering::Release);
    drop(spool);
    let (_, left) = Spool::open(dir.path(), 0).unwrap();
    assert!(left.unreadable.is_none());
    assert!(left.records.len() < 3_000);
}

#[test]
fn what_was_refused_is_told_once_by_whichever_process() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = Spool::open(dir.path(), 0).unwrap();
    assert_eq!([spool.lose(), spool.lose()], [true, false]);
    spool.tell(1);
    assert!(!spool.lose(), "of the one before nothing was told yet");
    drop(spool);
    // The second process ends before it has told anything either, and refuses one more.
    let (spool, left) = Spool::open(dir.path(), 0).unwrap();
    assert_eq!(left.refused, 2);
    spool.lose();
    drop(spool);
    let (spool, left) = Spool::open(dir.path(), 0).unwrap();
    assert_eq!(left.refused, 3);
    spool.lose();
    spool.forget_left();
    assert_eq!((spool.lost(), spool.told()), (5, 4), "what was lost since is still to be told");
    spool.tell(5);
    assert!(spool.lose());
}
