//! Redaction: which detectors look at what, and what is done with their findings. The scanner itself is the
//! crate `airlock-dlp`.
//!
//! A [`Sieve`] is made for one call, and everything that is said in its course passes it, in either
//! direction.

mod binary;
mod kit;
mod purpose;
mod sieve;
mod told;

use std::borrow::Cow;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;

use crate::auth::principal::Principal;
use crate::config::packs::Packs;
use crate::config::schema::{Dlp, DlpBinary, DlpMode};
use crate::mcp::object::quote;
use crate::observe::metrics::Metrics;

pub use crate::config::schema::DlpDirection as Direction;
use kit::Kit;
pub use purpose::Purpose;
use purpose::is_of;
pub use sieve::{Barred, Found, Paths, Sieve, Sifted};
pub use told::{Detected, Place, Told};

/// The redaction in force.
pub struct Redaction {
    in_force: ArcSwap<Snapshot>,
    key: Arc<hmac::Key>,
    metrics: Arc<Metrics>,
    /// The longest message that may go to a server, and that may come from one, in bytes.
    limits: [usize; 2],
}

/// All that was compiled of one configuration.
struct Snapshot {
    mode: DlpMode,
    /// True where content that is no text is refused.
    refuses_binary: bool,
    /// The detectors that are in use.
    used: Arc<Kit>,
    /// All that there are: for calls that the policy obliges to more.
    all: Arc<Kit>,
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
        let known = packs.known;
        let used = known.iter().filter(|known| known.is_on).cloned().collect();
        let snapshot = Snapshot {
            mode: dlp.mode,
            refuses_binary: dlp.binary == DlpBinary::Refuse && dlp.mode == DlpMode::Enforce,
            used: Arc::new(Kit::new(dlp, used)),
            all: Arc::new(Kit::new(dlp, known)),
        };
        let in_force = ArcSwap::from_pointee(snapshot);
        Ok(Self { in_force, key: Arc::new(key), metrics: Arc::clone(metrics), limits })
    }

    /// The sieve for what is said in a call, or outside of calls; none where nothing is looked for.
    pub fn sieve(&self, who: &Principal, purpose: Purpose<'_>) -> Option<Arc<Sieve>> {
        self.made(who, purpose).map(Arc::new)
    }

    fn made(&self, who: &Principal, purpose: Purpose<'_>) -> Option<Sieve> {
        let snapshot = self.in_force.load();
        if snapshot.mode == DlpMode::Off {
            return None;
        }
        let kit = if purpose.obliged.is_empty() { &snapshot.used } else { &snapshot.all };
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
            is_enforced: snapshot.mode == DlpMode::Enforce,
            is_counted: true,
        })
    }

    /// A text for a record or a log, without what may not go to the server either.
    pub fn spoken<'a>(&self, who: &Principal, upstream: Option<&str>, text: &'a str) -> Cow<'a, str> {
        let purpose = Purpose { upstream: upstream.unwrap_or_default(), tool: None, obliged: &[] };
        let Some(mut sieve) = self.made(who, purpose) else { return Cow::Borrowed(text) };
        sieve.is_counted = false;
        match sieve.sift(Direction::Request, &quote(text), Paths::default()) {
            Ok(Sifted { text: None, .. }) => Cow::Borrowed(text),
            Ok(Sifted { text: Some(json), .. }) => {
                Cow::Owned(serde_json::from_str(&json).unwrap_or_else(|_| "[redacted]".to_owned()))
            }
            Err(barred) => {
                let name = barred.detector().map_or_else(String::new, |name| format!(":{name}"));
                Cow::Owned(format!("[redacted{name}]"))
            }
        }
    }

    /// Why an obligation of the policy cannot be met; none where it can.
    pub fn cannot(&self, obliged: &[Arc<str>]) -> Option<String> {
        if obliged.is_empty() {
            return None;
        }
        let snapshot = self.in_force.load();
        if snapshot.mode == DlpMode::Off {
            return Some("the policy asks for redaction, which is switched off here (`dlp.mode`)".to_owned());
        }
        let is_known = |name: &Arc<str>| snapshot.all.detectors().iter().any(|of| is_of(of, name));
        let unknown = obliged.iter().find(|name| !is_known(name))?;
        Some(format!("the policy asks for redaction by `{unknown}`, which is no pack and no detector here"))
    }
}

#[cfg(test)]
mod tests;
