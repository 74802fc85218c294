//! OPA, and its answers read by the contract of Airlock's policies.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use airlock::policy::{Decision, ERROR_RULE};
use serde_json::{Value, json};

use crate::Bundle;

/// Gathers the outputs of a policy; what is undefined is left out.
const ENTRY: &str = r#"package oracle
import rego.v1
answer["allow"] := data.airlock.authz.allow
answer["deny"] := data.airlock.authz.deny
answer["rule_id"] := data.airlock.authz.rule_id
answer["reason"] := data.airlock.authz.reason
answer["obligations"] := data.airlock.authz.obligations
"#;

/// A decision, whoever made it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Decided {
        allow: bool,
        rule_id: String,
        reason: String,
        obligations: (Vec<String>, Vec<String>, bool),
    },
    /// Evaluation failed or gave what the contract does not know: a refusal.
    Failed,
}

impl From<Decision> for Answer {
    fn from(decision: Decision) -> Self {
        if &*decision.rule_id == ERROR_RULE {
            assert!(!decision.allow);
            return Self::Failed;
        }
        let texts = |list: &[std::sync::Arc<str>]| list.iter().map(ToString::to_string).collect();
        let obligations = &decision.obligations;
        Self::Decided {
            allow: decision.allow,
            rule_id: decision.rule_id.to_string(),
            reason: decision.reason.to_string(),
            obligations: (texts(&obligations.redact), texts(&obligations.scopes), obligations.durable),
        }
    }
}

impl Answer {
    /// The same with `default` where a call is allowed by a rule without a name, which Airlock tells by file
    /// and line.
    pub(crate) fn without_places(self) -> Self {
        match self {
            Self::Decided { allow: true, rule_id, reason, obligations } => {
                let is_place =
                    rule_id.rsplit_once(".rego:").is_some_and(|(_, line)| line.parse::<u32>().is_ok());
                let rule_id = if is_place { "default".to_owned() } else { rule_id };
                Self::Decided { allow: true, rule_id, reason, obligations }
            }
            other => other,
        }
    }
}

/// The contract, written a second time: it shares no line with the engine.
fn read(line: &Value) -> Answer {
    let Some(answer) = line.get("result").and_then(Value::as_object) else {
        assert!(line.get("error").is_some(), "OPA answers {line}");
        return Answer::Failed;
    };
    let denials: Option<Vec<(&str, &str)>> = answer.get("deny").map_or(Some(Vec::new()), |deny| {
        deny.as_array()?
            .iter()
            .map(|entry| match entry.as_str() {
                // The one text in the shapes, told by where it stands.
                Some(text) => Some(("authz.rego:44", text)),
                None => Some((entry["rule_id"].as_str()?, entry["reason"].as_str()?)),
            })
            .collect()
    });
    let Some(denials) = denials else { return Answer::Failed };
    let decided = |allow, rule_id: &str, reason: &str, obligations| Answer::Decided {
        allow,
        rule_id: bounded(rule_id, 128),
        reason: bounded(reason, 512),
        obligations,
    };
    let nothing = (Vec::new(), Vec::new(), false);
    if denials.iter().any(|(rule_id, _)| rule_id.is_empty()) {
        return Answer::Failed;
    }
    if let Some((rule_id, reason)) = denials.iter().min() {
        return decided(false, rule_id, reason, nothing);
    }
    if answer.get("allow") != Some(&Value::Bool(true)) {
        return decided(false, "default", "no rule of the policy allows this call", nothing);
    }
    let text = |name: &str, otherwise: &'static str| match answer.get(name) {
        None | Some(Value::Bool(false)) => Some(otherwise.to_owned()),
        Some(value) => value.as_str().map(str::to_owned),
    };
    let list = |value: &Value| -> Option<Vec<String>> {
        value.as_array()?.iter().map(|entry| entry.as_str().map(str::to_owned)).collect()
    };
    let mut obligations = nothing;
    match answer.get("obligations") {
        None | Some(Value::Bool(false)) => {}
        Some(Value::Object(fields)) => {
            for (key, value) in fields {
                let known = match key.as_str() {
                    "redact" => list(value).map(|names| obligations.0 = names),
                    "scopes" => list(value).map(|names| obligations.1 = names),
                    "durable" => value.as_bool().map(|durable| obligations.2 = durable),
                    _ => None,
                };
                if known.is_none() {
                    return Answer::Failed;
                }
            }
        }
        Some(_) => return Answer::Failed,
    }
    match (text("rule_id", "default"), text("reason", "allowed")) {
        (Some(rule_id), Some(reason)) => decided(true, &rule_id, &reason, obligations),
        _ => Answer::Failed,
    }
}

/// At most `limit` bytes, and nothing that steers a terminal.
fn bounded(text: &str, limit: usize) -> String {
    let clean = text.replace(char::is_control, " ");
    let end = clean.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= limit).last();
    clean[..end.unwrap_or(0)].to_owned()
}

/// Where OPA is.
pub(crate) struct Oracle {
    python: PathBuf,
    library: PathBuf,
}

impl Oracle {
    /// OPA in the tools directory, or why there is none.
    pub(crate) fn find() -> Result<Self, String> {
        let beside = || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../tools");
        let tools = std::env::var_os("AIRLOCK_TOOLS").map_or_else(beside, PathBuf::from);
        let there = |path: &str| {
            let file = tools.join(path);
            if file.exists() {
                Ok(file)
            } else {
                Err(format!("{path} is not installed: `cargo xtask tools` does it"))
            }
        };
        Ok(Self { python: there("python/bin/python")?, library: there("opa/opa_bindings/libopabridge.so")? })
    }

    /// OPA's decision for each input.
    pub(crate) fn ask(&self, bundle: &Bundle, inputs: &[&Value]) -> Vec<Answer> {
        let entry = ("oracle.rego".to_owned(), ENTRY.to_owned());
        let modules: Vec<_> = bundle.modules.iter().chain([&entry]).collect();
        let asked = json!({
            "library": self.library, "modules": modules, "data": bundle.data, "query": "data.oracle.answer",
            "inputs": inputs,
        });
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/opa/oracle.py");
        let mut child = Command::new(&self.python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("an installed Python");
        // The script reads everything before it writes anything.
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(asked.to_string().as_bytes()).expect("the script reads");
        drop(stdin);
        let output = child.wait_with_output().expect("an end");
        assert!(output.status.success(), "{}: OPA ends with {}", bundle.path.display(), output.status);
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.lines().map(|line| read(&serde_json::from_str(line).expect("JSON"))).collect()
    }
}
