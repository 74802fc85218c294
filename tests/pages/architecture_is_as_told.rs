//! The page of the architecture names the folders, arrows and threads of the daemon as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The most entries of the glossary.
const WORDS: usize = 30;

/// The most Rust files of a folder, without those of its rooms.
const MAX_FILES: usize = 20;

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../airlock-daemon/src")
}

fn crates() -> PathBuf {
    source().join("../crates")
}

/// The section of the page below a heading.
fn section(heading: &str) -> String {
    let page = fs::read_to_string(source().join("../../docs/architecture.md")).expect("the page");
    let start = format!("{heading}\n");
    let section = page.split("\n## ").find(|section| section.starts_with(&start));
    section.unwrap_or_else(|| panic!("no section `{heading}`")).to_owned()
}

/// The words of a line in backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The floor of each folder, as the page has it.
fn floors() -> BTreeMap<String, u32> {
    let mut floors = BTreeMap::new();
    for line in section("Floors").lines() {
        let Some((number, rest)) = line.strip_prefix("| ").and_then(|line| line.split_once(" | ")) else {
            continue;
        };
        let Ok(number) = number.parse() else { continue };
        let folders = rest.split(" | ").next().unwrap_or_default();
        floors.extend(quoted(folders).map(|folder| (folder.to_owned(), number)));
    }
    floors
}

/// Product code below a directory: each file with its text up to its tests.
fn code(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if name.contains("test") {
            continue;
        }
        if path.is_dir() {
            code(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let text = fs::read_to_string(&path).expect("a file");
            let product = text.split("\nmod tests {").next().unwrap_or_default();
            let lines = product.lines().filter(|line| !line.trim_start().starts_with("//"));
            found.push((path, lines.collect::<Vec<_>>().join("\n")));
        }
    }
}

/// The top folders, or files beside them, that the code names: from, to, and one file that does.
fn arrows() -> BTreeMap<(String, String), PathBuf> {
    let mut files = Vec::new();
    code(&source(), &mut files);
    let mut arrows = BTreeMap::new();
    for (path, text) in files {
        let inside = path.strip_prefix(source()).expect("below it");
        let first = inside.components().next().expect("a name").as_os_str().to_string_lossy();
        let from = first.trim_end_matches(".rs").to_owned();
        for rest in text.split("crate::").skip(1) {
            let to: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            if to != from {
                arrows.insert((from.clone(), to), path.clone());
            }
        }
    }
    arrows
}

#[test]
fn every_folder_stands_on_a_floor() {
    let mut there = BTreeSet::new();
    for entry in fs::read_dir(source()).expect("the source") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if name != "lib" && name != "main" {
            there.insert(name);
        }
    }
    // Crates are folders as well; the compiler keeps their arrows.
    for entry in fs::read_dir(crates()).expect("the crates") {
        there.insert(entry.expect("an entry").file_name().to_string_lossy().into_owned());
    }
    let named: BTreeSet<String> = floors().into_keys().collect();
    assert_eq!(named, there, "docs/architecture.md and airlock-daemon/src and crates have other folders");
}

#[test]
fn arrows_lead_down() {
    let floors = floors();
    let arrows = arrows();
    assert!(arrows.len() > 50, "only {} arrows were found", arrows.len());
    let leads_down = |(from, to): &(String, String)| match (floors.get(from), floors.get(to)) {
        (Some(from), Some(to)) => from > to,
        // One end is no folder, such as the root of the library.
        _ => true,
    };
    let up: BTreeMap<_, _> = arrows.iter().filter(|(arrow, _)| !leads_down(arrow)).collect();
    assert!(up.is_empty(), "these imports lead up: move what they name to a lower floor: {up:?}");
}

#[test]
fn threads_have_the_names_that_the_page_gives() {
    let mut files = Vec::new();
    for folder in [source(), crates()] {
        code(&folder, &mut files);
    }
    let section = section("One call");
    let named: BTreeSet<&str> =
        section.lines().flat_map(quoted).filter(|word| word.starts_with("airlock-")).collect();
    let started: BTreeSet<&str> = files
        .iter()
        .flat_map(|(_, text)| text.split(".name(\"").skip(1))
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert_eq!(named, started);
}

#[test]
fn the_glossary_is_short_and_in_order() {
    let section = section("Glossary");
    let words: Vec<&str> =
        section.lines().filter_map(|line| line.strip_prefix("- **")?.split("**").next()).collect();
    assert!((10..=WORDS).contains(&words.len()), "{} words", words.len());
    assert!(words.is_sorted(), "{words:?}");
}

/// The folders below a directory that hold more Rust files than one may, by their paths below the root.
fn crowded(root: &Path, dir: &str, found: &mut BTreeSet<String>) {
    let mut files = 0;
    for entry in fs::read_dir(root.join(dir)).expect("a directory") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        if path.is_dir() {
            crowded(root, &format!("{dir}/{name}"), found);
        } else {
            files += usize::from(path.extension().is_some_and(|kind| kind == "rs"));
        }
    }
    if files > MAX_FILES {
        found.insert(dir.to_owned());
    }
}

#[test]
fn no_folder_holds_too_many_files() {
    let root = source().join("../..");
    let mut found = BTreeSet::new();
    for dir in ["airlock-daemon/src", "airlock-daemon/tests", "airlock-ebpf/src", "tests", "xtask/src"] {
        crowded(&root, dir, &mut found);
    }
    for entry in fs::read_dir(crates()).expect("the crates") {
        let name = entry.expect("an entry").file_name();
        crowded(&root, &format!("airlock-daemon/crates/{}/src", name.to_string_lossy()), &mut found);
    }
    assert!(found.is_empty(), "more than {MAX_FILES} files, give each of these its rooms: {found:?}");
    let section = section("Floors");
    assert!(section.contains(&format!("more than {MAX_FILES} Rust files")), "{section}");
}
