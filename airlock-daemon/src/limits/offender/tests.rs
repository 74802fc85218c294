use super::*;
use crate::config::translators::Translators;
use crate::config::units::Period;

const SECOND: u64 = 1_000_000_000;

#[derive(Default)]
struct HeardOffenders(Mutex<Vec<String>>);

impl OffenderSink for HeardOffenders {
    fn offend(&self, offence: &Offence) {
        let Offence { address, lasting, direct, .. } = offence;
        self.0.lock().push(format!("{address} {}s {direct}", lasting.as_secs()));
    }

    fn forgive(&self, address: IpAddr) {
        self.0.lock().push(format!("{address} forgiven"));
    }
}

impl HeardOffenders {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}

fn offenders() -> (Offenders, Arc<HeardOffenders>) {
    let told = Arc::new(HeardOffenders::default());
    let drop = KernelDrop { after: 3, r#for: Period::secs(60), at_most: Period::secs(200) };
    let exempt = Exempt::new(&["10.0.0.0/8".to_owned()], &["203.0.113.128/25".to_owned()]);
    (Offenders::new(&drop, exempt, Arc::clone(&told) as _), told)
}

fn from(address: &str) -> RequestSource {
    RequestSource { address: address.parse().expect("an address"), direct: true, lured: false }
}

fn customer(source: RequestSource) -> IpAddr {
    Translators::default().customer(source.address)
}

fn violate(offenders: &Offenders, source: RequestSource, now: u64) {
    offenders.violation(source, customer(source), Reason::RateLimit, now);
}

/// Three violations from `from` on.
fn thrice(offenders: &Offenders, source: RequestSource, from: u64) {
    for second in 0..3 {
        violate(offenders, source, from + second * SECOND);
    }
}

#[test]
fn drops_double_up_to_a_bound_and_are_forgiven() {
    let (offenders, told) = offenders();
    let source = from("203.0.113.7");
    let mut now = 10 * SECOND;
    for lasting in [60, 120, 200, 200] {
        thrice(&offenders, source, now);
        assert_eq!(told.take(), [format!("203.0.113.7 {lasting}s true")]);
        assert_eq!(offenders.count(), 1);
        now += 2 * SECOND;
        assert_eq!(offenders.blocked(customer(source), now), Some(Duration::from_secs(lasting)));
        violate(&offenders, source, now + SECOND);
        now += lasting * SECOND;
        assert_eq!(offenders.blocked(customer(source), now), None);
        offenders.sweep(now);
        assert_eq!(told.take(), ["203.0.113.7 forgiven"]);
        assert_eq!(offenders.count(), 0);
    }
    now += 201 * SECOND;
    thrice(&offenders, source, now);
    assert_eq!(told.take(), ["203.0.113.7 60s true"], "it begins anew");
    offenders.sweep(now + 62 * SECOND);
    offenders.sweep(now + 263 * SECOND);
    assert!(offenders.lock().entries.is_empty(), "and nothing is kept");
}

#[test]
fn many_at_once_are_one_violation_and_old_ones_do_not_count() {
    let (offenders, told) = offenders();
    for _ in 0..100 {
        violate(&offenders, from("203.0.113.7"), SECOND);
    }
    violate(&offenders, from("203.0.113.7"), 3 * SECOND);
    violate(&offenders, from("203.0.113.7"), 62 * SECOND);
    assert!(told.take().is_empty());
    // One network is one offender.
    for (n, host) in ["::1", "::2", "::3"].into_iter().enumerate() {
        violate(&offenders, from(&format!("2001:db8:1:2{host}")), n as u64 * 2 * SECOND);
    }
    assert_eq!(told.take(), ["2001:db8:1:2:: 60s true"]);
    // The last moment of a minute is one of it.
    for second in [1, 31, 61] {
        violate(&offenders, from("203.0.113.8"), second * SECOND);
    }
    assert_eq!(told.take(), ["203.0.113.8 60s true"]);
}

#[test]
fn some_are_never_dropped_and_some_not_by_the_kernel() {
    let (offenders, told) = offenders();
    for address in ["127.0.0.1", "::1", "10.1.2.3", "203.0.113.200", "::ffff:10.1.2.3"] {
        thrice(&offenders, from(address), SECOND);
    }
    assert!(told.take().is_empty());
    let told_of = RequestSource { direct: false, ..from("203.0.113.9") };
    thrice(&offenders, told_of, SECOND);
    assert_eq!(told.take(), ["203.0.113.9 60s false"]);
    assert!(offenders.blocked(customer(told_of), 4 * SECOND).is_some());
}

/// Owners of a /48, of a /32 and of very many networks go on and on; whoever offends meanwhile is blocked
/// all the same.
#[test]
fn nobody_takes_all_places_and_so_the_blocks_of_others() {
    let count = |offenders: &Offenders| offenders.lock().entries.len();
    let flood = |n: u32, of: &dyn Fn(u32) -> String| {
        let (offenders, told) = offenders();
        let every = n / 3;
        for second in 0..3_u64 {
            for one in 0..every {
                let one = one + u32::try_from(second).expect("small") * every;
                violate(&offenders, from(&of(one)), (10 + second) * SECOND + u64::from(one));
            }
            violate(&offenders, from("203.0.113.7"), (10 + second) * SECOND + SECOND / 2);
        }
        assert_eq!(told.take(), ["203.0.113.7 60s true"]);
        count(&offenders)
    };
    let [near, far] = SHARES;
    assert_eq!(flood(60_000, &|n| format!("2001:db8:7:{n:x}::1")), near + 1);
    assert_eq!(flood(60_000, &|n| format!("2001:db8:{n:x}::1")), far + 1);
    assert_eq!(flood(45_000, &|n| format!("2001:{n:x}:7:8::1")), ROOM);
}

#[test]
fn what_a_web_page_had_a_browser_send_is_held_against_nobody() {
    let (offenders, told) = offenders();
    let lured = RequestSource { lured: true, ..from("203.0.113.7") };
    thrice(&offenders, lured, SECOND);
    assert!(told.take().is_empty() && offenders.lock().entries.is_empty());
}

#[test]
fn a_place_is_kept_by_what_is_known_and_left_without_a_trace() {
    let (offenders, told) = offenders();
    let of = |n: usize| from(&format!("2001:db8:7:{n:x}::1"));
    thrice(&offenders, of(0), SECOND);
    assert_eq!(told.take().len(), 1);
    for n in 1..=2 * SHARES[0] {
        violate(&offenders, of(n), 10 * SECOND + n as u64);
    }
    assert_eq!(offenders.lock().entries.len(), SHARES[0]);
    assert_eq!(offenders.count(), 1, "who is blocked gives way to nobody");
    offenders.sweep(64 * SECOND);
    assert_eq!(told.take(), ["2001:db8:7:: forgiven"]);
    offenders.sweep(1_000 * SECOND);
    let book = offenders.lock();
    assert!(book.entries.is_empty());
    assert_eq!(book.ranks.room(owners(customer(of(0)))), Ok(None));
}

#[test]
fn the_list_has_who_is_dropped_the_cause_and_the_time_that_is_left() {
    let (offenders, _) = offenders();
    thrice(&offenders, from("203.0.113.7"), SECOND);
    violate(&offenders, from("203.0.113.9"), SECOND);
    let address: IpAddr = "203.0.113.7".parse().expect("an address");
    assert_eq!(offenders.list(4 * SECOND), [(address, Reason::RateLimit, Duration::from_secs(59))]);
    assert!(offenders.list(63 * SECOND).is_empty(), "its time is over");
}

#[test]
fn who_has_least_against_them_gives_way() {
    let (offenders, told) = offenders();
    let of = |n: usize| from(&format!("2001:db8:7:{n:x}::1"));
    for n in 1..=SHARES[0] {
        violate(&offenders, of(n), 10 * SECOND + n as u64);
    }
    thrice(&offenders, of(0), 20 * SECOND);
    assert_eq!(told.take(), ["2001:db8:7:: 60s true"], "it has found a place");
    assert_eq!(offenders.lock().entries.len(), SHARES[0]);
}

#[test]
fn forgiving_says_if_a_block_was_lifted() {
    let (offenders, _) = offenders();
    let (blocked, watched) = (customer(from("203.0.113.7")), customer(from("203.0.113.9")));
    thrice(&offenders, from("203.0.113.7"), SECOND);
    violate(&offenders, from("203.0.113.9"), SECOND);
    assert!(!offenders.forgive(watched), "it was not blocked yet");
    assert!(offenders.forgive(blocked));
    assert_eq!((offenders.count(), offenders.blocked(blocked, 4 * SECOND)), (0, None));
    assert!(!offenders.forgive(blocked), "nothing is left of it");
}
