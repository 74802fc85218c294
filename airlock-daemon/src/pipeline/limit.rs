//! Is it too much? What one address, principal, tenant or tool may take (see [`crate::limits`]).

use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use crate::auth::TokenError;
use crate::auth::principal::Principal;
use crate::limits::budget::Charge;
use crate::limits::budget::level::{Exhausted, What};
use crate::limits::daily::Spending;
use crate::limits::kept::GivenUp;
use crate::limits::streams::Places;
use crate::limits::{Exceeded, Limit, RequestSource};
use crate::upstream::pool::Upstream;

use super::methods::kind::Noun;
use super::methods::wish::Wish;
use super::request::context::Peer;
use super::{Gateway, Refusal};
use crate::stage::Stage;

/// Before anything of a request is looked at but what web page it comes from, if any.
///
/// # Errors
/// 429 for an address that sends too much, or is blocked.
pub fn request(gateway: &Gateway, peer: &Peer, headers: &HeaderMap) -> Result<(), Refusal> {
    let lured = gateway.origins.is_lured(headers);
    let passed = source(peer, lured).map_or(Ok(()), |source| gateway.limits.request(source));
    passed.map_err(|exceeded| refuse(gateway, exceeded))
}

/// Before a token is looked at that is not known to be good.
///
/// # Errors
/// 429 for an address of which too many tokens were refused.
pub fn token(gateway: &Gateway, peer: &Peer) -> Result<(), Refusal> {
    // A request of somebody else's page was turned away before.
    let passed = source(peer, false).map_or(Ok(()), |source| gateway.limits.token_shown(source));
    passed.map_err(|exceeded| refuse(gateway, exceeded))
}

/// Counts a token that was looked at and refused, where it may have been a guess. No other counts: neighbours
/// share an address, and a client that goes on with an expired token must not lock the others out.
pub fn token_refused(gateway: &Gateway, peer: &Peer, error: &TokenError) {
    if error.is_guess()
        && let Some(source) = source(peer, false)
    {
        gateway.limits.token_refused(source);
    }
}

/// Where requests of a peer come from; one on a unix socket has no address, and no limit of one.
fn source(peer: &Peer, lured: bool) -> Option<RequestSource> {
    Some(RequestSource { address: peer.address?, direct: peer.proxy.is_none(), lured })
}

/// One message of a principal.
///
/// # Errors
/// 429 for a principal or a tenant that sends too many.
pub fn message(gateway: &Gateway, principal: &Principal) -> Result<(), Refusal> {
    gateway.limits.message(principal).map_err(|exceeded| refuse(gateway, exceeded))
}

/// Bodies and answers up to this length are not counted, in bytes: they are no more than a request costs
/// anyway.
pub const SHORT: usize = 2 * 1024;

/// Room for a body of up to so many bytes, until its request has been served.
///
/// # Errors
/// 429 where the principal has too much in memory already, 503 where all have.
pub fn body(gateway: &Gateway, principal: &Principal, bytes: usize) -> Result<Option<Charge>, Refusal> {
    let account = || gateway.budget.of(principal.identity());
    let charge = (bytes > SHORT).then(|| account().charge(What::Request, bytes)).transpose();
    charge.map_err(|over| exhausted(gateway, over))
}

/// One call of a tool; a wish for anything else passes.
///
/// # Errors
/// 429 for a principal that calls it too often.
pub fn call(
    gateway: &Gateway,
    principal: &Principal,
    upstream: Option<&Arc<Upstream>>,
    wish: Wish<'_>,
) -> Result<(), Refusal> {
    let (Some(upstream), Some((Noun::Tool, tool))) = (upstream, wish.subject) else { return Ok(()) };
    let passed = gateway.limits.call(principal, &upstream.name, tool);
    passed.map_err(|exceeded| refuse(gateway, exceeded))
}

/// One call of a tool, counted for the day, with the arguments that the policy was shown; a wish for anything
/// else passes.
///
/// # Errors
/// 429 for a principal that has used up what it may have of the tool, or repeats itself.
pub fn budget(
    gateway: &Gateway,
    principal: &Principal,
    upstream: Option<&Arc<Upstream>>,
    (own, arguments): (Option<(Noun, &str)>, &str),
) -> Result<Option<Spending>, Refusal> {
    let (Some(upstream), Some((Noun::Tool, tool))) = (upstream, own) else { return Ok(None) };
    let spent = gateway.limits.spend(principal, (&upstream.name, tool), arguments);
    spent.map_err(|exceeded| refuse(gateway, exceeded))
}

/// One more stream of events.
///
/// # Errors
/// 429 for a principal or a tenant that has too many open.
pub fn stream(gateway: &Gateway, principal: &Principal) -> Result<Places, Refusal> {
    gateway.limits.stream(principal).map_err(|exceeded| refuse(gateway, exceeded))
}

/// The refusal of what finds no room in the memory that there is for it.
pub fn exhausted(gateway: &Gateway, exhausted: Exhausted) -> Refusal {
    gateway.metrics.limits.limited(exhausted.0.name());
    let mut refusal = Refusal::new(Stage::Limit, exhausted.status(), exhausted.to_string());
    refusal.rule_id = Some(exhausted.0.name().into());
    refusal.retry_after = Some(1);
    refusal
}

/// The refusal in place of an answer that was given up to make room.
pub fn given_up() -> Refusal {
    let mut refusal = Refusal::new(Stage::Limit, StatusCode::TOO_MANY_REQUESTS, GivenUp.to_string());
    refusal.rule_id = Some("limits.memory".into());
    refusal.retry_after = Some(1);
    refusal
}

/// The refusal of a session for which there is no place, with the key of the limit.
pub fn no_session(reason: &dyn std::fmt::Display, key: Option<&'static str>) -> Refusal {
    let mut refusal = Refusal::new(Stage::Limit, StatusCode::SERVICE_UNAVAILABLE, reason.to_string());
    refusal.rule_id = key.map(Into::into);
    refusal.retry_after = Some(30);
    refusal
}

fn refuse(gateway: &Gateway, Exceeded { limit, wait }: Exceeded) -> Refusal {
    gateway.metrics.limits.limited(limit.name());
    let reason = match limit {
        Limit::Address => "too many requests come from this address",
        Limit::FailedAuth => "too many tokens from this address were refused; this one was not looked at",
        Limit::Blocked => "this address went on after too many requests, and is blocked for a while",
        Limit::Ordered => "this address is blocked by an operator",
        Limit::Token => "too many requests come from this account",
        Limit::Tenant => "too many requests come from this tenant",
        Limit::Tool => "this tool is called too often",
        Limit::BudgetCalls => "this account has called this tool as often as it may in a day",
        Limit::BudgetBytes => "this account has had as much of this tool as it may in a day",
        Limit::BudgetArguments => {
            "this account has called this tool with as many different arguments as it may in a day"
        }
        Limit::BudgetRepeats => "this account calls this tool with the same arguments again and again",
        Limit::PrincipalStreams => "this account has too many event streams open: close one first",
        Limit::TenantStreams => "this tenant has too many event streams open: close one first",
    };
    let mut refusal = Refusal::new(Stage::Limit, StatusCode::TOO_MANY_REQUESTS, reason);
    refusal.rule_id = Some(limit.name().into());
    refusal.ends_connection = matches!(limit, Limit::Blocked | Limit::Ordered);
    let millis = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX).max(1);
    refusal.retry_after_ms = Some(millis);
    refusal.retry_after = Some(millis.div_ceil(1_000));
    refusal
}
