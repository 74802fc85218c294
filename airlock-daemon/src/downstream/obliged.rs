//! The redaction that the policy obliges to for what servers say outside of calls. None where the policy does
//! not let the client have it at all.

use std::sync::Arc;

use crate::auth::principal::Principal;
use crate::mcp::revision::Revision;
use crate::pipeline::authorize::permission;
use crate::pipeline::methods::kind::Noun;
use crate::pipeline::methods::table::{SET_LEVEL, TASKS_GET};
use crate::pipeline::methods::wish::Wish;
use crate::pipeline::request::requester::Requester;
use crate::pipeline::{Context, Gateway};
use crate::upstream::pool::Upstream;

/// How a task stands, told by a legacy server without being asked.
pub(super) const TASK_STATUS: &str = "notifications/tasks/status";

/// As the policy has it for a method of a server.
pub(super) fn may(
    gateway: &Gateway,
    who: &Requester,
    upstream: &Upstream,
    method: &str,
    resource: Option<&str>,
) -> Option<Vec<Arc<str>>> {
    let subject = resource.map(|uri| (Noun::Resource, uri));
    let wish = Wish { method, subject, arguments: None, revision: who.revision };
    permission(gateway, &who.context, &who.principal, upstream, wish)
}

/// As the policy has it where a principal may list anything of a server: that of all lists together.
pub(super) fn may_use(
    gateway: &Gateway,
    context: &Context,
    principal: &Principal,
    upstream: &Upstream,
    revision: Revision,
) -> Option<Vec<Arc<str>>> {
    let permitted = ["tools/list", "prompts/list", "resources/list"].into_iter().filter_map(|method| {
        let wish = Wish { method, subject: None, arguments: None, revision };
        permission(gateway, context, principal, upstream, wish)
    });
    permitted.reduce(|mut all, more| {
        all.extend(more);
        all
    })
}

/// As the policy has it for a notification that tells of no list and of no resource. How a task stands is
/// told as the answer to `tasks/get` is. The rest are words of the server's own, like its instructions: for
/// those who may list anything of it, and with what `logging/setLevel` obliges to.
pub(super) fn may_hear(
    gateway: &Gateway,
    who: &Requester,
    upstream: &Upstream,
    method: &str,
) -> Option<Vec<Arc<str>>> {
    if method == TASK_STATUS {
        return may(gateway, who, upstream, TASKS_GET.method, None);
    }
    let mut all = may_use(gateway, &who.context, &who.principal, upstream, who.revision)?;
    all.extend(may(gateway, who, upstream, SET_LEVEL.method, None).into_iter().flatten());
    Some(all)
}
