//! Refuses recursion before anything runs.
//!
//! The engine accepts recursive rules and then overflows the stack, which ends the process, perhaps only for
//! inputs of one shape. So every rule and function is a node here, every name that may stand for another one
//! is an edge, and a cycle is an error. Where a local variable has the name of a rule the edge is drawn too:
//! the answer is a rename, and missing an edge would cost the daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use regorus::unstable::{Expr, Module, Ref, Rule, Span};

use super::RefStep;
use crate::policy::error::PolicyError;
use crate::policy::syntax;

/// The longest chain of rules that call each other. Each link takes stack in the engine.
const MAX_CHAIN: usize = 64;

type Path = Vec<String>;

/// Which rule may need which.
pub(in crate::policy) struct CallGraph {
    nodes: Vec<Node>,
}

struct Node {
    path: Path,
    place: String,
    /// Callee and the place of the first name that leads to it.
    edges: BTreeMap<usize, String>,
}

impl CallGraph {
    /// Draws the graph of all modules.
    pub(in crate::policy) fn new(modules: &[Ref<Module>]) -> Self {
        let mut graph = Self { nodes: Vec::new() };
        let mut index = BTreeMap::new();
        let mut owners = Vec::new();
        for module in modules {
            let package = syntax::static_path(&module.package.refr);
            let scope = Scope::new(module, package);
            for rule in &module.policy {
                let mut path = scope.package.clone();
                path.extend(syntax::static_path(syntax::head(rule)));
                let id = *index.entry(path.clone()).or_insert_with(|| {
                    let place = syntax::place(rule.span());
                    graph.nodes.push(Node { path, place, edges: BTreeMap::new() });
                    graph.nodes.len() - 1
                });
                owners.push((id, rule.clone(), scope.clone()));
            }
        }
        for (id, rule, scope) in owners {
            let edges = &mut graph.nodes[id].edges;
            references(&rule, &scope, &mut |path, span| {
                for callee in related(&index, path) {
                    edges.entry(callee).or_insert_with(|| syntax::place(span));
                }
            });
        }
        graph
    }

    /// True where any rule other than those below `except` may read the rule `path`.
    pub(in crate::policy) fn is_read(&self, path: &[&str], except: &str) -> bool {
        let Some(target) = self.nodes.iter().position(|node| node.path == path) else { return false };
        self.nodes.iter().any(|node| {
            node.path.first().is_none_or(|name| name != except) && node.edges.contains_key(&target)
        })
    }

    /// Refuses cycles and chains too long for the stack.
    ///
    /// # Errors
    /// Shows the whole cycle with the place of each link.
    pub(in crate::policy) fn check(&self) -> Result<(), PolicyError> {
        // Depth first, with the stack on the heap. `height` is the length of the longest chain below a
        // finished node.
        let mut height: Vec<Option<usize>> = vec![None; self.nodes.len()];
        for start in 0..self.nodes.len() {
            let mut stack: Vec<(usize, Vec<usize>)> = Vec::new();
            let mut open = BTreeSet::new();
            if height[start].is_none() {
                open.insert(start);
                stack.push((start, self.nodes[start].edges.keys().copied().collect()));
            }
            while let Some((node, rest)) = stack.last_mut() {
                let node = *node;
                match rest.pop() {
                    Some(callee) if open.contains(&callee) => {
                        let chain: Vec<usize> = stack.iter().map(|(node, _)| *node).collect();
                        let first = chain.iter().position(|node| *node == callee).unwrap_or(0);
                        return Err(self.cycle(&chain[first..]));
                    }
                    Some(callee) if height[callee].is_none() => {
                        open.insert(callee);
                        stack.push((callee, self.nodes[callee].edges.keys().copied().collect()));
                    }
                    Some(_) => {}
                    None => {
                        let below = self.nodes[node].edges.keys().filter_map(|callee| height[*callee]).max();
                        let chain = below.unwrap_or(0) + 1;
                        if chain > MAX_CHAIN {
                            return Err(PolicyError::new(
                                self.nodes[node].place.clone(),
                                format!(
                                    "`{}` starts a chain of more than {MAX_CHAIN} rules",
                                    self.name(node)
                                ),
                                "flatten the policy; each link of the chain takes stack while a call waits",
                            ));
                        }
                        height[node] = Some(chain);
                        open.remove(&node);
                        stack.pop();
                    }
                }
            }
        }
        Ok(())
    }

    fn cycle(&self, chain: &[usize]) -> PolicyError {
        let mut reason = String::from("recursion: ");
        for (position, node) in chain.iter().enumerate() {
            let next = chain[(position + 1) % chain.len()];
            let place = self.nodes[*node].edges.get(&next).map_or("", String::as_str);
            // Writing into a String cannot fail.
            let _ = write!(reason, "`{}` needs `{}` at {place}", self.name(*node), self.name(next));
            reason.push_str(if position + 1 < chain.len() { ", " } else { "" });
        }
        PolicyError::new(
            self.nodes[chain[0]].place.clone(),
            reason,
            "break the cycle; where a local variable only shares its name with a rule, rename the variable",
        )
    }

    fn name(&self, node: usize) -> String {
        self.nodes[node].path.join(".")
    }
}

/// The meaning of names inside one module.
#[derive(Clone, Default)]
pub(in crate::policy) struct Scope {
    package: Path,
    imports: BTreeMap<String, Path>,
}

impl Scope {
    pub(in crate::policy) fn new(module: &Module, package: Path) -> Self {
        let mut imports = BTreeMap::new();
        for import in &module.imports {
            let path = syntax::static_path(&import.refr);
            let alias = import.r#as.as_ref().map(|span| span.text().to_owned());
            if let Some(alias) = alias.or_else(|| path.last().cloned()) {
                imports.insert(alias, path);
            }
        }
        Self { package, imports }
    }

    /// The absolute path (without `data`) that a reference starting with `name` may mean.
    pub(in crate::policy) fn resolve(&self, name: &str) -> Option<Path> {
        if name == "data" {
            return Some(Path::new());
        }
        if let Some(import) = self.imports.get(name) {
            return (import.first().map(String::as_str) == Some("data")).then(|| import[1..].to_vec());
        }
        let mut path = self.package.clone();
        path.push(name.to_owned());
        Some(path)
    }
}

/// Reports every path that a rule may read.
fn references(rule: &Rule, scope: &Scope, report: &mut dyn FnMut(&Path, &Span)) {
    // Parameters hide rules in the whole function, so these, and only these, are known to be local.
    let mut hidden = BTreeSet::new();
    let mut pending = syntax::parameters(rule);
    while let Some(expr) = pending.pop() {
        if let Expr::Var { value, .. } = expr {
            hidden.insert(syntax::text(value).to_owned());
        }
        syntax::children(expr, &mut |child| pending.push(child));
    }
    let mut pending = Vec::new();
    syntax::roots(rule, &mut |expr| pending.push(expr));
    while let Some(expr) = pending.pop() {
        let (base, steps) = syntax::flatten(expr);
        if let Expr::Var { value, span, .. } = base
            && !hidden.contains(syntax::text(value))
            && let Some(mut path) = scope.resolve(syntax::text(value))
        {
            path.extend(steps.iter().map_while(|step| match step {
                RefStep::Name(name) => Some((*name).to_owned()),
                RefStep::Dynamic(_) => None,
            }));
            report(&path, span);
        }
        if steps.is_empty() {
            syntax::children(expr, &mut |child| pending.push(child));
        } else {
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

/// The rules at, above and below `path`.
fn related<'a>(index: &'a BTreeMap<Path, usize>, path: &'a Path) -> impl Iterator<Item = usize> + 'a {
    let above = (1..path.len()).filter_map(|length| index.get(&path[..length]).copied());
    let below = index.range(path.clone()..).take_while(|(key, _)| key.starts_with(path)).map(|(_, id)| *id);
    above.chain(below)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(sources: &[&str]) -> Result<(), PolicyError> {
        let mut engine = regorus::Engine::new();
        for (number, source) in sources.iter().enumerate() {
            engine.add_policy(format!("{number}.rego"), (*source).to_owned()).unwrap();
        }
        CallGraph::new(engine.get_modules()).check()
    }

    #[test]
    fn every_kind_of_recursion_is_found() {
        let cases: &[&[&str]] = &[
            &["package a\nallow if { b }\nb if { allow }"],
            &["package a\nallow if { input.x == 2; b }\nb if { allow }"],
            &["package a\nf(x) := f(x)"],
            &["package a\nf(x) := g(x)\ng(x) := h(x) + 1\nh(y) := f(y)"],
            &["package a\nallow if { data.a.allow }"],
            &["package a\nallow if { data.a[\"allow\"] }"],
            &["package a\nallow if { data.a[input.name] }"],
            &["package a\nallow if { data[input.name] }"],
            &["package a\nallow if { walk(data, [p, v]); v == 1 }"],
            &["package a\nallow if { count(data.a) > 1 }"],
            &["package a\nimport data.b\nallow if b.x", "package b\nimport data.a.allow as y\nx if y"],
            &["package a\np contains x if { some x in q }\nq contains x if { some x in p }"],
            &["package a\nx := [1 | y]\ny := {k: v | some k, v in x}"],
            &["package a\nx if { not y }\ny if { every e in input.l { e == x } }"],
            &["package a\nx if { y with input.z as x }\ny := 1"],
            &["package a\ndefault x := 1\nx := 2 if { false } else := y if { true }\ny := x"],
            &["package a\np[k] := v if { some k, v in q }\nq[p.x] := 1"],
            &["package a.b\nx := data.a.c.y", "package a.c\ny := data.a.b"],
            &["package a\nf(x) := 1 if { x == [y | y := f(1)][0] }"],
            &["package a\nallow if { [1 | some allow in [true]]; b }\nb if { allow }"],
        ];
        for sources in cases {
            let error = check(sources).expect_err(sources[0]);
            assert!(error.reason.contains("recursion") && error.place.contains(".rego:"), "{error}");
        }
    }

    #[test]
    fn the_error_shows_the_cycle_and_where() {
        let error = check(&["package a\n\nallow if {\n    b\n}\n\nb if { allow }\n"]).unwrap_err();
        assert_eq!(error.place, "0.rego:3:1");
        assert_eq!(
            error.reason,
            "recursion: `a.allow` needs `a.b` at 0.rego:4:5, `a.b` needs `a.allow` at 0.rego:7:8"
        );
    }

    #[test]
    fn what_is_no_recursion_passes() {
        let cases: &[&[&str]] = &[
            &["package a\nallow if { b }\nb if { c(1) }\nc(x) if { x == 1 }"],
            &["package a\nrole := f(input.role)\nf(role) := role"],
            &["package a\np.x := 1\np.y := p.x"],
            &["package a\nallow if { input.allow }\nb if { data.roles[input.x].allow }"],
            &["package a\nallow if { data.b.allow }", "package b\nallow if { input.x }"],
        ];
        for sources in cases {
            check(sources).unwrap();
        }
    }

    #[test]
    fn long_chains_are_refused() {
        let chain = |length: usize| {
            let mut source = String::from("package a\nr0 := 1\n");
            for number in 1..length {
                writeln!(source, "r{number} := r{}", number - 1).unwrap();
            }
            check(&[&source])
        };
        chain(MAX_CHAIN).unwrap();
        assert!(chain(MAX_CHAIN + 1).unwrap_err().reason.contains("chain"));
        assert!(chain(15_000).unwrap_err().reason.contains("chain"));
    }
}
