//! Which definitions of rules hold for one input, and at which statement the others fail.
//!
//! The engine tells values, not reasons. So each body is written out once more, as rules of its own in the
//! same package: one rule for each of its beginnings, and one for the value. The first beginning that is not
//! true names the statement.

use std::fmt::Write as _;

use regorus::unstable::{Expr, LiteralStmt, Module, Ref, Rule, RuleHead, Span};
use regorus::{Engine, Value};

use super::reads::{Basis, Paths, Reads};
use super::strict;
use crate::policy::syntax;

/// The prefix of rules that are written here; no rule of a bundle should have it.
const NAME: &str = "airlock_probe";

/// One body of a rule.
#[derive(Debug)]
pub(in crate::policy) struct Definition {
    /// `package.name` of the rule.
    pub(in crate::policy) rule: String,
    /// The constant `rule_id` of what it adds to `deny`.
    pub(in crate::policy) label: Option<String>,
    pub(in crate::policy) source: PolicyPiece,
    /// An `else`, which is looked at only where what stands before it does not hold.
    pub(in crate::policy) is_else: bool,
    adds: bool,
    value: String,
    statements: Vec<PolicyPiece>,
    /// The parts of the input that each statement may read, itself and through rules.
    pub(in crate::policy) statement_reads: Vec<Paths>,
    /// The parts of the input that its value may read.
    pub(in crate::policy) value_reads: Paths,
    /// All that its result follows from, besides the input.
    pub(in crate::policy) basis: Basis,
    package: String,
    imports: String,
}

/// A piece of a policy file.
#[derive(Debug, Clone, serde::Serialize)]
pub struct PolicyPiece {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The text; of a rule only its first line.
    pub text: String,
}

/// The fate of a definition.
#[derive(Debug)]
pub(in crate::policy) enum Outcome {
    /// It holds, and gives this value; a rule that collects gives the set of what this definition adds.
    Held(Value),
    /// The statement of this number, from 0, is not true or its value undefined; with all statements true,
    /// its value is.
    Failed(usize, PolicyPiece),
    /// At the statement of this number, or in its value, something failed; that refuses the call. With what
    /// it was.
    Erred(usize, PolicyPiece, String),
    /// It cannot be written out on its own.
    Unknown,
}

impl PolicyPiece {
    fn new(span: &Span, text: &str) -> Self {
        Self { file: span.source.file().clone(), line: span.line, text: text.to_owned() }
    }

    /// The line on which `span` begins.
    pub(in crate::policy) fn line(span: &Span) -> Self {
        let line = span.source.contents().lines().nth(span.line.saturating_sub(1) as usize);
        Self::new(span, line.unwrap_or_default().trim())
    }
}

/// All bodies of complete rules and of rules that collect. Functions, which mean nothing without their
/// arguments, and constants, which always hold, are left out.
pub(in crate::policy) fn definitions(modules: &[Ref<Module>], reads: &Reads) -> Vec<Definition> {
    let mut found = Vec::new();
    for module in modules {
        let package = syntax::static_path(&module.package.refr).join(".");
        let contents = module.package.span.source.contents();
        let imports: String = contents
            .lines()
            .filter(|line| line.starts_with("import "))
            .fold(String::new(), |all, line| all + line + "\n");
        for rule in &module.policy {
            let Rule::Spec { head, bodies, .. } = &**rule else { continue };
            let (assign, key) = match head {
                RuleHead::Compr { refr, assign, .. } if matches!(&**refr, Expr::Var { .. }) => {
                    (assign.as_ref(), None)
                }
                RuleHead::Set { refr, key, .. } if matches!(&**refr, Expr::Var { .. }) => {
                    (None, key.as_ref())
                }
                _ => continue,
            };
            let rule_name = format!("{package}.{}", syntax::static_path(syntax::head(rule)).join("."));
            let value = key.or(assign.map(|assign| &assign.value));
            let definition = |span: &Span, value: Option<&Ref<Expr>>, statements: &[LiteralStmt], is_else| {
                let reads_of = |statement: &LiteralStmt| {
                    let mut expressions = Vec::new();
                    syntax::in_statement(statement, &mut |expr| expressions.push(expr));
                    reads.of_expressions(module, expressions.into_iter())
                };
                Definition {
                    rule: rule_name.clone(),
                    label: key.and_then(|key| constant_rule_id(key)),
                    source: PolicyPiece::line(span),
                    is_else,
                    adds: key.is_some(),
                    value: value.map_or("true", |value| expression(value)).to_owned(),
                    statements: statements
                        .iter()
                        .map(|it| PolicyPiece::new(&it.span, whole(&it.span)))
                        .collect(),
                    statement_reads: statements.iter().map(reads_of).collect(),
                    value_reads: reads.of_expressions(module, value.into_iter().map(|value| &**value)),
                    basis: reads.basis(module, rule),
                    package: package.clone(),
                    imports: imports.clone(),
                }
            };
            if bodies.is_empty() {
                if assign.is_some_and(|assign| !is_constant(&assign.value)) {
                    found.push(definition(rule.span(), value, &[], false));
                }
                continue;
            }
            for (at, body) in bodies.iter().enumerate() {
                let value = match &body.assign {
                    Some(assign) => Some(&assign.value),
                    None if body.is_else => None,
                    None => value,
                };
                let span = if at == 0 { rule.span() } else { &body.span };
                found.push(definition(span, value, &body.query.stmts, body.is_else));
            }
        }
    }
    found
}

/// The text of a span with the quotes of a string at its ends, which the parser leaves out.
fn whole(span: &Span) -> &str {
    let (contents, quotes) = (span.source.contents(), [b'"', b'`']);
    let is_quote = |at: usize| contents.as_bytes().get(at).is_some_and(|byte| quotes.contains(byte));
    let (start, end) = (span.start as usize, span.end as usize);
    let start = if start > 0 && is_quote(start - 1) { start - 1 } else { start };
    contents.get(start..if is_quote(end) { end + 1 } else { end }).unwrap_or_default()
}

/// The text of an expression. The parser has an object or a set begin somewhere inside it.
pub(in crate::policy) fn expression(expr: &Expr) -> &str {
    let first = match expr {
        Expr::Object { fields, .. } => fields.first().map(|(_, key, _)| key.span()),
        Expr::Set { items, .. } => items.first().map(|item| item.span()),
        _ => None,
    };
    let Some(first) = first else { return whole(expr.span()) };
    let contents = expr.span().source.contents();
    let brace = contents.get(..first.start as usize).and_then(|before| before.rfind('{'));
    brace.and_then(|start| contents.get(start..expr.span().end as usize)).unwrap_or_default()
}

pub(in crate::policy) fn is_constant(expr: &Expr) -> bool {
    let mut constant =
        !matches!(expr, Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } | Expr::Call { .. });
    syntax::children(expr, &mut |child| constant &= is_constant(child));
    constant
}

fn constant_rule_id(key: &Expr) -> Option<String> {
    let Expr::Object { fields, .. } = key else { return None };
    fields.iter().find_map(|(_, key, value)| match (&**key, &**value) {
        (Expr::String { value: name, .. }, Expr::String { value, .. }) if syntax::text(name) == "rule_id" => {
            Some(syntax::text(value).to_owned())
        }
        _ => None,
    })
}

impl Definition {
    /// A module in which the set `name` has `element` where this body holds and its value is true.
    pub(super) fn collected(&self, name: &str, element: &str) -> String {
        let mut text = format!("package {}\n{}", self.package, self.imports);
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{name} contains {} if {{", Value::from(element));
        for statement in &self.statements {
            let _ = writeln!(text, "\t{}", statement.text);
        }
        let _ = writeln!(text, "\tairlock_value := {}\n\tairlock_value == true\n}}", self.value);
        text
    }

    /// This body as rules of their own: numbered beginnings, then the value.
    fn written_out(&self, id: usize, beginnings: bool) -> String {
        let mut text = String::new();
        let body = |count: usize| {
            self.statements
                .iter()
                .take(count)
                .fold(String::new(), |body, statement| body + "\t" + &statement.text + "\n")
        };
        // Writing into a String cannot fail.
        if beginnings {
            for count in 1..=self.statements.len() {
                let _ = writeln!(text, "{NAME}_{id}_{count} if {{\n{}}}", body(count));
            }
        }
        let operator = if self.adds { "contains airlock_value" } else { ":= airlock_value" };
        let all = body(self.statements.len());
        let _ = writeln!(text, "{NAME}_{id} {operator} if {{\n{all}\tairlock_value := {}\n}}", self.value);
        text
    }
}

/// Definitions, ready to be asked about.
pub(in crate::policy) struct Probes {
    engine: Engine,
    ready: Vec<Probe>,
}

struct Probe {
    definition: Definition,
    id: usize,
    /// How much of it the engine takes when it stands alone.
    how: How,
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    Beginnings,
    WholeOnly,
    NotAtAll,
}

impl Probes {
    /// Writes out all `definitions` for an engine that has the bundle and its data.
    pub(in crate::policy) fn new(engine: &Engine, definitions: Vec<Definition>) -> Self {
        let probe = |(id, definition): (usize, Definition)| {
            // The rules before an `else` decide if it is looked at.
            let how = if definition.is_else { How::NotAtAll } else { How::Beginnings };
            Probe { definition, id, how }
        };
        let mut ready: Vec<Probe> = definitions.into_iter().enumerate().map(probe).collect();
        if let Some(engine) = with(engine, &ready) {
            return Self { engine, ready };
        }
        // A statement may need a variable that a later one binds: such a body is asked about as a whole.
        for probe in ready.iter_mut().filter(|probe| probe.how != How::NotAtAll) {
            for how in [How::Beginnings, How::WholeOnly, How::NotAtAll] {
                probe.how = how;
                if with(engine, std::slice::from_ref(probe)).is_some() {
                    break;
                }
            }
        }
        let engine = with(engine, &ready).unwrap_or_else(|| {
            for probe in &mut ready {
                probe.how = How::NotAtAll;
            }
            engine.clone()
        });
        Self { engine, ready }
    }

    /// The fate of each definition under the engine's input.
    pub(in crate::policy) fn outcomes(&mut self, input: Option<Value>) -> Vec<Outcome> {
        if let Some(input) = input {
            self.engine.set_input(input);
        }
        let Self { engine, ready } = self;
        ready.iter().map(|probe| probe.outcome(engine)).collect()
    }

    /// The definitions, in the order of their outcomes.
    pub(in crate::policy) fn definitions(&self) -> impl Iterator<Item = &Definition> {
        self.ready.iter().map(|probe| &probe.definition)
    }
}

impl Probe {
    fn outcome(&self, engine: &mut Engine) -> Outcome {
        let Definition { package, statements, source, .. } = &self.definition;
        let mut ask = |name: String| match engine.eval_rule(format!("data.{package}.{name}")) {
            Ok(Value::Undefined) => Ok(None),
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(strict::failure_of_interpreter(&error.to_string())),
        };
        if self.how == How::NotAtAll {
            return Outcome::Unknown;
        }
        let empty = |value: &Value| matches!(value, Value::Set(elements) if elements.is_empty());
        let whole = ask(format!("{NAME}_{}", self.id));
        match &whole {
            Ok(Some(value)) if !(self.definition.adds && empty(value)) => {
                return Outcome::Held(value.clone());
            }
            _ if self.how == How::WholeOnly => {
                return match whole {
                    Err(error) => Outcome::Erred(0, source.clone(), error),
                    Ok(_) => Outcome::Unknown,
                };
            }
            _ => {}
        }
        // The first beginning that is not true; with all of them true it is the value.
        let (mut at, mut error) = (statements.len(), whole.err());
        for count in 1..=statements.len() {
            let beginning = ask(format!("{NAME}_{}_{count}", self.id));
            if matches!(beginning, Ok(Some(_))) {
                continue;
            }
            (at, error) = (count - 1, beginning.err());
            break;
        }
        let place = statements.get(at).unwrap_or(source);
        let first = place.text.lines().next().unwrap_or_default();
        let place = PolicyPiece { text: first.to_owned(), ..place.clone() };
        match error {
            Some(error) => Outcome::Erred(at, place, error),
            None => Outcome::Failed(at, place),
        }
    }
}

/// The engine with these definitions written out, if it takes them.
fn with(engine: &Engine, probes: &[Probe]) -> Option<Engine> {
    let mut engine = engine.clone();
    let mut first = None;
    for probe in probes.iter().filter(|probe| probe.how != How::NotAtAll) {
        let Definition { package, imports, .. } = &probe.definition;
        let text = format!(
            "package {package}\n{imports}{}",
            probe.definition.written_out(probe.id, probe.how == How::Beginnings)
        );
        engine.add_policy(format!("{NAME}_{}", probe.id), text).ok()?;
        first.get_or_insert_with(|| format!("data.{package}.{NAME}_{}", probe.id));
    }
    if let Some(first) = first {
        // Compiling looks at all modules; a variable without a value is found here.
        engine.clone().compile_with_entrypoint(&first.into()).ok()?;
    }
    Some(engine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_of_the_shipped_policy_can_be_asked_about() {
        let mut engine = Engine::new();
        let text = include_str!("../../../../policies/authz.rego");
        engine.add_policy("authz.rego".into(), text.into()).expect("a policy");
        let modules = engine.get_modules().clone();
        let found = definitions(&modules, &Reads::new(&modules));
        assert!(found.len() > 20, "{}", found.len());
        let probes = Probes::new(&engine, found);
        let deaf: Vec<_> =
            probes.ready.iter().filter(|it| it.how != How::Beginnings).map(|it| &it.definition).collect();
        assert!(deaf.is_empty(), "{deaf:#?}");
    }

    #[test]
    fn the_first_statement_that_is_not_true_is_named() {
        let text = "package a\nimport rego.v1\n\np contains {\"id\": x, \"of\": {\n\"y\": 1}} if {\n\tsome x in input.xs\n\
            \tx != \"a\"\n\tcount(input.xs) > 2\n}\n\nq := \"é\" if \"b\" in input.xs\n";
        let mut engine = Engine::new();
        engine.add_policy("a.rego".into(), text.into()).expect("a policy");
        let modules = engine.get_modules().clone();
        let mut probes = Probes::new(&engine, definitions(&modules, &Reads::new(&modules)));
        let mut ask = |json: &str| probes.outcomes(Some(Value::from_json_str(json).expect("JSON")));
        let places = |outcomes: &[Outcome]| {
            let place = |outcome: &Outcome| match outcome {
                Outcome::Held(value) => value.to_string(),
                Outcome::Failed(at, source) => format!("{at} at {}: {}", source.line, source.text),
                Outcome::Erred(at, source, _) => format!("error in {at} at {}: {}", source.line, source.text),
                Outcome::Unknown => "unknown".to_owned(),
            };
            outcomes.iter().map(place).collect::<Vec<_>>()
        };
        assert_eq!(places(&ask(r#"{"xs": ["a"]}"#)), ["1 at 7: x != \"a\"", "0 at 11: \"b\" in input.xs"]);
        assert_eq!(places(&ask(r#"{"xs": ["a", "b"]}"#)), ["2 at 8: count(input.xs) > 2", "\"é\""]);
        let all = places(&ask(r#"{"xs": ["a", "b", "c"]}"#));
        assert!(all[0].contains("\"b\"") && all[0].contains("\"c\""), "{all:?}");
        // A text cannot be gone through, so the statement is not true; a number has no length, which is an
        // error.
        let text = text.replace("count(input.xs)", "count(input.n)");
        let mut engine = Engine::new();
        engine.add_policy("a.rego".into(), text).expect("a policy");
        let modules = engine.get_modules().clone();
        let mut probes = Probes::new(&engine, definitions(&modules, &Reads::new(&modules)));
        let outcomes = probes.outcomes(Some(Value::from_json_str(r#"{"xs": ["b"], "n": 7}"#).expect("JSON")));
        let expected = ["error in 2 at 8: count(input.n) > 2".to_owned(), "\"é\"".to_owned()];
        assert_eq!(places(&outcomes), expected);
    }
}
