//! The questions: the inputs of a bundle's own tests, and made ones.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};

use crate::Bundle;
use crate::dice::Dice;

/// Every made input follows from it; change it to see others.
const SEED: u64 = 20_261_123;
const FIELDS: [&str; 8] =
    ["method", "upstream", "tool", "prompt", "resource", "root", "arguments", "revision"];

/// The documents that the bundle's tests put in the place of `input`, as the engine evaluates them.
pub(crate) fn of_tests(bundle: &Bundle) -> Vec<Value> {
    let mut engine = regorus::Engine::new();
    for (name, text) in &bundle.modules {
        engine.add_policy(name.clone(), text.clone()).expect("a module");
    }
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let into = Arc::clone(&seen);
    let capture = move |values: Vec<regorus::Value>| {
        let value = values.into_iter().next().unwrap_or(regorus::Value::Undefined);
        into.lock().expect("one thread").insert(value.clone());
        Ok(value)
    };
    engine.add_extension("captured".to_owned(), 1, Box::new(capture)).expect("a new name");
    let mut tests = Vec::new();
    for (name, text) in &bundle.tests {
        engine.add_policy(name.clone(), captured(text)).expect("a test file");
        let package = text.lines().find_map(|line| line.strip_prefix("package ")).expect("a package");
        let heads = text.lines().filter(|line| line.starts_with("test_"));
        tests.extend(
            heads.map(|line| format!("data.{package}.{}", line.split(' ').next().unwrap_or_default())),
        );
    }
    engine.add_data(regorus::Value::from_json_str(&bundle.data.to_string()).expect("JSON")).expect("data");
    for test in tests {
        // `airlock policy test` says if it passes.
        engine.eval_rule(test).expect("a test");
    }
    let seen = seen.lock().expect("one thread");
    let documents = seen.iter().map(|value| serde_json::from_str(&value.to_string()).expect("JSON"));
    documents.filter(is_whole).collect()
}

/// A question of Airlock's has every field; tests may leave some out.
fn is_whole(document: &Value) -> bool {
    let call = document["call"].as_object();
    document["subject"].is_object()
        && document["client"].is_object()
        && document["time"].is_u64()
        && call.is_some_and(|call| FIELDS.iter().all(|field| call.contains_key(*field)))
}

/// The text with every `with input as X` turned into `with input as captured(X)`.
fn captured(text: &str) -> String {
    const MARK: &str = "with input as ";
    let mut whole = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(MARK) {
        let (before, after) = rest.split_at(at + MARK.len());
        let end = end_of_expression(after);
        whole.extend([before, "captured(", &after[..end], ")"]);
        rest = &after[end..];
    }
    whole + rest
}

/// Where an expression ends that is followed by a new line, another `with`, or a closing bracket that is not
/// its own.
fn end_of_expression(text: &str) -> usize {
    let (mut depth, mut quoted) = (0, false);
    for (at, character) in text.char_indices() {
        match character {
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' | '\n' if depth == 0 => return at,
            ')' | ']' | '}' => depth -= 1,
            ' ' if depth == 0 && text[at..].starts_with(" with ") => return at,
            _ => {}
        }
    }
    text.len()
}

/// Words that mean something to the bundle: what stands in quotes in its sources, and every string of its
/// data.
fn words(bundle: &Bundle) -> Vec<String> {
    let mut words = BTreeSet::new();
    for (_, text) in bundle.modules.iter().chain(&bundle.tests) {
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            words.extend(line.split('"').skip(1).step_by(2).map(str::to_owned));
        }
    }
    gather(&bundle.data, &mut words);
    words.into_iter().filter(|word| word.len() < 60).collect()
}

fn gather(value: &Value, words: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            words.insert(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, words)),
        Value::Object(fields) => {
            words.extend(fields.keys().cloned());
            fields.values().for_each(|field| gather(field, words));
        }
        _ => {}
    }
}

/// Pieces of paths and URIs that two readers read differently.
const PIECES: [&str; 27] = [
    "..", ".", "/", "//", "%2e", "%2E%2e", "%2f", "%5C", "\\", "%252e", "%73", "%00", "?", "#", ":", ";",
    "{", "}", "*", " ", "é", "%c3%a9", "\u{202e}", "\n", "%", "\0", "",
];

/// Makes `count` inputs out of the words of the bundle and the inputs of its tests.
pub(crate) fn made(bundle: &Bundle, taken: &[Value], count: usize) -> Vec<Value> {
    let words = words(bundle);
    let methods: Vec<String> = words
        .iter()
        .filter(|word| {
            word.contains('/')
                && !word.contains(':')
                && word.chars().all(|c| c.is_ascii_alphabetic() || c == '/')
        })
        .cloned()
        .collect();
    let keys: Vec<String> = words
        .iter()
        .filter(|word| word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
        .cloned()
        .collect();
    let mut maker = Maker { dice: Dice::new(SEED), words, methods, keys };
    (0..count).map(|_| maker.document(taken)).collect()
}

struct Maker {
    dice: Dice,
    words: Vec<String>,
    methods: Vec<String>,
    keys: Vec<String>,
}

impl Maker {
    /// An input of the tests with some of its parts replaced, so that most of it makes sense.
    fn document(&mut self, taken: &[Value]) -> Value {
        let mut document = if taken.is_empty() || self.dice.once_in(20) {
            self.whole()
        } else {
            self.dice.pick(taken).clone()
        };
        for _ in 0..=self.dice.below(3) {
            let other = if taken.is_empty() { self.whole() } else { self.dice.pick(taken).clone() };
            self.change(&mut document, &other);
        }
        document
    }

    fn whole(&mut self) -> Value {
        json!({
            "subject": {"id": self.word(), "tenant": self.word(), "groups": self.list(), "scopes": self.list(),
                "issuer": self.word(), "claims": {}},
            "call": {"method": self.method(), "upstream": self.word(), "tool": null, "prompt": null, "resource": null,
                "root": null, "arguments": {}, "revision": "2026-07-28"},
            "client": {"address": "203.0.113.7", "certificate": null, "uid": null},
            "time": 1_795_347_000,
        })
    }

    fn change(&mut self, document: &mut Value, other: &Value) {
        match self.dice.below(15) {
            0 => document["subject"] = other["subject"].clone(),
            1 => document["subject"]["tenant"] = self.maybe_text(),
            2 => document["subject"]["groups"] = self.list(),
            3 => document["subject"]["scopes"] = self.list(),
            4 => document["subject"]["claims"] = self.object(2),
            5 => document["subject"]["id"] = self.word().into(),
            6 => document["call"]["method"] = self.method().into(),
            7 => document["call"]["upstream"] = self.word().into(),
            8 => document["call"]["tool"] = self.maybe_text(),
            9 => document["call"]["prompt"] = self.maybe_text(),
            10 => document["call"]["resource"] = self.resource(&other["call"]["resource"]),
            11 => {
                // The contract has an object here, or null; what stands in it may be anything.
                document["call"]["arguments"] =
                    if self.dice.once_in(5) { Value::Null } else { self.object(3) };
            }
            12 => document["call"] = other["call"].clone(),
            13 => {
                let uid = if self.dice.once_in(2) { json!(self.dice.below(2_000)) } else { Value::Null };
                document["client"] = json!({"address": null, "certificate": self.maybe_text(), "uid": uid});
            }
            _ => document["time"] = json!(self.dice.below(4_000_000_000)),
        }
    }

    fn word(&mut self) -> String {
        self.dice.pick(&self.words).clone()
    }

    fn method(&mut self) -> String {
        if self.methods.is_empty() || self.dice.once_in(10) {
            self.word()
        } else {
            self.dice.pick(&self.methods).clone()
        }
    }

    fn maybe_text(&mut self) -> Value {
        match self.dice.below(6) {
            0 => Value::Null,
            1 => self.path().into(),
            _ => self.word().into(),
        }
    }

    fn list(&mut self) -> Value {
        (0..self.dice.below(4)).map(|_| Value::from(self.word())).collect()
    }

    /// A path or URI out of words and pieces.
    fn path(&mut self) -> String {
        (0..=self.dice.below(6))
            .map(|_| if self.dice.once_in(2) { self.word() } else { (*self.dice.pick(&PIECES)).to_owned() })
            .collect()
    }

    fn resource(&mut self, like: &Value) -> Value {
        match (self.dice.below(4), like.as_str()) {
            (0, _) => self.maybe_text(),
            (1, Some(uri)) => {
                // A piece in the middle of a URI that means something.
                let middle =
                    uri.char_indices().map(|(at, _)| at).nth(self.dice.below(uri.len())).unwrap_or(0);
                format!("{}{}{}", &uri[..middle], self.dice.pick(&PIECES), &uri[middle..]).into()
            }
            (_, Some(uri)) => format!("{uri}/{}", self.path()).into(),
            _ => self.path().into(),
        }
    }

    fn object(&mut self, depth: usize) -> Value {
        let mut fields = Map::new();
        for _ in 0..self.dice.below(4) {
            fields.insert(self.dice.pick(&self.keys).clone(), self.value(depth));
        }
        // Names that policies know from tools.
        for name in ["path", "value", "context", "arguments"] {
            if self.dice.once_in(3) {
                fields.insert(name.to_owned(), self.value(depth));
            }
        }
        Value::Object(fields)
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.dice.below(if depth == 0 { 8 } else { 11 }) {
            0 => Value::Null,
            1 => self.dice.once_in(2).into(),
            2 => json!(self.dice.below(1_000)),
            3 => json!(-1.5),
            4 => self.word().into(),
            5 => "".into(),
            6 | 7 => self.path().into(),
            8 => (0..self.dice.below(3)).map(|_| self.value(depth - 1)).collect(),
            _ => self.object(depth - 1),
        }
    }
}
