//! Constructs that the engine does not run safely, found in the syntax tree.
//!
//! The bytecode machine drops an error inside a rule and goes on as if the rule were undefined. Where the
//! rule is one that refuses, that would open the door. The interpreter reports such errors, so a policy that
//! can have them runs there. Functions whose memory grows with their arguments are refused altogether.

use std::collections::BTreeMap;

use regorus::Value;
use regorus::unstable::{Expr, Literal, Module, Ref, Rule, RuleBody, RuleHead};

use super::undefined;
use crate::policy::error::PolicyError;
use crate::policy::package::{ENTRY_PACKAGE, PACKAGE};
use crate::policy::syntax;
use crate::policy::syntax::cycles::CallGraph;

/// Builtins that allocate as much as their arguments say before any limit is looked at.
const UNBOUNDED: [&str; 2] = ["numbers.range", "numbers.range_step"];
/// Outputs whose conflict can only refuse or leave a call unnamed.
const HARMLESS: [&str; 3] = ["allow", "rule_id", "reason"];

/// Refuses what no engine limits, and what every engine gets wrong.
///
/// # Errors
/// Names the call.
pub(in crate::policy) fn refuse(modules: &[Ref<Module>]) -> Result<(), PolicyError> {
    let mut found = None;
    for rule in modules.iter().flat_map(|module| module.policy.iter()) {
        syntax::every(rule, &mut |expr| {
            if let Expr::Call { fcn, params, span, .. } = expr {
                let name = syntax::static_path(fcn).join(".");
                let constant = params.iter().all(|param| matches!(&**param, Expr::Number { .. }));
                if UNBOUNDED.contains(&name.as_str()) && !constant {
                    found = Some((syntax::place(span), name));
                }
            }
        });
    }
    if let Some(place) = misread_glob(modules) {
        return Err(PolicyError::new(
            place,
            "`glob.match` is not reliable here with the delimiter `:`, or with delimiters that are computed: `*` would match across it",
            "list other delimiters as text, such as `[\"/\"]`, or compare the parts of `split(…, \":\")`",
        ));
    }
    match found {
        None => Ok(()),
        Some((place, name)) => Err(PolicyError::new(
            place,
            format!("`{name}` with computed bounds could exhaust the daemon's memory"),
            "use constant bounds, or compare with `<` and `>` instead of listing the range",
        )),
    }
}

/// Where `glob.match` is asked for a delimiter that the engine does not take for one: `:`, or what is not
/// known before it runs.
fn misread_glob(modules: &[Ref<Module>]) -> Option<String> {
    let known = |delimiter: &Expr| matches!(constant(delimiter), Some(Value::String(text)) if &*text != ":");
    let mut found = None;
    for rule in modules.iter().flat_map(|module| module.policy.iter()) {
        syntax::every(rule, &mut |expr| {
            if let Expr::Call { fcn, params, span, .. } = expr
                && syntax::static_path(fcn).join(".") == "glob.match"
            {
                let sound = match params.get(1).map(|delimiters| &**delimiters) {
                    Some(Expr::Null { .. }) => true,
                    Some(Expr::Array { items, .. }) => items.iter().all(|item| known(item)),
                    _ => false,
                };
                if !sound {
                    found.get_or_insert_with(|| syntax::place(span));
                }
            }
        });
    }
    found
}

/// Why a policy must run in the interpreter, if it must.
pub(in crate::policy) fn needs_interpreter(modules: &[Ref<Module>], graph: &CallGraph) -> Option<String> {
    let mut reason = None;
    let names = undefined::rule_names(modules);
    let mut definitions: BTreeMap<Vec<String>, Vec<&Rule>> = BTreeMap::new();
    for module in modules {
        let package = syntax::static_path(&module.package.refr);
        if package.first().is_some_and(|name| name == ENTRY_PACKAGE) {
            continue;
        }
        for rule in &module.policy {
            let mut path = package.clone();
            path.extend(syntax::static_path(syntax::head(rule)));
            definitions.entry(path).or_default().push(rule);
            // Bytecode loses the key of `p[k] contains v`, and keeps either value where `p[k] := v`
            // contradicts itself.
            if !matches!(syntax::head(rule), Expr::Var { .. }) {
                let span = rule.span();
                reason.get_or_insert_with(|| {
                    format!("the rule at {} has more than a name", syntax::place(span))
                });
            }
            // Bytecode takes `every` for true where its body looks something up.
            syntax::queries(rule, &mut |query| {
                let found =
                    query.stmts.iter().find(|statement| matches!(statement.literal, Literal::Every { .. }));
                if let Some(statement) = found {
                    let place = syntax::place(&statement.span);
                    reason.get_or_insert_with(|| format!("`every` at {place} is not reliable in bytecode"));
                }
            });
            syntax::every(rule, &mut |expr| {
                // Bytecode never leaves a comprehension that has no loop and a condition that fails.
                if let Expr::ArrayCompr { query, span, .. }
                | Expr::SetCompr { query, span, .. }
                | Expr::ObjectCompr { query, span, .. } = expr
                    && !undefined::iterates(query)
                {
                    let place = syntax::place(span);
                    reason.get_or_insert_with(|| format!("the comprehension at {place} has no loop"));
                }
                if let Some((what, span)) = can_fail(expr) {
                    reason.get_or_insert_with(|| format!("{what} at {} can fail", syntax::place(span)));
                }
                if let Some(span) = undefined::in_comprehension(expr, &names) {
                    let place = syntax::place(span);
                    reason.get_or_insert_with(|| {
                        format!("the comprehension at {place} may collect an undefined value")
                    });
                }
            });
        }
    }
    for (path, rules) in definitions {
        let harmless = HARMLESS.iter().any(|name| {
            path.iter().eq(PACKAGE.iter().chain([name]))
                && !graph.is_read(&[PACKAGE[0], PACKAGE[1], name], ENTRY_PACKAGE)
        });
        if reason.is_none() && !harmless && can_conflict(&rules) {
            let place = rules.last().map_or_else(String::new, |rule| syntax::place(rule.span()));
            reason = Some(format!(
                "the definitions of `{}` (one at {place}) can contradict each other",
                path.join(".")
            ));
        }
    }
    reason
}

/// Operators that fail on a wrong type instead of being undefined.
fn can_fail(expr: &Expr) -> Option<(&'static str, &regorus::unstable::Span)> {
    match expr {
        Expr::ArithExpr { span, .. } => Some(("arithmetic", span)),
        Expr::BinExpr { span, .. } => Some(("a set operation", span)),
        Expr::UnaryExpr { span, expr, .. } if !matches!(&**expr, Expr::Number { .. }) => {
            Some(("negation", span))
        }
        _ => None,
    }
}

/// True where several definitions of a complete rule or function might give different values for one input.
fn can_conflict(rules: &[&Rule]) -> bool {
    let mut seen: Option<Option<Value>> = None;
    for rule in rules {
        let Rule::Spec { head, bodies, .. } = rule else { continue };
        let assign = match head {
            RuleHead::Set { key: Some(_), .. } => continue,
            RuleHead::Set { key: None, .. } => None,
            RuleHead::Compr { assign, .. } | RuleHead::Func { assign, .. } => assign.as_ref(),
        };
        let otherwise = |body: &RuleBody| body.is_else;
        let several =
            bodies.iter().filter(|body| !otherwise(body)).count() > 1 || bodies.iter().any(otherwise);
        let value = match assign {
            None => Some(Value::Bool(true)),
            Some(assign) => constant(&assign.value),
        };
        // One definition cannot contradict itself, unless its head or its body yields several values.
        let value = if several && bodies.iter().any(|body| body.assign.is_some()) { None } else { value };
        match &seen {
            None => seen = Some(value),
            Some(first) if first.is_some() && *first == value => {}
            Some(_) => return true,
        }
    }
    false
}

fn constant(expr: &Expr) -> Option<Value> {
    match expr {
        Expr::String { value, .. }
        | Expr::RawString { value, .. }
        | Expr::Number { value, .. }
        | Expr::Bool { value, .. }
        | Expr::Null { value, .. } => Some(value.clone()),
        _ => None,
    }
}
