//! Finding out which era a server speaks, and the handshake that follows.

use std::time::Duration;

use crate::config::schema::EraChoice;
use crate::mcp::client::ClientCapabilities;
use crate::mcp::revision::Era;

use super::driver::{self, Facts};
use super::error::UpstreamError;
use super::link::{Ending, Link, Reply, Takes};
use super::{legacy, modern};

/// How long a server may think about a method that it does not know.
const PROBE: Duration = Duration::from_secs(10);

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

/// Asks `server/discover` first, as the specification says; anything but a good answer means the legacy era. A legacy server is
/// told once what its client can do. A server that was silent at first and then refuses `initialize` was only slow to start: it
/// is asked once more.
///
/// # Errors
/// [`Failure`]; after [`Failure::Ended`] a new process may be tried with [`EraChoice::Legacy`], since some servers exit on a
/// method that they do not know.
pub async fn handshake(
    link: &Link,
    era: EraChoice,
    limit: Duration,
    capabilities: ClientCapabilities,
) -> Result<Facts, Failure> {
    let mut was_silent = false;
    if era != EraChoice::Legacy {
        let limit = if era == EraChoice::Modern { limit } else { PROBE.min(limit) };
        let mut answer = ask(link, "server/discover", &modern::discover(), limit).await;
        // A server that may have meant another request, since it names the very revision it was asked in, is asked once more
        // (2026-07-28, "Protocol version negotiation").
        if matches!(&answer, Ok(Err(error)) if modern::supports_ours(error)) {
            answer = ask(link, "server/discover", &modern::discover(), limit).await;
        }
        match answer {
            Ok(Ok(result)) => match modern::facts(&result) {
                Some(facts) => return Ok(facts),
                None if era == EraChoice::Modern => {
                    return Err(Failure::Wrong(format!(
                        "its answer to server/discover does not offer revision {}",
                        driver::preferred(Era::Modern)
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
                was_silent = true;
            }
            Err(failure) => return Err(failure),
        }
    }
    link.told().declare(capabilities);
    match ask(link, "initialize", &legacy::initialize(capabilities), limit).await? {
        Ok(result) => {
            let facts = legacy::facts(&result).ok_or_else(|| {
                Failure::Wrong(format!("its answer to initialize names no revision: {}", short(&result)))
            })?;
            link.notify(legacy::INITIALIZED.to_owned()).await;
            Ok(facts)
        }
        Err(error) => {
            if was_silent
                && let Ok(result) = ask(link, "server/discover", &modern::discover(), limit).await?
                && let Some(facts) = modern::facts(&result)
            {
                link.told().withdraw_declaration();
                return Ok(facts);
            }
            Err(Failure::Wrong(format!("it answers initialize with {}", short(&error))))
        }
    }
}

/// Asks one question; the inner error is the server's error object.
async fn ask(
    link: &Link,
    method: &'static str,
    params: &str,
    limit: Duration,
) -> Result<Result<String, String>, Failure> {
    let answer = async {
        let mut pending = link
            .request(Takes::Result, |id| driver::request(id, method, params))
            .await
            .ok_or_else(|| ended(link.ending()))?;
        loop {
            match pending.next().await {
                None => return Err(ended(pending.ending())),
                Some(Reply::Notification(..) | Reply::Ask(_)) => {}
                Some(Reply::Result(result)) => return Ok(Ok(result)),
                Some(Reply::Error(error)) => return Ok(Err(error)),
            }
        }
    };
    tokio::time::timeout(limit, answer).await.unwrap_or(Err(Failure::Silent(method, limit)))
}

fn ended(ending: Ending) -> Failure {
    ending.error.map_or(Failure::Ended, Failure::Failed)
}

/// At most 200 characters of something a server wrote.
fn short(text: &str) -> String {
    text.chars().take(200).collect()
}
