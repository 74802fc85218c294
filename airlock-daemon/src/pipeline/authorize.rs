//! What does the policy say?

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::StatusCode;
use serde_json::value::RawValue;

use crate::auth::principal::Principal;
use crate::mcp::revision::Revision;
use crate::policy::{Call, Client, Decision, Question};
use crate::upstream::pool::Upstream;

use super::authenticate::metadata_url;
use super::kind::Noun;
use super::{Context, Gateway, Refusal, Stage};

/// What a principal wants of an upstream.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The method.
    pub method: &'a str,
    /// What the request is aimed at, by the upstream's own name.
    pub subject: Option<(Noun, &'a str)>,
    /// The arguments; `None` for an entry of a list.
    pub arguments: Option<&'a RawValue>,
    /// The client's revision.
    pub revision: Revision,
}

/// Asks the policy.
///
/// # Errors
/// 403 with the rule that decided, or with the scopes that are missing.
pub fn authorize(
    gateway: &Gateway,
    context: &Context,
    principal: &Principal,
    upstream: &Upstream,
    wish: Wish<'_>,
) -> Result<Decision, Refusal> {
    let named = |noun| wish.subject.filter(|(is, _)| *is == noun).map(|(_, name)| name);
    if let (Some(tool), Some(allowed)) = (named(Noun::Tool), &upstream.config.allow_tools)
        && !allowed.iter().any(|allowed| allowed == tool)
    {
        return Err(forbidden("the tool is not among those that this host offers", "allow_tools".into()));
    }
    let decision = gateway.policy.load().decide(&Question {
        subject: principal,
        call: Call {
            method: wish.method,
            upstream: &upstream.name,
            tool: named(Noun::Tool),
            prompt: named(Noun::Prompt),
            resource: named(Noun::Resource),
            root: None,
            arguments: wish.arguments,
            revision: wish.revision.as_str(),
        },
        client: Client {
            address: context.peer.address.is_some().then_some(&*context.client),
            certificate: context.peer.certificate.as_deref(),
            uid: context.peer.uid,
        },
        time: now(),
    });
    if !decision.allow {
        return Err(forbidden(&decision.reason, Arc::clone(&decision.rule_id)));
    }
    honour(gateway, context, principal, &decision)?;
    Ok(decision)
}

/// Obligations are conditions: one that cannot be met refuses the call.
fn honour(
    gateway: &Gateway,
    context: &Context,
    principal: &Principal,
    decision: &Decision,
) -> Result<(), Refusal> {
    let obligations = &decision.obligations;
    if !obligations.redact.is_empty() || obligations.durable {
        let reason = "the policy asks for redaction or durable audit, which this release cannot do yet";
        return Err(forbidden(reason, Arc::clone(&decision.rule_id)));
    }
    if obligations.scopes.iter().all(|scope| principal.scopes.iter().any(|has| **has == **scope)) {
        return Ok(());
    }
    let mut refusal =
        forbidden("the token lacks a scope that this call needs", Arc::clone(&decision.rule_id));
    // Scope characters of RFC 6749 cannot end the quoted string; anything else is left out.
    let plain = |scope: &str| scope.chars().all(|c| matches!(c, '!' | '#'..='[' | ']'..='~'));
    // All of them, those that every call needs included: a client that asks for these alone is not to come back with less.
    let mut scopes: Vec<&str> = gateway.config.auth.required_scopes.iter().map(String::as_str).collect();
    for scope in obligations.scopes.iter().filter(|scope| plain(scope)) {
        if !scopes.contains(&&**scope) {
            scopes.push(scope);
        }
    }
    // Of the endpoint that was asked: a token for another one would not do here.
    let metadata = metadata_url(&gateway.base_url, context.uri.path());
    refusal.challenge = Some(format!(
        "Bearer error=\"insufficient_scope\", scope=\"{}\", resource_metadata=\"{metadata}\"",
        scopes.join(" ")
    ));
    Err(refusal)
}

fn forbidden(reason: &str, rule_id: Arc<str>) -> Refusal {
    let mut refusal = Refusal::new(Stage::Authorize, StatusCode::FORBIDDEN, reason);
    refusal.rule_id = Some(rule_id);
    refusal
}

/// Seconds since the Unix epoch.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
