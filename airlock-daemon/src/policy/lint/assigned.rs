//! `x := value` where there is no value, which bytecode passes over.
//!
//! In Rego a body does not hold where what is assigned is undefined. Measured on regorus 0.14.1: the bytecode
//! machine goes on with an undefined `x`, so that `path := input.call.arguments.path` followed by
//! `not startswith(path, "/secret")` holds for a call without `path`, as does a body that never looks at `x`
//! again. `x = value`, which means the same where `x` has no other meaning, is right there; so that is what
//! bytecode is made of. It is written over the other, so that every place stays.

use std::collections::BTreeSet;

use regorus::unstable::{AssignOp, Expr, Literal, LiteralStmt, Module, Query, Ref, Rule, Span};

use super::negated::declared;
use super::undefined::{may_be_undefined, rule_names};
use crate::policy::bundle::PolicyFile;
use crate::policy::syntax::{self, probe};

/// The sources with `=` in the place of each `:=` that may have no value; `None` where there is none.
///
/// # Errors
/// Why bytecode cannot be trusted with the bundle.
pub(in crate::policy) fn mend(
    modules: &[Ref<Module>],
    sources: &[PolicyFile],
) -> Result<Option<Vec<PolicyFile>>, String> {
    let mut mended = sources.to_vec();
    let all = rule_names(modules);
    let mut is_changed = false;
    for module in modules {
        let file = module.package.span.source.file();
        let package = syntax::static_path(&module.package.refr);
        let siblings =
            modules.iter().filter(|other| syntax::static_path(&other.package.refr) == package).cloned();
        let mut walk =
            Walk { rules: &all, taken: rule_names(&siblings.collect::<Vec<_>>()), edits: Vec::new() };
        for rule in &module.policy {
            walk.rule(rule)?;
        }
        let source = mended.iter_mut().find(|source| *source.path.display().to_string() == **file);
        if let Some(source) = source.filter(|_| !walk.edits.is_empty()) {
            is_changed = true;
            for at in walk.edits {
                source.text.replace_range(at..=at, " ");
            }
        }
    }
    Ok(is_changed.then_some(mended))
}

/// True of a pattern with an array in it: bytecode counts its items and takes each one as it is, also of an
/// object, where all of them are absent.
fn has_array(pattern: &Expr) -> bool {
    let mut pending = vec![pattern];
    while let Some(expr) = pending.pop() {
        if matches!(expr, Expr::Array { .. }) {
            return true;
        }
        syntax::children(expr, &mut |child| pending.push(child));
    }
    false
}

struct Walk<'a> {
    /// Names that stand for a rule somewhere.
    rules: &'a BTreeSet<String>,
    /// Names that stand for a rule, or an import, in this package: `=` would compare with it.
    taken: BTreeSet<String>,
    /// Where a colon is to be written over.
    edits: Vec<usize>,
}

impl Walk<'_> {
    fn rule(&mut self, rule: &Rule) -> Result<(), String> {
        let mut outer = BTreeSet::new();
        let mut pending = syntax::parameters(rule);
        while let Some(expr) = pending.pop() {
            if let Expr::Var { value, .. } = expr {
                outer.insert(syntax::text(value));
            }
            syntax::children(expr, &mut |child| pending.push(child));
        }
        let mut bodies = Vec::new();
        if let Rule::Spec { bodies: all, .. } = rule {
            bodies.extend(all.iter().map(|body| &*body.query));
        }
        for body in &bodies {
            self.query(body, &outer)?;
        }
        // Variables that the bodies declare can be seen in the head and in the values.
        outer.extend(bodies.iter().flat_map(|body| declared(body)));
        let mut roots = Vec::new();
        syntax::roots(rule, &mut |expr| roots.push(expr));
        let mut statements = Vec::new();
        for body in &bodies {
            syntax::in_query(body, &mut |expr: &Expr| statements.push(std::ptr::from_ref(expr)));
        }
        let is_outside = |expr: &&Expr| !statements.contains(&std::ptr::from_ref(*expr));
        roots.into_iter().filter(is_outside).try_for_each(|expr| self.inside(expr, &outer))
    }

    fn query(&mut self, query: &Query, outer: &BTreeSet<&str>) -> Result<(), String> {
        let mut inner = declared(query);
        inner.extend(outer);
        for statement in &query.stmts {
            self.statement(statement, outer)?;
            if let Literal::Every { domain, key, value, query, .. } = &statement.literal {
                self.inside(domain, &inner)?;
                let mut inner = inner.clone();
                inner.extend(key.iter().chain([value]).map(Span::text));
                self.query(query, &inner)?;
            } else {
                let mut all = Vec::new();
                syntax::in_statement(statement, &mut |expr| all.push(expr));
                all.into_iter().try_for_each(|expr| self.inside(expr, &inner))?;
            }
        }
        Ok(())
    }

    fn statement(&mut self, statement: &LiteralStmt, outer: &BTreeSet<&str>) -> Result<(), String> {
        let Literal::Expr { expr, .. } = &statement.literal else { return Ok(()) };
        let Expr::AssignExpr { op: AssignOp::ColEq, lhs, rhs, .. } = &**expr else { return Ok(()) };
        if has_array(lhs) {
            return Err(format!(
                "a pattern of an array before `:=` at {} passes over what does not fit in bytecode",
                syntax::place(lhs.span())
            ));
        }
        let Expr::Var { value, span, .. } = &**lhs else { return Ok(()) };
        if !may_be_undefined(rhs, self.rules) {
            return Ok(());
        }
        let name = syntax::text(value);
        let end = span.end as usize;
        let between = span.source.contents().get(end..).and_then(|rest| rest.find(":=")).filter(|at| {
            span.source.contents().get(end..end + at).is_some_and(|between| between.trim().is_empty())
        });
        match between {
            Some(at) if name == "_" || !(outer.contains(name) || self.taken.contains(name)) => {
                self.edits.push(end + at);
                Ok(())
            }
            _ => Err(format!(
                "`{name} := {}` at {} may have no value, which bytecode passes over, and `{name}` has another meaning around it",
                probe::expression(rhs),
                syntax::place(span)
            )),
        }
    }

    /// Looks at the queries inside of an expression.
    fn inside(&mut self, expr: &Expr, outer: &BTreeSet<&str>) -> Result<(), String> {
        let mut pending = vec![expr];
        while let Some(expr) = pending.pop() {
            match expr {
                Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
                    self.query(query, outer)?;
                    pending.push(term);
                }
                Expr::ObjectCompr { key, value, query, .. } => {
                    self.query(query, outer)?;
                    pending.extend([&**key, &**value]);
                }
                other => syntax::children(other, &mut |child| pending.push(child)),
            }
        }
        Ok(())
    }
}
