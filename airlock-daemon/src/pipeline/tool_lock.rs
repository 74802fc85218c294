//! Is the tool, the prompt or the template that a message is about what was locked?
//!
//! It stands behind the policy, so that nobody learns of a tool that is not theirs. Most definitions are
//! known from the lists that pass through. Where one was not seen of late the list has to be asked for, which
//! is done once the intent is on record: [`known`] is asked before that, and [`look`] after. The server may
//! be started anew for the call itself: [`is_unseen`] tells, once its link is open.

use std::sync::Arc;

use airlock_tool_locks::definition::Kind;
use http::StatusCode;

use crate::tool_locks::{Hold, Standing};
use crate::upstream::error::UpstreamError;
use crate::upstream::pool::Upstream;

use super::Refusal;
use super::methods::kind::{Noun, quoted};
use super::methods::table::COMPLETE;
use super::request::requester::Requester;
use super::route;
use crate::stage::Stage;

/// The target of a message that has a lock.
#[derive(Clone, Copy)]
struct Locked<'a> {
    noun: Noun,
    kind: Kind,
    name: &'a str,
    /// False for a URI that is listed as no template, perhaps: nothing is locked by that name.
    has_to_be_listed: bool,
}

/// Lets pass what is as it was locked, and what has to be looked at.
///
/// # Errors
/// 403 for what is held back; as for an unknown name, for what the server does not list.
pub fn known(
    upstream: &Upstream,
    who: &Requester,
    method: &str,
    own: Option<(Noun, &str)>,
) -> Result<(), Refusal> {
    let Some(locked) = locked(method, own) else { return Ok(()) };
    match upstream.standing(&who.caller(), locked.kind, locked.name) {
        Standing::Good | Standing::Unseen | Standing::Silent => Ok(()),
        Standing::Held(hold) => Err(locked.held(hold)),
        Standing::Unlisted => locked.unlisted(who),
    }
}

/// True where nothing is known of the target, since its server was started anew after it was looked at.
pub fn is_unseen(upstream: &Upstream, who: &Requester, method: &str, own: Option<(Noun, &str)>) -> bool {
    locked(method, own).is_some_and(|locked| {
        upstream.last_standing(&who.caller(), locked.kind, locked.name) == Standing::Unseen
    })
}

/// Asks for the list where that is needed to know. The refusal is the inner value.
///
/// # Errors
/// When the server cannot be reached, or does not list what its lock says that it has.
pub async fn look(
    upstream: &Arc<Upstream>,
    who: &Requester,
    method: &str,
    own: Option<(Noun, &str)>,
) -> Result<Result<(), Refusal>, UpstreamError> {
    let Some(locked) = locked(method, own) else { return Ok(Ok(())) };
    let Locked { kind, name, .. } = locked;
    let caller = who.caller();
    let mut standing = upstream.standing(&caller, kind, name);
    if standing == Standing::Unseen {
        upstream.look(&caller, kind, name).await?;
        standing = upstream.last_standing(&caller, kind, name);
    }
    match standing {
        Standing::Good => Ok(Ok(())),
        Standing::Held(hold) => Ok(Err(locked.held(hold))),
        Standing::Unlisted => Ok(locked.unlisted(who)),
        Standing::Silent | Standing::Unseen if !locked.has_to_be_listed => Ok(Ok(())),
        Standing::Silent | Standing::Unseen => Err(UpstreamError::Protocol {
            upstream: upstream.name.to_string(),
            detail: format!(
                "it does not answer {}, which is needed to compare it with its lock",
                kind.list()
            ),
        }),
    }
}

/// The target that has a lock: a tool, a prompt, or the template that a completion is for.
fn locked<'a>(method: &str, own: Option<(Noun, &'a str)>) -> Option<Locked<'a>> {
    let (noun, name) = own?;
    let kind = match noun {
        Noun::Tool => Kind::Tools,
        Noun::Prompt => Kind::Prompts,
        Noun::Resource if method == COMPLETE.method => Kind::ResourceTemplates,
        Noun::Resource | Noun::Task => return None,
    };
    // A completion may name a resource by its URI, which has no expression of a template.
    let has_to_be_listed = kind != Kind::ResourceTemplates || name.contains('{');
    Some(Locked { noun, kind, name, has_to_be_listed })
}

impl Locked<'_> {
    fn unlisted(self, who: &Requester) -> Result<(), Refusal> {
        if self.has_to_be_listed { Err(route::unknown(self.noun, self.name, who.revision)) } else { Ok(()) }
    }

    fn held(self, hold: Hold) -> Refusal {
        let why = match hold {
            Hold::Changed => {
                "it is not what it was when it was locked, and the operator of this host has to approve it"
            }
            Hold::New => {
                "it was not there when its server was locked, and the operator of this host has to approve it"
            }
            Hold::Unlooked => {
                "nothing of its kind was looked at when its server was locked, and the operator of this host has to \
                 approve it"
            }
            Hold::Foreign => {
                "its server has another command or address than the one that is locked, and the operator of this host \
                 has to lock it anew"
            }
            Hold::Unusable => "the locks of this host cannot be used, and its operator has to repair them",
            Hold::Unlocked => {
                "its server has no lock yet, and the operator of this host has to approve it, or to see why it could \
                 not be locked"
            }
        };
        let (noun, name) = (self.kind.noun(), quoted(self.noun, self.name));
        let reason = format!("the {noun} {name} is held back: {why}");
        let mut refusal = Refusal::new(Stage::ToolLock, StatusCode::FORBIDDEN, reason);
        refusal.rule_id = Some("tool_lock".into());
        refusal
    }
}
