//! Authentication: from a bearer token to a [`Principal`].
//!
//! [`Authenticator::authenticate`] reads as the list of the checks: form (`jwt`), issuer, algorithm,
//! signature (`jwks`), claims (`claims`). Keys come by `discovery` and `fetch` on the control thread, which
//! `refresh` keeps going; `cache` remembers what was verified.

mod algorithm;
mod audience;
mod cache;
mod claims;
#[cfg(development_issuer)]
pub mod development;
pub mod error;
pub mod jwt;
pub(crate) mod keys;
mod lookup;
pub mod principal;
mod proof;
pub mod proof_error;
mod refresh;
mod refusal_log;
mod strict;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::task::JoinSet;

pub use self::audience::Reach;
use self::cache::{Digest, Entry, TokenCache, digest};
use self::claims::Verified;
use self::error::Quoted;
pub use self::error::{AuthSetupError, TokenError};
use self::jwt::Unverified;
use self::keys::jwk::VerificationKey;
use self::keys::jwks::NoKey;
use self::principal::Principal;
pub use self::proof::binding::{Proof, Shown};
use self::proof::dpop::Dpop;
pub use self::proof_error::ProofError;
pub use self::refresh::IssuerStatus;
use self::refresh::{TrustedIssuer, Tuning, unix_now};
use self::refusal_log::RefusalLog;
use crate::config::schema;

/// Verifies bearer tokens. Shared by all workers; its keys are kept fresh by [`Authenticator::run`].
#[derive(Debug)]
pub struct Authenticator {
    issuers: Vec<TrustedIssuer>,
    cache: TokenCache,
    dpop: Dpop,
    refusal_log: RefusalLog,
    /// True where principals carry their tokens, because something is exchanged for them.
    carries_tokens: bool,
}

/// The signature algorithms that proofs of possession may have, as metadata lists them (RFC 9728 section 2).
pub fn proof_algorithms() -> impl Iterator<Item = &'static str> {
    algorithm::ALL.into_iter().map(algorithm::name)
}

impl Authenticator {
    /// Sets up the trusted issuers; fetches nothing yet. `base_url` is the URL of this host without a path,
    /// from which the URLs of the endpoints are made that tokens may name as their audience. `carries_tokens`
    /// where a token is needed beyond its check, to be exchanged for others; without it, none is kept.
    ///
    /// The embedded development issuer is not added here: put [`development::DevelopmentIssuer::issuer`] into
    /// `auth.issuers` first.
    ///
    /// # Errors
    /// No issuer, an issuer that is not https (or http to loopback), or an empty list where one is needed.
    pub fn new(
        auth: &schema::Auth,
        base_url: &str,
        carries_tokens: bool,
    ) -> Result<Arc<Self>, AuthSetupError> {
        Self::tuned(auth, base_url, Tuning { carries_tokens, ..Tuning::default() })
    }

    fn tuned(auth: &schema::Auth, base_url: &str, tuning: Tuning) -> Result<Arc<Self>, AuthSetupError> {
        if auth.issuers.is_empty() {
            return Err(AuthSetupError::NoIssuer);
        }
        let mut issuers: Vec<TrustedIssuer> = Vec::with_capacity(auth.issuers.len());
        for config in &auth.issuers {
            if issuers.iter().any(|other| other.name == config.issuer) {
                return Err(AuthSetupError::DuplicateIssuer(config.issuer.clone()));
            }
            issuers.push(TrustedIssuer::new(config, auth, base_url, tuning)?);
        }
        let (cache, dpop) = (TokenCache::new(cache::CAPACITY), Dpop::new()?);
        let refusal_log = RefusalLog::default();
        Ok(Arc::new(Self { issuers, cache, dpop, refusal_log, carries_tokens: tuning.carries_tokens }))
    }

    /// Fetches the keys of all issuers, keeps them fresh, and serves the workers' requests for newer ones.
    /// Belongs on the control thread (a tokio runtime with I/O and time); ends only by being dropped.
    pub async fn run(self: Arc<Self>) {
        let mut tasks = JoinSet::new();
        for index in 0..self.issuers.len() {
            let this = Arc::clone(&self);
            tasks.spawn(async move {
                if let Some(issuer) = this.issuers.get(index) {
                    issuer.keep_fresh().await;
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "the refresh of an issuer's keys ended: restart the daemon");
            }
        }
    }

    /// The bearer of a token that was verified before and would be verified again now, or why it may not
    /// pass: at the endpoint of this upstream (`None` for the merged one), and to whom it is bound. None
    /// where it is not known. About a microsecond, but for proofs of possession, which are made for one
    /// request each.
    pub fn known(
        &self,
        shown: &Shown<'_>,
        upstream: Option<&str>,
    ) -> Option<Result<Arc<Principal>, TokenError>> {
        let token = digest(shown.token);
        let entry = self.entry(&token)?;
        Some(self.admit(&entry, shown, token, upstream))
    }

    /// The same for a plain bearer token that may pass.
    #[cfg(test)]
    pub(crate) fn cached(&self, token: &str, upstream: Option<&str>) -> Option<Arc<Principal>> {
        self.known(&token.into(), upstream)?.ok()
    }

    /// Lets the bearer of a verified token in, here and now.
    fn admit(
        &self,
        entry: &Entry,
        shown: &Shown<'_>,
        token: Digest,
        upstream: Option<&str>,
    ) -> Result<Arc<Principal>, TokenError> {
        let judged = if entry.reach.covers(upstream) {
            entry.binding.check(shown, entry.principal.identity(), &self.dpop, unix_now())
        } else {
            Err(TokenError::WrongEndpoint { good_at: entry.reach.to_string() })
        };
        judged.inspect_err(|error| self.tell(Some(entry.issuer), error))?;
        if self.carries_tokens {
            return Ok(Arc::new(entry.principal.with_token(shown.token, token)));
        }
        Ok(Arc::clone(&entry.principal))
    }

    /// The nonce that proofs of possession must have from now on (RFC 9449 section 9).
    pub fn nonce(&self) -> String {
        self.dpop.nonce(unix_now())
    }

    fn entry(&self, token: &Digest) -> Option<Arc<Entry>> {
        let entry = self.cache.get(token)?;
        let now = unix_now();
        let holds = self
            .issuers
            .get(entry.issuer)
            .is_some_and(|issuer| issuer.has_usable_keys(now) && entry.holds(&issuer.keys.load(), now));
        if !holds {
            self.cache.remove(token);
            return None;
        }
        Some(entry)
    }

    /// Verifies a token, whole, for the endpoint of this upstream (`None` for the merged one), with the proof
    /// or the certificate that it is bound to. Where its key is unknown, the issuer is asked once for newer
    /// keys (by the control thread, shared by all who wait, at most every ten seconds).
    ///
    /// # Errors
    /// The first check that fails; see [`TokenError`].
    pub async fn authenticate(
        &self,
        shown: impl Into<Shown<'_>>,
        upstream: Option<&str>,
    ) -> Result<Arc<Principal>, TokenError> {
        let shown = shown.into();
        let token = digest(shown.token);
        let entry = match self.entry(&token) {
            Some(entry) => entry,
            None => self.verified(shown.token, token).await?,
        };
        self.admit(&entry, &shown, token, upstream)
    }

    /// Verifies and remembers a token that may be good at any endpoint.
    async fn verified(&self, token: &str, digest: Digest) -> Result<Arc<Entry>, TokenError> {
        let parsed = jwt::inspect(token);
        let named = parsed.and_then(|parsed| self.issuer_of(&parsed).map(|(index, _)| (index, parsed)));
        let (index, parsed) = named.inspect_err(|error| self.tell(None, error))?;
        let Some(issuer) = self.issuers.get(index) else { return Err(TokenError::MissingClaim("iss")) };
        let verified = self.verified_by(index, issuer, parsed, digest).await;
        verified.inspect_err(|error| self.tell(Some(index), error))
    }

    fn tell(&self, issuer: Option<usize>, error: &TokenError) {
        let named = issuer.and_then(|index| Some((index, self.issuers.get(index)?.name.as_str())));
        self.refusal_log.refused(named, error);
    }

    async fn verified_by(
        &self,
        index: usize,
        issuer: &TrustedIssuer,
        parsed: Unverified<'_>,
        digest: Digest,
    ) -> Result<Arc<Entry>, TokenError> {
        if !issuer.accepts(parsed.algorithm) {
            return Err(TokenError::UnsupportedAlgorithm(Quoted::new(algorithm::name(parsed.algorithm))));
        }
        let (key, generation) = match verify(issuer, &parsed) {
            Ok(verified) => verified,
            Err(failure) => {
                // A token that would be refused anyway is not worth a fetch.
                let is_worth_it = failure.may_be_outdated()
                    && issuer.rules.check(parsed.claims.clone(), unix_now()).is_ok();
                if is_worth_it && issuer.wait_for_newer_keys().await {
                    verify(issuer, &parsed).map_err(|failure| failure.into_error(issuer, &parsed))?
                } else {
                    return Err(failure.into_error(issuer, &parsed));
                }
            }
        };
        let Verified { principal, reach, binding } = issuer.rules.check(parsed.claims, unix_now())?;
        let until = issuer.rules.accepted_until(principal.expires_at);
        let principal = Arc::new(principal.of_token(digest));
        let entry = Arc::new(Entry { principal, reach, binding, issuer: index, generation, key, until });
        self.cache.insert(digest, Arc::clone(&entry));
        Ok(entry)
    }

    /// Waits until the keys of every issuer were asked for once, well or not.
    pub async fn first_round(&self) {
        for issuer in &self.issuers {
            issuer.first_round().await;
        }
    }

    /// Checks that tokens of every issuer can be verified. An issuer that is away does not make this an error
    /// while its keys are less than a day old; see [`Authenticator::status`] for that.
    ///
    /// # Errors
    /// The issuers whose keys are missing, and why.
    pub fn ready(&self) -> Result<(), String> {
        let now = unix_now();
        let missing: Vec<String> = self
            .issuers
            .iter()
            .filter(|issuer| !issuer.has_usable_keys(now))
            .map(|issuer| issuer.unavailable().to_string())
            .collect();
        if missing.is_empty() { Ok(()) } else { Err(missing.join("; ")) }
    }

    /// The state of each issuer.
    pub fn status(&self) -> Vec<IssuerStatus> {
        self.issuers.iter().map(TrustedIssuer::status).collect()
    }

    fn issuer_of(&self, token: &Unverified<'_>) -> Result<(usize, &TrustedIssuer), TokenError> {
        let name = token.issuer()?;
        self.issuers
            .iter()
            .enumerate()
            .find(|(_, issuer)| issuer.name == name)
            .ok_or_else(|| TokenError::UnknownIssuer(Quoted::new(name)))
    }
}

/// Why a signature was not verified.
enum Failure {
    /// There are no keys to verify with.
    NoKeys,
    /// None of the keys did.
    Key(NoKey),
}

impl Failure {
    fn may_be_outdated(&self) -> bool {
        match self {
            Self::NoKeys => true,
            Self::Key(failure) => failure.may_be_outdated(),
        }
    }

    fn into_error(self, issuer: &TrustedIssuer, token: &Unverified<'_>) -> TokenError {
        match self {
            Self::NoKeys => issuer.unavailable(),
            // The key may be one that the issuer published since it went away: not the bearer's fault.
            Self::Key(NoKey::Unknown) if issuer.is_away() => issuer.unavailable(),
            Self::Key(failure) => failure.into_error(&issuer.name, token),
        }
    }
}

fn verify(issuer: &TrustedIssuer, token: &Unverified<'_>) -> Result<(Arc<VerificationKey>, u64), Failure> {
    if !issuer.has_usable_keys(unix_now()) {
        return Err(Failure::NoKeys);
    }
    let keys = issuer.keys.load();
    let key = keys.verify(token).map_err(Failure::Key)?;
    Ok((Arc::clone(key), keys.generation))
}
