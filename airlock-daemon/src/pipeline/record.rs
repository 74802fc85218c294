//! The records that are written: the intent before anything happens, the outcome after, and every refusal.

use std::cell::LazyCell;
use std::sync::Arc;

use http::StatusCode;

use crate::audit::{Event, Record, RecordWait, Verdict};
use crate::auth::principal::Principal;
use crate::mcp::method::Method;
use crate::mcp::revision::Revision;
pub use crate::observe::metrics::Outcome;
use crate::policy::Decision;
use crate::redaction::{Barred, Found};

use crate::upstream::UpstreamError;

use super::methods::kind::in_quotes;

use super::methods::table::MethodKind;
use super::refusal::Aim;
use super::request::requester::Requester;
use super::{Context, Gateway, Refusal};
use crate::stage::Stage;

fn record(context: &Context, principal: Option<&Principal>, aim: &Aim, event: Event) -> Record {
    Record {
        correlation_id: Some(Arc::clone(&context.correlation_id)),
        client: Some(Arc::clone(&context.client)),
        subject: principal.map(|principal| principal.subject.as_str().into()),
        tenant: principal.and_then(|principal| principal.tenant.as_deref()).map(Into::into),
        upstream: aim.upstream.clone(),
        method: aim.method.clone(),
        target: aim.target.clone(),
        target_bytes: aim.whole.as_deref().map(|whole| whole.len() as u64),
        ..Record::new(event)
    }
}

/// The same with what the policy judged by, so that the decision can be made again: all but the arguments and
/// free claims.
fn judged(context: &Context, principal: Option<&Principal>, aim: &Aim, event: Event) -> Record {
    let facts = principal.map(Principal::facts);
    Record {
        issuer: facts.map(|facts| Arc::clone(&facts.issuer)),
        groups: facts.map(|facts| Arc::clone(&facts.groups)),
        scopes: facts.map(|facts| Arc::clone(&facts.scopes)),
        certificate: context.peer.certificate.clone(),
        revision: aim.revision.map(Revision::as_str),
        ..record(context, principal, aim, event)
    }
}

/// Waits, a bounded time, while the disk of the audit log does not keep up: a slow disk slows requests.
pub async fn room(gateway: &Gateway, wait: &mut RecordWait) {
    gateway.audit.room(wait).await;
}

/// The record that a call was let through.
fn intent(
    context: &Context,
    principal: &Principal,
    aim: &Aim,
    decision: &Decision,
    (arguments, found): (&str, &Found),
) -> Record {
    Record {
        decision: Some(Verdict::Allow),
        rule_id: Some(Arc::clone(&decision.rule_id)),
        reason: manner(aim).map(Into::into),
        input_digest: Some(aim.digest(arguments)),
        redactions: found.on_record(),
        ..judged(context, Some(principal), aim, Event::CallIntent)
    }
}

/// Records that a message has passed all checks, before it is carried out: the intent of a call, or the event
/// of anything else.
///
/// # Errors
/// 503 when the audit log cannot take the record: what cannot be recorded does not happen.
pub async fn admitted(
    gateway: &Gateway,
    who: &Requester,
    aim: &Aim,
    decision: Option<&Decision>,
    (event, arguments, found): (Option<Event>, &str, &Found),
    wait: &mut RecordWait,
) -> Result<(), Refusal> {
    let record = || match (event, decision) {
        (None, Some(decision)) => intent(&who.context, &who.principal, aim, decision, (arguments, found)),
        (event, _) => request(who, aim, event.unwrap_or(Event::Request), found),
    };
    put(gateway, record, wait).await
}

/// How a call was made, where that is not the plain way.
fn manner(aim: &Aim) -> Option<String> {
    let called = aim.called.as_deref().map(|name| format!("called as {}", in_quotes(name)));
    match (aim.as_task, called) {
        (true, Some(called)) => Some(format!("as a task, {called}")),
        (true, None) => Some("as a task".to_owned()),
        (false, called) => called,
    }
}

/// How a call ended.
pub struct Ended<'a> {
    /// The end.
    pub outcome: Outcome,
    /// The length of the answer.
    pub bytes: usize,
    /// The server's fault.
    pub failure: Option<&'a UpstreamError>,
    /// The findings in what the server has said.
    pub found: &'a Found,
    /// The detector that bars the answer.
    pub barred: Option<&'a Arc<str>>,
}

/// Records how a call ended; a full log is the writer's to tell (a `gap` record).
pub fn outcome(gateway: &Gateway, context: &Context, principal: &Principal, aim: &Aim, ended: &Ended<'_>) {
    let &Ended { outcome, bytes, failure, found, barred } = ended;
    let elapsed = context.elapsed();
    let reason = match (failure, barred) {
        (Some(failure), _) => failure.on_record().into(),
        (None, Some(detector)) => format!("the detector `{detector}` does not let the answer pass").into(),
        (None, None) => word(outcome).into(),
    };
    let _ = gateway.audit.record_done(Record {
        decision: Some(if barred.is_some() { Verdict::Deny } else { Verdict::Allow }),
        stage: barred.map(|_| Stage::Redact),
        rule_id: barred.cloned(),
        reason: Some(reason),
        redactions: found.on_record(),
        status: match (outcome, failure) {
            (_, Some(failure)) => Some(failure.status().as_u16()),
            (Outcome::Cancelled | Outcome::Refused, None) => None,
            (_, None) => Some(StatusCode::OK.as_u16()),
        },
        latency_us: Some(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)),
        bytes: Some(bytes as u64),
        ..record(context, Some(principal), aim, Event::CallOutcome)
    });
    gateway.metrics.call(aim.upstream.as_deref().unwrap_or_default(), outcome, elapsed);
}

/// Records what the policy would have refused were it not in shadow mode.
///
/// # Errors
/// As for [`admitted`].
pub async fn shadowed(
    gateway: &Gateway,
    context: &Context,
    principal: &Principal,
    refusal: &Refusal,
    aim: &Aim,
    wait: &mut RecordWait,
) -> Result<(), Refusal> {
    gateway.metrics.refusal(refusal.stage, "shadow");
    let refused_for = refusal.detail.as_deref().unwrap_or(&refusal.reason);
    let shadowed = || Record {
        decision: Some(Verdict::Deny),
        stage: Some(refusal.stage),
        rule_id: refusal.rule_id.clone(),
        reason: Some(format!("not enforced (policy.mode: shadow): {refused_for}").into()),
        ..record(context, Some(principal), aim, Event::PolicyShadowed)
    };
    put(gateway, shadowed, wait).await
}

/// How a call ended, in a word for the record.
const fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "result",
        Outcome::Error => "error",
        Outcome::Timeout => "timeout",
        Outcome::Unavailable => "unavailable",
        Outcome::Cancelled => "cancelled",
        Outcome::Refused => "refused",
    }
}

/// Records that something other than a call was answered.
///
/// # Errors
/// As for [`admitted`].
pub async fn answered(
    gateway: &Gateway,
    who: &Requester,
    aim: &Aim,
    (event, found): (Event, &Found),
    wait: &mut RecordWait,
) -> Result<(), Refusal> {
    put(gateway, || request(who, aim, event, found), wait).await
}

/// Records a request that is made for somebody and waits for nothing; a full log is the writer's to tell.
pub fn at_once(gateway: &Gateway, who: &Requester, aim: &Aim, event: Event) {
    let _ = gateway.audit.record_done(request(who, aim, event, &Found::default()));
}

/// The record of a request that has passed all checks, but for a call.
fn request(who: &Requester, aim: &Aim, event: Event, found: &Found) -> Record {
    Record {
        decision: Some(Verdict::Allow),
        redactions: found.on_record(),
        ..record(&who.context, Some(&who.principal), aim, event)
    }
}

/// Records an order of an operator: what came of it, and by which user of this host it was given where that
/// is known.
pub fn ordered(gateway: &Gateway, by: Option<u32>, order: Record) {
    let is_done = order.status.is_none_or(|status| status < 400);
    // A full log is the writer's to tell: an operator has to be able to act then as well.
    let _ = gateway.audit.record_done(Record {
        client: by.map(|uid| format!("unix:{uid}").into()),
        decision: Some(if is_done { Verdict::Allow } else { Verdict::Deny }),
        ..order
    });
}

/// Counts, or records, that a user of this host may not give orders and was hung up on.
pub fn not_an_operator(gateway: &Gateway, uid: u32) {
    gateway.audit.record_stranger(
        "admin",
        Record {
            client: Some(format!("unix:{uid}").into()),
            decision: Some(Verdict::Deny),
            reason: Some("the admin interface is for root and the daemon's own user".into()),
            ..Record::new(Event::AdminCommand)
        },
    );
}

/// Records what detectors have found in the answer to a list or in a message that belongs to no call, and
/// that they bar it, or an entry of it. Nothing where neither is so. A server can cause many: they fill only
/// half of the queue, and those above are counted in a gap record.
pub fn found(
    gateway: &Gateway,
    context: &Context,
    principal: &Principal,
    aim: &Aim,
    (found, barred): (&Found, Option<&Barred>),
) {
    let redactions = found.on_record();
    if redactions.is_none() && barred.is_none() {
        return;
    }
    let _ = gateway.audit.record_refusal(Record {
        decision: Some(if barred.is_some() { Verdict::Deny } else { Verdict::Allow }),
        stage: barred.map(|_| Stage::Redact),
        rule_id: barred.and_then(Barred::detector).cloned(),
        reason: barred.map(|barred| format!("it {}", barred.reason()).into()),
        redactions,
        ..record(context, Some(principal), aim, Event::DlpFound)
    });
}

async fn put(
    gateway: &Gateway,
    record: impl FnOnce() -> Record,
    wait: &mut RecordWait,
) -> Result<(), Refusal> {
    gateway.audit.record_in_time(record, wait).await.map_err(|error| {
        let reason = "the audit log cannot take a record at the moment";
        let mut refusal = Refusal::new(Stage::Record, StatusCode::SERVICE_UNAVAILABLE, reason);
        refusal.retry_after = Some(1);
        refusal.detail = Some(error.to_string());
        refusal
    })
}

/// Records a refusal, in the audit log, the log and the metrics.
pub fn refusal(gateway: &Gateway, context: &Context, principal: Option<&Principal>, refusal: &Refusal) {
    gateway.metrics.refusal(refusal.stage, refusal.status.canonical_reason().unwrap_or("other"));
    // A name that is refused for another reason may hold what a detector finds, and so may the reason.
    let speaker = LazyCell::new(|| {
        principal.map(|who| gateway.redaction.speaker(who, refusal.aim.upstream.as_deref()))
    });
    let spoken = |text: &str| -> Arc<str> {
        speaker.as_ref().map_or_else(|| text.into(), |speaker| Arc::from(&*speaker.spoken(text)))
    };
    tracing::debug!(
        correlation_id = %context.correlation_id,
        stage = refusal.stage.name(),
        status = refusal.status.as_u16(),
        detail = &*spoken(refusal.detail.as_deref().unwrap_or_default()),
        "refused: {}",
        spoken(&refusal.reason)
    );
    // A call that was let through has its outcome on record already; nothing was denied.
    let is_list = refusal
        .aim
        .method
        .as_deref()
        .is_some_and(|method| matches!(MethodKind::of(Method::parse(method)), Some(MethodKind::List(_))));
    if refusal.stage == Stage::Upstream && !is_list {
        return;
    }
    let aim = Aim { target: refusal.aim.target.as_deref().map(spoken), ..refusal.aim.clone() };
    let base = if refusal.stage == Stage::Authorize { judged } else { record };
    let record = Record {
        decision: Some(Verdict::Deny),
        stage: Some(refusal.stage),
        rule_id: refusal.rule_id.clone(),
        reason: Some(spoken(refusal.detail.as_deref().unwrap_or(&refusal.reason))),
        status: Some(refusal.status.as_u16()),
        latency_us: Some(u64::try_from(context.elapsed().as_micros()).unwrap_or(u64::MAX)),
        input_digest: refusal.input_digest,
        ..base(context, principal, &aim, Event::Refusal)
    };
    // Nobody knows more than the log if it does not take this one: it has said so itself.
    if principal.is_some() {
        let _ = gateway.audit.record_refusal(record);
    } else {
        gateway.audit.record_stranger(refusal.stage.name(), record);
    }
}
