//! The pages of the project can be read: README is short, lines are, and links lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The most bytes that README may have.
const README_BYTES: usize = 14 * 1024;

/// The most characters of a line that is not of a table.
const COLUMNS: usize = 110;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every page of the root and of docs/, with its path below the root and its text.
fn pages() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    for dir in ["", "docs/"] {
        for entry in fs::read_dir(root().join(dir)).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|kind| kind == "md") {
                let name = path.file_name().expect("a name").to_string_lossy().into_owned();
                pages.push((format!("{dir}{name}"), fs::read_to_string(&path).expect("a page")));
            }
        }
    }
    pages
}

/// Lines outside of blocks of code, each with its number.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().zip(1..).filter_map(move |(line, number)| {
        let fence = line.starts_with("```");
        in_code ^= fence;
        (!fence && !in_code).then_some((number, line))
    })
}

/// Targets of the links of a line.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
}

/// Anchors of a page, as GitHub makes them of its headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
    prose(text)
        .filter(|(_, line)| line.starts_with('#'))
        .map(|(_, line)| line.trim_start_matches('#').trim().to_lowercase())
        .map(|heading| heading.chars().filter(kept).collect::<String>().replace(' ', "-"))
        .collect()
}

/// The fault of a link on a page, if it has one.
fn fault(page: &str, text: &str, target: &str) -> Option<String> {
    if target.starts_with("https://") {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let there = if file.is_empty() {
        text.to_owned()
    } else {
        let path = root().join(page).parent().expect("a directory").join(file);
        if !path.exists() {
            return Some(format!("there is no {file}"));
        }
        if anchor.is_empty() {
            return None;
        }
        fs::read_to_string(&path).expect("a page")
    };
    (!anchors(&there).contains(anchor)).then(|| format!("{file} has no heading `{anchor}`"))
}

#[test]
fn readme_is_short() {
    let bytes = fs::read(root().join("README.md")).expect("README").len();
    assert!(bytes <= README_BYTES, "README.md has {bytes} bytes, at most {README_BYTES}: move some to docs/");
}

#[test]
fn lines_are_short() {
    let mut long = Vec::new();
    for (page, text) in pages() {
        for (line, number) in text.lines().zip(1..) {
            let columns = line.chars().count();
            if columns > COLUMNS && !line.starts_with('|') {
                long.push(format!("{page}:{number}: {columns} columns, at most {COLUMNS}"));
            }
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn links_lead_somewhere() {
    let (mut seen, mut faults) = (0, Vec::new());
    for (page, text) in pages() {
        for (number, line) in prose(&text) {
            for target in links(line) {
                seen += 1;
                faults.extend(fault(&page, &text, target).map(|fault| format!("{page}:{number}: {fault}")));
            }
        }
    }
    assert!(seen > 50, "only {seen} links were found");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn pages_are_linked_from_readme() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README");
    let linked: BTreeSet<&str> = prose(&readme)
        .flat_map(|(_, line)| links(line))
        .map(|target| target.split('#').next().unwrap_or_default())
        .collect();
    let lonely: Vec<String> = pages()
        .into_iter()
        .map(|(page, _)| page)
        .filter(|page| page != "README.md" && !linked.contains(page.as_str()))
        .collect();
    assert!(lonely.is_empty(), "README.md links no page of: {lonely:?}");
}

#[test]
fn faults_of_links_are_found() {
    let text = "# One `code`, two\n[a](#one-code-two)";
    assert_eq!(links("see [a](b.md#c) and [d](e)").collect::<Vec<_>>(), ["b.md#c", "e"]);
    assert_eq!(fault("docs/edge.md", text, "#one-code-two"), None);
    assert!(fault("docs/edge.md", text, "#three").is_some());
    assert!(fault("docs/edge.md", text, "nowhere.md").is_some());
    assert_eq!(fault("docs/edge.md", text, "policy.md"), None);
    assert!(fault("docs/edge.md", text, "policy.md#nowhere").is_some());
}

fn is_rust(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|kind| kind == "rs")
}

#[test]
fn every_test_of_the_product_is_on_the_page_of_tests() {
    let page = fs::read_to_string(root().join("docs/testing.md")).expect("the page");
    let named: BTreeSet<&str> = page.split('`').skip(1).step_by(2).collect();
    let mut there = BTreeSet::new();
    for (dir, prefix) in [
        ("tests/promises", ""),
        ("tests/promises/adversary", "adversary/"),
        ("airlock-daemon/tests", "airlock-daemon/tests/"),
    ] {
        for entry in fs::read_dir(root().join(dir)).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            // A folder without a file of its name beside it is a test by itself.
            let is_test = if path.is_dir() {
                let main = ["main.rs", "mod.rs"].iter().any(|main| path.join(main).is_file());
                main && name != "adversary"
            } else {
                is_rust(&name) && !matches!(&*name, "main.rs" | "mod.rs")
            };
            if is_test {
                there.insert(format!("{prefix}{name}"));
            }
        }
    }
    let missing: Vec<_> = there.iter().filter(|name| !named.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "docs/testing.md does not name {missing:?}");
    let files = named.iter().filter(|name| is_rust(name) && !name.starts_with("tests"));
    let gone: Vec<_> = files.filter(|name| **name != "tests.rs" && !there.contains(**name)).collect();
    assert!(gone.is_empty(), "docs/testing.md names {gone:?}, which are not there");
}
