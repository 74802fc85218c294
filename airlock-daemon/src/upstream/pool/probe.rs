//! Finding out which era a server speaks, and the handshake that follows.

use std::time::Duration;

use crate::config::schema::EraChoice;
use crate::mcp::client::ClientCapabilities;
use crate::mcp::jsonrpc;
use crate::mcp::revision::Era;

use crate::upstream::era::facts::Facts;
use crate::upstream::era::{facts, legacy, modern};
use crate::upstream::error::UpstreamError;
use crate::upstream::message::ask::Answered;
use crate::upstream::message::reply::Takes;
use crate::upstream::transport::handle::Link;

/// How long a server may think about a method that it does not know.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

const DISCOVER: &str = "server/discover";
const INITIALIZE: &str = "initialize";

/// Why a handshake failed.
#[derive(Debug)]
pub enum Failure {
    /// The process ended, or the connection did.
    Ended,
    /// The transport failed, and says how.
    Failed(UpstreamError),
    /// It did not answer this method in time.
    Silent(&'static str, Duration),
    /// It answered something else.
    Wrong(String),
}

/// How long a server may take over its answers.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// To `server/discover` where nobody knows that it has it, before `initialize` is tried as well.
    pub probe: Duration,
    /// To anything else.
    pub answer: Duration,
}

impl Patience {
    /// No longer than a caller's `timeout` for the probe.
    pub fn new(timeout: Duration, answer: Duration) -> Self {
        Self { probe: PROBE_TIMEOUT.min(timeout), answer }
    }
}

/// Asks `server/discover` first, as the specification says; anything but a good answer means the legacy era.
/// A legacy server is told once what its client can do. A server that was silent at first may only be slow to
/// start: its late answer counts for as long as `initialize` has none, and where it refuses that, it is asked
/// once more.
///
/// # Errors
/// [`Failure`]; after [`Failure::Ended`] a new process may be tried with [`EraChoice::Legacy`], since some
/// servers exit on a method that they do not know.
pub async fn handshake(
    link: &Link,
    era: EraChoice,
    patience: Patience,
    capabilities: ClientCapabilities,
) -> Result<Facts, Failure> {
    let discover = || Box::pin(ask(link, DISCOVER, modern::discover()));
    let mut late = None;
    if era != EraChoice::Legacy {
        let limit = if era == EraChoice::Modern { patience.answer } else { patience.probe };
        let mut asked = discover();
        let mut answer = within(limit, DISCOVER, &mut asked).await;
        // A server that may have meant another request, since it names the very revision it was asked in, is
        // asked once more (2026-07-28, "Protocol version negotiation").
        if matches!(&answer, Ok(Err(error)) if modern::supports_ours(error)) {
            asked = discover();
            answer = within(limit, DISCOVER, &mut asked).await;
        }
        match answer {
            Ok(Ok(result)) => match modern::facts(&result) {
                Some(facts) => return Ok(facts),
                None if era == EraChoice::Modern => {
                    return Err(Failure::Wrong(format!(
                        "its answer to server/discover does not offer revision {}",
                        facts::preferred(Era::Modern)
                    )));
                }
                None => {}
            },
            Ok(Err(error)) if era == EraChoice::Modern => {
                return Err(Failure::Wrong(format!("it answers server/discover with {}", short(&error))));
            }
            Ok(Err(_)) => {}
            // Some HTTP servers refuse an unknown method with a page, a redirect or a status alone.
            Err(Failure::Failed(UpstreamError::Protocol { .. })) if era == EraChoice::Auto => {}
            Err(Failure::Silent(..)) if era == EraChoice::Auto => {
                tracing::debug!("a server does not answer server/discover, or not yet: initialize is tried");
                late = Some(asked);
            }
            Err(failure) => return Err(failure),
        }
    }
    let was_silent = late.is_some();
    link.briefing().declare(capabilities);
    let initialize = ask(link, INITIALIZE, legacy::initialize(capabilities));
    let answer = tokio::select! {
        // Both may be there once a slow server reads what has come.
        biased;
        facts = late_facts(late) => {
            link.briefing().withdraw_declaration();
            return Ok(facts);
        }
        answer = within(patience.answer, INITIALIZE, initialize) => answer?,
    };
    match answer {
        Ok(result) => {
            let facts = legacy::facts(&result).ok_or_else(|| {
                Failure::Wrong(format!("its answer to initialize names no revision: {}", short(&result)))
            })?;
            link.notify(legacy::INITIALIZED.to_owned()).await;
            Ok(facts)
        }
        Err(error) => {
            if was_silent
                && let Ok(result) = within(patience.answer, DISCOVER, discover()).await?
                && let Some(facts) = modern::facts(&result)
            {
                link.briefing().withdraw_declaration();
                return Ok(facts);
            }
            Err(Failure::Wrong(format!("it answers initialize with {}", short(&error))))
        }
    }
}

/// A server's answer; the inner error is its error object.
type Answer = Result<Answered, Failure>;

/// Waits for a good answer to a probe that was silent for too long, for ever where there is none.
async fn late_facts(probe: Option<impl Future<Output = Answer>>) -> Facts {
    if let Some(probe) = probe
        && let Ok(Ok(result)) = probe.await
        && let Some(facts) = modern::facts(&result)
    {
        return facts;
    }
    std::future::pending().await
}

/// The answer that comes in time.
async fn within(limit: Duration, method: &'static str, asked: impl Future<Output = Answer>) -> Answer {
    tokio::time::timeout(limit, asked).await.unwrap_or(Err(Failure::Silent(method, limit)))
}

/// Asks one question.
async fn ask(link: &Link, method: &'static str, params: String) -> Answer {
    let answer = link.ask(Takes::Result, |id| jsonrpc::request(id, method, &params)).await;
    answer.map_err(|ending| ending.error.map_or(Failure::Ended, Failure::Failed))
}

/// At most 200 characters of something a server wrote.
fn short(text: &str) -> String {
    text.chars().take(200).collect()
}
