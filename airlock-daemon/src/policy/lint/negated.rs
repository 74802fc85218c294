//! `not` over something that may be absent, which the engine and OPA understand differently.
//!
//! OPA evaluates what a negated call, operator or literal is given *before* the `not`: where that is
//! undefined, the rule does not hold. The engine takes the whole expression for undefined, so `not` is true:
//! an `allow` with `not startswith(input.call.arguments.path, "/secret")` holds for a call without `path`.
//! Both agree about references and their comparison by `==`, whose sides are not evaluated before. Where they
//! could disagree the policy is refused, unless what is given is there for certain: it is promised by the
//! contract, a constant, in the data, or something else in the same body, or in one around it, is not true
//! without it.

use std::collections::{BTreeMap, BTreeSet};

use regorus::Value;
use regorus::unstable::{
    AssignOp, BUILTINS, BoolOp, Expr, Literal, LiteralStmt, Module, Query, Ref, Rule, RuleHead, Span,
};

use crate::policy::document::shape;
use crate::policy::error::PolicyError;
use crate::policy::syntax::cycles::Scope;
use crate::policy::syntax::probe;
use crate::policy::syntax::{self, RefStep};

/// Builtins that may give nothing for what they are given.
const MAY_GIVE_NOTHING: [&str; 3] = ["min", "max", "walk"];
/// Functions that call each other, followed to see whether they always give something.
const DEPTH: usize = 64;

/// Refuses what the engine and OPA would understand differently. There must be no recursion.
///
/// # Errors
/// Names what may be absent, and where.
pub(in crate::policy) fn refuse(modules: &[Ref<Module>], data: &Value) -> Result<(), PolicyError> {
    let mut rules: BTreeMap<String, Vec<(&Rule, Names)>> = BTreeMap::new();
    for module in modules {
        let names = Names::new(module);
        for rule in &module.policy {
            rules.entry(names.path_of(rule)).or_default().push((&**rule, names.clone()));
        }
    }
    for definitions in rules.values() {
        for (rule, names) in definitions {
            Judge { rules: &rules, data, names: names.of(rule), depth: DEPTH }.rule(rule).map_err(refusal)?;
        }
    }
    Ok(())
}

fn refusal(absent: &Expr) -> PolicyError {
    let what = key(absent);
    PolicyError::new(
        syntax::place(syntax::flatten(absent).0.span()),
        format!(
            "`{what}` may be absent, and then this `not` is true here while OPA takes the whole rule for undefined"
        ),
        format!(
            "bind it first (`value := {what}`, then `not` over `value`) where the rule must not hold without it, or say by \
             `object.get(…)` what stands in for it"
        ),
    )
}

/// The meaning of names in one rule.
#[derive(Clone)]
struct Names {
    package: Vec<String>,
    scope: Scope,
    /// Paths below `input` that imports give another name.
    input: BTreeMap<String, Vec<String>>,
    parameters: BTreeSet<String>,
}

impl Names {
    fn new(module: &Module) -> Self {
        let package = syntax::static_path(&module.package.refr);
        let mut input = BTreeMap::from([("input".to_owned(), Vec::new())]);
        for import in &module.imports {
            let path = syntax::static_path(&import.refr);
            let alias = import.r#as.as_ref().map(|span| span.text().to_owned());
            if let Some(alias) = alias.or_else(|| path.last().cloned())
                && path.first().is_some_and(|first| first == "input")
            {
                input.insert(alias, path[1..].to_vec());
            }
        }
        let scope = Scope::new(module, package.clone());
        Self { package, scope, input, parameters: BTreeSet::new() }
    }

    fn path_of(&self, rule: &Rule) -> String {
        [self.package.as_slice(), &syntax::static_path(syntax::head(rule))].concat().join(".")
    }

    /// The same inside of a rule, whose parameters hide other names.
    fn of(&self, rule: &Rule) -> Self {
        let mut names = self.clone();
        let mut pending = syntax::parameters(rule);
        while let Some(expr) = pending.pop() {
            if let Expr::Var { value, .. } = expr {
                names.parameters.insert(syntax::text(value).to_owned());
            }
            syntax::children(expr, &mut |child| pending.push(child));
        }
        names
    }
}

/// Expressions that are there for certain, as [`key`] writes them.
type Proven = BTreeSet<String>;

/// The expression that may be absent, where one may.
type Verdict<'e> = Result<(), &'e Expr>;

struct Judge<'a> {
    rules: &'a BTreeMap<String, Vec<(&'a Rule, Names)>>,
    data: &'a Value,
    names: Names,
    depth: usize,
}

impl Judge<'_> {
    fn rule<'e>(&self, rule: &'e Rule) -> Verdict<'e> {
        let Rule::Spec { head, bodies, .. } = rule else { return Ok(()) };
        let head = match head {
            RuleHead::Compr { assign, .. } | RuleHead::Func { assign, .. } => {
                assign.as_ref().map(|assign| &assign.value)
            }
            RuleHead::Set { key, .. } => key.as_ref(),
        };
        let nothing = Proven::new();
        for body in bodies {
            self.query(&body.query, &nothing)?;
            if let Some(assign) = &body.assign {
                self.inside(&assign.value, &nothing)?;
            }
        }
        head.map_or(Ok(()), |head| self.inside(head, &nothing))
    }

    fn query<'e>(&self, query: &'e Query, around: &Proven) -> Verdict<'e> {
        let declared = declared(query);
        let is_same = |proven: &&String| {
            let mut words = proven.split(|c: char| !c.is_alphanumeric() && c != '_');
            !words.any(|word| declared.contains(word))
        };
        let mut proven: Proven = around.iter().filter(is_same).cloned().collect();
        for statement in query.stmts.iter().filter(|statement| statement.with_mods.is_empty()) {
            match &statement.literal {
                Literal::Expr { expr, .. } => prove(expr, &mut proven),
                Literal::SomeIn { collection, .. } => prove(collection, &mut proven),
                Literal::Every { domain, .. } => prove(domain, &mut proven),
                Literal::SomeVars { .. } | Literal::NotExpr { .. } => {}
            }
        }
        query.stmts.iter().try_for_each(|statement| self.statement(statement, &proven))
    }

    fn statement<'e>(&self, statement: &'e LiteralStmt, proven: &Proven) -> Verdict<'e> {
        match &statement.literal {
            Literal::NotExpr { expr, .. } => self.negated(expr, proven)?,
            Literal::Every { domain, query, .. } => {
                self.inside(domain, proven)?;
                return self.query(query, proven);
            }
            Literal::Expr { .. } | Literal::SomeIn { .. } | Literal::SomeVars { .. } => {}
        }
        let mut all = Vec::new();
        syntax::in_statement(statement, &mut |expr| all.push(expr));
        all.into_iter().try_for_each(|expr| self.inside(expr, proven))
    }

    /// Looks at the queries inside of an expression.
    fn inside<'e>(&self, expr: &'e Expr, proven: &Proven) -> Verdict<'e> {
        let mut pending = vec![expr];
        while let Some(expr) = pending.pop() {
            match expr {
                Expr::ArrayCompr { query, .. }
                | Expr::SetCompr { query, .. }
                | Expr::ObjectCompr { query, .. } => self.query(query, proven)?,
                other => syntax::children(other, &mut |child| pending.push(child)),
            }
        }
        Ok(())
    }

    /// Everything that OPA evaluates before the `not` has to be there.
    fn negated<'e>(&self, expr: &'e Expr, proven: &Proven) -> Verdict<'e> {
        match expr {
            Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } => self.indices(expr, proven),
            Expr::BoolExpr { op: BoolOp::Eq, lhs, rhs, .. } | Expr::AssignExpr { lhs, rhs, .. } => {
                [lhs, rhs].into_iter().try_for_each(|side| match &**side {
                    Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } => {
                        self.indices(side, proven)
                    }
                    other => self.is_there(other, proven),
                })
            }
            Expr::Call { params, .. } => params.iter().try_for_each(|param| self.is_there(param, proven)),
            Expr::ArrayCompr { .. } | Expr::SetCompr { .. } | Expr::ObjectCompr { .. } => Ok(()),
            other => self.all_there(other, proven),
        }
    }

    /// The start of a reference, where that is no name, and all that it is indexed by have to be there.
    fn indices<'e>(&self, expr: &'e Expr, proven: &Proven) -> Verdict<'e> {
        let (base, steps) = syntax::flatten(expr);
        if !matches!(base, Expr::Var { .. }) {
            self.is_there(base, proven)?;
        }
        steps.into_iter().try_for_each(|step| match step {
            RefStep::Name(_) => Ok(()),
            RefStep::Dynamic(index) => self.is_there(index, proven),
        })
    }

    fn all_there<'e>(&self, expr: &'e Expr, proven: &Proven) -> Verdict<'e> {
        let mut all = Vec::new();
        syntax::children(expr, &mut |child| all.push(child));
        all.into_iter().try_for_each(|child| self.is_there(child, proven))
    }

    /// The expression has to have a value for certain.
    fn is_there<'e>(&self, expr: &'e Expr, proven: &Proven) -> Verdict<'e> {
        match expr {
            Expr::ArrayCompr { .. } | Expr::SetCompr { .. } | Expr::ObjectCompr { .. } => Ok(()),
            _ if proven.contains(&key(expr)) => Ok(()),
            Expr::Call { fcn, params, .. } => {
                if !self.gives_something(fcn) {
                    return Err(expr);
                }
                params.iter().try_for_each(|param| self.is_there(param, proven))
            }
            Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } => {
                if self.is_always_there(expr) {
                    Ok(())
                } else {
                    Err(expr)
                }
            }
            other => self.all_there(other, proven),
        }
    }

    fn is_always_there(&self, expr: &Expr) -> bool {
        let (base, steps) = syntax::flatten(expr);
        let Expr::Var { value, .. } = base else { return false };
        let name = syntax::text(value);
        if self.names.parameters.contains(name) {
            return steps.is_empty();
        }
        let constant: Option<Vec<&str>> = steps
            .iter()
            .map(|step| match step {
                RefStep::Name(name) => Some(*name),
                RefStep::Dynamic(_) => None,
            })
            .collect();
        let Some(below) = constant else { return false };
        if let Some(start) = self.names.input.get(name) {
            return shape::is_promised(start.iter().map(String::as_str).chain(below));
        }
        let Some(mut path) = self.names.scope.resolve(name) else { return false };
        let is_ours = path.len() == self.names.package.len() + 1 && path.starts_with(&self.names.package);
        path.extend(below.iter().map(|name| (*name).to_owned()));
        let joined = path.join(".");
        if self.rules.contains_key(&joined) {
            return self.is_always_given(&joined);
        }
        let is_package = self.rules.keys().any(|rule| rule.starts_with(&format!("{joined}.")));
        let in_data = path.iter().fold(self.data.clone(), |value, name| value[name.as_str()].clone());
        // A name that is no rule is a variable, which is bound before it is negated.
        let is_variable = is_ours && below.is_empty();
        is_package || is_variable || in_data != Value::Undefined
    }

    /// True where a function gives something for whatever it is given, or fails, which refuses the call.
    fn gives_something(&self, fcn: &Expr) -> bool {
        let name = syntax::static_path(fcn);
        let written = name.join(".");
        let Some((first, rest)) = name.split_first() else { return false };
        let path = self.names.scope.resolve(first).map(|path| [path.as_slice(), rest].concat().join("."));
        match path.filter(|path| self.rules.contains_key(path)) {
            Some(path) => self.is_always_given(&path),
            None => {
                // The empty set is written as a call.
                written == "set"
                    || BUILTINS.contains_key(written.as_str())
                        && !MAY_GIVE_NOTHING.contains(&written.as_str())
            }
        }
    }

    /// True where a rule, or a function, has a value whatever is asked.
    fn is_always_given(&self, path: &str) -> bool {
        let Some(depth) = self.depth.checked_sub(1) else { return false };
        let Some(definitions) = self.rules.get(path) else { return false };
        definitions.iter().any(|(rule, names)| match rule {
            Rule::Default { .. } | Rule::Spec { head: RuleHead::Set { key: Some(_), .. }, .. } => true,
            Rule::Spec { head, bodies, .. } => {
                let plain = syntax::parameters(rule).iter().all(|name| matches!(name, Expr::Var { .. }));
                let value = match head {
                    RuleHead::Compr { assign, .. } | RuleHead::Func { assign, .. } => assign.as_ref(),
                    RuleHead::Set { .. } => None,
                };
                let inner = Self { rules: self.rules, data: self.data, names: names.of(rule), depth };
                let is_there = value.is_none_or(|assign| {
                    probe::is_constant(&assign.value) || inner.is_there(&assign.value, &Proven::new()).is_ok()
                });
                bodies.is_empty() && plain && is_there
            }
        })
    }
}

/// Adds what must be there where a statement is to hold.
fn prove(expr: &Expr, proven: &mut Proven) {
    let mut pending = vec![expr];
    while let Some(expr) = pending.pop() {
        match expr {
            Expr::ArrayCompr { .. } | Expr::SetCompr { .. } | Expr::ObjectCompr { .. } => continue,
            // It holds whatever it is given.
            Expr::Call { fcn, .. } if syntax::static_path(fcn) == ["print"] => continue,
            Expr::RefDot { refr, .. } | Expr::RefBrack { refr, .. } => pending.push(refr),
            _ => {}
        }
        if matches!(expr, Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } | Expr::Call { .. })
        {
            proven.insert(key(expr));
        }
        syntax::children(expr, &mut |child| pending.push(child));
    }
}

/// The variables that a query declares, or may bind.
pub(in crate::policy) fn declared(query: &Query) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for statement in &query.stmts {
        match &statement.literal {
            Literal::SomeVars { vars, .. } => found.extend(vars.iter().map(Span::text)),
            Literal::SomeIn { key, value, .. } => {
                let patterns = key.iter().chain([value]);
                found.extend(patterns.flat_map(|pattern| syntax::pattern_variables(pattern)));
            }
            Literal::Expr { expr, .. } => {
                if let Expr::AssignExpr { op, lhs, rhs, .. } = &**expr {
                    found.extend(syntax::pattern_variables(lhs));
                    if matches!(op, AssignOp::Eq) {
                        found.extend(syntax::pattern_variables(rhs));
                    }
                }
            }
            Literal::NotExpr { .. } | Literal::Every { .. } => {}
        }
    }
    found
}

/// An expression in one way of writing, so that two that are the same have the same text.
fn key(expr: &Expr) -> String {
    match expr {
        Expr::Var { value, .. } => syntax::text(value).to_owned(),
        Expr::RefDot { refr, field, .. } => format!("{}.{}", key(refr), syntax::text(&field.1)),
        Expr::RefBrack { refr, index, .. } => match &**index {
            Expr::String { value, .. } | Expr::RawString { value, .. } if is_name(syntax::text(value)) => {
                format!("{}.{}", key(refr), syntax::text(value))
            }
            index => format!("{}[{}]", key(refr), key(index)),
        },
        Expr::Call { fcn, params, .. } => {
            let given: Vec<String> = params.iter().map(|param| key(param)).collect();
            format!("{}({})", key(fcn), given.join(", "))
        }
        Expr::String { value, .. } | Expr::RawString { value, .. } => value.to_string(),
        other => other.span().text().to_owned(),
    }
}

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}
