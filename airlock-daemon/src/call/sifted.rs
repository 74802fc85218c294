//! The words of a server on their way to a client: all of them pass here, and nothing goes on that a detector
//! bars. Airlock's own names of resources and tasks are written afterwards.

use std::borrow::Cow;
use std::sync::Arc;

use airlock_dlp::Path;
use http::StatusCode;
use serde_json::value::RawValue;

use crate::auth::principal::Principal;
use crate::mcp::error::ErrorData;
use crate::mcp::meta::META_RELATED_TASK;
use crate::mcp::object::{Object, quote};
use crate::pipeline::Gateway;
use crate::pipeline::methods::kind::List;
use crate::pipeline::redact;
use crate::redaction::{Barred, Direction, Found, Paths, Purpose, Sieve};
use crate::runtime::apart::apart;
use crate::upstream::message::ask::Ask;
use crate::upstream::pool::Upstream;

use super::ask::unanswered;

/// Members of results that Airlock replaces by handles of its own, where the client may see tasks.
const TASKS: &[Path] = &[&["taskId"], &["task", "taskId"], &["_meta", META_RELATED_TASK, "taskId"]];
/// The same of questions.
const QUESTIONS: &[Path] = &[&["requestState"], &["_meta", META_RELATED_TASK, "taskId"]];
/// The same of notifications.
const NOTIFICATIONS: &[Path] = &[&["progressToken"], &["taskId"], &["_meta", META_RELATED_TASK, "taskId"]];
/// The same of lists, whose entries may be tasks.
const LISTS: &[Path] = &[&["nextCursor"], &["tasks", "", "taskId"]];

/// The kind of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SiftedKind {
    /// A result without tasks.
    Result,
    /// A result that may name tasks.
    Task,
    /// A modern server's questions, in a result.
    Questions,
    /// An error object, a question's parameters, or instructions.
    Plain,
    /// The parameters of a notification.
    Notification,
    /// A page of a list.
    List,
}

impl SiftedKind {
    const fn paths(self) -> Paths {
        let skip = match self {
            Self::Result | Self::Plain => &[],
            Self::Task => TASKS,
            Self::Questions => QUESTIONS,
            Self::Notification => NOTIFICATIONS,
            Self::List => LISTS,
        };
        Paths { skip, keep: &[] }
    }
}

/// The sieve for what a server says outside of calls, with what the policy obliges to.
pub(crate) fn outside(
    gateway: &Gateway,
    who: &Principal,
    upstream: &Upstream,
    obliged: &[Arc<str>],
) -> Option<Arc<Sieve>> {
    gateway.redaction.sieve(who, Purpose { upstream: &upstream.name, tool: None, obliged })
}

/// Looks through a message; what is found is added to `found`.
///
/// # Errors
/// Why it may not pass.
pub(crate) async fn message(
    sieve: Option<&Arc<Sieve>>,
    kind: SiftedKind,
    text: String,
    found: &mut Found,
) -> Result<String, Barred> {
    let Some(sieve) = sieve else { return Ok(text) };
    noted(sieve.pass(Direction::Response, text, kind.paths()).await, found)
}

/// The same for a message that is short, or on a thread that nobody else waits for.
///
/// # Errors
/// As for [`message`].
pub(crate) fn message_here(
    sieve: Option<&Sieve>,
    kind: SiftedKind,
    text: String,
    found: &mut Found,
) -> Result<String, Barred> {
    let Some(sieve) = sieve else { return Ok(text) };
    noted(sieve.sift(Direction::Response, &text, kind.paths()).map(|sifted| sifted.or(text)), found)
}

/// Adds what was found in a message, which may pass or not.
fn noted(passed: Result<(String, Found), Barred>, found: &mut Found) -> Result<String, Barred> {
    match passed {
        Ok((text, more)) => {
            found.add(more);
            Ok(text)
        }
        Err(barred) => {
            found.add(barred.found());
            Err(barred)
        }
    }
}

/// The same for a message outside of calls, which is left out where it may not pass.
pub(crate) async fn aside(
    sieve: Option<&Arc<Sieve>>,
    kind: SiftedKind,
    text: String,
    upstream: &str,
) -> Option<String> {
    message(sieve, kind, text, &mut Found::default())
        .await
        .inspect_err(|barred| {
            tracing::debug!(upstream, "a message of the server is left out: it {}", barred.reason());
        })
        .ok()
}

/// Looks through a question that belongs to no call, and later through its answer. None where it may not be
/// asked: its server has been told.
pub(crate) async fn question(sieve: Option<Arc<Sieve>>, mut asked: Ask, upstream: &str) -> Option<Ask> {
    let Some(sieve) = sieve else { return Some(asked) };
    let params = std::mem::take(&mut asked.params);
    let Some(params) = aside(Some(&sieve), SiftedKind::Plain, params, upstream).await else {
        let answer = unanswered(&asked.method);
        asked.answer(answer);
        return None;
    };
    let (passed, answered) = Ask::new(asked.method.clone(), params);
    tokio::task::spawn_local(async move {
        let answered = tokio::select! {
            answered = answered => answered.ok(),
            // The client's side is told by the end of the channel.
            () = asked.withdrawn() => return,
        };
        let passed = match answered {
            Some(answered) => redact::answered(&sieve, answered).await.map(|(answer, _)| answer).ok(),
            None => None,
        };
        let answer = passed.unwrap_or_else(|| unanswered(&asked.method));
        asked.answer(answer);
    });
    Some(passed)
}

/// The error object in place of a message that may not pass.
pub(crate) fn instead(barred: &Barred, correlation_id: &str) -> String {
    let reason = format!("what the server says {}", barred.reason());
    let (code, title) = match barred {
        Barred::Detector(..) | Barred::Binary => (StatusCode::FORBIDDEN, "Forbidden"),
        Barred::Work(_) | Barred::Length(_) => (StatusCode::BAD_GATEWAY, "Bad Gateway"),
    };
    let data = ErrorData {
        reason: Some(reason.clone()),
        rule_id: barred.detector().map(ToString::to_string),
        correlation_id: Some(correlation_id.to_owned()),
        ..ErrorData::default()
    };
    let data = serde_json::to_string(&data).unwrap_or_else(|_| "{}".to_owned());
    let message = quote(&format!("{title}: {reason}"));
    format!(r#"{{"code":{},"message":{message},"data":{data}}}"#, code.as_u16())
}

/// Looks through a page of a list. Where it may not pass as a whole, the entries that may not are left out.
///
/// # Errors
/// Why nothing of it may pass.
pub(crate) async fn page(
    sieve: Option<&Arc<Sieve>>,
    list: &'static List,
    text: String,
    upstream: &str,
) -> Result<String, Barred> {
    let Some(sieve) = sieve else { return Ok(text) };
    let paths = SiftedKind::List.paths();
    let text: Arc<str> = text.into();
    let barred = match sieve.sift_any(Direction::Response, Arc::clone(&text), paths).await {
        Ok(sifted) => return Ok(sifted.text.unwrap_or_else(|| text.to_string())),
        Err(barred) => barred,
    };
    let rest = {
        let (sieve, upstream) = (Arc::clone(sieve), upstream.to_owned());
        apart(move || without_barred(&sieve, list, &text, &upstream)).await
    };
    let Ok(Some(rest)) = rest else { return Err(barred) };
    sieve.pass(Direction::Response, rest, paths).await.map(|(text, _)| text)
}

/// The page without the entries that may not pass; none where it has no entries.
fn without_barred(sieve: &Sieve, list: &List, text: &str, upstream: &str) -> Option<String> {
    let mut page = Object::parse(text).ok()?;
    let entries: Vec<&RawValue> = serde_json::from_str(page.get(list.entries)?).ok()?;
    let may_pass = |entry: &&&RawValue| {
        let sifted = sieve.sift(Direction::Response, entry.get(), Paths::default());
        sifted
            .inspect_err(|barred| {
                tracing::warn!(upstream, "an entry of {} is left out: it {}", list.method, barred.reason());
            })
            .is_ok()
    };
    let kept: Vec<Cow<'_, str>> =
        entries.iter().filter(may_pass).map(|entry| Cow::Borrowed(entry.get())).collect();
    let kept = format!("[{}]", kept.join(","));
    page.set(list.entries, kept);
    Some(page.write())
}
