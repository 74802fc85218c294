//! The keys of one issuer over time: fetched, kept fresh, fetched again when a token names an unknown one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;
use tokio::sync::{Notify, watch};

use super::claims::Rules;
use super::error::{AuthSetupError, TokenError};
use super::keys::discovery::Locations;
use super::keys::fetch::Fetcher;
use super::keys::jwks::{KeySet, Parsed};
use crate::config::schema::{self, SignatureAlgorithm};
use crate::observe::escape::printable;

/// How the keys are kept fresh, and what is kept. Times are fixed in production; tests take others instead of
/// waiting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tuning {
    /// The least time between two fetches on behalf of tokens with unknown keys.
    pub(crate) floor: Duration,
    /// Pause after a first failed fetch; it doubles with each further one …
    pub(crate) first_retry: Duration,
    /// … up to this.
    pub(crate) last_retry: Duration,
    /// How long one round (metadata, fall-back, keys) may take.
    pub(crate) round: Duration,
    /// How long keys are used while their issuer is away.
    pub(crate) stale_limit: Duration,
    /// True where principals carry their tokens.
    pub(crate) carries_tokens: bool,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            floor: Duration::from_secs(10),
            first_retry: Duration::from_secs(1),
            last_retry: Duration::from_mins(1),
            round: Duration::from_secs(10),
            stale_limit: Duration::from_hours(24),
            carries_tokens: false,
        }
    }
}

/// The state of one issuer, for `/info` and metrics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IssuerStatus {
    /// The issuer.
    pub issuer: String,
    /// How many of its keys can be used.
    pub keys: usize,
    /// When they were fetched, in seconds since the Unix epoch.
    pub fetched_at: Option<u64>,
    /// Why the newest attempt to fetch them failed, if it did. Older keys keep working for a day.
    pub error: Option<String>,
}

/// One trusted issuer.
#[derive(Debug)]
pub(crate) struct TrustedIssuer {
    pub(crate) name: String,
    pub(crate) rules: Rules,
    pub(crate) keys: ArcSwap<KeySet>,
    algorithms: Vec<SignatureAlgorithm>,
    locations: Locations,
    fetcher: Fetcher,
    ttl: Duration,
    tuning: Tuning,
    /// The first second since the Unix epoch in which the keys are too old to be used; 0 before the first
    /// fetch.
    usable_until: AtomicU64,
    rounds: Mutex<Rounds>,
    /// The number of the last finished round.
    finished: watch::Sender<u64>,
    wanted: Notify,
}

#[derive(Debug, Default)]
struct Rounds {
    /// True where the background task is there to serve requests.
    running: bool,
    /// The number of the newest round that was started.
    started: u64,
    /// True where that round is still under way.
    fetching: bool,
    /// True where the newest round was asked for by a token.
    on_request: bool,
    /// True where another one is asked for.
    pending: bool,
    /// When a token last asked for a round, and later, when that round ended: it may have taken longer than
    /// the floor.
    last_request: Option<Instant>,
    fetched_at: Option<u64>,
    error: Option<String>,
}

/// Seconds since the Unix epoch.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_secs())
}

impl TrustedIssuer {
    pub(crate) fn new(
        config: &schema::Issuer,
        auth: &schema::Auth,
        base_url: &str,
        tuning: Tuning,
    ) -> Result<Self, AuthSetupError> {
        let issuer = || config.issuer.clone();
        let empty = |field, remedy| Err(AuthSetupError::Empty { issuer: issuer(), field, remedy });
        if config.audience.iter().all(String::is_empty) {
            return empty(
                "audience",
                "name the URL under which clients reach this host, as in `aud` of its tokens",
            );
        }
        if config.algorithms.is_empty() {
            return empty("algorithms", "leave it out for RS256, ES256 and EdDSA");
        }
        let locations = Locations::of(&config.issuer)
            .map_err(|problem| AuthSetupError::BadIssuer { issuer: issuer(), problem })?;
        Ok(Self {
            name: issuer(),
            rules: Rules::new(config, auth, base_url),
            keys: ArcSwap::default(),
            algorithms: config.algorithms.clone(),
            fetcher: Fetcher::new(locations.zone(config.allow_private_addresses)),
            locations,
            ttl: config.jwks_cache_ttl.0,
            tuning,
            usable_until: AtomicU64::new(0),
            rounds: Mutex::default(),
            finished: watch::Sender::new(0),
            wanted: Notify::new(),
        })
    }

    pub(crate) fn accepts(&self, algorithm: SignatureAlgorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// True where there are keys that are not too old.
    pub(crate) fn has_usable_keys(&self, now: u64) -> bool {
        now < self.usable_until.load(Ordering::Acquire)
    }

    pub(crate) fn status(&self) -> IssuerStatus {
        let rounds = self.rounds();
        IssuerStatus {
            issuer: self.name.clone(),
            keys: self.keys.load().keys.len(),
            fetched_at: rounds.fetched_at,
            error: rounds.error.clone(),
        }
    }

    /// The error of a token that cannot be judged because the newest keys could not be fetched.
    pub(crate) fn unavailable(&self) -> TokenError {
        let cause = self.rounds().error.clone().unwrap_or_else(|| "not fetched yet".to_owned());
        TokenError::KeysUnavailable { issuer: self.name.clone(), cause }
    }

    /// True where the newest attempt to fetch the keys failed.
    pub(crate) fn is_away(&self) -> bool {
        self.rounds().error.is_some()
    }

    /// Waits until the first fetch has ended, well or not.
    pub(super) async fn first_round(&self) {
        // The sender lives as long as the issuer.
        let _ = self.finished.subscribe().wait_for(|round| *round > 0).await;
    }

    /// Waits for newer keys, on behalf of a token with an unknown key. Returns false at once where the last
    /// such fetch is too recent. Any number of callers share one fetch.
    pub(crate) async fn wait_for_newer_keys(&self) -> bool {
        let (number, mut finished) = {
            let mut rounds = self.rounds();
            let Some(number) = self.join_round(&mut rounds) else { return false };
            // Subscribed under the lock: the round cannot finish unseen.
            (number, self.finished.subscribe())
        };
        finished.wait_for(|done| *done >= number).await.is_ok()
    }

    /// The number of the round to wait for.
    fn join_round(&self, rounds: &mut Rounds) -> Option<u64> {
        if !rounds.running {
            return None;
        }
        if rounds.pending {
            return Some(rounds.started + 1);
        }
        // All tokens that come while such a round is under way share what comes of it.
        let is_served = rounds.fetching && (rounds.on_request || rounds.fetched_at.is_none());
        let is_floor_passed = rounds.last_request.is_none_or(|last| last.elapsed() >= self.tuning.floor);
        if is_floor_passed && !is_served {
            rounds.last_request = Some(Instant::now());
            rounds.pending = true;
            self.wanted.notify_one();
            return Some(rounds.started + 1);
        }
        rounds.fetching.then_some(rounds.started)
    }

    /// Keeps the keys fresh for as long as it is polled.
    pub(crate) async fn keep_fresh(&self) {
        let _running = Running::enter(self);
        let mut retry = self.tuning.first_retry;
        loop {
            {
                let mut rounds = self.rounds();
                rounds.started += 1;
                rounds.fetching = true;
                rounds.on_request = rounds.pending;
                rounds.pending = false;
            }
            let outcome = match tokio::time::timeout(
                self.tuning.round,
                self.locations.fetch_keys(&self.fetcher, &self.algorithms),
            )
            .await
            {
                Ok(outcome) => outcome,
                Err(_) => Err(format!("no keys within {} s", self.tuning.round.as_secs_f32())),
            };
            let pause = if self.finish_round(outcome) {
                retry = self.tuning.first_retry;
                // Before the keys expire, so that no call waits for them.
                (self.ttl / 5 * 4).max(Duration::from_secs(1))
            } else {
                let pause = retry;
                retry = (retry * 2).min(self.tuning.last_retry);
                pause
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.requested() => {}
            }
        }
    }

    async fn requested(&self) {
        loop {
            self.wanted.notified().await;
            // A permit may be left over from a request that an earlier round has already served.
            if self.rounds().pending {
                return;
            }
        }
    }

    /// True where the round brought keys.
    fn finish_round(&self, outcome: Result<Parsed, String>) -> bool {
        let is_good = outcome.is_ok();
        match outcome {
            Ok(parsed) => self.install(parsed),
            Err(problem) => {
                // It may quote what the issuer sent, which may be large.
                let problem = shortened(&problem);
                let usable = self.has_usable_keys(unix_now());
                tracing::warn!(
                    issuer = self.name,
                    problem,
                    keys_in_use = usable,
                    "cannot fetch the issuer's keys"
                );
                self.rounds().error = Some(problem);
            }
        }
        let number = {
            let mut rounds = self.rounds();
            rounds.fetching = false;
            if rounds.on_request {
                rounds.last_request = Some(Instant::now());
            }
            rounds.started
        };
        self.finished.send_replace(number);
        is_good
    }

    fn install(&self, parsed: Parsed) {
        for problem in &parsed.ignored {
            let problem = shortened(problem);
            tracing::debug!(issuer = self.name, problem, "a published key is not used");
        }
        let old = self.keys.load();
        let new = old.renewed(parsed.keys);
        if new.generation != old.generation {
            tracing::info!(
                issuer = self.name,
                keys = new.keys.len(),
                generation = new.generation,
                "keys of the issuer"
            );
        }
        let now = unix_now();
        self.keys.store(new.into());
        let lifetime = self.ttl.max(self.tuning.stale_limit);
        self.usable_until.store(now.saturating_add(lifetime.as_secs()), Ordering::Release);
        let mut rounds = self.rounds();
        rounds.fetched_at = Some(now);
        rounds.error = None;
    }

    fn rounds(&self) -> MutexGuard<'_, Rounds> {
        // Every change of the state is complete before anything can panic.
        self.rounds.lock()
    }
}

/// A sentence of which a stranger may have written a part: at most 1,000 characters of it.
fn shortened(problem: &str) -> String {
    const LIMIT: usize = 1_000;
    match problem.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", printable(&problem[..end])),
        None => printable(problem).into_owned(),
    }
}

/// The events that tests wait for.
#[cfg(test)]
impl TrustedIssuer {
    pub(crate) async fn round_finished(&self, number: u64) {
        self.finished.subscribe().wait_for(|done| *done >= number).await.expect("the sender lives in self");
    }

    pub(crate) async fn next_round_finished(&self) {
        self.finished.subscribe().changed().await.expect("the sender lives in self");
    }

    pub(crate) async fn round_started(&self, number: u64) {
        while self.rounds().started < number {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn someone_waits(&self) {
        while self.finished.receiver_count() == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// While it lives, requests are served; when it goes, whoever waits is woken.
struct Running<'a>(&'a TrustedIssuer);

impl<'a> Running<'a> {
    fn enter(issuer: &'a TrustedIssuer) -> Self {
        issuer.rounds().running = true;
        Self(issuer)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let number = {
            let mut rounds = self.0.rounds();
            rounds.running = false;
            rounds.fetching = false;
            rounds.pending = false;
            rounds.started += 1;
            rounds.started
        };
        self.0.finished.send_replace(number);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::trust;
    use super::*;

    #[test]
    fn the_pause_after_a_round_begins_when_it_has_ended() {
        let (config, auth) = (trust("https://idp.example"), schema::Auth::default());
        let issuer = TrustedIssuer::new(&config, &auth, "https://airlock.example", Tuning::default());
        let issuer = issuer.expect("a good configuration");
        issuer.rounds().running = true;
        issuer.rounds().fetched_at = Some(1);
        assert_eq!(issuer.join_round(&mut issuer.rounds()), Some(1));
        {
            // As the background task begins it; it takes longer than the floor.
            let mut rounds = issuer.rounds();
            rounds.started = 1;
            rounds.on_request = rounds.pending;
            (rounds.fetching, rounds.pending) = (true, false);
            rounds.last_request = Instant::now().checked_sub(issuer.tuning.floor);
        }
        assert_eq!(issuer.join_round(&mut issuer.rounds()), Some(1), "those who come meanwhile share it");
        let asked_at = issuer.rounds().last_request;
        assert!(!issuer.finish_round(Err("x".repeat(2_000))));
        assert!(issuer.rounds().last_request > asked_at);
        assert_eq!(issuer.join_round(&mut issuer.rounds()), None, "nobody waits for another at once");
        assert!(issuer.status().error.is_some_and(|error| error.chars().count() == 1_001));
    }
}
