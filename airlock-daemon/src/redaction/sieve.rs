//! One call's redaction: a message goes in, and comes out as it may pass.

use std::cell::OnceCell;
use std::sync::Arc;

use airlock_dlp::{Action, Path, Plan, Refused, redact};
use aws_lc_rs::hmac;

use super::binary;
use super::kit::Kit;
use crate::audit::Counts;
use crate::auth::principal::Principal;
use crate::config::schema::DlpDirection as Direction;
use crate::observe::metrics::Metrics;
use crate::runtime::apart::{LONG, apart};

/// The detectors and actions for what is said in one call, to and by one principal.
pub struct Sieve {
    pub(super) kit: Arc<Kit>,
    /// By direction; none where nothing is looked for.
    pub(super) actions: [Option<Arc<[Action]>>; 2],
    pub(super) who: Principal,
    pub(super) key: Arc<hmac::Key>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) limits: [usize; 2],
    /// True where content that is no text does not pass.
    pub(super) refuses_binary: bool,
    /// False where everything passes as it came (`dlp.mode: report`).
    pub(super) is_enforced: bool,
    /// False for texts that are no messages.
    pub(super) is_counted: bool,
}

/// Members that are treated in another way than the rest.
#[derive(Debug, Clone, Copy, Default)]
pub struct Paths {
    /// Neither read nor changed: what Airlock itself replaces.
    pub skip: &'static [Path],
    /// Read, and never changed: a finding that would change one bars the message.
    pub keep: &'static [Path],
}

/// A message that may pass.
#[derive(Debug)]
pub struct Sifted {
    /// As it may pass; none where it may as it is.
    pub text: Option<String>,
    /// The findings.
    pub found: Found,
}

/// Why a message may not pass.
#[derive(Debug)]
pub enum Barred {
    /// A detector bars it.
    Detector(Arc<str>, Found),
    /// It carries content that is no text.
    Binary,
    /// It costs too much to look through, in words.
    Work(String),
    /// It would be too long.
    Length(String),
}

/// How often each detector has found something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found(Vec<(Arc<str>, u64)>);

impl Found {
    /// Adds the findings of another message.
    pub fn add(&mut self, other: Self) {
        for (name, count) in other.0 {
            match self.0.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => *sum += count,
                None => self.0.push((name, count)),
            }
        }
    }

    /// The findings for a record: none where there are none.
    pub fn on_record(&self) -> Option<Counts> {
        (!self.0.is_empty()).then(|| self.0.as_slice().into())
    }
}

impl Sifted {
    fn clean() -> Self {
        Self { text: None, found: Found::default() }
    }

    /// The message as it may pass, and the findings.
    pub fn or(self, original: String) -> (String, Found) {
        (self.text.unwrap_or(original), self.found)
    }
}

impl Barred {
    /// The findings so far.
    pub fn found(&self) -> Found {
        match self {
            Self::Detector(_, found) => found.clone(),
            Self::Binary | Self::Work(_) | Self::Length(_) => Found::default(),
        }
    }

    /// The detector that bars it.
    pub fn detector(&self) -> Option<&Arc<str>> {
        match self {
            Self::Detector(name, _) => Some(name),
            Self::Binary | Self::Work(_) | Self::Length(_) => None,
        }
    }

    /// The reason as a predicate, for anybody: no part of the message is in it.
    pub fn reason(&self) -> String {
        match self {
            Self::Detector(name, _) => format!("holds what the detector `{name}` does not let pass"),
            Self::Binary => "carries content that is no text, which does not pass here".to_owned(),
            Self::Work(reason) | Self::Length(reason) => reason.clone(),
        }
    }
}

impl Sieve {
    /// Looks through a message, which is JSON and short, or on a thread that nobody else waits for.
    ///
    /// # Errors
    /// Why it may not pass.
    pub fn sift(&self, direction: Direction, json: &str, paths: Paths) -> Result<Sifted, Barred> {
        if self.refuses_binary && binary::is_there(json) {
            return Err(Barred::Binary);
        }
        let Some(actions) = &self.actions[direction as usize] else { return Ok(Sifted::clean()) };
        let refused = match self.planned(direction, actions, paths, |plan| redact(plan, json)) {
            Ok(redacted) => {
                let found = self.count(direction, actions, &redacted.counts);
                return Ok(Sifted { text: redacted.text, found });
            }
            Err(refused) => refused,
        };
        self.barred(direction, actions, refused).map_or_else(|| Ok(Sifted::clean()), Err)
    }

    /// Does something by the plan for messages of a direction.
    pub(super) fn planned<T>(
        &self,
        direction: Direction,
        actions: &[Action],
        paths: Paths,
        then: impl FnOnce(&Plan<'_>) -> T,
    ) -> T {
        let tenants = OnceCell::new();
        let digest = |found: &[u8]| {
            let tag = hmac::sign(tenants.get_or_init(|| self.tenant_key()), found);
            tag.as_ref().first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
        };
        then(&Plan {
            detectors: &self.kit.scanner,
            actions,
            digest: &digest,
            skip: paths.skip,
            keep: paths.keep,
            limit: self.limits[direction as usize],
        })
    }

    /// Why a message may not pass; none where it may all the same.
    pub(super) fn barred(
        &self,
        direction: Direction,
        actions: &[Action],
        refused: Refused,
    ) -> Option<Barred> {
        Some(match refused {
            Refused::Blocked { detector, counts } => {
                let found = self.count(direction, actions, &counts);
                let name = self.kit.names.get(detector).cloned().unwrap_or_default();
                Barred::Detector(name, found)
            }
            _ if !self.is_enforced => return None,
            Refused::TooLong { limit } => {
                Barred::Length(format!("would be longer than {limit} bytes once redacted"))
            }
            Refused::TooMuchWork => {
                Barred::Work("has more encoded within encoded text than is looked through".to_owned())
            }
            // A parser has read it before.
            Refused::NotJson { .. } => Barred::Work("is no JSON that can be looked through".to_owned()),
        })
    }

    /// The same for a message of any length: a long one is looked through apart.
    ///
    /// # Errors
    /// As for [`Sieve::sift`].
    pub async fn sift_any(
        self: &Arc<Self>,
        direction: Direction,
        json: Arc<str>,
        paths: Paths,
    ) -> Result<Sifted, Barred> {
        self.anywhere(json.len(), move |sieve| sieve.sift(direction, &json, paths)).await
    }

    /// The same, with the text as it may pass.
    ///
    /// # Errors
    /// As for [`Sieve::sift`].
    pub async fn pass(
        self: &Arc<Self>,
        direction: Direction,
        json: String,
        paths: Paths,
    ) -> Result<(String, Found), Barred> {
        let bytes = json.len();
        let look = move |sieve: &Self| sieve.sift(direction, &json, paths).map(|sifted| sifted.or(json));
        self.anywhere(bytes, look).await
    }

    /// Looks through a text of so many bytes: here, or apart where that takes long.
    async fn anywhere<T: Send + 'static>(
        self: &Arc<Self>,
        bytes: usize,
        look: impl FnOnce(&Self) -> Result<T, Barred> + Send + 'static,
    ) -> Result<T, Barred> {
        if bytes < LONG {
            return look(self);
        }
        let sieve = Arc::clone(self);
        let looked = apart(move || look(&sieve)).await;
        looked.unwrap_or_else(|_| Err(Barred::Work("could not be looked through".to_owned())))
    }

    /// Counts findings for the metrics, and names them for the record.
    fn count(&self, direction: Direction, actions: &[Action], counts: &[(usize, u32)]) -> Found {
        let each = counts.iter().filter_map(|(place, count)| {
            let (name, action) = (self.kit.names.get(*place)?, actions.get(*place)?);
            let count = u64::from(*count);
            if self.is_counted {
                self.metrics.redacted(name, direction.name(), action.name(), count);
            }
            Some((Arc::clone(name), count))
        });
        Found(each.collect())
    }

    /// The key of digests for the tenant: what is equal in two tenants does not look so.
    fn tenant_key(&self) -> hmac::Key {
        let mut of = Vec::new();
        for part in [self.who.issuer.as_str(), self.who.tenant.as_deref().unwrap_or_default()] {
            of.extend_from_slice(&(part.len() as u64).to_be_bytes());
            of.extend_from_slice(part.as_bytes());
        }
        hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&self.key, &of).as_ref())
    }
}
