//! Where the engines lose track of undefined values.
//!
//! In Rego an undefined value ends the round of the loop it occurs in. Measured on regorus 0.14.1:
//! - `x := data.m[g] if some g in …`: both engines forget the value of an earlier round when the last is
//!   undefined;
//! - `p contains data.m[g] if some g in …`: the interpreter forgets the elements of all rounds;
//! - `[data.m[g] | …]` and `{g: data.m[g] | …}`: bytecode collects the string `<undefined>`.
//!
//! Each of these could lose a refusal, so each is kept from the engine that gets it wrong.
//! [`super::assigned`] mends another: `x := data.m[g]`, which bytecode passes over. `y := data.m[g]` in the
//! body and `y` in the head are right everywhere, which is what the errors advise.

use std::collections::BTreeSet;

use regorus::unstable::{Expr, Literal, Module, Query, Ref, Rule, RuleHead, Span};

use crate::policy::document::shape;
use crate::policy::error::PolicyError;
use crate::policy::syntax::{self, RefStep};

const REMEDY: &str = "bind the value in the body (`value := …`) and use `value` in the head";
/// The names that mean a rule rather than a variable.
pub(super) fn rule_names(modules: &[Ref<Module>]) -> BTreeSet<String> {
    let rules = modules.iter().flat_map(|module| module.policy.iter());
    let imports = modules.iter().flat_map(|module| module.imports.iter());
    rules
        .filter_map(|rule| syntax::static_path(syntax::head(rule)).into_iter().next())
        .chain(imports.filter_map(|import| match &import.r#as {
            Some(alias) => Some(alias.text().to_owned()),
            None => syntax::static_path(&import.refr).pop(),
        }))
        .collect()
}

/// Refuses what no engine gets right.
///
/// # Errors
/// Names the rule.
pub(in crate::policy) fn refuse(modules: &[Ref<Module>]) -> Result<(), PolicyError> {
    let names = rule_names(modules);
    for rule in modules.iter().flat_map(|module| module.policy.iter()) {
        let Rule::Spec { head, bodies, .. } = &**rule else { continue };
        let value = match head {
            RuleHead::Compr { assign, .. } | RuleHead::Func { assign, .. } => assign.as_ref(),
            RuleHead::Set { .. } => None,
        };
        let values = bodies.iter().filter_map(|body| body.assign.as_ref()).chain(value);
        let loops = bodies.iter().any(|body| iterates(&body.query));
        for assign in values {
            if loops && may_be_undefined(&assign.value, &names) {
                return Err(PolicyError::new(
                    syntax::place(&assign.span),
                    "this value may be undefined in some rounds of the body's loop, and the engine then forgets the others",
                    REMEDY,
                ));
            }
        }
    }
    Ok(())
}

/// Refuses what only bytecode gets right, for a policy that cannot run as bytecode because of `reason`.
///
/// # Errors
/// Names the rule and the reason.
pub(in crate::policy) fn refuse_in_interpreter(
    modules: &[Ref<Module>],
    reason: &str,
) -> Result<(), PolicyError> {
    let names = rule_names(modules);
    for rule in modules.iter().flat_map(|module| module.policy.iter()) {
        if let Rule::Spec { head: RuleHead::Set { key: Some(key), span, .. }, .. } = &**rule
            && may_be_undefined(key, &names)
        {
            return Err(PolicyError::new(
                syntax::place(span),
                format!(
                    "this element may be undefined, which the interpreter gets wrong; it is needed because {reason}"
                ),
                REMEDY,
            ));
        }
    }
    Ok(())
}

/// The place of a comprehension whose term may be undefined, where `expr` is one that bytecode gets wrong.
pub(super) fn in_comprehension<'a>(expr: &'a Expr, names: &BTreeSet<String>) -> Option<&'a Span> {
    match expr {
        Expr::ArrayCompr { term, span, .. } if may_be_undefined(term, names) => Some(span),
        Expr::ObjectCompr { key, value, span, .. }
            if may_be_undefined(key, names) || may_be_undefined(value, names) =>
        {
            Some(span)
        }
        _ => None,
    }
}

pub(super) fn may_be_undefined(expr: &Expr, names: &BTreeSet<String>) -> bool {
    match expr {
        Expr::Var { value, .. } => names.contains(syntax::text(value)),
        Expr::RefDot { .. } | Expr::RefBrack { .. } => !is_promised(expr),
        Expr::Call { fcn, params, .. } => !(params.is_empty() && syntax::static_path(fcn) == ["set"]),
        Expr::ArrayCompr { .. } | Expr::SetCompr { .. } | Expr::ObjectCompr { .. } => false,
        other => {
            let mut found = false;
            syntax::children(other, &mut |child| found |= may_be_undefined(child, names));
            found
        }
    }
}

fn is_promised(expr: &Expr) -> bool {
    let (base, steps) = syntax::flatten(expr);
    let input = matches!(base, Expr::Var { value, .. } if syntax::text(value) == "input");
    let names: Option<Vec<&str>> = steps
        .iter()
        .map(|step| match step {
            RefStep::Name(name) => Some(*name),
            RefStep::Dynamic(_) => None,
        })
        .collect();
    input && names.is_some_and(shape::is_promised)
}

/// True where a body may go round more than once. A variable as an index counts: nothing here says whether it
/// is bound.
pub(super) fn iterates(query: &Query) -> bool {
    let some = query
        .stmts
        .iter()
        .any(|statement| matches!(statement.literal, Literal::SomeIn { .. } | Literal::SomeVars { .. }));
    let mut found = some;
    let mut pending = Vec::new();
    syntax::in_query(query, &mut |expr| pending.push(expr));
    while let Some(expr) = pending.pop() {
        let indexed = |step: &RefStep<'_>| matches!(step, RefStep::Dynamic(index) if !matches!(index, Expr::Number { .. }));
        found |= syntax::flatten(expr).1.iter().any(indexed);
        // `walk(x, [path, value])` goes round without an index.
        found |= matches!(expr, Expr::Call { fcn, .. } if syntax::static_path(fcn) == ["walk"]);
        syntax::children(expr, &mut |child| pending.push(child));
    }
    found
}
