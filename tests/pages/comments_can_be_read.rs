//! Comments can be read: lines are short, and sentences begin with their subject.

use std::fs;
use std::path::{Path, PathBuf};

/// The most characters of a line of a comment.
const COLUMNS: usize = 110;

/// Words that put off the subject of a sentence.
const RIDDLES: [&str; 4] = ["What", "Who", "Whether", "Of"];

/// Folders and files whose comments keep to this.
const HELD: [&str; 24] = [
    "airlock-daemon/benches",
    "airlock-daemon/crates",
    "airlock-daemon/fuzz/fuzz_targets",
    "airlock-daemon/src/audit",
    "airlock-daemon/src/auth",
    "airlock-daemon/src/call",
    "airlock-daemon/src/cli",
    "airlock-daemon/src/coding",
    "airlock-daemon/src/downstream",
    "airlock-daemon/src/http",
    "airlock-daemon/src/limits",
    "airlock-daemon/src/observe",
    "airlock-daemon/src/pipeline",
    "airlock-daemon/src/policy",
    "airlock-daemon/src/redaction",
    "airlock-daemon/src/runtime",
    "airlock-daemon/src/stage.rs",
    "airlock-daemon/src/stops",
    "airlock-daemon/src/upstream",
    "airlock-daemon/src/wipe.rs",
    "airlock-daemon/tests",
    "airlock-ebpf/src",
    "tests",
    "xtask/src",
];

/// The Rust files below a path.
fn files(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a directory") {
            files(&entry.expect("an entry").path(), found);
        }
    } else if path.extension().is_some_and(|kind| kind == "rs") {
        found.push(path.to_path_buf());
    }
}

/// The text of a line that is a comment as a whole.
fn comment(line: &str) -> Option<&str> {
    let text = line.trim_start().strip_prefix("//")?;
    Some(text.trim_start_matches(['/', '!']).trim())
}

/// The first word of a sentence that puts off its subject.
fn riddle(text: &str) -> Option<&'static str> {
    let begins = |part: &str, word: &str| part.strip_prefix(word).is_some_and(|rest| rest.starts_with(' '));
    RIDDLES.into_iter().find(|word| text.split(". ").any(|sentence| begins(sentence, word)))
}

#[test]
fn comments_are_short_and_begin_with_their_subject() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (mut seen, mut faults) = (0, Vec::new());
    for held in HELD {
        let mut found = Vec::new();
        files(&root.join(held), &mut found);
        assert!(!found.is_empty(), "{held} has no files");
        for file in found {
            for (line, number) in fs::read_to_string(&file).expect("a file").lines().zip(1..) {
                let Some(text) = comment(line) else { continue };
                seen += 1;
                let place = format!("{}:{number}", file.strip_prefix(&root).expect("below it").display());
                if line.chars().count() > COLUMNS {
                    faults.push(format!("{place}: a comment of more than {COLUMNS} columns: wrap it"));
                }
                if let Some(word) = riddle(text) {
                    faults.push(format!("{place}: a sentence begins with `{word}`: name its subject first"));
                }
            }
        }
    }
    assert!(seen > 5_000, "only {seen} comments were found");
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// The item below a documentation comment, up to its body, its value or its end.
fn item<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let mut item = String::new();
    let code = lines.map(str::trim).skip_while(|line| line.starts_with("//") || line.starts_with("#["));
    for line in code.take(20) {
        item = item + line + " ";
        let is_open = item.matches('(').count() > item.matches(')').count();
        if !is_open && [';', '{', '}', ','].iter().any(|end| line.ends_with(*end)) {
            break;
        }
    }
    item
}

/// Items that begin with a truth and have none, each with the number of its comment's first line.
fn untrue(text: &str) -> Vec<usize> {
    let lines: Vec<&str> = text.lines().collect();
    let documents = |line: &str| line.trim_start().starts_with("///");
    let begins = |number: usize| {
        let before = number.checked_sub(1).and_then(|before| lines.get(before));
        !before.is_some_and(|line| documents(line))
    };
    let claims = |line: &str| line.trim_start().starts_with("/// True ");
    let numbers = lines.iter().enumerate().filter(|(number, line)| claims(line) && begins(*number));
    let has_truth = |number: usize| item(lines.iter().skip(number).copied()).to_lowercase().contains("bool");
    numbers.filter(|(number, _)| !has_truth(*number)).map(|(number, _)| number + 1).collect()
}

#[test]
fn truths_are_told_of_what_is_true_or_false() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (mut seen, mut faults) = (0, Vec::new());
    for held in HELD {
        let mut found = Vec::new();
        files(&root.join(held), &mut found);
        for file in found {
            let text = fs::read_to_string(&file).expect("a file");
            seen += text.matches("/// True ").count();
            let place = file.strip_prefix(&root).expect("below it").display();
            faults.extend(untrue(&text).into_iter().map(|line| format!("{place}:{line}")));
        }
    }
    assert!(seen > 100, "only {seen} were found");
    assert!(faults.is_empty(), "a comment begins with `True`, but no `bool` follows: {}", faults.join(", "));
}

#[test]
fn untruths_are_found() {
    let text = "/// True where it is.\n#[must_use]\nfn a(\n    b: u8,\n) -> bool {\n";
    assert_eq!(untrue(text), [0; 0]);
    assert_eq!(untrue(&text.replace("-> bool", "-> u8")), [1]);
    assert_eq!(untrue("    /// True where it is.\n    pub a: bool,\n"), [0; 0]);
    assert_eq!(untrue("\n/// True where it is.\n///\n/// More.\npub fn a() {\n    let b: bool;\n"), [2]);
    assert_eq!(untrue("/// It is so.\n/// True enough.\nfn a() {\n"), [0; 0], "a sentence of another one");
}

#[test]
fn riddles_are_found() {
    assert_eq!(comment("    /// What it is."), Some("What it is."));
    assert_eq!(comment("let a = 1; // one"), None);
    assert_eq!(riddle("What it is."), Some("What"));
    assert_eq!(riddle("A sentence. Whether it is true"), Some("Whether"));
    assert_eq!(riddle("Whatever comes, what it is is told."), None);
}
