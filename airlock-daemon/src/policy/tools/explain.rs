//! Why a policy decides as it does: which rules hold, which do not, and where each of them stands.

use std::collections::BTreeSet;
use std::path::Path;

use regorus::Value;
use regorus::unstable::Rule;
use serde::Serialize;

use crate::policy::bundle::Bundle;
use crate::policy::document::asked::Asked;
use crate::policy::document::decision::{DEFAULT_RULE, Decision, ERROR_RULE};
use crate::policy::engine::PolicyEngine;
use crate::policy::engine::compile::{ENTRY_POINT, gate, parse};
use crate::policy::error::PolicyError;
use crate::policy::lint::clear::Clarity;
use crate::policy::package::ENTRY_PACKAGE;
use crate::policy::syntax::probe::{Definition, Outcome, PolicyPiece, Probes};
use crate::policy::syntax::reads::{Reads, touches};
use crate::policy::syntax::{self, probe, strict};
use crate::policy::vet::coverage::Lines;

/// The rules that make up a decision.
pub(in crate::policy) const OUTPUTS: [&str; 5] = [
    "airlock.authz.allow",
    "airlock.authz.deny",
    "airlock.authz.rule_id",
    "airlock.authz.reason",
    "airlock.authz.obligations",
];
/// The longest value that is shown, in bytes.
const MAX_VALUE: usize = 400;

/// A decision and what led to it.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// True where the call is allowed; obligations may still refuse it.
    pub allow: bool,
    /// The rule that decided.
    pub rule_id: String,
    /// Why, as the client is told.
    pub reason: String,
    /// The obligations of an allowed call.
    pub obligations: Asks,
    /// Where what decided is written.
    pub decided_by: Vec<PolicyPiece>,
    /// Why the policy could not be evaluated, where it could not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Rules that hold.
    pub held: Vec<Held>,
    /// Rules that do not, each with its first statement that is not true.
    pub failed: Vec<Failed>,
    /// Lines that were evaluated, by file.
    pub evaluated: Vec<Evaluated>,
    /// The parts of the input that the policy reads and nobody knows.
    pub unknown: Vec<String>,
    /// Why the call is refused before the policy is asked, unless `policy.arguments` is `lenient`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unclear: Option<String>,
}

/// Obligations of a decision.
#[derive(Debug, Default, Serialize)]
pub struct Asks {
    /// Detectors or packs for the answer.
    pub redact: Vec<String>,
    /// Scopes that the token must carry.
    pub scopes: Vec<String>,
    /// Those of them that it does not.
    pub missing_scopes: Vec<String>,
    /// True where the record must be on disk before the call.
    pub durable: bool,
}

/// A rule that holds.
#[derive(Debug, Serialize)]
pub struct Held {
    /// `package.name`.
    pub rule: String,
    /// The `rule_id` that it adds to `deny`, where that is constant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_id: Option<String>,
    /// Where it begins.
    pub source: PolicyPiece,
    /// Its value, as JSON; long values are cut.
    pub value: String,
}

/// A rule that does not hold.
#[derive(Debug, Serialize)]
pub struct Failed {
    /// `package.name`.
    pub rule: String,
    /// The `rule_id` that it would add to `deny`, where that is constant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_id: Option<String>,
    /// Where it begins.
    pub source: PolicyPiece,
    /// The first statement that is not true; absent where it cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<PolicyPiece>,
    /// The error that it ended in there, which refuses the call whatever else holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Lines of a file.
#[derive(Debug, Serialize)]
pub struct Evaluated {
    /// The file.
    pub file: String,
    /// The lines, in order.
    pub lines: Vec<u32>,
}

/// Decides `asked` under the bundle at `path` and tells why. `unknown` are parts of the input that `asked`
/// has nothing for.
///
/// # Errors
/// A bundle that does not load.
pub fn explain(
    path: &Path,
    asked: &Asked,
    unknown: &BTreeSet<&'static str>,
) -> Result<Explanation, PolicyError> {
    let bundle = Bundle::read(path)?;
    let policy = PolicyEngine::from_bundle(&bundle)?;
    let decision = policy.decide(&asked.question());
    let unclear = asked.question().call.arguments.and_then(|arguments| {
        let clarity = Clarity { members: true, numbers: false };
        policy.clear(arguments, clarity).err().map(|unclear| unclear.to_string())
    });
    let mut engine = parse(bundle.policies.iter())?;
    gate(path, &mut engine)?;
    engine.add_data(bundle.data.clone()).map_err(|error| PolicyError::from_rego(path, &error.to_string()))?;
    let modules = engine.get_modules().clone();
    let reads = Reads::new(&modules);
    let read = reads.of(OUTPUTS);
    let mut definitions = probe::definitions(&modules, &reads);
    definitions.retain(|definition| !definition.rule.starts_with(ENTRY_PACKAGE));
    let mut explanation = Explanation {
        allow: decision.allow,
        rule_id: decision.rule_id.to_string(),
        reason: decision.reason.to_string(),
        obligations: asks(&decision, asked),
        decided_by: Vec::new(),
        error: None,
        held: Vec::new(),
        failed: Vec::new(),
        evaluated: Vec::new(),
        unclear,
        unknown: unknown.iter().filter(|part| touches(&read, part)).map(|part| (*part).to_owned()).collect(),
    };
    let document = match asked.document() {
        Ok(document) => document,
        Err(error) => {
            explanation.error = Some(error);
            return Ok(explanation);
        }
    };
    let mut probes = Probes::new(&engine, definitions);
    let outcomes = probes.outcomes(Some(document.clone()));
    for (definition, outcome) in probes.definitions().zip(outcomes) {
        if decides(definition, &outcome, &decision) {
            explanation.decided_by.push(definition.source.clone());
        }
        let (rule, rule_id, source) =
            (definition.rule.clone(), definition.label.clone(), definition.source.clone());
        match outcome {
            Outcome::Held(value) => {
                explanation.held.push(Held { rule, rule_id, source, value: shown(&value) });
            }
            Outcome::Failed(_, at) => {
                explanation.failed.push(Failed { rule, rule_id, source, at: Some(at), error: None });
            }
            Outcome::Erred(_, at, error) => {
                explanation.failed.push(Failed { rule, rule_id, source, at: Some(at), error: Some(error) });
            }
            Outcome::Unknown => {
                explanation.failed.push(Failed { rule, rule_id, source, at: None, error: None });
            }
        }
    }
    if !decision.allow && &*decision.rule_id == DEFAULT_RULE {
        let default = |rule: &&regorus::unstable::Ref<Rule>| {
            matches!(***rule, Rule::Default { .. }) && syntax::static_path(syntax::head(rule)) == ["allow"]
        };
        let rules = modules.iter().flat_map(|module| &module.policy).filter(default);
        explanation.decided_by.extend(rules.map(|rule| PolicyPiece::line(rule.span())));
        explanation.decided_by.retain(|source| !source.file.starts_with("airlock_entry"));
    }
    engine.set_enable_coverage(true);
    engine.set_input(document);
    let evaluated = engine.eval_rule(ENTRY_POINT.to_owned());
    // The decision's own error where it has one: it may have run in the other engine.
    explanation.error = decision
        .detail
        .as_deref()
        .map(str::to_owned)
        .or_else(|| evaluated.err().map(|error| strict::failure_of_interpreter(&error.to_string())));
    let mut lines = Lines::default();
    lines.add(&engine);
    let files = bundle.policies.iter().map(|policy| policy.path.display().to_string());
    explanation.evaluated = files.map(|file| Evaluated { lines: lines.reached(&file), file }).collect();
    Ok(explanation)
}

fn asks(decision: &Decision, asked: &Asked) -> Asks {
    let obligations = &decision.obligations;
    let texts = |list: &[std::sync::Arc<str>]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let scopes = texts(&obligations.scopes);
    let has = &asked.question().subject.scopes;
    Asks {
        redact: texts(&obligations.redact),
        missing_scopes: scopes.iter().filter(|scope| !has.contains(scope)).cloned().collect(),
        scopes,
        durable: obligations.durable,
    }
}

/// True where this is what the decision comes from.
fn decides(definition: &Definition, outcome: &Outcome, decision: &Decision) -> bool {
    let value = match outcome {
        Outcome::Held(value) => value,
        Outcome::Erred(..) => return &*decision.rule_id == ERROR_RULE,
        Outcome::Failed(..) | Outcome::Unknown => return false,
    };
    match definition.rule.as_str() {
        "airlock.authz.allow" => decision.allow && *value == Value::Bool(true),
        "airlock.authz.deny" => {
            let is_it = |entry: &Value| {
                let reason = if matches!(entry, Value::String(_)) { entry } else { &entry["reason"] };
                let is_named = match &entry["rule_id"] {
                    Value::String(rule) => **rule == *decision.rule_id,
                    // It is told by its place.
                    _ => decision.rule_id.split(" or ").any(|place| {
                        let own = format!("/{}:{}", definition.source.file, definition.source.line);
                        own.ends_with(&format!("/{place}"))
                    }),
                };
                is_named && matches!(reason, Value::String(reason) if **reason == *decision.reason)
            };
            !decision.allow && matches!(value, Value::Set(entries) if entries.iter().any(is_it))
        }
        _ => false,
    }
}

fn shown(value: &Value) -> String {
    let mut text = serde_json::to_string(value).unwrap_or_else(|_| value.to_string());
    if text.len() > MAX_VALUE {
        let end = (0..=MAX_VALUE).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}
