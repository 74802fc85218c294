//! The pages on redaction say what was measured: `xtask/dlp/measured.tsv`, which `cargo xtask dlp` writes.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The shipped packs.
const PACKS: [&str; 4] = ["secrets", "payment", "pii", "network"];

/// The share that every detector finds of the values that it claims.
const RECALL: f64 = 0.98;

/// The most false alarms of all packs but `network`, in a MiB of prose and of source code.
const ALARMS: (f64, f64) = (1.0, 5.0);

/// The lines between which a page has its table.
const MARKS: (&str, &str) = ("<!-- measured -->\n", "<!-- end of what was measured -->");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Lines of the measurements that begin so, without that word.
fn lines<'a>(measured: &'a str, kind: &str) -> Vec<Vec<&'a str>> {
    measured
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .filter(|fields| fields[0] == kind)
        .map(|fields| fields[1..].to_vec())
        .collect()
}

fn measured() -> String {
    fs::read_to_string(root().join("xtask/dlp/measured.tsv")).expect("the measurements")
}

fn number(field: &str) -> f64 {
    field.parse().expect("a number")
}

/// A share in percent, with one decimal.
fn percent(field: &str) -> String {
    if field == "-" { String::new() } else { format!("{:.1}", number(field) * 100.0) }
}

/// Tools by pack.
fn packs(measured: &str) -> String {
    let mut table =
        "\n| pack | tool | recall | precision | F1 | kinds it knows | F1 on these | false alarms in \
        1 MiB of prose | of source code | of lists of tools |\n|---|---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for pack in lines(measured, "pack") {
        let [name, tool, recall, precision, f1, own, kinds, all, prose, source, tools, _] = pack[..] else {
            panic!("{pack:?}")
        };
        if kinds == "0" {
            continue;
        }
        let _ = writeln!(
            table,
            "| {name} | {tool} | {} | {} | {} | {kinds} of {all} | {} | {prose} | {source} | {tools} |",
            percent(recall),
            percent(precision),
            percent(f1),
            percent(own),
        );
    }
    table + "\n"
}

/// The texts and the tools that were measured, and each detector.
fn detectors(measured: &str) -> String {
    let mut table = "\n| texts | how many | KiB |\n|---|---|---|\n".to_owned();
    for corpus in lines(measured, "corpus") {
        let _ = writeln!(table, "| {} | {} | {:.0} |", corpus[0], corpus[1], number(corpus[2]) / 1024.0);
    }
    table += "\n| package | version |\n|---|---|\n";
    for version in lines(measured, "version") {
        let _ = writeln!(table, "| {} | {} |", version[0], version[1]);
    }
    for pack in PACKS {
        let _ = write!(
            table,
            "\n### {pack}\n\n| detector | values | recall | precision | gitleaks | detect-secrets | presidio |\n\
             |---|---|---|---|---|---|---|\n"
        );
        for fields in lines(measured, "detector").iter().filter(|fields| fields[0] == pack) {
            let _ = write!(table, "| {} | {} |", fields[1], fields[2]);
            for share in &fields[3..] {
                let _ = write!(table, " {} |", percent(share));
            }
            table.push('\n');
        }
    }
    table + "\n"
}

/// Holds a page against its table, or writes it there.
fn holds(page: &str, table: &str) {
    let path = root().join(page);
    let text = fs::read_to_string(&path).expect("a page");
    let (before, rest) = text.split_once(MARKS.0).expect("the mark before the table");
    let (there, after) = rest.split_once(MARKS.1).expect("the mark behind the table");
    if there == table {
        return;
    }
    assert!(
        std::env::var_os("AIRLOCK_BLESS").is_some(),
        "{page} has other numbers than xtask/dlp/measured.tsv: `cargo xtask dlp` writes both"
    );
    fs::write(&path, [before, MARKS.0, table, MARKS.1, after].concat()).expect("the page");
}

#[test]
fn pages_have_the_numbers_that_were_measured() {
    let measured = measured();
    holds("docs/redaction.md", &packs(&measured));
    holds("docs/redaction-quality.md", &detectors(&measured));
}

#[test]
fn every_detector_was_measured() {
    let mut there = BTreeSet::new();
    for pack in PACKS {
        let text = fs::read_to_string(root().join(format!("policies/dlp/{pack}.yaml"))).expect("a pack");
        there.extend(text.lines().filter_map(|line| line.strip_prefix("  - name: ")).map(str::to_owned));
    }
    let measured = measured();
    let known: BTreeSet<String> =
        lines(&measured, "detector").iter().map(|fields| fields[1].to_owned()).collect();
    assert_eq!(known, there, "`cargo xtask dlp` measures the detectors that there are");
}

#[test]
fn the_goals_are_reached() {
    let measured = measured();
    for fields in lines(&measured, "detector") {
        assert!(number(fields[3]) >= RECALL, "{} finds {} of what it claims", fields[1], fields[3]);
    }
    let (mut prose, mut source) = (0.0, 0.0);
    let packs = lines(&measured, "pack");
    for own in packs.iter().filter(|fields| fields[1] == "airlock") {
        for other in packs.iter().filter(|fields| fields[0] == own[0] && fields[1] != "airlock") {
            assert!(number(own[4]) > number(other[4]), "{}: {} is ahead", own[0], other[1]);
        }
        if own[0] != "network" {
            prose += number(own[8]);
            source += number(own[9]);
        }
    }
    assert!(prose <= ALARMS.0 && source <= ALARMS.1, "{prose} in prose, {source} in source code");
}
