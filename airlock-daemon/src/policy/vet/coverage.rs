//! The part of a policy that its tests reach.

use std::collections::{BTreeMap, BTreeSet};

use regorus::Engine;
use regorus::unstable::Rule;
use serde::Serialize;

use crate::policy::bundle::Bundle;
use crate::policy::syntax;
use crate::policy::syntax::probe::PolicyPiece;

/// The part of its policies that the tests of a bundle reach.
#[derive(Debug, Default, Serialize)]
pub struct Coverage {
    /// By file, without the test files.
    pub files: Vec<FileCoverage>,
    /// Lines reached of those that can be, in all files.
    pub percent: f64,
}

/// The part of one file that the tests reach.
#[derive(Debug, Serialize)]
pub struct FileCoverage {
    /// The file.
    pub file: String,
    /// Lines reached of those with something to evaluate, in percent.
    pub percent: f64,
    /// How many lines were evaluated.
    pub covered: usize,
    /// Lines that no test evaluated, in order.
    pub missed: Vec<u32>,
    /// Rules of which no test evaluated the last statement.
    pub unreached: Vec<PolicyPiece>,
}

/// Lines that were evaluated, and lines that could have been, by file.
#[derive(Default)]
pub(in crate::policy) struct Lines(BTreeMap<String, (BTreeSet<u32>, BTreeSet<u32>)>);

impl Lines {
    /// Adds what `engine` evaluated since its coverage was switched on.
    pub(in crate::policy) fn add(&mut self, engine: &Engine) {
        let Ok(report) = engine.get_coverage_report() else { return };
        for file in report.files {
            let (reached, known) = self.0.entry(file.path).or_default();
            known.extend(file.not_covered.iter().chain(&file.covered));
            reached.extend(file.covered);
        }
    }

    /// Lines of `file` that were evaluated.
    pub(in crate::policy) fn reached(&self, file: &str) -> Vec<u32> {
        self.0.get(file).map(|(reached, _)| reached.iter().copied().collect()).unwrap_or_default()
    }

    pub(in crate::policy) fn report(&self, bundle: &Bundle, engine: &mut Engine) -> Coverage {
        let nothing = (BTreeSet::new(), BTreeSet::new());
        let (mut files, mut all_reached, mut all_known) = (Vec::new(), 0, 0);
        for policy in &bundle.policies {
            let name = policy.path.display().to_string();
            let (reached, known) = self.0.get(&name).unwrap_or(&nothing);
            let rules =
                engine.get_modules().iter().filter(|module| *module.package.span.source.file() == name);
            let (mut unreached, mut known) = (Vec::new(), known.clone());
            for rule in rules.flat_map(|module| &module.policy) {
                let lines = ends_of(rule);
                if !lines.is_empty() && lines.is_disjoint(reached) {
                    unreached.push(PolicyPiece::line(rule.span()));
                    // A file of which nothing ran is in no report of the engine.
                    known.extend(lines);
                }
            }
            all_reached += reached.len();
            all_known += known.len();
            files.push(FileCoverage {
                file: name,
                percent: percent(reached.len(), known.len()),
                covered: reached.len(),
                missed: known.difference(reached).copied().collect(),
                unreached,
            });
        }
        Coverage { files, percent: percent(all_reached, all_known) }
    }
}

/// The lines of the last statement of each body of a rule; of its value where it has no body; none for a
/// constant.
fn ends_of(rule: &Rule) -> BTreeSet<u32> {
    let mut lines = BTreeSet::new();
    if let Rule::Spec { bodies, .. } = rule {
        lines.extend(bodies.iter().filter_map(|body| Some(body.query.stmts.last()?.span.line)));
        if lines.is_empty() {
            syntax::roots(rule, &mut |expr| {
                lines.insert(expr.span().line);
            });
        }
    }
    lines
}

#[allow(clippy::cast_precision_loss, reason = "files have at most a million lines")]
fn percent(part: usize, whole: usize) -> f64 {
    if whole == 0 { 100.0 } else { part as f64 * 100.0 / whole as f64 }
}
