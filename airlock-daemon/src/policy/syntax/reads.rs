//! The parts of the input that a policy may read, found in its syntax tree: never too few.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{BUILTINS, Expr, Module, Ref, Rule};

use super::RefStep;
use super::cycles::Scope;
use crate::policy::syntax;

/// Builtins that take anything.
const NEVER_FAIL: [&str; 9] = [
    "is_array",
    "is_boolean",
    "is_null",
    "is_number",
    "is_object",
    "is_set",
    "is_string",
    "type_name",
    "json.marshal",
];

/// Dotted paths below `input`, such as `call.arguments`; the empty one is the whole.
pub(in crate::policy) type Paths = BTreeSet<String>;

/// The parts that each rule reads.
pub(in crate::policy) struct Reads {
    /// By package and name, over all definitions of that name.
    rules: BTreeMap<String, Direct>,
}

#[derive(Default, Clone)]
struct Direct {
    input: Paths,
    /// Rules, or places in the data, that it may need.
    rules: BTreeSet<String>,
    /// Its definitions as they are written.
    texts: Vec<String>,
    /// True where something in them may fail.
    can_fail: bool,
}

/// All that a rule's result follows from, besides the input: rules as they are written, and places in the
/// data.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::policy) struct Basis {
    pub(in crate::policy) texts: BTreeSet<String>,
    pub(in crate::policy) data: BTreeSet<String>,
    /// True where a builtin or an operator may fail in it, which refuses the call.
    pub(in crate::policy) can_fail: bool,
}

impl Reads {
    pub(in crate::policy) fn new(modules: &[Ref<Module>]) -> Self {
        let mut rules: BTreeMap<String, Direct> = BTreeMap::new();
        for module in modules {
            let names = Names::new(module);
            for rule in &module.policy {
                let entry = rules.entry(names.path_of(rule)).or_default();
                syntax::roots(rule, &mut |expr| names.gather(expr, entry));
                entry.texts.push(written(rule));
            }
        }
        Self { rules }
    }

    /// The parts that rules of these names read, themselves and through others.
    pub(in crate::policy) fn of<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Paths {
        let rules = names.into_iter().map(str::to_owned).collect();
        self.closure(Direct { rules, ..Direct::default() }).0
    }

    /// The parts that this text would read in the place of a rule of `module`: an expression, with all that
    /// it needs.
    pub(super) fn of_expressions<'a>(
        &self,
        module: &Module,
        expressions: impl Iterator<Item = &'a Expr>,
    ) -> Paths {
        let (names, mut direct) = (Names::new(module), Direct::default());
        expressions.for_each(|expr| names.gather(expr, &mut direct));
        self.closure(direct).0
    }

    /// The expressions that one definition follows from.
    pub(in crate::policy) fn basis(&self, module: &Module, rule: &Rule) -> Basis {
        let (names, mut direct) = (Names::new(module), Direct::default());
        syntax::roots(rule, &mut |expr| names.gather(expr, &mut direct));
        direct.texts.push(written(rule));
        self.closure(direct).1
    }

    fn closure(&self, start: Direct) -> (Paths, Basis) {
        let texts = start.texts.into_iter().collect();
        let mut basis = Basis { texts, data: BTreeSet::new(), can_fail: start.can_fail };
        let (mut seen, mut pending, mut input) = (BTreeSet::new(), start.rules, start.input);
        while let Some(name) = pending.pop_first() {
            // A name may stand for a rule, for something in it, or for the package around it.
            let inside = |rule: &str| covers(rule, &name) || covers(&name, rule);
            for (rule, direct) in self.rules.iter().filter(|(rule, _)| inside(rule)) {
                if seen.insert(rule.clone()) {
                    input.extend(direct.input.iter().cloned());
                    basis.texts.extend(direct.texts.iter().cloned());
                    basis.can_fail |= direct.can_fail;
                    pending.extend(direct.rules.iter().filter(|rule| !seen.contains(*rule)).cloned());
                }
            }
            basis.data.insert(name);
        }
        (input, basis)
    }
}

/// True where the dotted path `outer` is `inner` or stands above it.
pub(in crate::policy) fn covers(outer: &str, inner: &str) -> bool {
    outer.is_empty() || inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// True where something that reads `paths` may look at `part`.
pub(in crate::policy) fn touches(paths: &Paths, part: &str) -> bool {
    paths.iter().any(|path| covers(path, part) || covers(part, path))
}

/// The meaning of names in one module.
struct Names {
    scope: Scope,
    package: String,
    /// Names that stand for a part of the input.
    input: BTreeMap<String, String>,
}

impl Names {
    fn new(module: &Module) -> Self {
        let package = syntax::static_path(&module.package.refr);
        let mut input = BTreeMap::from([("input".to_owned(), String::new())]);
        for import in &module.imports {
            let path = syntax::static_path(&import.refr);
            if path.first().is_some_and(|first| first == "input") {
                let alias = import.r#as.as_ref().map(|span| span.text().to_owned());
                if let Some(alias) = alias.or_else(|| path.last().cloned()) {
                    input.insert(alias, path[1..].join("."));
                }
            }
        }
        Self { package: package.join("."), scope: Scope::new(module, package), input }
    }

    fn path_of(&self, rule: &Rule) -> String {
        format!("{}.{}", self.package, syntax::static_path(syntax::head(rule)).join("."))
    }

    fn gather(&self, root: &Expr, into: &mut Direct) {
        let mut pending = vec![root];
        while let Some(expr) = pending.pop() {
            into.can_fail |= can_fail(expr);
            let (base, steps) = syntax::flatten(expr);
            if let Expr::Var { value, .. } = base {
                let name = syntax::text(value);
                let below = steps.iter().map_while(|step| match step {
                    RefStep::Name(name) => Some((*name).to_owned()),
                    RefStep::Dynamic(_) => None,
                });
                if let Some(start) = self.input.get(name) {
                    let path: Vec<String> = Some(start.clone())
                        .filter(|start| !start.is_empty())
                        .into_iter()
                        .chain(below)
                        .collect();
                    into.input.insert(path.join("."));
                } else if let Some(path) = self.scope.resolve(name) {
                    into.rules.insert(path.into_iter().chain(below).collect::<Vec<_>>().join("."));
                }
            }
            if steps.is_empty() {
                syntax::children(expr, &mut |child| pending.push(child));
                continue;
            }
            if !matches!(base, Expr::Var { .. }) {
                pending.push(base);
            }
            pending.extend(steps.into_iter().filter_map(|step| match step {
                RefStep::Dynamic(index) => Some(index),
                RefStep::Name(_) => None,
            }));
        }
    }
}

/// True where a builtin or an operator stands here that fails for some values.
fn can_fail(expr: &Expr) -> bool {
    match expr {
        Expr::ArithExpr { .. } | Expr::BinExpr { .. } | Expr::UnaryExpr { .. } => true,
        Expr::Call { fcn, .. } => {
            let name = syntax::static_path(fcn).join(".");
            BUILTINS.contains_key(name.as_str()) && !NEVER_FAIL.contains(&name.as_str())
        }
        _ => false,
    }
}

/// A rule as it is written, wherever it stands.
fn written(rule: &Rule) -> String {
    rule.span().text().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_reads_what_all_that_it_needs_reads() {
        let text = "package a\nimport rego.v1\nimport input.call as c\n\
            allow if { c.tool == data.t; helper(input.subject[input.time]) }\n\
            helper(x) if { x; other }\nother if { some y in input.subject.groups; y }\n\
            alone if input.client.uid == 1\nall(x) if x == input\n";
        let mut engine = regorus::Engine::new();
        engine.add_policy("a.rego".into(), text.into()).expect("a policy");
        let reads = Reads::new(engine.get_modules());
        let of = |rule| reads.of([rule]).into_iter().collect::<Vec<_>>();
        assert_eq!(of("a.allow"), ["call.tool", "subject", "subject.groups", "time"]);
        assert_eq!(of("a.alone"), ["client.uid"]);
        assert_eq!(of("a.all"), [""]);
        assert!(touches(&reads.of(["a.all"]), "call.arguments"));
        assert!(touches(&reads.of(["a.allow"]), "subject.claims"));
        assert!(!touches(&reads.of(["a.alone"]), "call.arguments"));
    }
}
