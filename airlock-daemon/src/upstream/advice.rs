//! Advice to the operator on a server's tools: names that APIs of models refuse, and entries of `allow_tools`
//! that no tool has.

use std::collections::HashSet;

use super::lists::listed::Walk;
use super::lists::listed::shape::{Shape, TOOLS};
use super::lists::safe_names::{MAX_NAME, Names, is_taken};
use super::pool::Upstream;

/// Most names of one sentence.
const SHOWN: usize = 5;

impl Upstream {
    /// Looks at the names of all its tools.
    pub(super) fn advise(&self, tools: &HashSet<Box<str>>) {
        let mut sentences = Vec::new();
        let prefix = format!("{}__", self.name);
        let odd = tools.iter().filter(|tool| !is_taken(&prefix, tool)).map(AsRef::as_ref);
        if let Some(maker) = self.tool_names.maker() {
            let clashes = Names::of(maker, tools.iter().map(AsRef::as_ref)).clashes;
            if let Some((count, names)) = some(clashes.iter().map(AsRef::as_ref)) {
                sentences.push(format!(
                    "{count} of its tools are not at `/mcp`, where their safe names are those of other tools: {names}"
                ));
            }
        } else if let Some((count, names)) = some(odd) {
            sentences.push(format!(
                "APIs of models refuse the names of {count} of its tools at `/mcp`, where they begin with `{prefix}` (at most \
                 {MAX_NAME} letters, digits, `_` and `-`): {names}; `merged.names: safe` shortens them"
            ));
        }
        let allowed = self.config.allow_tools.iter().flatten();
        let missing = allowed.filter(|tool| !tools.contains(tool.as_str())).map(String::as_str);
        if let Some((count, names)) = some(missing) {
            sentences.push(format!(
                "{count} of its `allow_tools` are no tools that it lists, so nobody can call them: {names}; correct the names"
            ));
        }
        self.advice.store(std::sync::Arc::new(sentences));
    }
}

/// How many names there are, and the first of them by the alphabet.
fn some<'a>(names: impl Iterator<Item = &'a str>) -> Option<(usize, String)> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    let more = if names.len() > SHOWN { ", …" } else { "" };
    let quoted = |name: &&str| format!("`{}`", name.chars().take(2 * MAX_NAME).collect::<String>());
    let shown: Vec<_> = names.iter().take(SHOWN).map(quoted).collect();
    (!names.is_empty()).then(|| (names.len(), shown.join(", ") + more))
}

impl Upstream {
    /// Tells the operator what a walk through one of its lists has left out; `whole` when it went from the
    /// first page to the last.
    pub fn walked(&self, shape: Shape, walk: Walk, whole: bool) {
        if whole && shape == TOOLS {
            self.advise(walk.names());
        }
        self.left_out.report(&self.name, shape, walk, whole);
    }

    /// Entries of its lists that are not passed on, and what else there is to say of tools, a sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let mut sentences = self.left_out.sentences();
        sentences.extend(self.advice.load().iter().cloned());
        sentences
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_apis_of_models_take_them() {
        let fits = "x".repeat(MAX_NAME - "docs__".len());
        for (tool, taken) in [
            ("read_file", true),
            (&*fits, true),
            (&*format!("{fits}x"), false),
            ("a.b", false),
            ("a/b", false),
            ("ä", false),
        ] {
            assert_eq!(is_taken("docs__", tool), taken, "{tool}");
        }
        let many = ["f", "e", "d", "c", "b", "a"];
        assert_eq!(some(many.into_iter()), Some((6, "`a`, `b`, `c`, `d`, `e`, …".to_owned())));
        assert_eq!(some(std::iter::empty()), None);
    }
}
