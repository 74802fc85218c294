//! One budget of bytes for what is kept from one poll to the next: answers on their way, event streams,
//! questions, subscriptions.
//!
//! An [`Account`] is one holder: a tenant, a principal of it, or a session of that. Each [`Charge`] counts
//! for its account and for all above it. Whoever goes beyond a share pays first with its own largest holding;
//! only when everything is full does the greediest tenant pay, and in it the greediest principal.
//!
//! A charge costs an atomic addition for each level. The sum of all is kept in stripes, so that cores do not
//! share it.

mod node;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicIsize, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use http::StatusCode;

use crate::auth::principal::Identity;
use crate::config::schema::MemoryShares;

use node::{Key, Node, child};

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

impl Default for Budget {
    fn default() -> Self {
        Self::new(&MemoryShares::default())
    }
}

#[cfg(test)]
mod tests;
