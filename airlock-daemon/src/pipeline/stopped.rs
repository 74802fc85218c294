//! Has an operator stopped this, or whom it is for? (see [`crate::stops`])
//!
//! A right that has ended (of a tenant, a principal, a token) is 403, and a thing that is out of service for
//! everybody (all, a server, a tool) 503. Strangers learn of neither: the token is looked at before. It is
//! asked once a request, for each message again, and a tool once the policy has let it be known.

use http::StatusCode;

use crate::auth::principal::Principal;
use crate::stops::order::StopOrder;
use crate::stops::target::Matter;

use super::methods::kind::Noun;
use super::methods::wish::Wish;
use super::{Gateway, Refusal};
use crate::stage::Stage;
use crate::stops::RULE;
use crate::upstream::pool::Upstream;

/// When a client may come again that is not told when a stop ends, in seconds.
const AGAIN: u64 = 30;

/// A request, or a message of one, for this server or for none alone.
///
/// # Errors
/// 403 or 503 with the reason of the stop that reaches it.
pub fn server<'u>(
    gateway: &Gateway,
    principal: &Principal,
    upstream: impl Into<Option<&'u Upstream>>,
) -> Result<(), Refusal> {
    let upstream = upstream.into().map(|upstream| &*upstream.name);
    check(gateway, &Matter { principal, upstream, tool: None })
}

/// A call of a tool; a wish for anything else passes as for its server.
///
/// # Errors
/// As for [`server`].
pub fn wish(
    gateway: &Gateway,
    principal: &Principal,
    upstream: &Upstream,
    wish: Wish<'_>,
) -> Result<(), Refusal> {
    check(gateway, &matter(principal, upstream, wish))
}

/// True for something that is not to be shown, since using it would be refused.
pub fn hides(gateway: &Gateway, principal: &Principal, upstream: &Upstream, wish: Wish<'_>) -> bool {
    gateway.stops.covering(&matter(principal, upstream, wish)).is_some()
}

/// The refusal of what a stop reaches.
pub fn refusal(order: &StopOrder) -> Refusal {
    let is_right = order.target.ends_a_right();
    let status = if is_right { StatusCode::FORBIDDEN } else { StatusCode::SERVICE_UNAVAILABLE };
    let colon = if order.reason.is_empty() { "" } else { ": " };
    let told = order.target.told();
    let reason = format!("the operator has stopped {told}{colon}{}", order.reason);
    let mut refusal = Refusal::new(Stage::Stopped, status, reason);
    refusal.rule_id = Some(RULE.into());
    refusal.retry_after = (!is_right).then(|| order.left().map_or(AGAIN, |left| left.as_secs().max(1)));
    refusal
}

fn matter<'a>(principal: &'a Principal, upstream: &'a Upstream, wish: Wish<'a>) -> Matter<'a> {
    Matter { principal, upstream: Some(&upstream.name), tool: wish.named(Noun::Tool) }
}

fn check(gateway: &Gateway, matter: &Matter<'_>) -> Result<(), Refusal> {
    gateway.stops.covering(matter).map_or(Ok(()), |order| Err(refusal(&order)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stops::target::StopTarget;

    #[test]
    fn a_right_ends_and_a_thing_is_out_of_service() {
        let told = |target: StopTarget, reason: &str| {
            let order = StopOrder { target, reason: reason.into(), by: None, since: 0, until: None };
            let refusal = refusal(&order);
            (refusal.status.as_u16(), refusal.retry_after, refusal.reason.clone())
        };
        let stopped = |what: &str| format!("the operator has stopped {what}");
        assert_eq!(told(StopTarget::All {}, ""), (503, Some(30), stopped("everything here")));
        let docs = || "docs".to_owned();
        for (target, status, what) in [
            (StopTarget::Tenant { tenant: docs() }, 403, "this tenant: a leak"),
            (StopTarget::Principal { principal: docs(), tenant: None }, 403, "this account: a leak"),
            (StopTarget::Token { token: docs() }, 403, "this token: a leak"),
            (StopTarget::Upstream { upstream: docs() }, 503, "this server: a leak"),
            (StopTarget::Tool { upstream: docs(), tool: docs() }, 503, "this tool: a leak"),
        ] {
            let again = (status == 503).then_some(30);
            assert_eq!(told(target, "a leak"), (status, again, stopped(what)));
        }
        // Its end has passed, and it is about to be taken back.
        let order = StopOrder {
            target: StopTarget::All {},
            reason: "x".into(),
            by: Some(0),
            since: 0,
            until: Some(1),
        };
        assert_eq!(refusal(&order).retry_after, Some(1));
    }
}
