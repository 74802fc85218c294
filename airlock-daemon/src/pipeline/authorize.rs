//! The check of a call by the policy.

use std::sync::Arc;

use http::StatusCode;

use crate::audit::RecordWait;
use crate::auth::principal::Principal;
use crate::config::schema::PolicyMode;
use crate::policy::{
    Call, Client, Decision, NO_POLICY_RULE, NOT_ALLOWED, Obligations, Question, SHADOW_PREFIX,
};
use crate::upstream::pool::Upstream;

use super::authenticate::metadata_url;
use super::methods::kind::{Noun, quoted};
use super::methods::wish::Wish;
use super::refusal::Aim;
use super::request::context::now;
use super::request::requester::Requester;
use super::{Context, Gateway, Refusal, record, stopped};
use crate::stage::Stage;

/// Asks the policy about something that is about to be done.
///
/// In shadow mode (`policy.mode`) a refusal by the policy, and an obligation that is not met, is recorded
/// instead of carried out. A refusal that is not the policy's is carried out all the same: the one by
/// `allow_tools`, and the one where there is no policy at all.
///
/// # Errors
/// 403 with the rule that decided, or with the scopes that are missing; 400 for arguments that two readers
/// would understand differently.
pub async fn authorize(
    gateway: &Gateway,
    who: &Requester,
    upstream: &Upstream,
    wish: Wish<'_>,
    wait: &mut RecordWait,
) -> Result<Decision, Refusal> {
    let (context, principal) = (&who.context, &who.principal);
    offered(upstream, wish)?;
    match judge(gateway, context, principal, upstream, wish) {
        Err(refusal) if is_shadowed(gateway, &refusal) => {
            record::shadowed(gateway, context, principal, &refusal, &aim(upstream, wish), wait).await?;
            let rule = refusal.rule_id.as_deref().unwrap_or_default();
            Ok(Decision {
                allow: true,
                rule_id: format!("{SHADOW_PREFIX}{rule}").into(),
                reason: refusal.reason.as_str().into(),
                obligations: Obligations::default(),
                detail: None,
            })
        }
        judged => judged.map_err(|refusal| name_call(refusal, upstream, wish)),
    }
}

/// That no rule allows a call names the call: a client that made several shows nothing else of it.
fn name_call(mut refusal: Refusal, upstream: &Upstream, wish: Wish<'_>) -> Refusal {
    if refusal.reason == NOT_ALLOWED {
        // The upstream's own id of a task is nothing that its owner knows.
        let named = wish.subject.filter(|(noun, _)| *noun != Noun::Task);
        let call = named.map_or_else(|| format!("`{}`", wish.method), |(noun, name)| quoted(noun, name));
        refusal.reason = format!("no rule of the policy allows {call} on `{}`", upstream.name);
    }
    refusal
}

/// True where a principal would be let through: for things that are shown, such as the entries of a list.
/// Nothing is recorded. In shadow mode everything that the host offers is shown, since all of it can be used.
pub fn permits(
    gateway: &Gateway,
    context: &Context,
    principal: &Principal,
    upstream: &Upstream,
    wish: Wish<'_>,
) -> bool {
    permission(gateway, context, principal, upstream, wish).is_some()
}

/// The same with what the policy obliges to (`obligations.redact`); none where nobody would be let through.
pub fn permission(
    gateway: &Gateway,
    context: &Context,
    principal: &Principal,
    upstream: &Upstream,
    wish: Wish<'_>,
) -> Option<Vec<Arc<str>>> {
    offered(upstream, wish).ok()?;
    if stopped::hides(gateway, principal, upstream, wish) {
        return None;
    }
    match judge(gateway, context, principal, upstream, wish) {
        Ok(decision) => Some(decision.obligations.redact),
        Err(refusal) => is_shadowed(gateway, &refusal).then(Vec::new),
    }
}

/// True where a refusal by the policy is only noted.
fn is_shadowed(gateway: &Gateway, refusal: &Refusal) -> bool {
    gateway.config.policy.mode == PolicyMode::Shadow && refusal.rule_id.as_deref() != Some(NO_POLICY_RULE)
}

/// The host's own list of tools.
fn offered(upstream: &Upstream, wish: Wish<'_>) -> Result<(), Refusal> {
    match (wish.named(Noun::Tool), &upstream.config.allow_tools) {
        (Some(tool), Some(allowed)) if !allowed.iter().any(|allowed| allowed == tool) => {
            let tool = quoted(Noun::Tool, tool);
            Err(forbidden(
                &format!("the tool {tool} is not among those that this host offers"),
                "allow_tools".into(),
            ))
        }
        _ => Ok(()),
    }
}

fn judge(
    gateway: &Gateway,
    context: &Context,
    principal: &Principal,
    upstream: &Upstream,
    wish: Wish<'_>,
) -> Result<Decision, Refusal> {
    let decision = gateway.policy.load().decide(&Question {
        subject: principal,
        call: Call {
            method: wish.method,
            upstream: &upstream.name,
            tool: wish.named(Noun::Tool),
            prompt: wish.named(Noun::Prompt),
            resource: wish.named(Noun::Resource),
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
        let mut refusal = forbidden(&decision.reason, Arc::clone(&decision.rule_id));
        refusal.detail = decision.detail.as_deref().map(str::to_owned);
        return Err(refusal);
    }
    honour(gateway, context, principal, &decision)?;
    Ok(decision)
}

fn aim(upstream: &Upstream, wish: Wish<'_>) -> Aim {
    let mut aim = Aim {
        upstream: Some(Arc::clone(&upstream.name)),
        method: Some(wish.method.into()),
        ..Aim::default()
    };
    if let Some((noun, name)) = wish.subject {
        aim.at(noun, name);
    }
    aim
}

/// Obligations are conditions: one that cannot be met refuses the call.
fn honour(
    gateway: &Gateway,
    context: &Context,
    principal: &Principal,
    decision: &Decision,
) -> Result<(), Refusal> {
    let obligations = &decision.obligations;
    if obligations.durable {
        let reason = "the policy asks for durable audit, which this release cannot do yet";
        return Err(forbidden(reason, Arc::clone(&decision.rule_id)));
    }
    if let Some(reason) = gateway.redaction.cannot(&obligations.redact) {
        return Err(forbidden(&reason, Arc::clone(&decision.rule_id)));
    }
    if obligations.scopes.iter().all(|scope| principal.scopes.iter().any(|has| **has == **scope)) {
        return Ok(());
    }
    let mut refusal =
        forbidden("the token lacks a scope that this call needs", Arc::clone(&decision.rule_id));
    // Scope characters of RFC 6749 cannot end the quoted string; anything else is left out.
    let plain = |scope: &str| scope.chars().all(|c| matches!(c, '!' | '#'..='[' | ']'..='~'));
    // All of them, those that every call needs included: a client that asks for these alone is not to come
    // back with less.
    let mut scopes: Vec<&str> = gateway.config.auth.required_scopes.iter().map(String::as_str).collect();
    for scope in obligations.scopes.iter().filter(|scope| plain(scope)) {
        if !scopes.contains(&&**scope) {
            scopes.push(scope);
        }
    }
    // The metadata is that of the endpoint that was asked: a token for another one would not do here.
    let metadata = metadata_url(&gateway.base_url, context.uri.path());
    refusal.challenge = Some(format!(
        "Bearer error=\"insufficient_scope\", scope=\"{}\", resource_metadata=\"{metadata}\"",
        scopes.join(" ")
    ));
    Err(refusal)
}

/// The refusal of a subscription of which the policy leaves nothing.
pub fn nothing_to_hear() -> Refusal {
    let reason = "nothing of this server may be listened to";
    Refusal::new(Stage::Authorize, StatusCode::FORBIDDEN, reason)
}

fn forbidden(reason: &str, rule_id: Arc<str>) -> Refusal {
    let mut refusal = Refusal::new(Stage::Authorize, StatusCode::FORBIDDEN, reason);
    refusal.rule_id = Some(rule_id);
    refusal
}
