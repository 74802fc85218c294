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

/// The Rust files below a directory that have a test, by the names that the page of tests gives them: a file
/// beside a folder of its name stands for it, and so does a folder with a main file. Files of a room, which
/// is a folder with a `mod.rs`, are below its name.
fn tests_below(dir: &str, prefix: &str) -> BTreeSet<String> {
    let has_test = |path: &Path| fs::read_to_string(path).is_ok_and(|text| text.contains("#[test]"));
    let mut there = BTreeSet::new();
    for entry in fs::read_dir(root().join(dir)).expect("a directory") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.join("mod.rs").is_file() {
            there.extend(tests_below(&format!("{dir}/{name}"), &format!("{prefix}{name}/")));
            continue;
        }
        let is_test = if path.is_dir() {
            path.join("main.rs").is_file()
        } else {
            is_rust(&name) && name != "mod.rs" && (has_test(&path) || path.with_extension("").is_dir())
        };
        if is_test {
            there.insert(format!("{prefix}{name}"));
        }
    }
    there
}

#[test]
fn every_test_of_the_product_is_on_the_page_of_tests() {
    let page = fs::read_to_string(root().join("docs/testing.md")).expect("the page");
    let (mut of_daemon, mut themes) = (BTreeSet::new(), 0);
    for section in page.split("\n## ").skip(1) {
        let theme = section.lines().next().unwrap_or_default().to_lowercase();
        let named = section.split('`').skip(1).step_by(2).filter(|name| !name.contains(' '));
        let (daemons, own): (BTreeSet<&str>, BTreeSet<&str>) =
            named.partition(|name| name.starts_with("airlock-daemon/"));
        of_daemon.extend(daemons.into_iter().map(str::to_owned));
        let own: BTreeSet<String> = own.into_iter().filter(|name| is_rust(name)).map(str::to_owned).collect();
        assert_eq!(own, tests_below(&format!("tests/{theme}"), ""), "docs/testing.md: {theme}");
        themes += 1;
    }
    assert_eq!(of_daemon, tests_below("airlock-daemon/tests", "airlock-daemon/tests/"));
    let modules = fs::read_to_string(root().join("tests/promises.rs")).expect("the list of themes");
    assert_eq!(themes, modules.lines().filter(|line| line.starts_with("mod ")).count(), "{modules}");
}

#[test]
fn source_files_that_pages_name_are_there() {
    let (mut seen, mut faults) = (0, Vec::new());
    // The test above holds the page of tests, whose names are below their theme.
    for (page, text) in pages().into_iter().filter(|(page, _)| page != "docs/testing.md") {
        for (number, line) in prose(&text) {
            let quoted =
                line.split('`').skip(1).step_by(2).filter(|word| is_rust(word) && word.contains('/'));
            // Capitals stand for any name.
            for file in quoted.filter(|word| !word.contains(|c: char| c.is_uppercase())) {
                seen += 1;
                let there = |below| root().join(below).join(file).is_file();
                let of_crate = file.split_once('/').map(|(name, file)| format!("{name}/src/{file}"));
                let is_of_crate =
                    of_crate.is_some_and(|file| root().join("airlock-daemon/crates").join(file).is_file());
                if !is_of_crate && !["", "tests", "airlock-daemon/src"].into_iter().any(there) {
                    faults.push(format!("{page}:{number}: there is no {file}"));
                }
            }
        }
    }
    assert!(seen > 50, "only {seen} were found");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
