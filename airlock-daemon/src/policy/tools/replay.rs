//! Decisions of the audit log under another policy.
//!
//! A log has no arguments and no free claims. A decision is certain where nothing that decides it reads what
//! is missing: a definition that fails at a statement before the first that does cannot hold whatever was
//! sent, and one that reads nothing missing holds or fails as it does here. Whatever else might tip the
//! decision leaves it open.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use regorus::Value;

use super::explain::OUTPUTS;
use super::recorded::{Known, Rebuilt, Recorded, Verdict};
use super::unprobed::Unprobed;
use crate::policy::bundle::Bundle;
use crate::policy::document::decision::{Decision, ERROR_RULE};
use crate::policy::engine::PolicyEngine;
use crate::policy::engine::compile::{gate, parse};
use crate::policy::error::PolicyError;
use crate::policy::syntax::probe::{self, Definition, Outcome, Probes};
use crate::policy::syntax::reads::{Paths, Reads, touches};

/// Judgements that are kept for records with the same question.
const MAX_KEPT: usize = 65_536;

/// The fate of a recorded decision under another policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// It stays.
    Same,
    /// It would be another.
    Changed {
        /// The decision as it would be.
        now: Verdict,
        /// By which rule.
        rule_id: String,
    },
    /// It depends on these parts of the input, which are not on record.
    Open(Vec<String>),
}

/// A policy that is asked about recorded decisions.
pub struct Replay {
    new: Side,
    old: Option<Side>,
    timed: bool,
    kept: HashMap<Recorded, Judgement>,
}

/// One policy.
struct Side {
    engine: PolicyEngine,
    probes: Probes,
    unprobed: Unprobed,
    reads: Paths,
    data: Value,
}

/// The answer of a policy to a question with unknown parts.
struct Weighed {
    /// The decision with nothing in the place of what is unknown.
    decision: Decision,
    verdict: Option<Verdict>,
    /// Definitions, by their place, that may or may not hold and could tip the decision.
    live: Vec<usize>,
    missing: Vec<String>,
}

impl Replay {
    /// Loads the policy at `path`, and the one that was in force at `against`, where that is at hand: what
    /// both have in common decides now as it did then.
    ///
    /// # Errors
    /// A bundle that does not load.
    pub fn load(path: &Path, against: Option<&Path>) -> Result<Self, PolicyError> {
        let (new, old) = (Side::load(path)?, against.map(Side::load).transpose()?);
        let timed = [Some(&new), old.as_ref()].into_iter().flatten().any(|side| touches(&side.reads, "time"));
        Ok(Self { new, old, timed, kept: HashMap::new() })
    }

    /// The fate of a recorded decision.
    pub fn judge(&mut self, recorded: &Recorded) -> Judgement {
        let essence = recorded.essence(self.timed);
        if let Some(judgement) = self.kept.get(&essence) {
            return judgement.clone();
        }
        let judgement = self.judge_anew(recorded);
        if self.kept.len() < MAX_KEPT {
            self.kept.insert(essence, judgement.clone());
        }
        judgement
    }

    fn judge_anew(&mut self, recorded: &Recorded) -> Judgement {
        // Without arguments to check, nothing in a record keeps it from being put together.
        let Ok(rebuilt) = recorded.rebuild(Known::default()) else {
            return Judgement::Open(vec!["call.arguments".to_owned()]);
        };
        if recorded.rule_id.as_deref() == Some(ERROR_RULE) {
            // It was refused because the policy failed, perhaps over arguments that are unknown.
            return Judgement::Open(vec!["call.arguments".to_owned()]);
        }
        let was = recorded.verdict();
        let new = self.new.weigh(&rebuilt);
        match new.verdict {
            Some(now) if now == was => Judgement::Same,
            Some(now) => Judgement::Changed { now, rule_id: new.decision.rule_id.to_string() },
            None if self.settled(recorded, &new, &rebuilt) => Judgement::Same,
            None => Judgement::Open(new.missing),
        }
    }

    /// True where all that is open decides now as it did under the policy that was in force.
    fn settled(&mut self, recorded: &Recorded, new: &Weighed, rebuilt: &Rebuilt) -> bool {
        let Some(old) = &mut self.old else { return false };
        let all: Vec<&Definition> = self.new.probes.definitions().collect();
        let live: Vec<&Definition> = new.live.iter().filter_map(|at| all.get(*at).copied()).collect();
        if self.new.unprobed.is_unknown || old.unprobed.is_unknown {
            return false;
        }
        if !live.iter().all(|it| it.rule == OUTPUTS[1] && old.has(it, &self.new.data)) {
            return false;
        }
        // The record must be one of that policy's.
        let before = old.weigh(rebuilt);
        if before.verdict.is_some_and(|verdict| verdict != recorded.verdict()) {
            return false;
        }
        match recorded.verdict() {
            // None of them held then, and without them the new policy allows.
            Verdict::Allow => new.decision.allow,
            // One of them refused, and still does.
            Verdict::Deny => live.iter().any(|it| it.label.is_some() && it.label == recorded.rule_id),
        }
    }
}

impl Side {
    fn load(path: &Path) -> Result<Self, PolicyError> {
        let bundle = Bundle::read(path)?;
        let engine = PolicyEngine::from_bundle(&bundle)?;
        let mut interpreter = parse(bundle.policies.iter())?;
        gate(path, &mut interpreter)?;
        interpreter
            .add_data(bundle.data.clone())
            .map_err(|error| PolicyError::from_rego(path, &error.to_string()))?;
        let modules = interpreter.get_modules();
        let (reads, unprobed) = (Reads::new(modules), Unprobed::of(modules));
        let mut definitions = probe::definitions(modules, &reads);
        definitions.retain(|definition| OUTPUTS.contains(&definition.rule.as_str()));
        let reads = reads.of(OUTPUTS);
        let probes = Probes::new(&interpreter, definitions);
        Ok(Self { engine, probes, unprobed, reads, data: bundle.data })
    }

    /// True where this policy has the same definition, over the same rules and data.
    fn has(&self, other: &Definition, data: &Value) -> bool {
        let here = self.probes.definitions().any(|own| own.rule == other.rule && own.basis == other.basis);
        // Names that are no data are undefined in both.
        here && other.basis.data.iter().all(|path| {
            let at = |data: &Value| path.split('.').fold(data.clone(), |value, key| value[key].clone());
            at(&self.data) == at(data)
        })
    }

    fn weigh(&mut self, rebuilt: &Rebuilt) -> Weighed {
        let decision = self.engine.decide(&rebuilt.asked.question());
        let missing: Vec<&'static str> =
            rebuilt.unknown.iter().copied().filter(|part| touches(&self.reads, part)).collect();
        let missing_names = missing.iter().map(|part| (*part).to_owned()).collect();
        let effective = effective(&decision, rebuilt);
        if missing.is_empty() {
            return Weighed { decision, verdict: Some(effective), live: Vec::new(), missing: missing_names };
        }
        let Ok(document) = rebuilt.asked.document() else {
            return Weighed { decision, verdict: None, live: Vec::new(), missing: missing_names };
        };
        let blind = |paths: &Paths| missing.iter().any(|part| touches(paths, part));
        let mut live = Vec::new();
        let (mut refused, mut allowed, mut unsure_of_obligations) = (false, false, false);
        let (mut could_refuse, mut could_allow) = (false, false);
        let outcomes = self.probes.outcomes(Some(document));
        for (place, (definition, outcome)) in self.probes.definitions().zip(outcomes).enumerate() {
            let first = definition.statement_reads.iter().position(blind);
            let first =
                first.or_else(|| blind(&definition.value_reads).then_some(definition.statement_reads.len()));
            let rule = definition.rule.as_str();
            match (first, outcome) {
                // It reads nothing that is missing.
                (None, Outcome::Held(value)) => {
                    refused |= rule == OUTPUTS[1];
                    allowed |= rule == OUTPUTS[0] && value == Value::Bool(true);
                }
                (None, Outcome::Failed(..)) => {}
                // An error refuses, whatever is missing.
                (None, Outcome::Erred(..)) => refused = true,
                (Some(first), Outcome::Erred(at, ..)) if at < first => refused = true,
                // It fails whatever is missing.
                (Some(first), Outcome::Failed(at, _)) if at < first => {}
                // Names and reasons of what is allowed do not decide, unless they may end in an error.
                (_, _) if (rule == OUTPUTS[2] || rule == OUTPUTS[3]) && !definition.basis.can_fail => {}
                (_, _) if rule == OUTPUTS[4] => unsure_of_obligations = true,
                (_, _) => {
                    could_allow |= rule == OUTPUTS[0];
                    could_refuse |= rule == OUTPUTS[1] || definition.basis.can_fail;
                    live.push(place);
                }
            }
        }
        let unprobed = self.unprobed;
        let (refused, allowed) = (refused || unprobed.refuses, allowed || unprobed.allows);
        let verdict = if refused {
            Some(Verdict::Deny)
        } else if unprobed.is_unknown {
            None
        } else if live.is_empty() && !unsure_of_obligations {
            // Nothing that reads what is missing had a say.
            Some(effective)
        } else if !allowed && !could_allow && !unprobed.may_allow {
            Some(Verdict::Deny)
        } else if allowed && !could_refuse && !unsure_of_obligations {
            Some(effective)
        } else {
            None
        };
        Weighed { decision, verdict, live, missing: missing_names }
    }
}

/// The client's answer: a token that lacks a scope is refused although the policy allows.
fn effective(decision: &Decision, rebuilt: &Rebuilt) -> Verdict {
    let question = rebuilt.asked.question();
    let has: BTreeSet<&str> = question.subject.scopes.iter().map(String::as_str).collect();
    let enough = decision.obligations.scopes.iter().all(|scope| has.contains(&**scope));
    if decision.allow && enough { Verdict::Allow } else { Verdict::Deny }
}
