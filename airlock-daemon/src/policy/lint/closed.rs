//! A path below `input` that does not exist is an error at load: a misspelt field in a `deny` would never
//! refuse anything.
//!
//! For each expression this finds which parts of the document it may stand for: through variables that are
//! bound by `:=` or `=`, `some … in` and `every`, imports, complete rules, and the arguments and values of
//! functions. Where one expression may be several parts, a step is wrong only if none of them has it, and
//! where it may be anything else nothing is said, so no policy is refused that could be right. Not seen are
//! names that are computed (`input.call[name]`), what a builtin makes of a part of the document
//! (`json.filter`, `walk`), and elements of rules that collect. [`self::literals`] looks at the other side:
//! documents that tests write down.

pub(in crate::policy) mod known;
mod literals;
mod value;

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{AssignOp, Expr, Literal, LiteralStmt, Module, Query, Ref, Rule, RuleHead, Span};

use self::known::{Known, Variables, declared, missing};

use self::literals::Literals;
use crate::policy::document::shape::Part;
use crate::policy::error::PolicyError;
use crate::policy::syntax;
use crate::policy::syntax::cycles::Scope;

/// Rounds until it is known what all rules stand for; a chain of rules is no longer than this.
const ROUNDS: usize = 80;
/// Rounds until it is known what the variables of one query stand for.
const LOCAL_ROUNDS: usize = 16;

/// Refuses policies and tests that read, or write down, what no input document has.
///
/// # Errors
/// Names the first such place, what there is instead, and what may be meant.
pub(in crate::policy) fn refuse(modules: &[Ref<Module>]) -> Result<(), PolicyError> {
    let mut walk = Walk::new(modules);
    for _ in 0..ROUNDS {
        walk.changed = false;
        walk.all_rules();
        if !walk.changed {
            walk.tells = true;
            walk.all_rules();
            break;
        }
    }
    walk.found.map_or(Ok(()), Err)
}

struct Walk<'a> {
    modules: &'a [Ref<Module>],
    literals: Literals<'a>,
    /// Values of complete rules and functions, by their whole path.
    values: BTreeMap<String, Known>,
    /// Arguments that functions are given, by path and position.
    given: BTreeMap<(String, usize), Known>,
    functions: BTreeSet<String>,
    changed: bool,
    /// True once mistakes are told: only when it is known what everything stands for.
    tells: bool,
    /// True while queries inside of expressions are left alone.
    shallow: bool,
    found: Option<PolicyError>,
    scope: Scope,
    imported: BTreeMap<String, Known>,
}

impl<'a> Walk<'a> {
    fn new(modules: &'a [Ref<Module>]) -> Self {
        let (mut values, mut functions) = (BTreeMap::new(), BTreeSet::new());
        for module in modules {
            let package = syntax::static_path(&module.package.refr).join(".");
            for rule in &module.policy {
                let path = format!("{package}.{}", syntax::static_path(syntax::head(rule)).join("."));
                if !syntax::parameters(rule).is_empty() {
                    functions.insert(path.clone());
                }
                let plain = syntax::flatten(syntax::head(rule))
                    .1
                    .iter()
                    .all(|step| matches!(step, syntax::RefStep::Name(_)));
                let collects = matches!(&**rule, Rule::Spec { head: RuleHead::Set { .. }, .. });
                let known = if plain && !collects { Known::nothing() } else { Known::Anything };
                values.entry(path).or_insert_with(Known::nothing).join(&known);
            }
        }
        Self {
            modules,
            literals: Literals::new(modules),
            values,
            given: BTreeMap::new(),
            functions,
            changed: false,
            tells: false,
            shallow: false,
            found: None,
            scope: Scope::default(),
            imported: BTreeMap::new(),
        }
    }

    fn tell(&mut self, error: impl FnOnce() -> PolicyError) {
        if self.tells && self.found.is_none() {
            self.found = Some(error());
        }
    }

    fn all_rules(&mut self) {
        let modules = self.modules;
        for module in modules {
            let package = syntax::static_path(&module.package.refr);
            self.scope = Scope::new(module, package.clone());
            self.imported = BTreeMap::new();
            for import in &module.imports {
                let path = syntax::static_path(&import.refr);
                if path.first().is_some_and(|first| first == "input") {
                    let known = self.value(&import.refr, &Variables::new());
                    let alias = import.r#as.as_ref().map(|span| span.text().to_owned());
                    if let Some(alias) = alias.or_else(|| path.last().cloned()) {
                        self.imported.insert(alias, known);
                    }
                }
            }
            for rule in &module.policy {
                let name = syntax::static_path(syntax::head(rule));
                self.rule(rule, &[package.as_slice(), name.as_slice()].concat().join("."));
            }
        }
    }

    fn rule(&mut self, rule: &'a Rule, path: &str) {
        let mut variables = Variables::new();
        for (at, parameter) in syntax::parameters(rule).into_iter().enumerate() {
            // A parameter of a function that nobody calls stands for nothing, and nothing is said of it.
            let known = self.given.get(&(path.to_owned(), at)).cloned().unwrap_or_else(Known::nothing);
            self.bind(parameter, &known, &mut variables, &|_| true);
        }
        let Rule::Spec { head, bodies, .. } = rule else {
            return self.gives(path, &Known::Anything);
        };
        let (assign, key) = match head {
            RuleHead::Compr { assign, .. } | RuleHead::Func { assign, .. } => (assign.as_ref(), None),
            RuleHead::Set { key, .. } => (None, key.as_ref()),
        };
        let heads = |walk: &mut Self, own: Option<&'a Ref<Expr>>, variables: &Variables| {
            for step in syntax::flatten(syntax::head(rule)).1 {
                if let syntax::RefStep::Dynamic(index) = step {
                    walk.value(index, variables);
                }
            }
            if let Some(key) = key {
                walk.value(key, variables);
            }
            let known = own.map_or(Known::Anything, |value| walk.value(value, variables));
            walk.gives(path, &known);
        };
        let value = assign.map(|assign| &assign.value);
        if bodies.is_empty() {
            heads(self, value, &variables);
        }
        for body in bodies {
            let mut variables = variables.clone();
            self.query(&body.query, &mut variables);
            let own = body.assign.as_ref().map(|assign| &assign.value);
            heads(self, own.or(value.filter(|_| !body.is_else)), &variables);
        }
    }

    fn gives(&mut self, path: &str, known: &Known) {
        self.changed |= self.values.entry(path.to_owned()).or_insert_with(Known::nothing).join(known);
    }

    /// Finds what the variables of a query stand for, then looks at all of it.
    fn query(&mut self, query: &'a Query, variables: &mut Variables) {
        let declared = declared(query, variables);
        for (name, is_bound) in &declared {
            let known = if *is_bound { Known::nothing() } else { Known::Anything };
            variables.insert(name.clone(), known);
        }
        let is_own = |name: &str| declared.contains_key(name);
        let mut is_known = false;
        for _ in 0..LOCAL_ROUNDS {
            let before = variables.clone();
            // Mistakes that are seen on the way are told below, once.
            let (tells, shallow) =
                (std::mem::take(&mut self.tells), std::mem::replace(&mut self.shallow, true));
            for statement in &query.stmts {
                self.bindings(statement, variables, &is_own);
            }
            (self.tells, self.shallow) = (tells, shallow);
            is_known = before == *variables;
            if is_known {
                break;
            }
        }
        if !is_known {
            variables.extend(declared.into_keys().map(|name| (name, Known::Anything)));
        }
        for statement in &query.stmts {
            self.statement(statement, variables);
        }
    }

    /// Binds what a statement binds.
    fn bindings(
        &mut self,
        statement: &'a LiteralStmt,
        variables: &mut Variables,
        is_own: &dyn Fn(&str) -> bool,
    ) {
        match &statement.literal {
            Literal::SomeIn { key, value, collection, .. } => {
                let inside = self.value(collection, variables).inside();
                self.bind(value, &inside, variables, is_own);
                if let Some(key) = key {
                    self.bind(key, &Known::Anything, variables, is_own);
                }
            }
            Literal::Expr { expr, .. } => {
                if let Expr::AssignExpr { op, lhs, rhs, .. } = &**expr {
                    self.unify(lhs, rhs, variables, is_own);
                    if matches!(op, AssignOp::Eq) {
                        self.unify(rhs, lhs, variables, is_own);
                    }
                }
            }
            Literal::SomeVars { .. } | Literal::NotExpr { .. } | Literal::Every { .. } => {}
        }
    }

    fn unify(
        &mut self,
        pattern: &'a Expr,
        value: &'a Expr,
        variables: &mut Variables,
        is_own: &dyn Fn(&str) -> bool,
    ) {
        if let (Expr::Array { items: one, .. }, Expr::Array { items: other, .. }) = (pattern, value) {
            for (pattern, value) in one.iter().zip(other) {
                self.unify(pattern, value, variables, is_own);
            }
        } else if matches!(pattern, Expr::Var { .. } | Expr::Array { .. } | Expr::Object { .. }) {
            let known = self.value(value, variables);
            self.bind(pattern, &known, variables, is_own);
        }
    }

    /// Takes a pattern apart; only variables that `is_own` says are bound here.
    fn bind(
        &mut self,
        pattern: &'a Expr,
        known: &Known,
        variables: &mut Variables,
        is_own: &dyn Fn(&str) -> bool,
    ) {
        match pattern {
            Expr::Var { value, .. } => {
                let name = syntax::text(value);
                if is_own(name) {
                    variables.entry(name.to_owned()).or_insert_with(Known::nothing).join(known);
                }
            }
            Expr::Object { fields, .. } => {
                for (_, key, value) in fields {
                    let below = match &**key {
                        Expr::String { value: name, span, .. }
                        | Expr::RawString { value: name, span, .. } => {
                            self.step(known, syntax::text(name), span)
                        }
                        _ => Known::Anything,
                    };
                    self.bind(value, &below, variables, is_own);
                }
            }
            Expr::Array { items, .. } => {
                let inside = known.inside();
                for item in items {
                    self.bind(item, &inside, variables, is_own);
                }
            }
            _ => {}
        }
    }

    fn statement(&mut self, statement: &'a LiteralStmt, variables: &Variables) {
        match &statement.literal {
            Literal::SomeVars { .. } => {}
            Literal::SomeIn { key, value, collection, .. } => {
                let known = self.value(collection, variables);
                self.enter(&known, collection.span());
                if let Some(key) = key {
                    self.value(key, variables);
                }
                self.look(value, &known.inside(), variables);
            }
            Literal::Expr { expr, .. } => {
                self.value(expr, variables);
                if let Expr::AssignExpr { lhs, rhs, .. } = &**expr {
                    for (pattern, value) in [(lhs, rhs), (rhs, lhs)] {
                        if matches!(&**pattern, Expr::Object { .. }) {
                            let known = self.value(value, variables);
                            self.look(pattern, &known, variables);
                        }
                    }
                }
            }
            Literal::NotExpr { expr, .. } => {
                self.value(expr, variables);
            }
            Literal::Every { key, value, domain, query, .. } => {
                let known = self.value(domain, variables);
                self.enter(&known, domain.span());
                let mut inner = variables.clone();
                if let Some(key) = key {
                    inner.insert(key.text().to_owned(), Known::Anything);
                }
                inner.insert(value.text().to_owned(), known.inside());
                self.query(query, &mut inner);
            }
        }
        for modifier in &statement.with_mods {
            let replaced = self.value(&modifier.refr, variables);
            self.value(&modifier.r#as, variables);
            let (base, _) = syntax::flatten(&modifier.refr);
            if self.tells
                && matches!(base, Expr::Var { value, .. } if syntax::text(value) == "input")
                && let Known::Parts(parts) = replaced
                && let Some(part) = parts.first()
                && let Some(error) = self.literals.misspelt(&modifier.r#as, *part)
            {
                self.tell(|| error);
            }
        }
    }

    /// Looks at the names in a pattern, without binding anything.
    fn look(&mut self, pattern: &'a Expr, known: &Known, variables: &Variables) {
        self.bind(pattern, known, &mut variables.clone(), &|_| false);
    }

    /// The inside of something that is gone through, or indexed by what is known only when the policy runs.
    fn enter(&mut self, known: &Known, span: &Span) -> Known {
        let inside = known.inside();
        if let Known::Parts(parts) = known
            && !parts.is_empty()
            && inside == Known::nothing()
        {
            let parts: Vec<Part> = parts.iter().copied().collect();
            self.tell(|| missing(None, &parts, span));
        }
        inside
    }

    fn step(&mut self, known: &Known, name: &str, span: &Span) -> Known {
        let Known::Parts(parts) = known else { return Known::Anything };
        let below: BTreeSet<Part> = parts.iter().filter_map(|part| part.step(name)).collect();
        if below.is_empty() && !parts.is_empty() {
            self.tell(|| missing(Some(name), &parts.iter().copied().collect::<Vec<_>>(), span));
        }
        Known::Parts(below)
    }
}
