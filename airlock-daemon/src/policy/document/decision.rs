//! The question to the policy, and its answer.

use std::sync::Arc;

use regorus::Value;
use serde_json::value::RawValue;

use crate::auth::principal::Principal;
use crate::policy::syntax::unnamed::Unnamed;

/// The rule id of a refusal because no rule allows.
pub const DEFAULT_RULE: &str = "default";
/// The rule id of a refusal because the policy could not answer.
pub const ERROR_RULE: &str = "policy_error";

/// The rule id of every refusal while there is no good policy.
pub const NO_POLICY_RULE: &str = "no_policy";

/// The rule id of what was let through in shadow mode begins with this; the rule that would have refused
/// follows.
pub const SHADOW_PREFIX: &str = "shadow:";

const MAX_RULE_ID_BYTES: usize = 128;
const MAX_REASON_BYTES: usize = 512;
const MAX_LIST_ENTRIES: usize = 64;
/// The reason of a refusal because nothing allows the call; the policy itself has given none.
pub const NOT_ALLOWED: &str = "no rule of the policy allows this call";
const NO_ANSWER: &str = "the policy could not decide this call";
const NO_POLICY: &str = "no policy is in force here, so nothing is allowed";

/// The call that a client wants to make. Names are the upstream's own, without the `upstream__` prefix.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The MCP method.
    pub method: &'a str,
    /// The configured name of the upstream.
    pub upstream: &'a str,
    /// The tool of `tools/call`.
    pub tool: Option<&'a str>,
    /// The prompt of `prompts/get`.
    pub prompt: Option<&'a str>,
    /// The URI of `resources/read` and its kin.
    pub resource: Option<&'a str>,
    /// The virtual root that the call touches.
    pub root: Option<&'a str>,
    /// The arguments as received; `None` when an entry of a list is judged.
    pub arguments: Option<&'a RawValue>,
    /// The protocol revision the client speaks.
    pub revision: &'a str,
}

/// Where the call came from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Client<'a> {
    /// The IP address of the client, without a port.
    pub address: Option<&'a str>,
    /// The subject of a verified client certificate.
    pub certificate: Option<&'a str>,
    /// The peer's user id on the unix socket.
    pub uid: Option<u32>,
}

/// Everything a policy may look at.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The verified principal.
    pub subject: &'a Principal,
    /// The call.
    pub call: Call<'a>,
    /// The client's side of the connection.
    pub client: Client<'a>,
    /// Now, in seconds since the Unix epoch.
    pub time: u64,
}

/// The conditions of a policy on a call that it allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Obligations {
    /// Detectors or packs to apply to the answer.
    pub redact: Vec<Arc<str>>,
    /// Scopes that the token must carry.
    pub scopes: Vec<Arc<str>>,
    /// True where the audit record must be on disk before the call.
    pub durable: bool,
}

impl Obligations {
    /// True where nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.redact.is_empty() && self.scopes.is_empty() && !self.durable
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// True where the call may go on.
    pub allow: bool,
    /// The rule that decided: at most 128 bytes, without control characters, the file and the line of a rule
    /// without a name, `default` when no rule decided, and `policy_error` when the policy could not answer.
    pub rule_id: Arc<str>,
    /// Why, for the client: at most 512 bytes, without control characters.
    pub reason: Arc<str>,
    /// The conditions that the caller of the engine must meet; empty for a refusal.
    pub obligations: Obligations,
    /// Why the policy could not answer, with file and line where these are known: for the log and the record,
    /// at most 512 bytes, never for the client.
    pub detail: Option<Arc<str>>,
}

impl Decision {
    pub(in crate::policy) fn refused(rule_id: &str, reason: &str) -> Self {
        Self {
            allow: false,
            rule_id: rule_id.into(),
            reason: reason.into(),
            obligations: Obligations::default(),
            detail: None,
        }
    }

    /// The refusal of a call that the policy could not judge, because of `problem`.
    pub(in crate::policy) fn unanswered(problem: &str) -> Self {
        let detail = bounded(&format!("{NO_ANSWER}: {problem}").into(), MAX_REASON_BYTES);
        Self { detail: Some(detail), ..Self::refused(ERROR_RULE, NO_ANSWER) }
    }

    /// The refusal of everything where there is no good policy.
    pub(in crate::policy) fn without_policy() -> Self {
        Self::refused(NO_POLICY_RULE, NO_POLICY)
    }

    /// Reads `[allow, deny, rule_id, reason, obligations]`, where `false` stands for an undefined rule.
    ///
    /// # Errors
    /// A sentence for the operator's log when the policy's output has not the shape of the contract.
    pub(in crate::policy) fn from_output(output: &Value, unnamed: &Unnamed) -> Result<Self, String> {
        let fields = output.as_array().map_err(|_| format!("the policy produced {}", kind(output)))?;
        let mut fields = fields.iter();
        let (Some(allow), Some(deny), Some(rule_id), Some(reason), Some(obligations), None) =
            (fields.next(), fields.next(), fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err("the policy's output has not five parts".into());
        };
        if let Some((rule_id, reason)) = first_denial(deny, unnamed)? {
            return Ok(Self {
                allow: false,
                rule_id: bounded(&rule_id, MAX_RULE_ID_BYTES),
                reason: bounded(&reason, MAX_REASON_BYTES),
                obligations: Obligations::default(),
                detail: None,
            });
        }
        if *allow != Value::Bool(true) {
            return Ok(Self::refused(DEFAULT_RULE, NOT_ALLOWED));
        }
        Ok(Self {
            allow: true,
            rule_id: optional_text("rule_id", rule_id, MAX_RULE_ID_BYTES)?
                .or_else(|| unnamed.allow.as_ref().map(|place| bounded(place, MAX_RULE_ID_BYTES)))
                .unwrap_or_else(|| DEFAULT_RULE.into()),
            reason: optional_text("reason", reason, MAX_REASON_BYTES)?.unwrap_or_else(|| "allowed".into()),
            obligations: parse_obligations(obligations)?,
            detail: None,
        })
    }
}

/// The rule id and the reason of an entry of `deny`.
type Denial = (Arc<str>, Arc<str>);

fn first_denial(deny: &Value, unnamed: &Unnamed) -> Result<Option<Denial>, String> {
    let mut first: Option<Denial> = None;
    let mut consider = |entry: &Value| -> Result<(), String> {
        let named = match (entry, &entry["rule_id"], &entry["reason"]) {
            (_, Value::String(rule_id), Value::String(reason)) => Some((rule_id.clone(), reason)),
            (_, Value::Undefined, Value::String(reason)) | (Value::String(reason), ..) => {
                unnamed.denied_by(reason).map(|place| (place, reason))
            }
            _ => None,
        };
        let Some((rule_id, reason)) = named else {
            return Err(format!("an entry of `deny` is not {{rule_id, reason}} but {}", kind(entry)));
        };
        if rule_id.is_empty() {
            return Err("an entry of `deny` has an empty rule_id".into());
        }
        let candidate = (rule_id, reason.clone());
        if first.as_ref().is_none_or(|found| candidate < *found) {
            first = Some(candidate);
        }
        Ok(())
    };
    match deny {
        Value::Bool(false) => {}
        Value::Set(entries) => entries.iter().try_for_each(&mut consider)?,
        Value::Array(entries) => entries.iter().try_for_each(&mut consider)?,
        other => return Err(format!("`deny` is not a set but {}", kind(other))),
    }
    Ok(first)
}

fn optional_text(name: &str, value: &Value, limit: usize) -> Result<Option<Arc<str>>, String> {
    match value {
        Value::Bool(false) => Ok(None),
        Value::String(text) => Ok(Some(bounded(text, limit))),
        other => Err(format!("`{name}` is not a string but {}", kind(other))),
    }
}

fn parse_obligations(value: &Value) -> Result<Obligations, String> {
    let mut obligations = Obligations::default();
    let fields = match value {
        Value::Bool(false) => return Ok(obligations),
        Value::Object(fields) => fields,
        other => return Err(format!("`obligations` is not an object but {}", kind(other))),
    };
    for (key, value) in fields.iter() {
        match key {
            Value::String(name) if &**name == "redact" => obligations.redact = texts(name, value)?,
            Value::String(name) if &**name == "scopes" => obligations.scopes = texts(name, value)?,
            Value::String(name) if &**name == "durable" => {
                let Value::Bool(durable) = value else {
                    return Err("`obligations.durable` is not true or false".into());
                };
                obligations.durable = *durable;
            }
            other => return Err(format!("`obligations` has the unknown key {other}")),
        }
    }
    Ok(obligations)
}

fn texts(name: &str, value: &Value) -> Result<Vec<Arc<str>>, String> {
    let text = |entry: &Value| match entry {
        Value::String(text) if text.len() <= MAX_RULE_ID_BYTES => Ok(text.clone()),
        _ => Err(format!("`obligations.{name}` holds something else than short strings")),
    };
    let list: Vec<Arc<str>> = match value {
        Value::Set(entries) => entries.iter().map(text).collect::<Result<_, _>>()?,
        Value::Array(entries) => entries.iter().map(text).collect::<Result<_, _>>()?,
        other => return Err(format!("`obligations.{name}` is not a list but {}", kind(other))),
    };
    if list.len() > MAX_LIST_ENTRIES {
        return Err(format!("`obligations.{name}` has more than {MAX_LIST_ENTRIES} entries"));
    }
    Ok(list)
}

/// The text itself where it is short and printable, otherwise a cut and cleaned copy.
fn bounded(text: &Arc<str>, limit: usize) -> Arc<str> {
    if text.len() <= limit && !text.chars().any(char::is_control) {
        return text.clone();
    }
    let mut copy = String::with_capacity(limit.min(text.len()));
    for character in text.chars() {
        if copy.len() + character.len_utf8() > limit {
            break;
        }
        copy.push(if character.is_control() { ' ' } else { character });
    }
    copy.into()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Set(_) => "a set",
        Value::Object(_) => "an object",
        Value::Undefined => "undefined",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn output(json: &str) -> Result<Decision, String> {
        Decision::from_output(&Value::from_json_str(json).unwrap(), &Unnamed::default())
    }

    #[test]
    fn only_true_allows() {
        assert!(output("[true, false, false, false, false]").unwrap().allow);
        for allow in ["false", "null", "1", "\"true\"", "[true]", "{\"a\": true}"] {
            let decision = output(&format!("[{allow}, false, false, false, false]")).unwrap();
            assert!(!decision.allow, "{allow}");
            assert_eq!(&*decision.rule_id, DEFAULT_RULE);
        }
    }

    #[test]
    fn the_first_denial_by_rule_id_decides() {
        let deny = r#"[{"rule_id": "b", "reason": "a"}, {"rule_id": "a", "reason": "z"}]"#;
        let decision = output(&format!("[true, {deny}, false, false, false]")).unwrap();
        assert_eq!((decision.allow, &*decision.rule_id, &*decision.reason), (false, "a", "z"));
    }

    #[test]
    fn malformed_parts_are_errors() {
        for text in [
            "[true, true, false, false, false]",
            "[true, null, false, false, false]",
            "[true, [\"no\"], false, false, false]",
            "[true, [{\"rule_id\": \"a\"}], false, false, false]",
            "[true, [{\"rule_id\": \"\", \"reason\": \"r\"}], false, false, false]",
            "[true, {\"x\": 1}, false, false, false]",
            "[true, false, 7, false, false]",
            "[true, false, false, [], false]",
            "[true, false, false, false, {\"durabel\": true}]",
            "[true, false, false, false, {\"durable\": \"yes\"}]",
            "[true, false, false, false, {\"redact\": \"pii\"}]",
            "[true, false, false, false, {\"redact\": [1]}]",
            "[true, false, false, false]",
            "true",
        ] {
            assert!(output(text).is_err(), "{text}");
        }
    }

    #[test]
    fn obligations_are_read() {
        let text =
            r#"[true, false, "r", "because", {"redact": ["pii"], "scopes": ["a", "b"], "durable": true}]"#;
        let obligations = output(text).unwrap().obligations;
        assert_eq!(obligations.redact, [Arc::from("pii")]);
        assert_eq!(obligations.scopes.len(), 2);
        assert!(obligations.durable);
        assert!(!obligations.is_empty());
    }

    #[test]
    fn texts_are_cut_and_cleaned() {
        let long: Arc<str> = "ü\n".repeat(400).into();
        let cut = bounded(&long, MAX_REASON_BYTES);
        assert!(cut.len() <= MAX_REASON_BYTES && cut.len() > MAX_REASON_BYTES - 4);
        assert!(!cut.contains('\n'));
        let short: Arc<str> = "short".into();
        assert!(Arc::ptr_eq(&short, &bounded(&short, 10)));
    }
}
