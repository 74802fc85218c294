//! Why a bundle was not accepted.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config::Diagnostic;

/// How many columns the engine counts for a tab.
const TAB: usize = 4;
const CORRECT: &str = "correct the Rego source at this place; `airlock policy test --path DIR` checks it";

/// A bundle that cannot be used: where, why, and what to do. [`PolicyError::diagnostic`] shows it to a
/// person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{place}: {reason}\n  help: {remedy}")]
pub struct PolicyError {
    /// A path, followed by `:line:column`, both from 1 and in characters, where these are known.
    pub place: String,
    /// The fault.
    pub reason: String,
    /// The remedy.
    pub remedy: String,
    /// The text of the line at the place, where that is known.
    #[serde(default)]
    text: String,
    /// It says nothing of the bundle: the bundle could not be tried.
    #[serde(default)]
    pub(super) is_untried: bool,
}

impl PolicyError {
    pub(super) fn new(
        place: impl Into<String>,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (place, reason, remedy) = (place.into(), reason.into(), remedy.into());
        Self { place, reason, remedy, text: String::new(), is_untried: false }
    }

    /// The same for a bundle that could not be tried.
    pub(super) fn untried(self) -> Self {
        Self { is_untried: true, ..self }
    }

    pub(super) fn at(path: &Path, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(path.display().to_string(), reason, remedy)
    }

    /// Turns the engine's message into place and reason: lines with `--> file:line:column`, the line of
    /// source behind its number, a caret, and `error: …`. Its columns count a tab as four and whatever is not
    /// ASCII by its bytes.
    pub(super) fn from_rego(fallback: &Path, message: &str) -> Self {
        let lines = || message.lines().map(str::trim_start);
        let reason: Vec<&str> = match lines().position(|line| line.starts_with("error: ")) {
            // A second place is told as the first one is, with its own line of source.
            Some(first) => {
                let told = lines().skip(first).take_while(|line| !line.starts_with("--> "));
                told.filter(|line| !line.is_empty()).collect()
            }
            None => lines().filter(|line| !line.is_empty() && !line.starts_with("--> ")).collect(),
        };
        let reason = reason.join("\n");
        let reason = reason.strip_prefix("error: ").unwrap_or(&reason);
        let found = lines().find_map(|line| line.strip_prefix("--> "));
        let Some((file, line, column)) = found.and_then(split) else {
            let place = found.map_or_else(|| fallback.display().to_string(), str::to_owned);
            return Self::new(place, reason, CORRECT);
        };
        let numbered = |text: &str| {
            let rest = text.strip_prefix(&line.to_string())?.trim_start().strip_prefix('|')?;
            Some(rest.strip_prefix(' ').unwrap_or(rest).to_owned())
        };
        let text = message.lines().find_map(numbered).unwrap_or_default();
        let column = begin_of_quoted(reason, &text, in_characters(&text, column));
        Self { text, ..Self::new(format!("{file}:{line}:{column}"), reason, CORRECT) }
    }

    /// The same with the line that it is about, out of `texts`: path and text of each file.
    pub(super) fn shown_in<'a>(mut self, texts: impl IntoIterator<Item = (&'a Path, &'a str)>) -> Self {
        if let Some((file, line, _)) = split(&self.place)
            && self.text.is_empty()
            && let Some((_, whole)) = texts.into_iter().find(|(path, _)| *path == Path::new(file))
        {
            whole.lines().nth(line - 1).unwrap_or_default().clone_into(&mut self.text);
        }
        self
    }

    /// For a person, or for a program that reads JSON: message, place, the line with a caret, remedy.
    pub fn diagnostic(&self) -> Diagnostic {
        let Some((file, line, column)) = split(&self.place) else {
            return Diagnostic::of_file(&self.place, &self.reason, "", &self.remedy);
        };
        let width = word(&self.text, column);
        Diagnostic::in_text(file, (line, column), (&self.text, width), &self.reason, &self.remedy)
    }
}

/// `file:line:column` in its parts; `file:line` has the column 1.
fn split(place: &str) -> Option<(&str, usize, usize)> {
    let (rest, last) = place.rsplit_once(':')?;
    let last: usize = last.parse().ok().filter(|number| *number > 0)?;
    match rest.rsplit_once(':').map(|(file, line)| (file, line.parse::<usize>())) {
        Some((file, Ok(line))) if line > 0 => Some((file, line, last)),
        _ => Some((rest, last, 1)),
    }
}

/// The column in characters of a column as the engine counts.
fn in_characters(line: &str, column: usize) -> usize {
    let mut counted = 1;
    let before = line.chars().take_while(|character| {
        let is_before = counted < column;
        counted += if *character == '\t' { TAB } else { character.len_utf8() };
        is_before
    });
    before.count() + 1
}

/// The column where a function begins that a message quotes: the engine names the parenthesis behind it.
fn begin_of_quoted(reason: &str, line: &str, column: usize) -> usize {
    let quoted = reason.split('\'').nth(1).filter(|name| !name.is_empty());
    let before: String = line.chars().take(column - 1).collect();
    match quoted.filter(|name| before.ends_with(name)) {
        Some(name) => column - name.chars().count(),
        None => column,
    }
}

/// How many characters of the word, or the sign, that stands at a column; at least 1.
fn word(line: &str, column: usize) -> usize {
    let is_word = |c: &char| c.is_alphanumeric() || matches!(c, '_' | '.');
    line.chars().skip(column - 1).take_while(is_word).count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> PolicyError {
        let error = regorus::Engine::new().add_policy("a.rego".into(), text.into()).expect_err("a mistake");
        PolicyError::from_rego(Path::new("."), &error.to_string())
    }

    #[test]
    fn a_message_of_the_engine_reads_like_one_about_the_configuration() {
        let error = told("package a\nimport rego.v1\nallow if {\n\t\tx := \"ü\"; y = %\n}\n");
        assert_eq!((error.place.as_str(), error.text.as_str()), ("a.rego:4:17", "\t\tx := \"ü\"; y = %"));
        assert!(!error.reason.contains('\n') && !error.reason.contains("-->"), "{error}");
        let shown = error.diagnostic().to_string();
        assert!(shown.starts_with(&format!("error: {}\n --> a.rego:4:17\n", error.reason)), "{shown}");
        assert!(shown.contains("4 |   x := \"ü\"; y = %\n"), "{shown}");
        assert!(shown.contains("\n  |                 ^\n  = help: correct the Rego"), "{shown}");
    }

    #[test]
    fn a_place_is_taken_apart() {
        assert_eq!(split("/a:b/c.rego:3:7"), Some(("/a:b/c.rego", 3, 7)));
        assert_eq!(split("/a/data.yaml:12"), Some(("/a/data.yaml", 12, 1)));
        assert_eq!((split("/etc/airlock/policies"), split("c.rego:0")), (None, None));
    }

    #[test]
    fn the_line_of_a_place_is_found() {
        let error = PolicyError::new("/p/a.rego:2:7", "no", "yes");
        let shown = error.shown_in([(Path::new("/p/a.rego"), "one\ntwo = three_four(5)\n")]).diagnostic();
        assert!(shown.to_string().contains("2 | two = three_four(5)\n  |       ^^^^^^^^^^\n"), "{shown}");
    }
}
