//! The shipped packs find what they claim in texts that nobody here wrote, and little else: a part of what
//! `cargo xtask dlp` measures. Its `freeze.py` has made `corpus.jsonl`.
#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use airlock_dlp::{Detector, Detectors, shipped};
use serde_json::Value;

static SHIPPED: LazyLock<Detectors> = LazyLock::new(|| {
    let packs = shipped().iter().map(|pack| pack.load().unwrap());
    Detectors::new(packs.flat_map(|pack| pack.detectors).collect())
});

const CORPUS: &str = include_str!("corpus.jsonl");

/// A text without its marks, and what stands between them, in bytes.
fn unmarked(marked: &str) -> (String, Vec<Range<usize>>) {
    let (mut text, mut values, mut start) = (String::new(), Vec::new(), 0);
    for letter in marked.chars() {
        match letter {
            '\u{a6}' => {}
            '\u{bb}' => start = text.len(),
            '\u{ab}' => values.push(start..text.len()),
            letter => text.push(letter),
        }
    }
    (text, values)
}

/// A text, and the values in it with the detectors that claim them.
type Text = (String, Vec<(Range<usize>, String)>);

fn texts() -> Vec<Text> {
    CORPUS
        .lines()
        .map(|line| {
            let entry: Value = serde_json::from_str(line).unwrap();
            let (text, values) = unmarked(entry["text"].as_str().unwrap());
            let names = entry["detectors"].as_array().unwrap();
            assert_eq!(values.len(), names.len(), "{line}");
            let names = names.iter().map(|name| name.as_str().unwrap().to_owned());
            (text, values.into_iter().zip(names).collect())
        })
        .collect()
}

#[test]
fn what_is_claimed_is_found_whole() {
    let (mut planted, mut missed) = (BTreeMap::<String, u32>::new(), Vec::new());
    for (text, values) in texts() {
        let hits = SHIPPED.scan(&text, |_| true);
        for (value, name) in values {
            let is_found = value.clone().all(|at| hits.iter().any(|hit| hit.range.contains(&at)));
            if !is_found {
                missed.push((name.clone(), text[value].to_owned(), text.clone()));
            }
            *planted.entry(name).or_default() += 1;
        }
    }
    let all: u32 = planted.values().sum();
    let unknown: Vec<_> =
        SHIPPED.all().iter().map(Detector::name).filter(|name| !planted.contains_key(*name)).collect();
    assert!(unknown.is_empty(), "nothing is planted for {unknown:?}: freeze the corpus anew");
    assert!(missed.len() * 50 <= all as usize, "{} of {all} are missed: {missed:#?}", missed.len());
}

#[test]
fn what_looks_alike_is_left_alone() {
    let mut found = Vec::new();
    for (text, _) in texts().into_iter().filter(|(_, values)| values.is_empty()) {
        let hits = SHIPPED.scan(&text, |detector| SHIPPED.all()[detector].spec().pack != "network");
        found.extend(
            hits.iter().map(|hit| (SHIPPED.all()[hit.detector].name(), text[hit.range.clone()].to_owned())),
        );
    }
    assert!(found.len() <= 1, "{found:#?}");
}

/// Files of Rust below a directory, in order.
fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.push(path);
        }
    }
}

/// At most so much source code is read, in bytes.
const SOURCE: usize = 6 << 20;

#[test]
fn source_code_is_left_alone() {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let mut files = Vec::new();
    // Where cargo has unpacked them: a vendored build has none, and nothing to say.
    sources(&home.unwrap_or_default().join("registry/src"), &mut files);
    let (mut size, mut found) = (0, Vec::new());
    for path in files {
        if size >= SOURCE {
            break;
        }
        let Ok(text) = fs::read_to_string(&path) else { continue };
        size += text.len();
        // Addresses of authors are what they are found to be.
        let is_on = |detector: usize| {
            let of = &SHIPPED.all()[detector];
            of.spec().pack != "network" && !of.name().starts_with("email")
        };
        for hit in SHIPPED.scan(&text, is_on) {
            found.push((SHIPPED.all()[hit.detector].name(), path.clone(), text[hit.range].to_owned()));
        }
    }
    assert!(found.len() * (1 << 20) <= 5 * size, "{} in {size} bytes: {found:#?}", found.len());
}
