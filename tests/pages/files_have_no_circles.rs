//! No two files of the daemon import each other, be it straight or through others.
//!
//! A file that names another's function or type is above it. A parent that shows a part of its child
//! (`pub use child::Part`) is a signpost: who follows it arrives at the child. The rooms of a folder keep to
//! the same: a room is below another as a whole, or above it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The path of a module below its crate.
type Module = Vec<String>;

/// A name that a file brings in: its path as written, its name here, and how deep in inner modules.
struct Import {
    path: Vec<String>,
    name: String,
    depth: usize,
    is_public: bool,
}

/// A file as far as imports go.
struct Source {
    imports: Vec<Import>,
    /// Paths in its code.
    paths: Vec<Vec<String>>,
    children: BTreeSet<String>,
}

/// The source of the daemon and of its crates.
fn crates() -> Vec<PathBuf> {
    let daemon = Path::new(env!("CARGO_MANIFEST_DIR")).join("../airlock-daemon");
    let mut found = vec![daemon.join("src")];
    for entry in fs::read_dir(daemon.join("crates")).expect("the crates") {
        found.push(entry.expect("an entry").path().join("src"));
    }
    found
}

/// The product code below a directory, by module.
fn sources(dir: &Path, module: &Module, found: &mut BTreeMap<Module, Source>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let is_test = name == "tests" || name == "testing" || name.ends_with("_tests") || name == "main";
        if is_test && name != "unit_tests" {
            continue;
        }
        let mut inner = module.clone();
        if name != "mod" && name != "lib" {
            inner.push(name);
        }
        if path.is_dir() {
            sources(&path, &inner, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let text = fs::read_to_string(&path).expect("a file");
            found.insert(inner, source(&product(&text)));
        }
    }
}

/// The text without its tests.
fn product(text: &str) -> String {
    let (mut kept, mut lines) = (String::new(), text.lines());
    while let Some(line) = lines.next() {
        if line != "#[cfg(test)]" {
            kept.push_str(line);
            kept.push('\n');
        } else if lines.find(|line| !line.starts_with("#[")).is_some_and(|item| item.ends_with('{')) {
            break;
        }
    }
    kept
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn source(text: &str) -> Source {
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let (mut imports, mut rest, mut children) = (Vec::new(), String::new(), BTreeSet::new());
    let mut lines = code.iter();
    while let Some(line) = lines.next() {
        let trimmed = line.trim_start();
        let (visibility, item) = match trimmed.strip_prefix("pub") {
            Some(after) => after.split_once(' ').map_or(("", ""), |(_, item)| ("pub", item)),
            None => ("", trimmed),
        };
        if let Some(first) = item.strip_prefix("use ") {
            let mut whole = first.to_owned();
            while !whole.contains(';') {
                whole.push_str(lines.next().expect("the end of an import"));
            }
            let tree = whole.split(';').next().unwrap_or_default();
            let depth = (line.len() - trimmed.len()) / 4;
            let names = expand(&tree.split_whitespace().collect::<Vec<_>>().join(" "));
            let is_public = visibility == "pub";
            imports.extend(names.into_iter().map(|(path, name)| Import { path, name, depth, is_public }));
            continue;
        }
        if let Some(child) = item.strip_prefix("mod ").and_then(|child| child.strip_suffix(';')) {
            children.insert(child.to_owned());
        }
        // A path in `pub(in path)` names nothing.
        let mut parts = line.split("pub(in ");
        rest.push_str(parts.next().unwrap_or_default());
        parts.for_each(|part| rest.push_str(part.split_once(')').map_or("", |(_, item)| item)));
        rest.push('\n');
    }
    let mut paths = Vec::new();
    let mut before = ' ';
    let mut left = rest.as_str();
    while let Some(c) = left.chars().next() {
        let end = left.find(|c| !is_word(c) && c != ':').unwrap_or(left.len());
        if end == 0 || is_word(before) {
            before = c;
            left = &left[c.len_utf8()..];
            continue;
        }
        let path: Vec<String> = left[..end].split("::").map(str::to_owned).collect();
        let starts = matches!(path[0].as_str(), "crate" | "super" | "self") || children.contains(&path[0]);
        if path.len() > 1
            && starts
            && path.iter().all(|part| !part.is_empty() || part == path.last().expect("a path has parts"))
        {
            paths.push(path.into_iter().filter(|part| !part.is_empty()).collect());
        }
        before = 'a';
        left = &left[end..];
        if let Some(next) = left.chars().next() {
            before = next;
            left = &left[next.len_utf8()..];
        }
    }
    Source { imports, paths, children }
}

/// The names of an import: the path of each, and what it is called here.
fn expand(tree: &str) -> Vec<(Vec<String>, String)> {
    let tree = tree.trim();
    let Some((head, list)) = tree.split_once('{') else {
        let (path, name) = tree.split_once(" as ").unwrap_or((tree, ""));
        let path: Vec<String> = path.split("::").map(|part| part.trim().to_owned()).collect();
        let name = if name.is_empty() { path.last().cloned().unwrap_or_default() } else { name.to_owned() };
        return if tree.is_empty() { Vec::new() } else { vec![(path, name)] };
    };
    let head: Vec<String> = head.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let list = list.strip_suffix('}').expect("the end of a list");
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().expect("one at least").push(c);
    }
    let mut found = Vec::new();
    for (path, name) in parts.iter().flat_map(|part| expand(part)) {
        if path == ["self"] {
            found.push((head.clone(), head.last().cloned().unwrap_or_default()));
        } else {
            found.push((head.iter().cloned().chain(path).collect(), name));
        }
    }
    found
}

/// A path from the root of the crate; `None` for another crate's.
fn absolute(module: &Module, source: &Source, path: &[String], mut depth: usize) -> Option<Module> {
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some(module.iter().chain(&path[1..]).cloned().collect()),
        "super" => {
            let (mut base, mut path) = (module.clone(), path);
            while path.first().is_some_and(|part| part == "super") {
                if depth > 0 {
                    depth -= 1;
                } else {
                    base.pop();
                }
                path = &path[1..];
            }
            Some(base.iter().chain(path).cloned().collect())
        }
        child if source.children.contains(child) => Some(module.iter().chain(path).cloned().collect()),
        _ => None,
    }
}

/// The file in which a path ends, through signposts.
fn file_of(all: &BTreeMap<Module, Source>, path: &[String], seen: &mut Vec<(Module, String)>) -> Module {
    let mut end = path.len();
    while !all.contains_key(&path[..end]) {
        end -= 1;
    }
    let module = path[..end].to_vec();
    let Some(name) = path.get(end) else { return module };
    let key = (module.clone(), name.clone());
    if seen.contains(&key) {
        return module;
    }
    seen.push(key);
    let source = &all[&module];
    let shown = source.imports.iter().find(|import| import.name == *name);
    let further = shown.and_then(|import| absolute(&module, source, &import.path, import.depth));
    match further {
        Some(mut further) => {
            further.extend_from_slice(&path[end + 1..]);
            file_of(all, &further, seen)
        }
        None => module,
    }
}

/// Which file names which.
fn arrows(all: &BTreeMap<Module, Source>) -> BTreeSet<(String, String)> {
    let mut arrows = BTreeSet::new();
    for (module, source) in all.iter().filter(|(module, _)| !module.is_empty()) {
        let mut name = |path: &[String], depth, is_signpost: bool| {
            let Some(path) = absolute(module, source, path, depth) else { return };
            let file = file_of(all, &path, &mut Vec::new());
            if file != *module && !file.is_empty() && !(is_signpost && file.starts_with(module)) {
                arrows.insert((module.join("/"), file.join("/")));
            }
        };
        for import in &source.imports {
            name(&import.path, import.depth, import.is_public);
        }
        for path in &source.paths {
            name(path, 0, false);
        }
    }
    arrows
}

/// The arrows that lie on a circle, or between two.
fn circles(arrows: &BTreeSet<(String, String)>) -> BTreeSet<(String, String)> {
    let mut left = arrows.clone();
    loop {
        let from: BTreeSet<_> = left.iter().map(|(from, _)| from.clone()).collect();
        let to: BTreeSet<_> = left.iter().map(|(_, to)| to.clone()).collect();
        let before = left.len();
        left.retain(|(a, b)| to.contains(a) && from.contains(b));
        if left.len() == before {
            return left;
        }
    }
}

/// The arrows between the rooms of each folder, a file that has a folder being of its room. The folders at
/// the top stand on floors, which another test holds.
fn between_rooms(arrows: &BTreeSet<(String, String)>) -> BTreeSet<(String, String)> {
    let between = arrows.iter().filter_map(|(from, to)| {
        let (mut from, mut to) = (from.split('/'), to.split('/'));
        let mut folder = String::new();
        loop {
            let (room, other) = (from.next()?, to.next()?);
            if room != other {
                return (!folder.is_empty()).then(|| (format!("{folder}{room}"), format!("{folder}{other}")));
            }
            folder = format!("{folder}{room}/");
        }
    });
    between.collect()
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut seen = 0;
    for root in crates() {
        let mut all = BTreeMap::new();
        sources(&root, &Module::new(), &mut all);
        let arrows = arrows(&all);
        seen += arrows.len();
        let mut found = circles(&arrows);
        found.extend(circles(&between_rooms(&arrows)));
        let lines: Vec<_> = found.iter().map(|(from, to)| format!("{from} -> {to}")).collect();
        assert!(found.is_empty(), "move what they share to a file below them:\n{}", lines.join("\n"));
    }
    assert!(seen > 1_000, "only {seen} arrows were found");
}

#[test]
fn imports_are_read_and_circles_are_found() {
    let file = |text: &str| source(text);
    let all: BTreeMap<Module, Source> = [
        (vec![], file("mod a;\nmod b;\nmod c;\n")),
        (vec!["a".to_owned()], file("mod deep;\npub use deep::{Noun, Verb as Word};\n")),
        (vec!["a".to_owned(), "deep".to_owned()], file("use crate::{b, c::{self, Leaf}};\n")),
        (vec!["b".to_owned()], file("fn f() -> crate::a::Noun {}\n")),
        (
            vec!["c".to_owned()],
            file("// crate::a\npub(in crate::a) struct Leaf(pub(in crate::a) super::b::Thing);\n"),
        ),
    ]
    .into();
    let arrows = arrows(&all);
    let named: Vec<_> = arrows.iter().map(|(from, to)| format!("{from} {to}")).collect();
    assert_eq!(named, ["a/deep b", "a/deep c", "b a/deep", "c b"]);
    assert_eq!(circles(&arrows), arrows);
    assert!(circles(&between_rooms(&arrows)).is_empty(), "the top has floors");
    let rooms = [("k/a/x", "k/b"), ("k/b/y", "k/c"), ("k/c", "k/a"), ("k/a", "k")];
    let rooms: BTreeSet<_> = rooms.map(|(from, to)| (from.to_owned(), to.to_owned())).into();
    assert!(circles(&rooms).is_empty());
    assert_eq!(circles(&between_rooms(&rooms)).len(), 3);
    let cut = arrows.into_iter().filter(|(from, _)| from != "b").collect();
    assert!(circles(&cut).is_empty());
}
