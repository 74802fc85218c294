use super::*;
use crate::auth::principal::Principal;
use crate::config::units::ByteSize;
use crate::limits::budget::level::signed;
use crate::limits::budget::node::BATCH;

/// A holding that remembers whether it was given up.
struct Held(Mutex<Option<Charge>>);

impl Holding for Held {
    fn bytes(&self) -> usize {
        lock(&self.0).as_ref().map_or(0, Charge::bytes)
    }

    fn give_up(&self) -> usize {
        lock(&self.0).take().map_or(0, |charge| charge.bytes())
    }
}

fn hold(account: &Account, bytes: usize) -> Result<Arc<Held>, Exhausted> {
    let held = Arc::new(Held(Mutex::new(Some(account.charge(What::Answer, bytes)?))));
    let weak = Arc::downgrade(&held);
    account.holds(weak);
    Ok(held)
}

fn budget(total: usize, tenant: usize, principal: usize, session: usize) -> Budget {
    let [total, per_tenant, per_principal, per_session] =
        [total, tenant, principal, session].map(|kib| ByteSize::kib(u64::try_from(kib).unwrap_or(0)));
    Budget::new(&MemoryShares { total, per_tenant, per_principal, per_session })
}

fn identity(subject: &str, tenant: &str) -> Identity {
    Principal::named(subject, Some(tenant)).identity().clone()
}

const KIB: usize = 1024;

#[test]
fn whoever_holds_too_much_pays_with_its_own_largest() {
    let budget = budget(10_000, 1_000, 500, 300);
    let alice = budget.of(&identity("alice", "acme"));
    let (one, two) = (alice.session(), alice.session());
    let bob = budget.of(&identity("bob", "acme"));
    let bobs = hold(&bob, 400 * KIB).expect("room");
    let small = hold(&one, 50 * KIB).expect("room");
    let large = hold(&one, 200 * KIB).expect("room");
    let other = hold(&two, 240 * KIB).expect("room");
    // Her session has room, she has not: the largest of her greediest session goes.
    let last = hold(&two, 50 * KIB).expect("room is made");
    assert_eq!((other.bytes(), large.bytes()), (0, 200 * KIB), "session two holds more than one");
    assert!(small.bytes() > 0 && last.bytes() > 0 && bobs.bytes() > 0);
    assert_eq!(budget.stats().given_up, 1);
    assert_eq!(alice.used(), (50 + 200 + 50) * KIB);
}

#[test]
fn of_equals_the_oldest_pays() {
    let budget = budget(10_000, 1_000, 350, 350);
    let alice = budget.of(&identity("alice", "acme"));
    let sessions: Vec<_> = (0..20).map(|_| alice.session()).collect();
    let held: Vec<_> = sessions.iter().map(|session| hold(session, 100 * KIB).expect("room")).collect();
    let left: Vec<usize> = (0..20).filter(|number| held[*number].bytes() > 0).collect();
    assert_eq!(left, [17, 18, 19]);
    drop(held);
    let one = alice.session();
    let held: Vec<_> = (0..20).map(|_| hold(&one, 100 * KIB).expect("room")).collect();
    let left: Vec<usize> = (0..20).filter(|number| held[*number].bytes() > 0).collect();
    assert_eq!(left, [17, 18, 19]);
}

#[test]
fn what_cannot_be_given_up_is_not_paid_by_others() {
    let budget = budget(1_000, 1_000, 500, 500);
    let alice = budget.of(&identity("alice", "acme"));
    let bob = budget.of(&identity("bob", "acme"));
    let bobs = hold(&bob, 400 * KIB).expect("room");
    let kept = alice.charge(What::Subscription, 450 * KIB).expect("room");
    assert_eq!(alice.charge(What::Answer, 100 * KIB).err(), Some(Exhausted(Level::Principal)));
    assert_eq!((bobs.bytes(), budget.stats().refused), (400 * KIB, 1));
    drop(kept);
    alice.charge(What::Answer, 100 * KIB).map(drop).expect("room again");
    assert_eq!(alice.used(), 0);
}

#[test]
fn the_greediest_tenant_pays_for_all() {
    let budget = budget(1_000, 900, 800, 800);
    let greedy = budget.of(&identity("mallory", "evil"));
    let modest = budget.of(&identity("alice", "acme"));
    let held: Vec<_> = (0..7).map(|_| hold(&greedy, 100 * KIB).expect("room")).collect();
    let own = hold(&modest, 200 * KIB).expect("room");
    let more = hold(&modest, 200 * KIB).expect("room is made");
    assert!(own.bytes() > 0 && more.bytes() > 0, "the modest one keeps what it has");
    assert!(held.iter().filter(|held| held.bytes() == 0).count() >= 1);
    drop((held, own, more));
    assert_eq!(budget.stats().used, [0; What::ALL.len()]);
    assert!(budget.0.drawn.load(Ordering::Relaxed) <= 2 * BATCH, "no more than one stripe may keep");
}

#[test]
fn nothing_stays_of_those_who_are_gone() {
    let budget = Budget::default();
    for number in 0..1_000 {
        let account = budget.of(&identity(&number.to_string(), &number.to_string()));
        let _charge = account.session().charge(What::Answer, 10).expect("room");
    }
    assert!(lock(&budget.0.tenants).len() <= REMEMBERED);
    assert_eq!(budget.stats().used, [0; What::ALL.len()]);
}

#[test]
fn threads_count_right() {
    let budget = budget(100_000, 100_000, 100_000, 100_000);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let budget = budget.clone();
            scope.spawn(move || {
                let account = budget.of(&identity(&(number % 3).to_string(), "acme"));
                for size in 0..2_000 {
                    let one = account.charge(What::Answer, size * 10).expect("room");
                    let two = hold(&account, size).expect("room");
                    drop((one, two));
                }
            });
        }
    });
    assert_eq!(budget.stats().used, [0; What::ALL.len()]);
    let unused: isize = budget.0.stripes.iter().map(|stripe| stripe.0.load(Ordering::Relaxed)).sum();
    assert_eq!(signed(budget.0.drawn.load(Ordering::Relaxed)), unused);
}
