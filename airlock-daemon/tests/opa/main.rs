//! The policy engine against the real OPA: the same bundles, the same inputs, the same decisions.
//!
//! `inputs.rs` takes the inputs of a bundle's own tests and makes thousands more; `oracle.rs` asks OPA and
//! reads its answer by the contract; what differs is a failure with the input that shows it.
#![allow(missing_docs)]

mod dice;
mod inputs;
mod oracle;
#[path = "../../../tests/src/skip.rs"]
mod skip;

use std::fs;
use std::path::{Path, PathBuf};

use airlock::policy::{Asked, PolicyEngine};
use serde_json::Value;

use oracle::{Answer, Oracle};

/// Made inputs for each bundle.
const MADE: usize = 4_000;
/// How often a decision is asked for again that Airlock did not make.
const RETRIES: usize = 5;
/// Differences that a failure shows.
const SHOWN: usize = 5;

/// A bundle on disk, as text for OPA.
struct Bundle {
    path: PathBuf,
    /// The files that decide: name and text.
    modules: Vec<(String, String)>,
    /// The `*_test.rego` files.
    tests: Vec<(String, String)>,
    data: Value,
}

impl Bundle {
    fn read(path: &Path) -> Self {
        let (mut modules, mut tests, mut data) =
            (Vec::new(), Vec::new(), Value::Object(serde_json::Map::new()));
        let mut files: Vec<_> =
            fs::read_dir(path).expect("a bundle").map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        for file in files.iter().filter(|file| file.is_file()) {
            let name = file.file_name().expect("a name").to_string_lossy().into_owned();
            let text = fs::read_to_string(file).expect("text");
            if name.ends_with("_test.rego") {
                tests.push((name, text));
            } else if Path::new(&name).extension().is_some_and(|extension| extension == "rego") {
                modules.push((name, text));
            } else if name == "data.yaml" {
                data = serde_saphyr::from_str(&text).expect("YAML");
            }
        }
        Self { path: path.to_owned(), modules, tests, data }
    }
}

/// Compares all decisions of one bundle.
fn compare(oracle: &Oracle, path: &Path) -> Result<(), String> {
    let bundle = Bundle::read(path);
    let engine = PolicyEngine::load(path).expect("a bundle that loads");
    let taken = inputs::of_tests(&bundle);
    let made = inputs::made(&bundle, &taken, MADE);
    let all: Vec<&Value> = taken.iter().chain(&made).collect();
    let answers = oracle.ask(&bundle, &all);
    assert_eq!(answers.len(), all.len(), "OPA answers every input");
    let (mut allowed, mut rules, mut failed, mut differences) =
        (0, std::collections::BTreeMap::<String, usize>::new(), 0, Vec::new());
    for (input, answer) in all.iter().zip(answers) {
        let asked = Asked::parse(&input.to_string()).unwrap_or_else(|error| panic!("{error}: {input}"));
        let ours = Answer::from(engine.decide(&asked.question()));
        // A decision that the machine had no time for is refused; that says nothing about the policy.
        let ours = ours.without_places();
        let ours = (0..RETRIES).fold(ours, |ours, _| match ours {
            Answer::Failed if answer != Answer::Failed => {
                Answer::from(engine.decide(&asked.question())).without_places()
            }
            ours => ours,
        });
        if ours != answer {
            differences.push(format!("input {input}\n  airlock {ours:?}\n  OPA     {answer:?}"));
        }
        match answer {
            Answer::Decided { allow, rule_id, .. } => {
                allowed += usize::from(allow);
                *rules.entry(rule_id).or_default() += 1;
            }
            Answer::Failed => failed += 1,
        }
    }
    println!(
        "{}: {} inputs of tests, {} made: {allowed} allowed, {failed} that no engine decides, by rule {rules:?}",
        path.display(),
        taken.len(),
        made.len()
    );
    if !differences.is_empty() {
        let shown = differences.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("\n");
        return Err(format!("{}: {} of {} differ\n{shown}", path.display(), differences.len(), all.len()));
    }
    // A comparison of nothing but refusals would show little.
    if allowed * 50 < all.len() || allowed == all.len() {
        return Err(format!("{}: {allowed} of {} are allowed", path.display(), all.len()));
    }
    Ok(())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Compares these bundles and tells of all that differs.
fn compare_all(bundles: &[PathBuf]) {
    let oracle = match Oracle::find() {
        Ok(oracle) => oracle,
        Err(reason) => return skip::skip(&reason),
    };
    assert!(!bundles.is_empty());
    let failures: Vec<_> = bundles.iter().filter_map(|bundle| compare(&oracle, bundle).err()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The bundles in a folder below the root.
fn below(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).expect("a folder of bundles");
    entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_dir()).collect()
}

#[test]
fn the_shipped_policy_decides_as_in_opa() {
    compare_all(&[root().join("policies")]);
}

#[test]
fn the_examples_decide_as_in_opa() {
    compare_all(&below("docs/examples/policies"));
}

#[test]
fn shapes_of_rules_decide_as_in_opa() {
    compare_all(&below("airlock-daemon/tests/opa/shapes"));
}
