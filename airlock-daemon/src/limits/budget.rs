//! One budget of bytes for what is kept from one poll to the next: answers on their way, event streams,
//! questions, subscriptions.
//!
//! An [`Account`] is one holder: a tenant, a principal of it, or a session of that. Each [`Charge`] counts
//! for its account and for all above it. Whoever goes beyond a share pays first with its own largest holding;
//! only when everything is full does the greediest tenant pay, and in it the greediest principal.
//!
//! A charge costs an atomic addition for each level. The sum of all is kept in stripes, so that cores do not
//! share it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicIsize, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use http::StatusCode;

use crate::auth::principal::Identity;
use crate::config::schema::MemoryShares;

/// How many holdings are given up at once beyond what is needed: whoever asks for room waits for them.
const SPARE_ROUNDS: usize = 32;
/// Independent parts of the sum of all charges.
const STRIPES: usize = 16;
/// Bytes that one stripe draws from the sum at a time. At most twice as many of each stripe are drawn and not
/// in use.
const BATCH: usize = 64 * 1024;
/// Accounts that one thread remembers, so that an answer finds its own without a lock.
const REMEMBERED: usize = 64;
/// At most one message in the log in this time; what is given up in between is counted.
const QUIET: Duration = Duration::from_secs(10);

/// The kind of bytes that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// An answer, or a message of a stream, that its client has not read yet.
    Answer,
    /// A call that waits for its client, with what its server asked.
    Question,
    /// Resources whose changes are listened to.
    Subscription,
    /// The body of a request that is carried out.
    Request,
    /// A message of a server that is not whole yet.
    Incoming,
}

/// A level at which a share is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Everything.
    All,
    /// One tenant of an issuer.
    Tenant,
    /// One principal.
    Principal,
    /// One legacy session.
    Session,
}

/// A share is used up, and nothing in it could be given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the memory that `{}` allows is in use: read or close what is open, and try again", self.0.name())]
pub struct Exhausted(pub Level);

impl Exhausted {
    /// The HTTP status that says so: of a share that is the caller's, or of one that is everybody's.
    pub const fn status(self) -> StatusCode {
        match self.0 {
            Level::All => StatusCode::SERVICE_UNAVAILABLE,
            Level::Tenant | Level::Principal | Level::Session => StatusCode::TOO_MANY_REQUESTS,
        }
    }
}

/// Something that can be given up when its holder has too much.
pub trait Holding: Send + Sync {
    /// Bytes that would come free.
    fn bytes(&self) -> usize;

    /// Gives them up; says how many. Must not wait for a lock that is held while a charge is made.
    fn give_up(&self) -> usize;
}

/// The budget; clones share it.
#[derive(Clone)]
pub struct Budget(Arc<Root>);

/// One holder; clones are the same.
#[derive(Clone)]
pub struct Account(Arc<Node>);

/// Bytes that are kept for an account, until this is dropped.
#[must_use = "the bytes are free again when this is dropped"]
pub struct Charge {
    account: Account,
    what: What,
    bytes: usize,
}

/// The figures of the metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes in use, by [`What`].
    pub used: [usize; What::ALL.len()],
    /// Holdings that were given up since the start.
    pub given_up: u64,
    /// Charges that were refused since the start.
    pub refused: u64,
}

struct Root {
    shares: [usize; 4],
    stripes: [Stripe; STRIPES],
    /// The bytes that the stripes have drawn.
    drawn: AtomicUsize,
    used: [AtomicIsize; What::ALL.len()],
    given_up: AtomicU64,
    refused: AtomicU64,
    next: AtomicU64,
    tenants: Mutex<HashMap<Key, Weak<Node>>>,
    told: Mutex<Option<Instant>>,
}

/// A part of the sum on a cache line of its own: what it has drawn and does not use.
#[derive(Default)]
#[repr(align(128))]
struct Stripe(AtomicIsize);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Tenant(Box<str>, Option<Box<str>>),
    Principal(Identity),
    Session(u64),
}

struct Node {
    root: Arc<Root>,
    parent: Option<Arc<Node>>,
    key: Key,
    level: Level,
    used: AtomicUsize,
    children: Mutex<HashMap<Key, Weak<Node>>>,
    holdings: Mutex<Vec<Weak<dyn Holding>>>,
}

impl What {
    /// All of them, in the order of [`Stats::used`].
    pub const ALL: [Self; 5] =
        [Self::Answer, Self::Question, Self::Subscription, Self::Request, Self::Incoming];

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Question => "question",
            Self::Subscription => "subscription",
            Self::Request => "request",
            Self::Incoming => "incoming",
        }
    }
}

impl Level {
    /// The key in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "limits.memory.total",
            Self::Tenant => "limits.memory.per_tenant",
            Self::Principal => "limits.memory.per_principal",
            Self::Session => "limits.memory.per_session",
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change below is one call, so a panic elsewhere leaves what is guarded whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The stripe of this thread.
fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
    }
    OWN.with(|own| *own)
}

fn signed(bytes: usize) -> isize {
    isize::try_from(bytes).unwrap_or(isize::MAX)
}

impl Budget {
    /// A budget with these shares.
    pub fn new(shares: &MemoryShares) -> Self {
        let MemoryShares { total, per_tenant, per_principal, per_session } = shares;
        let shares = [total, per_tenant, per_principal, per_session].map(|share| share.as_usize());
        Self(Arc::new(Root {
            shares,
            stripes: Default::default(),
            drawn: AtomicUsize::new(0),
            used: Default::default(),
            given_up: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            next: AtomicU64::new(0),
            tenants: Mutex::default(),
            told: Mutex::default(),
        }))
    }

    /// The account of a principal.
    pub fn of(&self, identity: &Identity) -> Account {
        thread_local! {
            static LAST: RefCell<HashMap<Identity, Arc<Node>>> = RefCell::default();
        }
        LAST.with_borrow_mut(|last| {
            let known = last.get(identity).filter(|node| Arc::ptr_eq(&node.root, &self.0));
            if let Some(node) = known {
                return Account(Arc::clone(node));
            }
            let node = self.find(identity);
            if last.len() >= REMEMBERED {
                last.clear();
            }
            last.insert(identity.clone(), Arc::clone(&node));
            Account(node)
        })
    }

    fn find(&self, identity: &Identity) -> Arc<Node> {
        let key = Key::Tenant(identity.issuer().into(), identity.tenant().map(Into::into));
        let tenant = child(&self.0, None, &self.0.tenants, key, Level::Tenant);
        let key = Key::Principal(identity.clone());
        child(&self.0, Some(&tenant), &tenant.children, key, Level::Principal)
    }

    /// The bytes in use, and the fate of those that did not fit.
    pub fn stats(&self) -> Stats {
        let used = |place: usize| {
            let used = self.0.used.get(place).map_or(0, |used| used.load(Ordering::Relaxed));
            usize::try_from(used).unwrap_or(0)
        };
        Stats {
            used: std::array::from_fn(used),
            given_up: self.0.given_up.load(Ordering::Relaxed),
            refused: self.0.refused.load(Ordering::Relaxed),
        }
    }
}

/// The node of this key below another, made where there is none.
fn child(
    root: &Arc<Root>,
    parent: Option<&Arc<Node>>,
    among: &Mutex<HashMap<Key, Weak<Node>>>,
    key: Key,
    level: Level,
) -> Arc<Node> {
    let mut among = lock(among);
    if let Some(known) = among.get(&key).and_then(Weak::upgrade) {
        return known;
    }
    let node = Arc::new(Node {
        root: Arc::clone(root),
        parent: parent.map(Arc::clone),
        key: key.clone(),
        level,
        used: AtomicUsize::new(0),
        children: Mutex::default(),
        holdings: Mutex::default(),
    });
    among.insert(key, Arc::downgrade(&node));
    node
}

impl Root {
    fn share(&self, level: Level) -> usize {
        self.shares.get(level as usize).copied().unwrap_or(usize::MAX)
    }

    fn add(&self, bytes: usize) {
        let Some(Stripe(own)) = self.stripes.get(stripe()) else { return };
        if own.fetch_sub(signed(bytes), Ordering::Relaxed) < signed(bytes) {
            let more = bytes.max(BATCH);
            self.drawn.fetch_add(more, Ordering::Relaxed);
            own.fetch_add(signed(more), Ordering::Relaxed);
        }
    }

    fn subtract(&self, bytes: usize) {
        let Some(Stripe(own)) = self.stripes.get(stripe()) else { return };
        let unused = own.fetch_add(signed(bytes), Ordering::Relaxed).saturating_add(signed(bytes));
        if unused > signed(2 * BATCH) {
            let back = unused - signed(BATCH);
            own.fetch_sub(back, Ordering::Relaxed);
            self.drawn.fetch_sub(back.unsigned_abs(), Ordering::Relaxed);
        }
    }

    /// Says that something was given up or refused, now and then.
    fn tell(&self, node: &Node, exhausted: Exhausted, freed: usize) {
        let now = Instant::now();
        let mut told = lock(&self.told);
        if told.is_some_and(|last| now.duration_since(last) < QUIET) {
            return;
        }
        *told = Some(now);
        drop(told);
        let given_up = self.given_up.load(Ordering::Relaxed);
        let refused = self.refused.load(Ordering::Relaxed);
        let share = exhausted.0.name();
        tracing::warn!(
            share, holder = %node, freed, given_up, refused,
            "a share of the memory is used up: what its greediest holder keeps is given up, the largest first; \
             let clients read their answers, or raise the share"
        );
    }
}

impl Account {
    /// A session of this principal.
    #[must_use]
    pub fn session(&self) -> Self {
        let root = &self.0.root;
        let key = Key::Session(root.next.fetch_add(1, Ordering::Relaxed));
        Self(child(root, Some(&self.0), &self.0.children, key, Level::Session))
    }

    /// Keeps so many bytes. Where a share does not have them, the largest holdings of its greediest holder
    /// are given up.
    ///
    /// # Errors
    /// [`Exhausted`] where nothing is left to be given up.
    pub fn charge(&self, what: What, bytes: usize) -> Result<Charge, Exhausted> {
        let charge = self.charge_anyway(what, bytes);
        match self.0.settle() {
            Ok(()) => Ok(charge),
            Err(exhausted) => {
                self.0.root.refused.fetch_add(1, Ordering::Relaxed);
                self.0.root.tell(&self.0, exhausted, 0);
                Err(exhausted)
            }
        }
    }

    /// Keeps so many bytes whatever the shares say: for what is small and has to be said.
    pub fn charge_anyway(&self, what: What, bytes: usize) -> Charge {
        self.0.add(what, bytes);
        Charge { account: self.clone(), what, bytes }
    }

    /// Names something that can be given up, for as long as it lives. Once it was given up, it is to be named
    /// again.
    pub fn holds(&self, holding: Weak<dyn Holding>) {
        let mut holdings = lock(&self.0.holdings);
        // Those that are gone go whenever the list would have to grow.
        if holdings.len() == holdings.capacity() {
            holdings.retain(|holding| holding.strong_count() > 0);
            if holdings.len() > holdings.capacity() / 2 {
                let more = holdings.len();
                holdings.reserve(more);
            }
        }
        holdings.push(holding);
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }
}

impl Charge {
    /// Bytes that are kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps more bytes.
    ///
    /// # Errors
    /// As [`Account::charge`]; what was kept before still is.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let mut more = self.account.charge(self.what, bytes)?;
        self.bytes += std::mem::take(&mut more.bytes);
        Ok(())
    }

    /// Keeps no more than so many bytes.
    pub fn shrink(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes);
        if less > 0 {
            self.bytes -= less;
            self.account.0.subtract(self.what, less);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.account.0.subtract(self.what, self.bytes);
        }
    }
}

impl fmt::Debug for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of {:?}", self.bytes, self.what)
    }
}

impl Node {
    /// The node and all above it.
    fn line(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |node| node.parent.as_deref())
    }

    fn add(&self, what: What, bytes: usize) {
        for node in self.line() {
            node.used.fetch_add(bytes, Ordering::Relaxed);
        }
        if let Some(used) = self.root.used.get(what as usize) {
            used.fetch_add(signed(bytes), Ordering::Relaxed);
        }
        self.root.add(bytes);
    }

    fn subtract(&self, what: What, bytes: usize) {
        for node in self.line() {
            node.used.fetch_sub(bytes, Ordering::Relaxed);
        }
        if let Some(used) = self.root.used.get(what as usize) {
            used.fetch_sub(signed(bytes), Ordering::Relaxed);
        }
        self.root.subtract(bytes);
    }

    /// Brings each share that is exceeded back to what it may be, the smallest first.
    fn settle(&self) -> Result<(), Exhausted> {
        for node in self.line() {
            let over = node.used.load(Ordering::Relaxed).saturating_sub(self.root.share(node.level));
            if over > 0 {
                self.relieve(over, node.level, || node.give_up_one())?;
            }
        }
        let over = self.root.drawn.load(Ordering::Relaxed).saturating_sub(self.root.share(Level::All));
        if over > 0 {
            self.relieve(over, Level::All, || greediest(0, None, &self.root.tenants))?;
        }
        Ok(())
    }

    /// Gives up until there is room, and a little more, so that it need not be looked for again at once.
    fn relieve(
        &self,
        over: usize,
        level: Level,
        mut one: impl FnMut() -> Option<usize>,
    ) -> Result<(), Exhausted> {
        let spare = self.root.share(level) / 16;
        let (mut freed, mut rounds) = (0, 0);
        while freed < over || freed < over.saturating_add(spare) && rounds < SPARE_ROUNDS {
            let Some(bytes) = one() else { break };
            freed += bytes;
            rounds += 1;
            self.root.given_up.fetch_add(1, Ordering::Relaxed);
        }
        if freed > 0 {
            self.root.tell(self, Exhausted(level), freed);
        }
        if freed >= over { Ok(()) } else { Err(Exhausted(level)) }
    }

    /// Gives up the largest holding of the greediest at or below this node; `None` where there is none.
    fn give_up_one(&self) -> Option<usize> {
        greediest(self.used.load(Ordering::Relaxed), Some(self), &self.children)
    }

    /// Gives up the largest holding of this node itself.
    fn give_up_own(&self) -> Option<usize> {
        let largest = {
            let mut holdings = lock(&self.holdings);
            let alive = holdings.iter().enumerate();
            let alive = alive.filter_map(|(place, holding)| Some((place, holding.upgrade()?)));
            let (place, holding) = alive.max_by_key(|(_, holding)| holding.bytes())?;
            holdings.swap_remove(place);
            holding
        };
        // Without the lock: what is given up may be dropped here.
        Some(largest.give_up())
    }
}

/// Gives up one holding of whoever holds most among these children and, where it has holdings of its own,
/// their parent, which uses `used` bytes with them.
fn greediest(used: usize, own: Option<&Node>, children: &Mutex<HashMap<Key, Weak<Node>>>) -> Option<usize> {
    let children: Vec<_> = lock(children).values().filter_map(Weak::upgrade).collect();
    let mut ranked: Vec<_> =
        children.iter().map(|child| (child.used.load(Ordering::Relaxed), Some(child))).collect();
    let below: usize = ranked.iter().map(|(used, _)| used).sum();
    ranked.push((used.saturating_sub(below), None));
    ranked.sort_by_key(|(used, _)| std::cmp::Reverse(*used));
    ranked.into_iter().find_map(|(_, child)| match child {
        Some(child) => child.give_up_one(),
        None => own.and_then(Node::give_up_own),
    })
}

impl Drop for Node {
    fn drop(&mut self) {
        let among = self.parent.as_ref().map_or(&self.root.tenants, |parent| &parent.children);
        let mut among = lock(among);
        // Another may have taken the place meanwhile.
        if among.get(&self.key).is_some_and(|node| node.strong_count() == 0) {
            among.remove(&self.key);
        }
    }
}

/// The owner of the account, for the operator.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |node: Option<&Arc<Self>>| node.map(ToString::to_string).unwrap_or_default();
        match &self.key {
            Key::Tenant(issuer, None) => write!(f, "issuer {}", issuer.escape_debug()),
            Key::Tenant(issuer, Some(tenant)) => {
                write!(f, "tenant {} of {}", tenant.escape_debug(), issuer.escape_debug())
            }
            Key::Principal(identity) => {
                write!(f, "{} of {}", identity.subject().escape_debug(), of(self.parent.as_ref()))
            }
            Key::Session(_) => write!(f, "a session of {}", of(self.parent.as_ref())),
        }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(&MemoryShares::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::principal::Principal;
    use crate::config::units::ByteSize;

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
}
