//! Does what goes to a server hold what must not pass? A message that may pass in another form goes on so:
//! everything from here on, the record and the server included, gets that.

use std::borrow::Cow;
use std::sync::Arc;

use airlock_dlp::Path;
use http::StatusCode;
use serde_json::value::RawValue;

use crate::auth::principal::Principal;
use crate::mcp::header;
use crate::mcp::meta::META_RELATED_TASK;
use crate::mcp::object::quote;
use crate::mcp::param_header::Mirrored;
use crate::policy::Decision;
use crate::redaction::{Barred, Direction, Found, Paths, Purpose, Sieve};
use crate::stage::Stage;
use crate::upstream::message::ask::Answered;
use crate::upstream::pool::Upstream;

use super::methods::kind::{Noun, Target};
use super::refusal::Aim;
use super::request::asked::Asked;
use super::request::requester::Requester;
use super::request::state::Back;
use super::{Gateway, Refusal, decode};

/// Members that Airlock replaces before a server gets the message: nothing of them goes on.
const CALL: &[Path] = &[&["_meta", "progressToken"], &["_meta", META_RELATED_TASK, "taskId"]];
/// The same of a message that is about a task.
const TASK: &[Path] = &[&["_meta", "progressToken"], &["_meta", META_RELATED_TASK, "taskId"], &["taskId"]];
/// The same of a list.
const LIST: &[Path] = &[&["_meta", "progressToken"], &["cursor"]];
/// The whole of a message.
const WHOLE: &[Path] = &[&[]];

/// The parts of a message.
pub struct Sent<'a, 'o> {
    /// The target, by the server's own name.
    pub own: Option<(Noun, &'o str)>,
    /// The arguments as they came.
    pub arguments: Option<Cow<'a, RawValue>>,
    /// The state of an earlier request, with the answers to its questions.
    pub back: Option<Back>,
}

/// A message that may go on.
pub struct Passed<'a> {
    /// The arguments as they go on.
    pub arguments: Option<Cow<'a, RawValue>>,
    /// The state of an earlier request, with answers as they go on.
    pub back: Option<Back>,
    /// Looks through what is said in the course of the message.
    pub sieve: Option<Arc<Sieve>>,
    /// The findings.
    pub found: Found,
}

/// Looks through everything of a message that goes to its server: parameters, target, and the answers that
/// its client brings back. The target stays as it is, or the message does not go on.
///
/// # Errors
/// 403 with the name of the detector that bars it; 400 and 413 for a message that costs too much to look
/// through, or that would be too long.
pub async fn request<'a>(
    gateway: &Gateway,
    who: &Requester,
    (upstream, decision): (Option<&Arc<Upstream>>, Option<&Decision>),
    asked: &mut Asked<'a>,
    Sent { own, arguments, mut back }: Sent<'a, '_>,
    aim: &mut Aim,
) -> Result<Passed<'a>, Refusal> {
    let obliged = decision.map_or(&[][..], |decision| &decision.obligations.redact);
    gateway.redaction.ready(obliged).await;
    let sieve = upstream.and_then(|upstream| {
        let tool = own.and_then(|(noun, name)| (noun == Noun::Tool).then_some(name));
        gateway.redaction.sieve(&who.principal, Purpose { upstream: &upstream.name, tool, obliged })
    });
    let Some(sieve) = sieve else {
        return Ok(Passed { arguments, back, sieve: None, found: Found::default() });
    };
    let mut refused = |barred: Barred| refused(&barred, aim);
    let (params, paths) = match asked {
        Asked::Call(kind, params) => {
            let skip = if matches!(kind.target, Target::Member(Noun::Task, _)) { TASK } else { CALL };
            (params, Paths { skip, keep: kept(kind.target) })
        }
        Asked::List(_, params) => (params, Paths { skip: LIST, keep: &[] }),
        Asked::Subscribe(..) => {
            let uri = quote(own.map_or("", |(_, uri)| uri));
            let sifted = sieve.sift(Direction::Request, &uri, Paths { skip: &[], keep: WHOLE });
            let found = sifted.map_err(refused)?.found;
            return Ok(Passed { arguments, back, sieve: Some(sieve), found });
        }
        Asked::Level | Asked::Own(_) => {
            return Ok(Passed { arguments, back, sieve: Some(sieve), found: Found::default() });
        }
    };
    let text = params.write();
    let sifted = sieve.sift_any(Direction::Request, text.into(), paths).await.map_err(&mut refused)?;
    let mut found = sifted.found;
    for (_, answer) in back.iter_mut().flat_map(Back::answers_mut) {
        let text = std::mem::take(answer);
        let passed = sieve.pass(Direction::Request, text, Paths::default()).await;
        let (text, more) = passed.map_err(&mut refused)?;
        *answer = text;
        found.add(more);
    }
    let arguments = match sifted.text {
        Some(text) => {
            params.replace(&text).map_err(|_| decode::invalid_params("the parameters are no object"))?;
            asked.shown().map_err(decode::invalid_params)?.map(Cow::Owned)
        }
        None => arguments,
    };
    Ok(Passed { arguments, back, sieve: Some(sieve), found })
}

/// Looks through an answer to a question of a server, on its way to it.
///
/// # Errors
/// Why the server does not get it.
pub async fn answered(sieve: &Arc<Sieve>, answered: Answered) -> Result<(Answered, Found), Barred> {
    let pass = |text| sieve.pass(Direction::Request, text, Paths::default());
    Ok(match answered {
        Ok(answer) => pass(answer).await.map(|(text, found)| (Ok(text), found))?,
        Err(error) => pass(error).await.map(|(text, found)| (Err(text), found))?,
    })
}

/// Looks at the name of something that a client wants to hear of.
///
/// # Errors
/// As [`request`].
pub fn target(
    gateway: &Gateway,
    who: &Principal,
    upstream: &Upstream,
    name: &str,
    aim: &mut Aim,
) -> Result<(), Refusal> {
    let purpose = Purpose { upstream: &upstream.name, tool: None, obliged: &[] };
    let Some(sieve) = gateway.redaction.sieve(who, purpose) else { return Ok(()) };
    let sifted = sieve.sift(Direction::Request, &quote(name), Paths { skip: &[], keep: WHOLE });
    sifted.map(|_| ()).map_err(|barred| refused(&barred, aim))
}

/// Leaves out the headers that go on as they came and hold what must not pass: those that repeat arguments
/// are written anew.
pub fn headers(sieve: Option<&Sieve>, mirrored: &mut Mirrored) -> Found {
    let mut found = Found::default();
    let Some(sieve) = sieve else { return found };
    mirrored.others.retain(|(_, value)| {
        let text = value.to_str().ok().and_then(|value| header::decode(value).ok());
        let Some(text) = text else { return true };
        let sifted = sieve.sift(Direction::Request, &quote(&text), Paths::default());
        match sifted {
            Ok(sifted) => {
                found.add(sifted.found);
                sifted.text.is_none()
            }
            Err(barred) => {
                found.add(barred.found());
                false
            }
        }
    });
    found
}

/// The members that name what the message is aimed at.
const fn kept(target: Target) -> &'static [Path] {
    match target {
        Target::Member(Noun::Resource, _) => &[&["uri"]],
        Target::Member(Noun::Tool | Noun::Prompt, _) => &[&["name"]],
        Target::Reference => &[&["ref"]],
        Target::Member(Noun::Task, _) | Target::Server => &[],
    }
}

/// The refusal of a message. Its record does not name the target: the finding may be in it.
fn refused(barred: &Barred, aim: &mut Aim) -> Refusal {
    let status = match barred {
        Barred::Detector(..) | Barred::Binary => StatusCode::FORBIDDEN,
        Barred::Work(_) => StatusCode::BAD_REQUEST,
        Barred::Length(_) => StatusCode::PAYLOAD_TOO_LARGE,
    };
    let mut refusal = Refusal::new(Stage::Redact, status, format!("the request {}", barred.reason()));
    if let Some(detector) = barred.detector() {
        refusal.rule_id = Some(Arc::clone(detector));
        aim.withhold(detector);
    }
    refusal
}
