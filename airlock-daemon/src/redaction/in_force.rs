//! The redaction in force: makes sieves of it.

use std::sync::Arc;

use airlock_dlp::{Plan, account_of_text};
use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use parking_lot::Mutex;

use super::history::History;
use super::purpose::Purpose;
use super::sieve::Sieve;
use super::snapshot::Snapshot;
use super::speaker::Speaker;
use crate::auth::principal::Principal;
use crate::config::packs::Packs;
use crate::config::schema::{Dlp, DlpDirection as Direction, DlpMode};
use crate::observe::metrics::Metrics;
use crate::runtime::apart::apart;

/// The redaction in force.
pub struct Redaction {
    pub(super) dlp: Arc<Dlp>,
    pub(super) in_force: ArcSwap<Snapshot>,
    /// Held through a whole reload, so that two do not overtake each other. No message waits for it.
    pub(super) turn: Mutex<()>,
    pub(super) history: Mutex<History>,
    key: Arc<hmac::Key>,
    metrics: Arc<Metrics>,
    /// The longest message that may go to a server, and that may come from one, in bytes.
    limits: [usize; 2],
}

impl Redaction {
    /// Compiles what a configuration says, of the detectors that there are for it. `key` is that of digests;
    /// without one it is made here.
    ///
    /// # Errors
    /// When the kernel has no random numbers.
    pub fn new(
        dlp: &Dlp,
        packs: Packs,
        key: Option<&[u8]>,
        limits: [usize; 2],
        metrics: &Arc<Metrics>,
    ) -> Result<Self, String> {
        let mut made = [0; 32];
        if key.is_none() {
            getrandom::fill(&mut made).map_err(|error| error.to_string())?;
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.unwrap_or(&made));
        let dlp = Arc::new(dlp.clone());
        let history = Mutex::new(History::new(packs.digest));
        let in_force = ArcSwap::from_pointee(Snapshot::new(&dlp, packs));
        let (key, metrics) = (Arc::new(key), Arc::clone(metrics));
        Ok(Self { dlp, in_force, turn: Mutex::default(), history, key, metrics, limits })
    }

    /// Puts together the detectors that an obligation needs, where that is still to be done: apart from the
    /// workers, since it takes its time.
    pub async fn ready(&self, obliged: &[Arc<str>]) {
        let snapshot = self.in_force.load_full();
        if snapshot.is_slow(obliged) {
            let obliged = obliged.to_vec();
            let together = apart(move || drop(Arc::clone(snapshot.kit(&obliged))));
            // Where it breaks off, whoever needs them puts them together.
            let _ = together.await;
        }
    }

    /// The sieve for what is said in a call, or outside of calls; none where nothing is looked for.
    pub fn sieve(&self, who: &Principal, purpose: Purpose<'_>) -> Option<Arc<Sieve>> {
        self.made(who, purpose).map(Arc::new)
    }

    fn made(&self, who: &Principal, purpose: Purpose<'_>) -> Option<Sieve> {
        let snapshot = self.in_force.load();
        if snapshot.mode() == DlpMode::Off {
            return None;
        }
        let kit = snapshot.kit(purpose.obliged);
        let actions = [Direction::Request, Direction::Response].map(|way| kit.actions(way, purpose));
        if actions.iter().all(Option::is_none) && !snapshot.refuses_binary {
            return None;
        }
        Some(Sieve {
            kit: Arc::clone(kit),
            actions,
            who: who.clone(),
            key: Arc::clone(&self.key),
            metrics: Arc::clone(&self.metrics),
            limits: self.limits,
            refuses_binary: snapshot.refuses_binary,
            is_enforced: snapshot.mode() == DlpMode::Enforce,
            is_counted: true,
        })
    }

    /// Words for records and logs: without what may not go to this server either.
    pub fn speaker(&self, who: &Principal, upstream: Option<&str>) -> Speaker {
        let purpose = Purpose { upstream: upstream.unwrap_or_default(), tool: None, obliged: &[] };
        let sieve = self.made(who, purpose).map(|sieve| Sieve { is_counted: false, ..sieve });
        Speaker::new(sieve, Direction::Request)
    }

    /// Words for the log of the daemon; nothing where they may stay as they are. They are of anybody: a
    /// server writes some of them on its standard error, or answers a question of Airlock's own with them.
    pub fn logged(&self, text: &str) -> Option<String> {
        let snapshot = self.in_force.load();
        let (kit, actions) = snapshot.spoken()?;
        let digest = |found: &[u8]| {
            let tag = hmac::sign(&self.key, found);
            tag.as_ref().first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
        };
        let plan = Plan {
            detectors: &kit.scanner,
            actions,
            digest: &digest,
            skip: &[],
            keep: &[],
            limit: usize::MAX,
        };
        match account_of_text(&plan, text).and_then(|account| account.outcome) {
            Ok(redacted) => redacted.text,
            Err(_) => Some("[redacted]".to_owned()),
        }
    }

    /// Why an obligation of the policy cannot be met; none where it can.
    pub fn cannot(&self, obliged: &[Arc<str>]) -> Option<String> {
        if obliged.is_empty() {
            return None;
        }
        let snapshot = self.in_force.load();
        if snapshot.mode() == DlpMode::Off {
            return Some("the policy asks for redaction, which is switched off here (`dlp.mode`)".to_owned());
        }
        let unknown = snapshot.unknown(obliged)?;
        Some(format!("the policy asks for redaction by `{unknown}`, which is no pack and no detector here"))
    }
}
