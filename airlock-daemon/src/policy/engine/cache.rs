//! Decisions that were made before: for a question that is the same in everything the policy can look at
//! ([`Depends`]).
//!
//! Each worker has a cache of its own, so no lock is taken, and in it each tenant has a map of its own: what
//! is found belongs to the tenant that asks even if all else were to collide. The key in it is the SHA-256 of
//! the rest of the question, with the bytes of the arguments where the policy reads them; nobody finds two
//! questions with one digest. Decisions of one policy are never another's, and an answer that could not be
//! given (`policy_error`) is not kept.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::policy::document::decision::{Decision, Obligations, Question};
use crate::policy::document::input;
use crate::policy::syntax::depends::Depends;

/// Tenants that a worker remembers; the one not asked for the longest time goes first.
const MAX_TENANTS: usize = 64;
/// Bytes that a worker keeps for one tenant, as [`weight`] counts them.
const MAX_TENANT_BYTES: usize = 256 * 1024;
/// The bytes of an entry besides its texts: key, times, counts and the table's own room.
const ENTRY_BYTES: usize = 256;

thread_local! {
    static WORKER: RefCell<Worker> = RefCell::default();
}

/// How often a decision was at hand, and how often not.
#[derive(Debug, Default)]
pub struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Counts {
    /// Decisions found.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// Decisions that had to be made although they might have been found.
    pub fn misses(&self) -> u64 {
        self.misses.load(Ordering::Relaxed)
    }
}

/// The parts of the key of one policy's decisions.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) generation: u64,
    pub(super) ttl: Duration,
    pub(in crate::policy) reads: Depends,
    pub(in crate::policy) counts: Arc<Counts>,
}

/// A question in 32 bytes, as far as the policy can see it.
pub(super) type QuestionKey = [u8; 32];

impl Plan {
    /// The key of a question; `None` where the engine has to see it, since its arguments are ambiguous.
    pub(in crate::policy) fn key(&self, question: &Question<'_>) -> Option<QuestionKey> {
        let (call, client) = (&question.call, &question.client);
        let mut digest = Sha256::new();
        digest.update(question.subject.digest());
        let text = |digest: &mut Sha256, text: Option<&str>| match text {
            // The length before each text keeps two questions from having the same bytes; no text is this
            // long.
            None => digest.update(u64::MAX.to_le_bytes()),
            Some(text) => {
                digest.update((text.len() as u64).to_le_bytes());
                digest.update(text.as_bytes());
            }
        };
        text(&mut digest, Some(call.method));
        text(&mut digest, Some(call.upstream));
        text(&mut digest, call.tool);
        text(&mut digest, call.prompt);
        text(&mut digest, call.resource);
        text(&mut digest, call.root);
        text(&mut digest, Some(call.revision));
        match call.arguments {
            arguments if self.reads.arguments => text(&mut digest, arguments.map(RawValue::get)),
            // The engine refuses what two readers could understand differently, whether the policy looks at
            // it or not.
            Some(raw) if !input::is_unambiguous(raw.get()) => return None,
            _ => {}
        }
        if self.reads.address {
            text(&mut digest, client.address);
        }
        if self.reads.certificate {
            text(&mut digest, client.certificate);
        }
        if self.reads.uid {
            digest.update(client.uid.map_or(u64::MAX, u64::from).to_le_bytes());
        }
        Some(digest.finalize().into())
    }

    /// The decision that was kept under the key.
    pub(in crate::policy) fn find(
        &self,
        tenant: Option<&str>,
        key: &QuestionKey,
        now: Instant,
    ) -> Option<Decision> {
        let found = self.worker(|worker| worker.shelf(tenant)?.find(key, now)).flatten();
        let count = if found.is_some() { &self.counts.hits } else { &self.counts.misses };
        count.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Keeps a decision.
    pub(in crate::policy) fn keep(
        &self,
        tenant: Option<&str>,
        key: QuestionKey,
        decision: &Decision,
        now: Instant,
    ) {
        let Some(until) = now.checked_add(self.ttl) else { return };
        self.worker(|worker| worker.make_shelf(tenant).keep(key, Kept { decision: own(decision), until }));
    }

    /// Does something with this worker's cache, which is emptied when a newer policy comes; an older one, of
    /// a call that began before it, finds and keeps nothing.
    fn worker<T>(&self, act: impl FnOnce(&mut Worker) -> T) -> Option<T> {
        let with = |worker: &RefCell<Worker>| {
            let mut worker = worker.try_borrow_mut().ok()?;
            if worker.generation < self.generation {
                *worker = Worker { generation: self.generation, ..Worker::default() };
            }
            (worker.generation == self.generation).then(|| act(&mut worker))
        };
        // Fails only while the thread ends.
        WORKER.try_with(with).ok().flatten()
    }
}

#[derive(Default)]
struct Worker {
    generation: u64,
    /// The tenant asked for last comes last.
    tenants: Vec<(Option<Box<str>>, Shelf)>,
}

impl Worker {
    fn shelf(&mut self, tenant: Option<&str>) -> Option<&mut Shelf> {
        let place = self.tenants.iter().rposition(|(name, _)| name.as_deref() == tenant)?;
        let last = self.tenants.len() - 1;
        if place != last {
            self.tenants[place..].rotate_left(1);
        }
        self.tenants.last_mut().map(|(_, shelf)| shelf)
    }

    fn make_shelf(&mut self, tenant: Option<&str>) -> &mut Shelf {
        if self.shelf(tenant).is_none() {
            if self.tenants.len() == MAX_TENANTS {
                self.tenants.remove(0);
            }
            self.tenants.push((tenant.map(Into::into), Shelf::default()));
        }
        let last = self.tenants.len() - 1;
        &mut self.tenants[last].1
    }
}

/// The decisions of one tenant, in two halves: when the young half is full it becomes the old one, and what
/// was old goes.
#[derive(Default)]
struct Shelf {
    young: HashMap<QuestionKey, Kept>,
    old: HashMap<QuestionKey, Kept>,
    /// The weight of the young half.
    bytes: usize,
}

struct Kept {
    decision: Decision,
    until: Instant,
}

impl Shelf {
    fn find(&mut self, key: &QuestionKey, now: Instant) -> Option<Decision> {
        if let Some(kept) = self.young.get(key) {
            return (now < kept.until).then(|| kept.decision.clone());
        }
        let kept = self.old.remove(key).filter(|kept| now < kept.until)?;
        let decision = kept.decision.clone();
        self.keep(*key, kept);
        Some(decision)
    }

    fn keep(&mut self, key: QuestionKey, kept: Kept) {
        let weight = weight(&kept.decision);
        if weight > MAX_TENANT_BYTES / 2 {
            return;
        }
        if self.bytes + weight > MAX_TENANT_BYTES / 2 {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
        self.bytes += weight;
        if let Some(before) = self.young.insert(key, kept) {
            self.bytes -= self::weight(&before.decision).min(self.bytes);
        }
    }
}

/// About how many bytes an entry takes.
fn weight(decision: &Decision) -> usize {
    let lists = [&decision.obligations.redact, &decision.obligations.scopes];
    let listed: usize = lists.into_iter().flatten().map(|text| text.len() + 32).sum();
    ENTRY_BYTES + decision.rule_id.len() + decision.reason.len() + listed
}

/// A copy that shares no text with the policy: neither its memory, nor its counts with other workers.
fn own(decision: &Decision) -> Decision {
    let copies = |texts: &[Arc<str>]| texts.iter().map(|text| Arc::from(&**text)).collect();
    Decision {
        allow: decision.allow,
        rule_id: Arc::from(&*decision.rule_id),
        reason: Arc::from(&*decision.reason),
        obligations: Obligations {
            redact: copies(&decision.obligations.redact),
            scopes: copies(&decision.obligations.scopes),
            durable: decision.obligations.durable,
        },
        detail: decision.detail.as_deref().map(Arc::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(generation: u64) -> Plan {
        Plan {
            generation,
            ttl: Duration::from_mins(1),
            reads: Depends::default(),
            counts: Arc::new(Counts::default()),
        }
    }

    fn named(name: &str) -> Decision {
        Decision { allow: true, ..Decision::refused(name, "because") }
    }

    fn key(number: u64) -> QuestionKey {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        key
    }

    #[test]
    fn one_key_is_another_decision_in_another_tenant() {
        let (plan, now) = (plan(u64::MAX - 9), Instant::now());
        plan.keep(Some("acme"), key(1), &named("acme's"), now);
        for other in [None, Some(""), Some("acm"), Some("acme "), Some("ACME"), Some("globex")] {
            assert_eq!(plan.find(other, &key(1), now), None, "{other:?}");
        }
        plan.keep(None, key(1), &named("nobody's"), now);
        assert_eq!(plan.find(Some("acme"), &key(1), now), Some(named("acme's")));
        assert_eq!(plan.find(None, &key(1), now), Some(named("nobody's")));
        assert_eq!((plan.counts.hits(), plan.counts.misses()), (2, 6));
    }

    #[test]
    fn what_is_old_is_not_found() {
        let (plan, now) = (plan(u64::MAX - 8), Instant::now());
        plan.keep(None, key(1), &named("a"), now);
        assert!(plan.find(None, &key(1), now + Duration::from_millis(59_999)).is_some());
        assert!(plan.find(None, &key(1), now + plan.ttl).is_none());
        plan.keep(None, key(1), &named("b"), now + plan.ttl);
        assert_eq!(plan.find(None, &key(1), now + plan.ttl), Some(named("b")));
    }

    #[test]
    fn another_policy_finds_nothing() {
        let now = Instant::now();
        let (before, after) = (plan(u64::MAX - 7), plan(u64::MAX - 6));
        before.keep(None, key(1), &named("before"), now);
        assert_eq!(after.find(None, &key(1), now), None);
        // A call that began before the reload ends after it.
        before.keep(None, key(1), &named("before"), now);
        assert_eq!(before.find(None, &key(1), now), None);
        assert_eq!(after.find(None, &key(1), now), None);
    }

    #[test]
    fn it_never_grows_beyond_its_bounds() {
        let (plan, now) = (plan(u64::MAX - 5), Instant::now());
        let large = Decision { reason: "x".repeat(512).into(), ..named("large") };
        for number in 0..20_000 {
            plan.keep(Some("flood"), key(number), &large, now);
        }
        for number in 0..500 {
            plan.keep(Some(&format!("tenant {number}")), key(0), &named("one"), now);
        }
        plan.keep(Some("flood"), key(0), &named("again"), now);
        for number in 0..20_000 {
            plan.keep(Some("flood"), key(number % 7), &large, now);
        }
        WORKER.with_borrow(|worker| {
            assert_eq!(worker.tenants.len(), MAX_TENANTS);
            for (_, shelf) in &worker.tenants {
                let halves = [&shelf.young, &shelf.old];
                let bytes =
                    halves.map(|half| half.values().map(|kept| weight(&kept.decision)).sum::<usize>());
                assert!(bytes.iter().all(|bytes| *bytes <= MAX_TENANT_BYTES / 2), "{bytes:?}");
                assert_eq!(shelf.bytes, bytes[0]);
            }
        });
        assert!(plan.find(Some("flood"), &key(6), now).is_some());
        let huge = Decision { reason: "x".repeat(MAX_TENANT_BYTES).into(), ..named("huge") };
        plan.keep(Some("flood"), key(1_000_000), &huge, now);
        assert!(plan.find(Some("flood"), &key(1_000_000), now).is_none());
    }

    #[test]
    fn what_is_asked_often_stays() {
        let (plan, now) = (plan(u64::MAX - 4), Instant::now());
        plan.keep(None, key(0), &named("often"), now);
        for number in 1..10_000 {
            plan.keep(None, key(number), &named("once"), now);
            assert!(plan.find(None, &key(0), now).is_some(), "{number}");
        }
    }
}
