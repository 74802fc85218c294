//! A call that ends early: the HTTP status, the JSON-RPC error, and what the audit log says of it.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use http::StatusCode;

use crate::audit::input_digest;
use crate::mcp::envelope::Id;
use crate::mcp::error::{ErrorData, response};
use crate::mcp::revision::Revision;

use super::methods::kind::{Noun, Subject, recorded};
use crate::stage::Stage;

/// The reason why a call is not carried out. Boxed: refusals are rare, and every result on the path would
/// carry their size.
#[derive(Debug, Clone)]
pub struct Refusal(Box<Details>);

/// The content of a [`Refusal`].
#[derive(Debug, Clone)]
pub struct Details {
    /// The stage that refused.
    pub stage: Stage,
    /// The HTTP status.
    pub status: StatusCode,
    /// The JSON-RPC code.
    pub code: i32,
    /// A sentence for the client, with nothing internal in it.
    pub reason: String,
    /// The rule that decided, where a rule did.
    pub rule_id: Option<Arc<str>>,
    /// The id of the request, where one was read.
    pub id: Option<Id>,
    /// `WWW-Authenticate`.
    pub challenge: Option<String>,
    /// `DPoP-Nonce` (RFC 9449, section 9).
    pub dpop_nonce: Option<String>,
    /// `Allow`, with status 405.
    pub allow: Option<&'static str>,
    /// `Retry-After` in seconds.
    pub retry_after: Option<u64>,
    /// The same in milliseconds, where it is known so well.
    pub retry_after_ms: Option<u64>,
    /// True where the client's connection ends with the answer.
    pub ends_connection: bool,
    /// Detail for the operator's log, never for the client.
    pub detail: Option<String>,
    /// The revision asked for, when it is not spoken here.
    pub requested_revision: Option<String>,
    /// The digest that binds the record to the call that the policy refused.
    pub input_digest: Option<[u8; 32]>,
    /// The upstream, the method and the target that were to be reached.
    pub aim: Aim,
}

/// The aim of a request, as far as it was understood.
#[derive(Debug, Clone, Default)]
pub struct Aim {
    /// The upstream's name.
    pub upstream: Option<Arc<str>>,
    /// The method.
    pub method: Option<Arc<str>>,
    /// The tool or prompt, the resource's URI with `?…` for its query, or the task.
    pub target: Option<Arc<str>>,
    /// The same in full, where `target` shows less of it; it is digested, and on no record.
    pub whole: Option<Arc<str>>,
    /// The client's name for it, where that is a shortened one (`merged.names: safe`).
    pub called: Option<Arc<str>>,
    /// The revision that the client speaks, where the policy is asked.
    pub revision: Option<Revision>,
    /// True where the client wants a task for it (2025-11-25, `params.task`).
    pub as_task: bool,
}

impl Aim {
    /// Aims at a name.
    pub fn at(&mut self, noun: Noun, name: &str) {
        let shown = recorded(noun, name);
        self.whole = (*shown != *name).then(|| name.into());
        self.target = Some(shown.into());
    }

    /// Aims at what a request names, where it names something.
    pub fn at_any(&mut self, subject: Option<&Subject<'_>>) {
        if let Some(subject) = subject {
            self.at(subject.noun, &subject.name);
        }
    }

    /// Takes the target's name out, in which a detector may have found something.
    pub fn withhold(&mut self, detector: &str) {
        self.target = self.target.is_some().then(|| format!("[redacted:{detector}]").into());
        (self.whole, self.called) = (None, None);
    }

    /// Aims at a task by the server's own id of it, where the request names one, or asks for one.
    pub fn opened(&mut self, id: Option<&str>, as_task: bool) {
        if let Some(id) = id {
            (self.target, self.whole) = (Some(id.into()), None);
        }
        self.as_task = as_task;
    }

    /// The digest that binds a record of this to the call with these arguments.
    pub fn digest(&self, arguments: &str) -> [u8; 32] {
        let text = |part: &Option<Arc<str>>| part.clone().unwrap_or_else(|| "".into());
        let target = self.whole.as_deref().or(self.target.as_deref());
        input_digest(&text(&self.method), &text(&self.upstream), target, arguments)
    }
}

impl Deref for Refusal {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.0
    }
}

impl DerefMut for Refusal {
    fn deref_mut(&mut self) -> &mut Details {
        &mut self.0
    }
}

impl Refusal {
    /// A refusal with the JSON-RPC code of our own that goes with the status.
    pub fn new(stage: Stage, status: StatusCode, reason: impl Into<String>) -> Self {
        Self(Box::new(Details {
            stage,
            status,
            code: i32::from(status.as_u16()),
            reason: reason.into(),
            rule_id: None,
            id: None,
            challenge: None,
            dpop_nonce: None,
            allow: None,
            retry_after: None,
            retry_after_ms: None,
            ends_connection: false,
            detail: None,
            requested_revision: None,
            input_digest: None,
            aim: Aim::default(),
        }))
    }

    /// With another JSON-RPC code.
    #[must_use]
    pub fn code(mut self, code: i32) -> Self {
        self.code = code;
        self
    }

    /// About this.
    #[must_use]
    pub fn about(mut self, aim: &Aim) -> Self {
        self.aim = aim.clone();
        self
    }

    /// With what binds its record to the call that was refused.
    #[must_use]
    pub fn bound(mut self, digest: Option<[u8; 32]>) -> Self {
        self.input_digest = digest;
        self
    }

    /// For the message of this id and method, as far as no stage has said more.
    #[must_use]
    pub fn of_message(mut self, id: Option<&Id>, method: &str) -> Self {
        if self.id.is_none() {
            self.id = id.cloned();
        }
        if self.aim.method.is_none() && !method.is_empty() {
            self.aim.method = Some(method.into());
        }
        self
    }

    /// For the request of this id.
    #[must_use]
    pub fn id(mut self, id: Option<&Id>) -> Self {
        self.id = id.cloned();
        self
    }

    /// The JSON-RPC error response.
    pub fn body(&self, correlation_id: &str) -> String {
        let data = ErrorData {
            reason: Some(self.reason.clone()),
            rule_id: self.rule_id.as_deref().map(str::to_owned),
            correlation_id: Some(correlation_id.to_owned()),
            retry_after_ms: self.retry_after_ms.or(self.retry_after.map(|secs| secs.saturating_mul(1_000))),
            supported: self.requested_revision.as_ref().map(|_| Revision::ALL.map(Revision::as_str).to_vec()),
            requested: self.requested_revision.clone(),
        };
        response(self.id.as_ref().map(Id::as_json), self.code, &self.message(), &data)
    }

    /// The code's name, the reason, and when to come back: most clients show their users and their models
    /// nothing else.
    fn message(&self) -> String {
        let (title, reason) = (self.title(), self.reason.trim_end_matches('.'));
        let colon = if reason.is_empty() { "" } else { ": " };
        let wait = self.retry_after.map(|secs| format!("; try again in {secs} s")).unwrap_or_default();
        format!("{title}{colon}{reason}{wait}")
    }

    /// The short text that goes with the code.
    fn title(&self) -> &'static str {
        use crate::mcp::error::code;
        match self.code {
            code::PARSE_ERROR => "Parse error",
            code::INVALID_REQUEST => "Invalid request",
            code::METHOD_NOT_FOUND => "Method not found",
            code::INVALID_PARAMS => "Invalid params",
            code::HEADER_MISMATCH => "Header mismatch",
            code::LEGACY_RESOURCE_NOT_FOUND => "Resource not found",
            code::UNSUPPORTED_VERSION => "Unsupported protocol version",
            code::INTERNAL_ERROR => "Internal error",
            code::CANCELLED => "Cancelled",
            // Ours are those of HTTP. The status may be another: to a legacy client most errors are answers
            // like any other.
            code => u16::try_from(code)
                .ok()
                .and_then(|code| StatusCode::from_u16(code).ok())
                .and_then(|status| status.canonical_reason())
                .unwrap_or("Refused"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::error::code;

    #[test]
    fn the_message_says_all_that_a_client_shows() {
        let refusal = |status, reason: &str| Refusal::new(Stage::Http, status, reason);
        let mut too_many = refusal(StatusCode::TOO_MANY_REQUESTS, "too many requests come from this account");
        too_many.retry_after = Some(3);
        for (refusal, message) in [
            (refusal(StatusCode::FORBIDDEN, "this tool is for nobody"), "Forbidden: this tool is for nobody"),
            (refusal(StatusCode::FORBIDDEN, "It is not for you."), "Forbidden: It is not for you"),
            (refusal(StatusCode::FORBIDDEN, ""), "Forbidden"),
            (
                refusal(StatusCode::BAD_REQUEST, "`params.name` must be a string").code(code::INVALID_PARAMS),
                "Invalid params: `params.name` must be a string",
            ),
            (
                refusal(StatusCode::OK, "the call was cancelled").code(code::CANCELLED),
                "Cancelled: the call was cancelled",
            ),
            (too_many, "Too Many Requests: too many requests come from this account; try again in 3 s"),
        ] {
            let body: serde_json::Value = serde_json::from_str(&refusal.body("id")).expect("JSON");
            assert_eq!(body["error"]["message"], message);
            assert_eq!(body["error"]["data"]["reason"], *refusal.reason, "the parts stay as they are");
        }
    }
}
