//! Which definitions of rules hold for one input, and at which statement the others fail.
//!
//! The engine tells values, not reasons. So each body is written out once more, as rules of its own in the same package: one
//! rule for each of its beginnings, and one for the value. The first beginning that is not true names the statement.

use std::fmt::Write as _;

use regorus::unstable::{Expr, Module, Ref, Rule, RuleHead, Span};
use regorus::{Engine, Value};

use super::syntax;

/// What the rules written here are called; no rule of a bundle should be.
const NAME: &str = "airlock_probe";

/// One body of a rule.
#[derive(Debug)]
pub(super) struct Definition {
    /// `package.name` of the rule.
    pub(super) rule: String,
    /// The constant `rule_id` of what it adds to `deny`.
    pub(super) label: Option<String>,
    pub(super) source: Source,
    /// An `else`, which is looked at only where what stands before it does not hold.
    pub(super) is_else: bool,
    adds: bool,
    value: String,
    statements: Vec<Source>,
    package: String,
    imports: String,
}

/// A piece of a policy file.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Source {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The text; of a rule only its first line.
    pub text: String,
}

/// What became of a definition.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It holds, and gives this value; a rule that collects gives the set of what this definition adds.
    Held(Value),
    /// This statement is not true, or its value undefined.
    Failed(Source),
    /// It cannot be written out on its own.
    Unknown,
}

impl Source {
    fn new(span: &Span, text: &str) -> Self {
        Self { file: span.source.file().clone(), line: span.line, text: text.to_owned() }
    }

    /// The line on which `span` begins.
    pub(super) fn line(span: &Span) -> Self {
        let line = span.source.contents().lines().nth(span.line.saturating_sub(1) as usize);
        Self::new(span, line.unwrap_or_default().trim())
    }
}

/// All bodies of complete rules and of rules that collect. Functions, which mean nothing without their arguments, and
/// constants, which always hold, are left out.
pub(super) fn definitions(modules: &[Ref<Module>]) -> Vec<Definition> {
    let mut found = Vec::new();
    for module in modules {
        let package = syntax::static_path(&module.package.refr).join(".");
        let contents = module.package.span.source.contents();
        let imports: String =
            contents.lines().filter(|line| line.starts_with("import ")).fold(String::new(), |all, line| all + line + "\n");
        for rule in &module.policy {
            let Rule::Spec { head, bodies, .. } = &**rule else { continue };
            let (assign, key) = match head {
                RuleHead::Compr { refr, assign, .. } if matches!(&**refr, Expr::Var { .. }) => (assign.as_ref(), None),
                RuleHead::Set { refr, key, .. } if matches!(&**refr, Expr::Var { .. }) => (None, key.as_ref()),
                _ => continue,
            };
            let rule_name = format!("{package}.{}", syntax::static_path(syntax::head(rule)).join("."));
            let definition = |span: &Span, value: &str, statements, is_else| Definition {
                rule: rule_name.clone(),
                label: key.and_then(|key| constant_rule_id(key)),
                source: Source::line(span),
                is_else,
                adds: key.is_some(),
                value: value.to_owned(),
                statements,
                package: package.clone(),
                imports: imports.clone(),
            };
            let value = key.or(assign.map(|assign| &assign.value)).map_or("true", |value| value.span().text());
            if bodies.is_empty() {
                if assign.is_some_and(|assign| !is_constant(&assign.value)) {
                    found.push(definition(rule.span(), value, Vec::new(), false));
                }
                continue;
            }
            for (at, body) in bodies.iter().enumerate() {
                let statements = body.query.stmts.iter();
                let statements = statements.map(|stmt| Source::new(&stmt.span, stmt.span.text())).collect();
                let value = match &body.assign {
                    Some(assign) => assign.value.span().text(),
                    None if body.is_else => "true",
                    None => value,
                };
                let span = if at == 0 { rule.span() } else { &body.span };
                found.push(definition(span, value, statements, body.is_else));
            }
        }
    }
    found
}

fn is_constant(expr: &Expr) -> bool {
    let mut constant = !matches!(expr, Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } | Expr::Call { .. });
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
    /// This body as rules of their own: numbered beginnings, then the value.
    fn written_out(&self, id: usize, beginnings: bool) -> String {
        let mut text = String::new();
        let body = |count: usize| {
            self.statements.iter().take(count).fold(String::new(), |body, statement| body + "\t" + &statement.text + "\n")
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
pub(super) struct Probes<'a> {
    engine: Engine,
    ready: Vec<Probe<'a>>,
}

struct Probe<'a> {
    definition: &'a Definition,
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

impl<'a> Probes<'a> {
    /// Writes out all `definitions` for an engine that has the bundle and its data.
    pub(super) fn new(engine: &Engine, definitions: impl Iterator<Item = &'a Definition>) -> Self {
        let mut ready: Vec<Probe<'a>> = definitions
            .enumerate()
            .map(|(id, definition)| Probe { definition, id, how: How::Beginnings })
            .collect();
        if let Some(engine) = with(engine, &ready) {
            return Self { engine, ready };
        }
        // A statement may need a variable that a later one binds: such a body is asked about as a whole.
        for probe in &mut ready {
            for how in [How::Beginnings, How::WholeOnly, How::NotAtAll] {
                probe.how = how;
                if with(engine, std::slice::from_ref(probe)).is_some() {
                    break;
                }
            }
        }
        let engine = with(engine, &ready).unwrap_or_else(|| {
            ready.iter_mut().for_each(|probe| probe.how = How::NotAtAll);
            engine.clone()
        });
        Self { engine, ready }
    }

    /// What becomes of each definition under the engine's input.
    pub(super) fn outcomes(&mut self, input: Option<Value>) -> Vec<(&'a Definition, Outcome)> {
        if let Some(input) = input {
            self.engine.set_input(input);
        }
        let Self { engine, ready } = self;
        ready.iter().map(|probe| (probe.definition, probe.outcome(engine))).collect()
    }
}

impl Probe<'_> {
    fn outcome(&self, engine: &mut Engine) -> Outcome {
        let Definition { package, statements, source, .. } = self.definition;
        let mut ask = |name: String| match engine.eval_rule(format!("data.{package}.{name}")) {
            Ok(Value::Undefined) | Err(_) => None,
            Ok(value) => Some(value),
        };
        if self.how == How::NotAtAll {
            return Outcome::Unknown;
        }
        let empty = |value: &Value| matches!(value, Value::Set(elements) if elements.is_empty());
        if let Some(value) = ask(format!("{NAME}_{}", self.id))
            && !(self.definition.adds && empty(&value))
        {
            return Outcome::Held(value);
        }
        if self.how == How::WholeOnly {
            return Outcome::Unknown;
        }
        let failed = (1..=statements.len()).find(|count| ask(format!("{NAME}_{}_{count}", self.id)).is_none());
        let place = failed.and_then(|count| statements.get(count - 1)).unwrap_or(source);
        let first = place.text.lines().next().unwrap_or_default();
        Outcome::Failed(Source { text: first.to_owned(), ..place.clone() })
    }
}

/// The engine with these definitions written out, if it takes them.
fn with(engine: &Engine, probes: &[Probe<'_>]) -> Option<Engine> {
    let mut engine = engine.clone();
    let mut first = None;
    for probe in probes.iter().filter(|probe| probe.how != How::NotAtAll) {
        let Definition { package, imports, .. } = probe.definition;
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
