//! Is the tool or the prompt that is called what was locked?
//!
//! It stands behind the policy, so that nobody learns of a tool that is not theirs. Most definitions are
//! known from the lists that pass through. Where one was not seen of late the list has to be asked for, which
//! is done once the intent is on record: [`known`] is asked before that, and [`look`] after.

use std::sync::Arc;

use airlock_tool_locks::definition::Kind;
use http::StatusCode;

use crate::tool_locks::Standing;
use crate::upstream::error::UpstreamError;
use crate::upstream::pool::Upstream;

use super::Refusal;
use super::methods::kind::{Noun, quoted};
use super::request::requester::Requester;
use super::route;
use crate::stage::Stage;

/// Lets pass what is as it was locked, and what has to be looked at.
///
/// # Errors
/// 403 for what is held back; as for an unknown name, for what the server does not list.
pub fn known(upstream: &Upstream, who: &Requester, own: Option<(Noun, &str)>) -> Result<(), Refusal> {
    let Some((noun, kind, name)) = locked(own) else { return Ok(()) };
    match upstream.standing(&who.caller(), kind, name) {
        Standing::Good | Standing::Unseen | Standing::Silent => Ok(()),
        Standing::Held => Err(held(noun, name)),
        Standing::Unlisted => Err(route::unknown(noun, name, who.revision)),
    }
}

/// Asks for the list where that is needed to know. The refusal is the inner value.
///
/// # Errors
/// When the server cannot be reached, or does not list what its lock says that it has.
pub async fn look(
    upstream: &Arc<Upstream>,
    who: &Requester,
    own: Option<(Noun, &str)>,
) -> Result<Result<(), Refusal>, UpstreamError> {
    let Some((noun, kind, name)) = locked(own) else { return Ok(Ok(())) };
    let caller = who.caller();
    let mut standing = upstream.standing(&caller, kind, name);
    if standing == Standing::Unseen {
        upstream.look(&caller, kind, name).await?;
        standing = upstream.last_standing(&caller, kind, name);
    }
    match standing {
        Standing::Good => Ok(Ok(())),
        Standing::Held => Ok(Err(held(noun, name))),
        Standing::Unlisted => Ok(Err(route::unknown(noun, name, who.revision))),
        Standing::Silent | Standing::Unseen => Err(UpstreamError::Protocol {
            upstream: upstream.name.to_string(),
            detail: format!(
                "it does not answer {}, which is needed to compare it with its lock",
                kind.list()
            ),
        }),
    }
}

/// The kind of what has a lock, with its name.
fn locked(own: Option<(Noun, &str)>) -> Option<(Noun, Kind, &str)> {
    match own {
        Some((noun @ Noun::Tool, name)) => Some((noun, Kind::Tools, name)),
        Some((noun @ Noun::Prompt, name)) => Some((noun, Kind::Prompts, name)),
        _ => None,
    }
}

fn held(noun: Noun, name: &str) -> Refusal {
    let reason = format!(
        "the {} {} is held back: it is not what it was when it was locked, and the operator of this host has to \
         approve it",
        noun.word(),
        quoted(noun, name)
    );
    let mut refusal = Refusal::new(Stage::ToolLock, StatusCode::FORBIDDEN, reason);
    refusal.rule_id = Some("tool_lock".into());
    refusal
}
