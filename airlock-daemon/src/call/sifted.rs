//! The words of a server on their way to a client: all of them pass here, and nothing goes on that a detector
//! bars. Airlock's own names of resources and tasks are written afterwards.

use std::sync::Arc;

use airlock_dlp::Path;
use http::StatusCode;
use serde_json::value::RawValue;

use crate::mcp::error::ErrorData;
use crate::mcp::meta::META_RELATED_TASK;
use crate::mcp::object::{Object, quote};
use crate::pipeline::methods::kind::List;
use crate::redaction::{Barred, Direction, Found, Paths, Sieve};
use crate::runtime::apart::apart;

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

/// A page of a list that was looked through.
pub(crate) struct SiftedPage {
    /// As it may pass, or why nothing of it may.
    pub(crate) page: Result<String, Barred>,
    /// The findings, those in entries that are left out as well.
    pub(crate) found: Found,
    /// Why an entry is left out: the first of them.
    pub(crate) left_out: Option<Barred>,
}

/// Looks through a page of a list. Where it may not pass as a whole, the entries that may not are left out.
pub(crate) async fn page(
    sieve: Option<&Arc<Sieve>>,
    list: &'static List,
    text: String,
    upstream: &str,
) -> SiftedPage {
    let whole = |page, found| SiftedPage { page, found, left_out: None };
    let Some(sieve) = sieve else { return whole(Ok(text), Found::default()) };
    let paths = SiftedKind::List.paths();
    let text: Arc<str> = text.into();
    let barred = match sieve.sift_any(Direction::Response, Arc::clone(&text), paths).await {
        Ok(sifted) => return whole(Ok(sifted.text.unwrap_or_else(|| text.to_string())), sifted.found),
        Err(barred) => barred,
    };
    let rest = {
        let (sieve, upstream) = (Arc::clone(sieve), upstream.to_owned());
        apart(move || without_barred(&sieve, list, &text, &upstream)).await
    };
    let Ok(Some((rest, mut found, left_out))) = rest else {
        let found = barred.found();
        return whole(Err(barred), found);
    };
    let mut more = Found::default();
    let page = noted(sieve.pass(Direction::Response, rest, paths).await, &mut more);
    found.add(more);
    SiftedPage { page, found, left_out }
}

/// The page without the entries that may not pass, what was found in those, and why the first of them may
/// not; none where it has no entries.
fn without_barred(
    sieve: &Sieve,
    list: &List,
    text: &str,
    upstream: &str,
) -> Option<(String, Found, Option<Barred>)> {
    let mut page = Object::parse(text).ok()?;
    let entries: Vec<&RawValue> = serde_json::from_str(page.get(list.entries)?).ok()?;
    let (mut found, mut first) = (Found::default(), None);
    let mut kept = Vec::with_capacity(entries.len());
    for entry in entries {
        match sieve.sift(Direction::Response, entry.get(), Paths::default()) {
            Ok(_) => kept.push(entry.get()),
            Err(barred) => {
                tracing::warn!(upstream, "an entry of {} is left out: it {}", list.method, barred.reason());
                found.add(barred.found());
                first.get_or_insert(barred);
            }
        }
    }
    let kept = format!("[{}]", kept.join(","));
    page.set(list.entries, kept);
    Some((page.write(), found, first))
}
