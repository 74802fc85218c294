//! Input documents that a policy or a test writes down, after `with input as`: a misspelt member there tests
//! nothing.
//!
//! An object is followed to where it is written: through variables, complete rules, functions with what they
//! are given, and `object.union`. Members that are missing are no mistake, since a test may write down only
//! what it is about.

use std::collections::BTreeMap;
use std::rc::Rc;

use regorus::unstable::{Expr, Literal, Module, Ref, Rule, RuleHead};

use super::known::missing;
use crate::policy::document::shape::Part;
use crate::policy::error::PolicyError;
use crate::policy::syntax::cycles::Scope;
use crate::policy::syntax::{self, RefStep};

/// Links from a `with` to the object that it means.
const DEPTH: usize = 24;
/// Expressions that are looked at for one `with`.
const MOST: usize = 4096;

/// All objects that may be meant, by the rules that give them.
pub(super) struct Literals<'a> {
    /// The definitions of each rule, with the names of their module, by whole path.
    rules: BTreeMap<String, Vec<(&'a Rule, Rc<Scope>)>>,
    /// The expression that each variable of a rule is bound to, where one place alone binds it; by the rule's
    /// address.
    bound: BTreeMap<*const Rule, BTreeMap<&'a str, Option<&'a Expr>>>,
    /// Which rule an expression stands in, by where the rules begin and end.
    spans: Vec<(&'a Rule, Rc<Scope>)>,
}

/// The place of an expression, which says what names mean there.
#[derive(Clone)]
struct LiteralPlace<'a> {
    rule: &'a Rule,
    scope: Rc<Scope>,
    /// The arguments of the function, each with its own place.
    given: Rc<BTreeMap<&'a str, (&'a Expr, Option<LiteralPlace<'a>>)>>,
}

impl<'a> Literals<'a> {
    pub(in crate::policy) fn new(modules: &'a [Ref<Module>]) -> Self {
        let mut all = Self { rules: BTreeMap::new(), bound: BTreeMap::new(), spans: Vec::new() };
        for module in modules {
            let package = syntax::static_path(&module.package.refr);
            let scope = Rc::new(Scope::new(module, package.clone()));
            for rule in &module.policy {
                let name = syntax::static_path(syntax::head(rule));
                let path = [package.as_slice(), name.as_slice()].concat().join(".");
                all.rules.entry(path).or_default().push((&**rule, Rc::clone(&scope)));
                all.bound.insert(&raw const **rule, bound(rule));
                all.spans.push((&**rule, Rc::clone(&scope)));
            }
        }
        all
    }

    /// The error about the first misspelt member of what `expr` may be, where it takes the place of `part`.
    pub(in crate::policy) fn misspelt(&self, expr: &'a Expr, part: Part) -> Option<PolicyError> {
        let at = expr.span();
        let (rule, scope) = self.spans.iter().find(|(rule, _)| {
            let span = rule.span();
            span.source.file() == at.source.file() && span.start <= at.start && at.start < span.end
        })?;
        let place = LiteralPlace { rule, scope: Rc::clone(scope), given: Rc::default() };
        let mut left = MOST;
        self.look(expr, part, &place, DEPTH, &mut left)
    }

    fn look(
        &self,
        expr: &'a Expr,
        part: Part,
        place: &LiteralPlace<'a>,
        depth: usize,
        left: &mut usize,
    ) -> Option<PolicyError> {
        *left = left.checked_sub(1)?;
        let depth = depth.checked_sub(1)?;
        match expr {
            Expr::Object { fields, .. } => fields.iter().find_map(|(_, key, value)| {
                let (Expr::String { value: name, span, .. } | Expr::RawString { value: name, span, .. }) =
                    &**key
                else {
                    return None;
                };
                match part.step(syntax::text(name)) {
                    // A part that is free has no shape of its own.
                    Some(below) if below == part => None,
                    Some(below) => self.look(value, below, place, depth, left),
                    None => part.0.kind.members().map(|_| missing(Some(syntax::text(name)), &[part], span)),
                }
            }),
            Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } => {
                if let Expr::Var { value, .. } = expr {
                    let name = syntax::text(value);
                    if let Some((given, outer)) = place.given.get(name) {
                        return self.look(given, part, outer.as_ref()?, depth, left);
                    }
                    if let Some(bound) = self.bound.get(&(&raw const *place.rule))?.get(name) {
                        return self.look((*bound)?, part, place, depth, left);
                    }
                }
                let path = path_of(expr, &place.scope)?;
                self.rules.get(&path)?.iter().find_map(|(rule, scope)| {
                    let inner = LiteralPlace { rule, scope: Rc::clone(scope), given: Rc::default() };
                    values(rule).find_map(|value| self.look(value, part, &inner, depth, left))
                })
            }
            Expr::Call { fcn, params, .. } => {
                if syntax::static_path(fcn).join(".") == "object.union" {
                    return params.iter().find_map(|param| self.look(param, part, place, depth, left));
                }
                let path = path_of(fcn, &place.scope)?;
                self.rules.get(&path)?.iter().find_map(|(rule, scope)| {
                    let given =
                        syntax::parameters(rule).into_iter().zip(params).filter_map(|(name, given)| {
                            let Expr::Var { value, .. } = name else { return None };
                            Some((syntax::text(value), (&**given, Some(place.clone()))))
                        });
                    let inner =
                        LiteralPlace { rule, scope: Rc::clone(scope), given: Rc::new(given.collect()) };
                    values(rule).find_map(|value| self.look(value, part, &inner, depth, left))
                })
            }
            _ => None,
        }
    }
}

/// The whole path, without `data`, of a reference of constant names.
fn path_of(expr: &Expr, scope: &Scope) -> Option<String> {
    let (base, steps) = syntax::flatten(expr);
    let Expr::Var { value, .. } = base else { return None };
    let mut path = scope.resolve(syntax::text(value))?;
    for step in steps {
        let RefStep::Name(name) = step else { return None };
        path.push(name.to_owned());
    }
    Some(path.join("."))
}

/// The expressions that a complete rule, or a function, may give.
fn values(rule: &Rule) -> impl Iterator<Item = &Expr> {
    let (value, bodies) = match rule {
        Rule::Default { value, .. } => (Some(value), [].as_slice()),
        Rule::Spec {
            head: RuleHead::Compr { assign, .. } | RuleHead::Func { assign, .. }, bodies, ..
        } => (assign.as_ref().map(|assign| &assign.value), bodies.as_slice()),
        Rule::Spec { .. } => (None, [].as_slice()),
    };
    let own = bodies.iter().filter_map(|body| body.assign.as_ref()).map(|assign| &assign.value);
    value.into_iter().chain(own).map(|value| &**value)
}

/// The variables of a rule that `:=` or `=` binds, with what to where that is one thing.
fn bound(rule: &Rule) -> BTreeMap<&str, Option<&Expr>> {
    let mut found: BTreeMap<&str, Option<&Expr>> = BTreeMap::new();
    syntax::every(rule, &mut |expr| {
        if let Expr::AssignExpr { lhs, rhs, .. } = expr
            && let Expr::Var { value, .. } = &**lhs
        {
            found.entry(syntax::text(value)).and_modify(|bound| *bound = None).or_insert(Some(&**rhs));
        }
    });
    syntax::queries(rule, &mut |query| {
        for statement in &query.stmts {
            if let Literal::SomeIn { value, .. } = &statement.literal
                && let Expr::Var { value, .. } = &**value
            {
                found.insert(syntax::text(value), None);
            }
        }
    });
    found
}
