//! Do the two engines say the same? Bytecode serves only a policy for which they do, on every input tried
//! here.
//!
//! Inputs are those of the bundle's own tests (`… with input as …`), and variations of them: fields take the
//! constants that the policy, its tests and its data mention. The choice is random with a fixed seed, so a
//! bundle is always tried alike.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use regorus::unstable::{Expr, Literal, Module, Query, Rule};
use regorus::{Engine, Value};
use serde_json::{Value as Json, json};

use crate::policy::bundle::Bundle;
use crate::policy::engine::PolicyEngine;
use crate::policy::engine::compile::{gate, parse};
use crate::policy::error::PolicyError;
use crate::policy::syntax::{self, RefStep};

/// Inputs put to the engines.
const INPUTS: usize = 160;
/// Inputs taken from tests.
const FROM_TESTS: usize = 48;
/// Constants of a kind that are used.
const CONSTANTS: usize = 256;
/// No more inputs are tried after this time: it is spent at each reload.
const MAX_TRYING: Duration = Duration::from_secs(2);
const METHODS: [&str; 9] = [
    "tools/call",
    "tools/list",
    "prompts/get",
    "resources/read",
    "resources/subscribe",
    "completion/complete",
    "tasks/get",
    "ping",
    "initialize",
];

/// The result.
#[derive(Debug, Default)]
pub(super) struct Probed {
    /// Inputs tried.
    pub(in crate::policy) inputs: usize,
    /// Those that the bundle had no answer to, and the first error.
    pub(in crate::policy) errors: usize,
    pub(in crate::policy) error: Option<String>,
    /// The first input to which the engines say different things, and what they say.
    pub(super) disagreement: Option<String>,
}

/// Asks a bundle, and where it runs as bytecode the interpreter as well.
///
/// # Errors
/// A bundle that the interpreter does not compile.
pub(in crate::policy) fn probe(bundle: &Bundle, engine: &PolicyEngine) -> Result<Probed, PolicyError> {
    let other = if engine.is_bytecode() { Some(PolicyEngine::to_compare(bundle)?) } else { None };
    let mut sources = parse(bundle.policies.iter().chain(&bundle.tests))?;
    let pool = Pool::of(sources.get_modules().iter().map(|module| &**module), &bundle.data);
    let mut seeds = of_tests(bundle).unwrap_or_default();
    let known = seeds.len();
    if seeds.is_empty() {
        seeds.push(plain());
    }
    let mut dice = Dice(0x5eed);
    let mut probed = Probed::default();
    let began = Instant::now();
    for number in 0..INPUTS {
        if began.elapsed() > MAX_TRYING {
            break;
        }
        let mut input = seeds[if number < known { number } else { dice.below(seeds.len()) }].clone();
        if number >= known {
            for _ in 0..=dice.below(4) {
                pool.vary(&mut input, &mut dice);
            }
        }
        let Ok(document) = Value::from_json_str(&input.to_string()) else { continue };
        let one = engine.try_document(&document);
        probed.inputs += 1;
        if let Err(error) = &one {
            probed.errors += 1;
            probed.error.get_or_insert_with(|| error.clone());
        }
        let Some(other) = &other else { continue };
        let two = other.try_document(&document);
        let agreed = match (&one, &two) {
            (Ok(one), Ok(two)) => one == two,
            (Err(_), Err(_)) => true,
            // Both refuse, or one ran into a limit that says nothing about the policy.
            (Err(error), Ok(decision)) | (Ok(decision), Err(error)) => {
                !decision.allow || error.contains("limit")
            }
        };
        if !agreed {
            let say = |answer: &Result<_, String>| match answer {
                Ok(crate::policy::document::decision::Decision { allow, rule_id, .. }) => {
                    format!("{} by {rule_id}", if *allow { "allowed" } else { "refused" })
                }
                Err(error) => format!("an error ({})", short(error, 200)),
            };
            probed.disagreement = Some(format!(
                "the engines disagree (bytecode: {}; interpreter: {}) on the input {}",
                say(&one),
                say(&two),
                short(&input.to_string(), 1_000)
            ));
            break;
        }
    }
    match &probed.error {
        Some(error) if probed.errors == probed.inputs => Err(PolicyError::at(
            &bundle.root,
            format!(
                "it answers none of {} inputs that it was tried with, the first one because of: {error}",
                probed.inputs
            ),
            "look for rules that fail, or grow without a bound, whatever they are asked",
        )),
        _ => Ok(probed),
    }
}

/// One line of a message, cut to about `most` characters.
fn short(message: &str, most: usize) -> String {
    let words: Vec<&str> = message.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// The inputs of the bundle's own tests, as far as they stand for themselves.
fn of_tests(bundle: &Bundle) -> Option<Vec<Json>> {
    let mut engine = parse(bundle.policies.iter().chain(&bundle.tests)).ok()?;
    gate(&bundle.root, &mut engine).ok()?;
    engine.add_data(bundle.data.clone()).ok()?;
    let files: BTreeSet<String> = bundle.tests.iter().map(|test| test.path.display().to_string()).collect();
    let mut inputs = Vec::new();
    let modules = engine.get_modules().clone();
    for module in modules.iter().filter(|module| files.contains(module.package.span.source.file())) {
        let mut found = BTreeSet::new();
        for rule in &module.policy {
            in_bodies(rule, &mut |expr| {
                found.insert(expr.span().text().to_owned());
            });
        }
        for text in found.into_iter().take(FROM_TESTS.saturating_sub(inputs.len())) {
            inputs.extend(evaluated(&engine, module, &text));
        }
    }
    Some(inputs)
}

/// Reports what stands for `input` in the tests.
fn in_bodies(rule: &Rule, report: &mut dyn FnMut(&Expr)) {
    let Rule::Spec { bodies, .. } = rule else { return };
    for body in bodies {
        in_query(&body.query, report);
    }
}

fn in_query(query: &Query, report: &mut dyn FnMut(&Expr)) {
    for statement in &query.stmts {
        for modifier in &statement.with_mods {
            if matches!(&*modifier.refr, Expr::Var { value, .. } if syntax::text(value) == "input") {
                report(&modifier.r#as);
            }
        }
        if let Literal::Every { query, .. } = &statement.literal {
            in_query(query, report);
        }
    }
}

/// The value of an expression of a module, put into a rule of the same package beside it; none where it needs
/// variables of the test around it.
fn evaluated(engine: &Engine, module: &Module, text: &str) -> Option<Json> {
    const RULE: &str = "airlock_probed_input";
    let package = syntax::static_path(&module.package.refr).join(".");
    let mut source = format!("package {package}\n");
    for import in &module.imports {
        let alias = import.r#as.as_ref().map(|name| format!(" as {}", name.text())).unwrap_or_default();
        source.extend(["import ", import.refr.span().text(), &alias, "\n"]);
    }
    source.extend([RULE, " := ", text, "\n"]);
    let mut engine = engine.clone();
    engine.add_policy("airlock_probe.rego".into(), source).ok()?;
    let value = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        engine.eval_rule(format!("data.{package}.{RULE}")).ok()
    }));
    let value = value.ok().flatten().filter(|value| matches!(value, Value::Object(_)))?;
    serde_json::from_str(&value.to_json_str().ok()?).ok()
}

/// An input like those that the gateway makes.
fn plain() -> Json {
    json!({
        "subject": {"id": "alice", "tenant": null, "groups": [], "scopes": [], "issuer": "https://idp.example", "claims": {}},
        "call": {"method": "tools/call", "upstream": "docs", "tool": "read_file", "prompt": null, "resource": null,
            "root": null, "arguments": {}, "revision": "2026-07-28"},
        "client": {"address": "203.0.113.7", "certificate": null, "uid": null},
        "time": 1_795_347_000,
    })
}

/// A small generator of numbers that look random (splitmix64); nothing depends on their being so.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, or 0.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() % bound.max(1) as u64).unwrap_or(0)
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let place = self.below(of.len());
        of.get(place)
    }
}

/// The constants that a bundle mentions.
struct Pool {
    texts: Vec<String>,
    /// Names of members, such as `path` in `input.call.arguments.path`.
    names: Vec<String>,
    numbers: Vec<Json>,
}

impl Pool {
    fn of<'a>(modules: impl Iterator<Item = &'a Module>, data: &Value) -> Self {
        let (mut texts, mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for rule in modules.flat_map(|module| module.policy.iter()) {
            syntax::every(rule, &mut |expr| match expr {
                Expr::String { value, .. } | Expr::RawString { value, .. } => {
                    texts.insert(syntax::text(value).to_owned());
                }
                Expr::Number { value, .. } => {
                    numbers.insert(value.to_string());
                }
                reference => {
                    for step in syntax::flatten(reference).1 {
                        if let RefStep::Name(name) = step {
                            names.insert(name.to_owned());
                        }
                    }
                }
            });
        }
        let mut pending = vec![data];
        while let Some(value) = pending.pop() {
            match value {
                Value::String(text) => {
                    texts.insert(text.to_string());
                }
                Value::Array(items) => pending.extend(items.iter()),
                Value::Set(items) => pending.extend(items.iter()),
                Value::Object(fields) => pending.extend(fields.iter().flat_map(|(key, value)| [key, value])),
                _ => {}
            }
        }
        Self {
            texts: texts.into_iter().filter(|text| text.len() < 1024).take(CONSTANTS).collect(),
            names: names.into_iter().take(CONSTANTS).collect(),
            numbers: numbers
                .iter()
                .filter_map(|text| serde_json::from_str(text).ok())
                .take(CONSTANTS)
                .collect(),
        }
    }

    fn text(&self, dice: &mut Dice) -> Json {
        match dice.below(8) {
            0 => Json::Null,
            1 => json!(""),
            2 => dice.pick(&self.texts).map_or(Json::Null, |text| json!(format!("{text}/../x"))),
            _ => dice.pick(&self.texts).map_or(json!("x"), |text| json!(text)),
        }
    }

    fn texts(&self, dice: &mut Dice) -> Json {
        (0..dice.below(4)).map(|_| self.text(dice)).filter(Json::is_string).collect()
    }

    fn any(&self, dice: &mut Dice, depth: usize) -> Json {
        match dice.below(if depth == 0 { 6 } else { 9 }) {
            0 => json!(dice.below(2) == 0),
            1 => dice.pick(&self.numbers).cloned().unwrap_or(json!(1)),
            2 => json!(dice.below(1_000)),
            3..=5 => self.text(dice),
            6 => (0..dice.below(3)).map(|_| self.any(dice, depth - 1)).collect(),
            _ => self.members(dice, depth - 1),
        }
    }

    fn members(&self, dice: &mut Dice, depth: usize) -> Json {
        let members = (0..dice.below(4)).filter_map(|_| {
            let names = if dice.below(4) == 0 { &self.texts } else { &self.names };
            let name = dice.pick(names)?.clone();
            Some((name, self.any(dice, depth)))
        });
        Json::Object(members.collect())
    }

    /// Changes one field of an input.
    fn vary(&self, input: &mut Json, dice: &mut Dice) {
        let (path, value) = match dice.below(15) {
            0 => ("/subject/id", self.text(dice)),
            1 => ("/subject/tenant", self.text(dice)),
            2 | 3 => ("/subject/groups", self.texts(dice)),
            4 => ("/subject/scopes", self.texts(dice)),
            5 => ("/subject/claims", self.members(dice, 2)),
            6 => ("/call/method", json!(dice.pick(&METHODS))),
            7 => ("/call/upstream", self.text(dice)),
            8 => ("/call/tool", self.text(dice)),
            9 => ("/call/prompt", self.text(dice)),
            10 => ("/call/resource", self.text(dice)),
            11 | 12 => {
                ("/call/arguments", if dice.below(4) == 0 { Json::Null } else { self.members(dice, 3) })
            }
            13 => ("/client/address", self.text(dice)),
            _ => ("/time", json!(1_795_347_000 + dice.below(200_000))),
        };
        if let Some(field) = input.pointer_mut(path) {
            *field = value;
        }
    }
}
