//! Values of expressions: the parts that each may stand for, found by a look at all that is inside of it.

use regorus::unstable::{Expr, Ref};

use super::Walk;
use super::known::{Known, Variables};
use crate::policy::document::shape::Part;
use crate::policy::syntax;

impl<'a> Walk<'a> {
    /// The parts that an expression may stand for, after a look at all that is inside of it.
    pub(super) fn value(&mut self, expr: &'a Expr, variables: &Variables) -> Known {
        if matches!(expr, Expr::RefDot { .. } | Expr::RefBrack { .. })
            && let Some(known) = self.rule_at(expr, variables)
        {
            return known;
        }
        match expr {
            Expr::Var { value, .. } => self.variable(syntax::text(value), variables),
            Expr::RefDot { refr, field, .. } => {
                let known = self.value(refr, variables);
                self.step(&known, syntax::text(&field.1), &field.0)
            }
            Expr::RefBrack { refr, index, .. } => {
                let known = self.value(refr, variables);
                match &**index {
                    Expr::String { value, span, .. } | Expr::RawString { value, span, .. } => {
                        self.step(&known, syntax::text(value), span)
                    }
                    index => {
                        self.value(index, variables);
                        self.enter(&known, index.span())
                    }
                }
            }
            Expr::Call { fcn, params, .. } => self.call(fcn, params, variables),
            Expr::ArrayCompr { .. } | Expr::SetCompr { .. } | Expr::ObjectCompr { .. } if self.shallow => {
                Known::Anything
            }
            Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
                let mut inner = variables.clone();
                self.query(query, &mut inner);
                self.value(term, &inner);
                Known::Anything
            }
            Expr::ObjectCompr { key, value, query, .. } => {
                let mut inner = variables.clone();
                self.query(query, &mut inner);
                self.value(key, &inner);
                self.value(value, &inner);
                Known::Anything
            }
            other => {
                let mut inside = Vec::new();
                syntax::children(other, &mut |child| inside.push(child));
                for child in inside {
                    self.value(child, variables);
                }
                Known::Anything
            }
        }
    }

    fn variable(&self, name: &str, variables: &Variables) -> Known {
        if let Some(known) = variables.get(name).or_else(|| self.imported.get(name)) {
            return known.clone();
        }
        if name == "input" {
            return Known::one(Part::ROOT);
        }
        let path = self.scope.resolve(name).map(|path| path.join("."));
        path.and_then(|path| self.values.get(&path)).cloned().unwrap_or(Known::Anything)
    }

    /// The value of the rule that a whole reference names, such as `data.airlock.authz.call`.
    fn rule_at(&self, expr: &Expr, variables: &Variables) -> Option<Known> {
        let path = self.path_of(expr, variables)?;
        self.values.get(&path).cloned()
    }

    /// The whole path, without `data`, of what a reference of constant names stands for.
    fn path_of(&self, expr: &Expr, variables: &Variables) -> Option<String> {
        let (base, steps) = syntax::flatten(expr);
        let Expr::Var { value, .. } = base else { return None };
        let name = syntax::text(value);
        if variables.contains_key(name) || self.imported.contains_key(name) || name == "input" {
            return None;
        }
        let mut path = self.scope.resolve(name)?;
        for step in steps {
            let syntax::RefStep::Name(name) = step else { return None };
            path.push(name.to_owned());
        }
        Some(path.join("."))
    }

    fn call(&mut self, fcn: &'a Expr, params: &'a [Ref<Expr>], variables: &Variables) -> Known {
        let given: Vec<Known> = params.iter().map(|param| self.value(param, variables)).collect();
        if let Some(path) = self.path_of(fcn, variables).filter(|path| self.functions.contains(path)) {
            for (at, known) in given.iter().enumerate() {
                let place = (path.clone(), at);
                self.changed |= self.given.entry(place).or_insert_with(Known::nothing).join(known);
            }
            return self.values.get(&path).cloned().unwrap_or(Known::Anything);
        }
        if syntax::static_path(fcn).join(".") == "object.get"
            && let ([known, ..], [_, path, ..]) = (given.as_slice(), params)
        {
            self.steps(known, path);
        }
        Known::Anything
    }

    /// Looks at the path that `object.get` is given: one name, or a list of them.
    fn steps(&mut self, known: &Known, path: &'a Expr) {
        let names: &[Ref<Expr>] = match path {
            Expr::String { value, span, .. } | Expr::RawString { value, span, .. } => {
                self.step(known, syntax::text(value), span);
                return;
            }
            Expr::Array { items, .. } => items,
            _ => return,
        };
        let mut known = known.clone();
        for name in names {
            known = match &**name {
                Expr::String { value, span, .. } | Expr::RawString { value, span, .. } => {
                    self.step(&known, syntax::text(value), span)
                }
                _ => self.enter(&known, name.span()),
            };
        }
    }
}
