//! Credentials of Airlock for a server: nothing, a secret from a file, a token of its own, or one got for the
//! principal that calls. The principal's own token goes to the token endpoint at most, never to a server.

mod blank;
pub(crate) mod secret;
mod token_endpoint;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use quick_cache::sync::Cache;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::auth::principal::Token;
use crate::config::schema;

use self::secret::HeaderFile;
use self::token_endpoint::TokenEndpoint;
use super::error::UpstreamError;

/// How many tokens are kept for one upstream, one for each token of a client's.
const MAX_HELD: usize = 10_000;
/// A token that is refused when it is younger than this is not the trouble: another would be refused as well.
const YOUNG: Duration = Duration::from_secs(5);
/// A failure is everybody's verdict for this long after it was known, or for as long as it took, whichever is
/// longer.
const BACK_OFF: Duration = Duration::from_secs(1);

/// The credential for one upstream.
#[derive(Debug)]
pub(super) struct Credential {
    upstream: Box<str>,
    kind: CredentialKind,
}

#[derive(Debug)]
enum CredentialKind {
    File(HeaderName, HeaderFile),
    Own(TokenEndpoint, TokenSlot),
    /// By the digest of the principal's token: a token with other claims is another.
    Exchanged(TokenEndpoint, Cache<[u8; 32], Arc<TokenSlot>>),
}

/// A place for one token; one request at a time fetches it for all who wait.
#[derive(Debug, Default)]
struct TokenSlot {
    held: ArcSwapOption<Held>,
    /// The last fetch, if it failed.
    fetching: Mutex<Option<Failed>>,
}

#[derive(Debug)]
struct Held {
    value: HeaderValue,
    since: Instant,
    until: Instant,
}

/// A fetch that failed.
#[derive(Debug)]
struct Failed {
    /// When that was known: after the answer, which may have taken its time.
    known: Instant,
    /// How long after that nobody asks again.
    pause: Duration,
    error: String,
}

impl Credential {
    /// As configured; `None` where nothing is.
    pub(super) fn new(upstream: &schema::Upstream) -> Option<Self> {
        let config = upstream.credential.as_ref()?;
        let kind = if let Some(file) = &config.bearer_file {
            CredentialKind::File(AUTHORIZATION, HeaderFile::new(file, "Bearer "))
        } else if let Some(header) = &config.header {
            // The name was validated.
            CredentialKind::File(header.name.parse().ok()?, HeaderFile::new(&header.value_file, ""))
        } else if let Some(client) = &config.client_credentials {
            CredentialKind::Own(TokenEndpoint::new(client), TokenSlot::default())
        } else {
            let client = config.token_exchange.as_ref()?;
            CredentialKind::Exchanged(TokenEndpoint::new(client), Cache::new(MAX_HELD))
        };
        Some(Self { upstream: upstream.name.as_str().into(), kind })
    }

    /// True where each principal presents something of its own.
    pub(super) fn is_for_each(&self) -> bool {
        matches!(self.kind, CredentialKind::Exchanged(..))
    }

    async fn header(&self, token: Option<&Arc<Token>>) -> Result<(HeaderName, HeaderValue), UpstreamError> {
        let found = match &self.kind {
            CredentialKind::File(name, file) => {
                return self.or_error(file.value()).map(|value| (name.clone(), value));
            }
            CredentialKind::Own(endpoint, slot) => {
                slot.value(Instant::now(), None, || endpoint.for_itself()).await
            }
            CredentialKind::Exchanged(endpoint, slots) => match token {
                None => Err("nobody is known on whose behalf it could be asked".to_owned()),
                Some(token) => {
                    let made = || Ok::<_, Infallible>(Arc::default());
                    let Ok(slot) = slots.get_or_insert_with(token.digest(), made);
                    slot.value(Instant::now(), Some(token.life_left()), || endpoint.exchange(token)).await
                }
            },
        };
        self.or_error(found).map(|value| (AUTHORIZATION, value))
    }

    /// Forgets a token that the server does not take; says whether another can be had.
    fn refused(&self, token: Option<&Arc<Token>>, value: &HeaderValue) -> bool {
        let slot = match &self.kind {
            CredentialKind::File(..) => return false,
            CredentialKind::Own(_, slot) => return slot.forget(Instant::now(), value),
            CredentialKind::Exchanged(_, slots) => token.and_then(|token| slots.get(token.digest())),
        };
        slot.is_some_and(|slot| slot.forget(Instant::now(), value))
    }

    fn or_error<T>(&self, found: Result<T, String>) -> Result<T, UpstreamError> {
        found.map_err(|detail| UpstreamError::Credential { upstream: self.upstream.to_string(), detail })
    }
}

impl TokenSlot {
    /// The token, fetched where there is none that is fresh. Those who wait for one fetch share what comes of
    /// it, a token or a failure, however long it took: each asks for itself only what no fetch after its
    /// arrival has answered.
    async fn value<F>(
        &self,
        arrived: Instant,
        at_most: Option<Duration>,
        fetch: impl FnOnce() -> F,
    ) -> Result<HeaderValue, String>
    where
        F: Future<Output = Result<(HeaderValue, Duration), String>>,
    {
        if let Some(value) = self.fresh(arrived) {
            return Ok(value);
        }
        let clock = Instant::now();
        let mut last = self.fetching.lock().await;
        let asked = arrived + clock.elapsed();
        if let Some(value) = self.fresh(asked).or_else(|| self.got_since(arrived)) {
            return Ok(value);
        }
        if let Some(failed) = &*last
            && (arrived <= failed.known || asked < failed.known + failed.pause)
        {
            return Err(failed.error.clone());
        }
        let answer = fetch().await;
        let known = arrived + clock.elapsed();
        match answer {
            Ok((value, life)) => {
                *last = None;
                // The time that is left of the principal's own token was said on arrival.
                let left = at_most.map(|left| left.saturating_sub(known.saturating_duration_since(arrived)));
                let life = life.min(left.unwrap_or(life));
                let held = Held { value: value.clone(), since: known, until: known + life };
                self.held.store(Some(Arc::new(held)));
                Ok(value)
            }
            Err(error) => {
                let pause = BACK_OFF.max(known.saturating_duration_since(asked));
                *last = Some(Failed { known, pause, error: error.clone() });
                Err(error)
            }
        }
    }

    /// A token that was fetched while somebody who came at `arrived` waited: as good as one that it would get
    /// itself, also where it is meant to be used only once.
    fn got_since(&self, arrived: Instant) -> Option<HeaderValue> {
        let held = self.held.load();
        let held = held.as_ref().filter(|held| arrived <= held.since)?;
        Some(held.value.clone())
    }

    fn fresh(&self, now: Instant) -> Option<HeaderValue> {
        let held = self.held.load();
        let held = held.as_ref().filter(|held| now < held.until)?;
        Some(held.value.clone())
    }

    /// Forgets a token that was refused; says whether another is there or can be had.
    fn forget(&self, now: Instant, value: &HeaderValue) -> bool {
        let current = self.held.load_full();
        match &current {
            Some(held) if held.value == *value && now.saturating_duration_since(held.since) < YOUNG => false,
            Some(held) if held.value == *value => {
                self.held.compare_and_swap(&current, None);
                true
            }
            _ => true,
        }
    }
}

/// The credential of one link, and who used the link last.
pub(super) struct Presents {
    credential: Arc<Credential>,
    last: ArcSwapOption<Token>,
}

/// The credential of one request.
pub(super) struct Shown {
    token: Option<Arc<Token>>,
    value: HeaderValue,
}

impl Presents {
    /// For a link that is opened for the principal of `token`.
    pub(super) fn new(credential: Arc<Credential>, token: Option<Arc<Token>>) -> Self {
        Self { credential, last: ArcSwapOption::new(token) }
    }

    /// Puts the credential into a request of the principal of `token`. A message that belongs to no request
    /// of one (the end of a session, the stream for what belongs to no call, answers to what the server asks)
    /// goes out with the last token that came: a link that presents something for each principal is one
    /// principal's alone.
    ///
    /// # Errors
    /// [`UpstreamError::Credential`].
    pub(super) async fn show(
        &self,
        headers: &mut HeaderMap,
        token: Option<&Arc<Token>>,
    ) -> Result<Shown, UpstreamError> {
        let token = match token {
            Some(token) if self.credential.is_for_each() => {
                if self.last.load().as_ref().is_none_or(|last| last.digest() != token.digest()) {
                    self.last.store(Some(Arc::clone(token)));
                }
                Some(Arc::clone(token))
            }
            _ => self.last.load_full(),
        };
        let (name, value) = self.credential.header(token.as_ref()).await?;
        headers.insert(name, value.clone());
        Ok(Shown { token, value })
    }

    /// The server did not take it; says whether another one can be had.
    pub(super) fn refused(&self, shown: &Shown) -> bool {
        self.credential.refused(shown.token.as_ref(), &shown.value)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn value(text: &str) -> HeaderValue {
        HeaderValue::from_str(text).expect("a header value")
    }

    #[tokio::test]
    async fn a_token_is_fetched_once_until_it_is_old_or_refused() {
        let slot = TokenSlot::default();
        let fetched = Cell::new(0);
        let fetch = || {
            fetched.set(fetched.get() + 1);
            let made = value(&format!("Bearer {}", fetched.get()));
            async { Ok((made, Duration::from_mins(1))) }
        };
        let start = Instant::now();
        let after = |secs| start + Duration::from_secs(secs);
        assert_eq!(slot.value(start, None, fetch).await, Ok(value("Bearer 1")));
        assert_eq!(slot.value(after(59), None, fetch).await, Ok(value("Bearer 1")));
        assert_eq!(slot.value(after(61), None, fetch).await, Ok(value("Bearer 2")));
        assert!(slot.forget(after(61), &value("Bearer 1")), "another is there by now");
        assert!(!slot.forget(after(61), &value("Bearer 2")), "it was fetched just now");
        assert_eq!(slot.value(after(62), None, fetch).await, Ok(value("Bearer 2")));
        assert!(slot.forget(after(69), &value("Bearer 2")));
        // The principal's own token ends before the new one.
        let left = Some(Duration::from_secs(5));
        assert_eq!(slot.value(after(69), left, fetch).await, Ok(value("Bearer 3")));
        assert_eq!(slot.value(after(75), None, fetch).await, Ok(value("Bearer 4")));
    }

    #[tokio::test]
    async fn a_failure_is_shared_for_a_moment() {
        let slot = TokenSlot::default();
        let asked = Cell::new(0);
        let fail = || {
            asked.set(asked.get() + 1);
            async { Err("no".to_owned()) }
        };
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(slot.value(start, None, fail).await, Err("no".to_owned()));
        }
        assert_eq!(asked.get(), 1);
        assert_eq!(slot.value(start + 2 * BACK_OFF, None, fail).await, Err("no".to_owned()));
        assert_eq!(asked.get(), 2);
    }

    /// Ten callers at once, and one answer that takes longer than a failure is remembered.
    async fn crowd(
        answer: Result<(HeaderValue, Duration), String>,
    ) -> (Vec<Result<HeaderValue, String>>, u32) {
        let (slot, asked) = (Arc::new(TokenSlot::default()), Arc::new(AtomicU32::new(0)));
        let start = Instant::now();
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..10 {
            let (slot, asked, answer) = (Arc::clone(&slot), Arc::clone(&asked), answer.clone());
            callers.spawn(async move {
                let fetch = || async move {
                    asked.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(BACK_OFF + Duration::from_millis(100)).await;
                    answer
                };
                slot.value(start, None, fetch).await
            });
        }
        (callers.join_all().await, asked.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn those_who_wait_for_a_slow_failure_share_it() {
        let (verdicts, asked) = crowd(Err("no".to_owned())).await;
        assert_eq!((verdicts.len(), asked), (10, 1));
        assert!(verdicts.iter().all(|verdict| *verdict == Err("no".to_owned())), "{verdicts:?}");
    }

    #[tokio::test]
    async fn those_who_wait_for_a_token_that_ends_at_once_share_it() {
        let (verdicts, asked) = crowd(Ok((value("Bearer 1"), Duration::ZERO))).await;
        assert_eq!((verdicts.len(), asked), (10, 1));
        assert!(verdicts.iter().all(|verdict| *verdict == Ok(value("Bearer 1"))), "{verdicts:?}");
    }
}
