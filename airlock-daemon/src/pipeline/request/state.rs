//! The `requestState` that a modern client brings back with its answers: sealed for its principal, endpoint,
//! upstream, method, target and arguments. To anybody and for anything else it is worthless.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::mcp::object::Object;

use super::context::now;
use super::requester::Requester;
use crate::pipeline::Gateway;
use crate::pipeline::methods::kind::Call;
use crate::pipeline::seal::Purpose;

/// Longest state that is given out, in bytes: a client has to send it back within the limits of a request.
const MAX: usize = 60 * 1024;

/// Member of a retry with the answers.
pub const RESPONSES: &str = "inputResponses";
/// Member of a result and of its retry with the server's state.
pub const STATE: &str = "requestState";

/// True for a call that may be answered with a question.
pub fn may_ask(kind: &Call) -> bool {
    matches!(kind.method, "tools/call" | "prompts/get" | "resources/read")
}

/// The answers that a client brings back: each is an object.
///
/// # Errors
/// A sentence for the client.
pub fn answers(text: &str) -> Result<Vec<(String, String)>, String> {
    let wrong = || format!("`params.{RESPONSES}` must be an object of objects");
    let object = Object::parse(text).map_err(|_| wrong())?;
    let each = |key: &str| {
        let raw: &RawValue = object.kept(key).filter(|raw| raw.get().starts_with('{')).ok_or_else(wrong)?;
        Ok((key.to_owned(), raw.get().to_owned()))
    };
    object.names().map(each).collect()
}

/// Names a suspended call. It is given out sealed only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ResumeToken(u64, u64);

impl ResumeToken {
    /// A new one; `None` where the kernel has no random numbers.
    pub fn draw() -> Option<Self> {
        Some(Self(getrandom::u64().ok()?, getrandom::u64().ok()?))
    }
}

/// The purpose of a state.
pub struct Scope<'a> {
    /// The endpoint's path.
    pub endpoint: &'a str,
    /// The upstream's name.
    pub upstream: &'a str,
    /// The method.
    pub method: &'a str,
    /// The target of the request, by the upstream's own name.
    pub target: &'a str,
    /// The arguments as received.
    pub arguments: &'a str,
}

/// The content of a state.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct RequestState {
    /// When it expires, in seconds since the Unix epoch.
    pub until: u64,
    /// The keys of the questions that the client was asked.
    pub keys: Vec<String>,
    /// The call that waits here.
    pub suspended: Option<ResumeToken>,
    /// The upstream's own state.
    pub upstream: Option<String>,
    /// The answers that were given without the client.
    pub answered: Vec<(String, String)>,
}

impl RequestState {
    /// Seals it, for `life` from now; `None` when it would be too long to be sent back.
    pub fn seal(
        mut self,
        gateway: &Gateway,
        who: &Requester,
        scope: &Scope<'_>,
        life: Duration,
    ) -> Option<String> {
        self.until = now().saturating_add(life.as_secs().max(1));
        let payload = serde_json::to_vec(&self).ok()?;
        let digest = digest(scope.arguments);
        let sealed = gateway.sealer.seal(
            Purpose::RequestState,
            who.principal.identity(),
            &[scope.endpoint, scope.upstream, scope.method, scope.target, &digest],
            &payload,
        );
        (!sealed.is_empty() && sealed.len() <= MAX).then_some(sealed)
    }
}

/// A state and the answers that a client brings back with it.
pub struct Back {
    state: String,
    answers: Vec<(String, String)>,
}

impl Back {
    /// Takes answers and state out of the parameters of a request.
    ///
    /// # Errors
    /// A sentence for the client.
    pub fn take(params: &mut Object<'_>) -> Result<Self, String> {
        let state = params
            .string(STATE)
            .ok_or_else(|| format!("`params.{STATE}` must be the string that came with the questions"))?
            .into_owned();
        let answers = params.get(RESPONSES).map_or_else(|| Ok(Vec::new()), answers)?;
        params.retain(|name| name != STATE && name != RESPONSES);
        Ok(Self { state, answers })
    }

    /// The answers, by their keys.
    pub fn answers_mut(&mut self) -> impl Iterator<Item = &mut (String, String)> {
        self.answers.iter_mut()
    }

    /// Opens the state: what it says, and the answers to what was asked. Answers to anything else go.
    ///
    /// # Errors
    /// A sentence for the client.
    pub fn open(
        self,
        gateway: &Gateway,
        who: &Requester,
        scope: &Scope<'_>,
    ) -> Result<(RequestState, Vec<(String, String)>), String> {
        let digest = digest(scope.arguments);
        let opened = gateway.sealer.open(
            Purpose::RequestState,
            who.principal.identity(),
            &[scope.endpoint, scope.upstream, scope.method, scope.target, &digest],
            &self.state,
        );
        let state: RequestState = opened
            .ok()
            .and_then(|payload| serde_json::from_slice(&payload).ok())
            .ok_or_else(|| format!("`params.{STATE}` was not given out for this request"))?;
        if state.until < now() {
            return Err(format!("`params.{STATE}` has expired: send the request anew"));
        }
        let mut answers = self.answers;
        answers.retain(|(key, _)| state.keys.contains(key));
        Ok((state, answers))
    }
}

fn digest(arguments: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(arguments.as_bytes()))
}
