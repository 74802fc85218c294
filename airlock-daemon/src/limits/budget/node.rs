//! The tree of accounts: the counts of each holder and of all above it, and the giving up of what is kept.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicIsize, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::auth::principal::Identity;

use super::level::{Exhausted, Holding, Level, What, lock, signed};

/// How many holdings are given up at once beyond what is needed: whoever asks for room waits for them.
const SPARE_ROUNDS: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum NodeKey {
    Tenant(Box<str>, Option<Box<str>>),
    Principal(Identity),
    Session(u64),
}

pub(super) struct Node {
    pub(super) root: Arc<Root>,
    parent: Option<Arc<Node>>,
    key: NodeKey,
    level: Level,
    /// How many were there before it.
    number: u64,
    pub(super) used: AtomicUsize,
    pub(super) children: Mutex<HashMap<NodeKey, Weak<Node>>>,
    pub(super) holdings: Mutex<Vec<Weak<dyn Holding>>>,
}

/// The node of this key below another, made where there is none.
pub(super) fn child(
    root: &Arc<Root>,
    parent: Option<&Arc<Node>>,
    among: &Mutex<HashMap<NodeKey, Weak<Node>>>,
    key: NodeKey,
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
        number: root.next.fetch_add(1, Ordering::Relaxed),
        used: AtomicUsize::new(0),
        children: Mutex::default(),
        holdings: Mutex::default(),
    });
    among.insert(key, Arc::downgrade(&node));
    node
}

impl Node {
    /// The node and all above it.
    fn line(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |node| node.parent.as_deref())
    }

    pub(super) fn add(&self, what: What, bytes: usize) {
        for node in self.line() {
            node.used.fetch_add(bytes, Ordering::Relaxed);
        }
        if let Some(used) = self.root.used.get(what as usize) {
            used.fetch_add(signed(bytes), Ordering::Relaxed);
        }
        self.root.add(bytes);
    }

    pub(super) fn subtract(&self, what: What, bytes: usize) {
        for node in self.line() {
            node.used.fetch_sub(bytes, Ordering::Relaxed);
        }
        if let Some(used) = self.root.used.get(what as usize) {
            used.fetch_sub(signed(bytes), Ordering::Relaxed);
        }
        self.root.subtract(bytes);
    }

    /// Brings each share that is exceeded back to what it may be, the smallest first.
    pub(super) fn settle(&self) -> Result<(), Exhausted> {
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

    /// Gives up the largest holding of this node itself, the oldest of equals.
    fn give_up_own(&self) -> Option<usize> {
        let largest = {
            let mut holdings = lock(&self.holdings);
            let alive = holdings.iter().enumerate();
            let alive = alive.filter_map(|(place, holding)| Some((place, holding.upgrade()?)));
            let (place, holding) = alive.min_by_key(|(_, holding)| Reverse(holding.bytes()))?;
            holdings.remove(place);
            holding
        };
        // Without the lock: what is given up may be dropped here.
        Some(largest.give_up())
    }
}

/// Gives up one holding of whoever holds most among these children and, where it has holdings of its own,
/// their parent, which uses `used` bytes with them. The oldest of equals pays: its client has had most time
/// to read.
fn greediest(
    used: usize,
    own: Option<&Node>,
    children: &Mutex<HashMap<NodeKey, Weak<Node>>>,
) -> Option<usize> {
    let children: Vec<_> = lock(children).values().filter_map(Weak::upgrade).collect();
    let mut ranked: Vec<_> =
        children.iter().map(|child| (child.used.load(Ordering::Relaxed), Some(child))).collect();
    let below: usize = ranked.iter().map(|(used, _)| used).sum();
    ranked.push((used.saturating_sub(below), None));
    ranked.sort_by_key(|(used, child)| (Reverse(*used), child.map(|child| child.number)));
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
            NodeKey::Tenant(issuer, None) => write!(f, "issuer {}", issuer.escape_debug()),
            NodeKey::Tenant(issuer, Some(tenant)) => {
                write!(f, "tenant {} of {}", tenant.escape_debug(), issuer.escape_debug())
            }
            NodeKey::Principal(identity) => {
                write!(f, "{} of {}", identity.subject().escape_debug(), of(self.parent.as_ref()))
            }
            NodeKey::Session(_) => write!(f, "a session of {}", of(self.parent.as_ref())),
        }
    }
}

/// Independent parts of the sum of all charges.
pub(super) const STRIPES: usize = 16;

/// Bytes that one stripe draws from the sum at a time. At most twice as many of each stripe are drawn and not
/// in use.
pub(super) const BATCH: usize = 64 * 1024;

pub(super) struct Root {
    pub(super) shares: [usize; 4],
    pub(super) stripes: [Stripe; STRIPES],
    /// The bytes that the stripes have drawn.
    pub(super) drawn: AtomicUsize,
    pub(super) used: [AtomicIsize; What::ALL.len()],
    pub(super) given_up: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(super) next: AtomicU64,
    pub(super) tenants: Mutex<HashMap<NodeKey, Weak<Node>>>,
    pub(super) told: Mutex<Option<Instant>>,
}

/// A part of the sum on a cache line of its own: what it has drawn and does not use.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Stripe(pub(super) AtomicIsize);

/// The stripe of this thread.
pub(super) fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
    }
    OWN.with(|own| *own)
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
    pub(super) fn tell(&self, node: &Node, exhausted: Exhausted, freed: usize) {
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

/// At most one message in the log in this time; what is given up in between is counted.
pub(super) const QUIET: Duration = Duration::from_secs(10);
