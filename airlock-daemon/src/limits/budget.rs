//! One budget of bytes for what is kept from one poll to the next: answers on their way, event streams,
//! questions, subscriptions.
//!
//! An [`Account`] is one holder: a tenant, a principal of it, or a session of that. Each [`Charge`] counts
//! for its account and for all above it. Whoever goes beyond a share pays first with its own largest holding;
//! only when everything is full does the greediest tenant pay, and in it the greediest principal.
//!
//! A charge costs an atomic addition for each level. The sum of all is kept in stripes, so that cores do not
//! share it.

pub mod level;
mod node;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::auth::principal::Identity;
use crate::config::schema::MemoryShares;

use self::level::{Exhausted, Holding, Level, What, lock};
use self::node::{Node, NodeKey, Root, child};

/// Accounts that one thread remembers, so that an answer finds its own without a lock.
const REMEMBERED: usize = 64;
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
        let key = NodeKey::Tenant(identity.issuer().into(), identity.tenant().map(Into::into));
        let tenant = child(&self.0, None, &self.0.tenants, key, Level::Tenant);
        let key = NodeKey::Principal(identity.clone());
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

impl Account {
    /// A session of this principal.
    #[must_use]
    pub fn session(&self) -> Self {
        let root = &self.0.root;
        let key = NodeKey::Session(root.next.fetch_add(1, Ordering::Relaxed));
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
