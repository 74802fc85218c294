//! The faults of a configuration file, told to a person: place, line, caret, expectation, remedy.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

/// How many characters of a long line are shown.
const SHOWN: usize = 120;

/// A place in the text. Lines and columns count from 1, columns and width in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) width: usize,
}

impl Position {
    /// The first character of the file.
    pub(super) const START: Self = Self { line: 1, column: 1, width: 1 };

    pub(super) fn new(line: usize, column: usize, width: usize) -> Self {
        Self { line: line.max(1), column: column.max(1), width }
    }
}

/// A mistake before the file's name and lines are added to it.
#[derive(Debug, Clone)]
pub(super) struct Issue {
    pub(super) at: Option<Position>,
    pub(super) message: String,
    pub(super) expected: String,
    pub(super) help: String,
}

impl Issue {
    pub(super) fn new(at: impl Into<Option<Position>>, message: impl Into<String>) -> Self {
        Self { at: at.into(), message: message.into(), expected: String::new(), help: String::new() }
    }

    pub(super) fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = expected.into();
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing starts with it.
    Error,
    /// It is allowed, and seldom meant.
    Warning,
}

/// One mistake. Its JSON form is stable: `severity`, `file`, `line`, `column`, `message`, `expected`, `help`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// `Error` where it is a mistake, `Warning` where it is only likely to be one.
    pub severity: Severity,
    /// The file, as it was named by the caller.
    pub file: String,
    /// The line, from 1; none when the file as a whole is meant.
    pub line: Option<usize>,
    /// The column in characters, from 1.
    pub column: Option<usize>,
    /// The value that was found.
    pub message: String,
    /// The expectation; empty when the message says it.
    pub expected: String,
    /// The remedy; empty when none is known.
    pub help: String,
    /// The line itself, values below `env` hidden.
    #[serde(skip)]
    source: String,
    /// How many characters the caret underlines.
    #[serde(skip)]
    width: usize,
}

impl Diagnostic {
    /// A mistake that concerns `file` as a whole, or something outside of it.
    pub fn of_file(
        file: impl Into<String>,
        message: impl Into<String>,
        expected: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Error,
            file: file.into(),
            line: None,
            column: None,
            message: message.into(),
            expected: expected.into(),
            help: help.into(),
            source: String::new(),
            width: 0,
        }
    }

    /// The same as a warning.
    #[must_use]
    pub fn as_warning(self) -> Self {
        Self { severity: Severity::Warning, ..self }
    }

    /// A mistake at a line and a column, both from 1 and in characters, with the text of that line and how
    /// many characters of it are meant.
    pub fn in_text(
        file: impl Into<String>,
        (line, column): (usize, usize),
        (source, width): (&str, usize),
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self {
            line: Some(line.max(1)),
            column: Some(column.max(1)),
            source: source.to_owned(),
            width,
            ..Self::of_file(file, message, "", help)
        }
    }
}

/// All mistakes of one file, in the order of its lines; never empty.
#[derive(Debug, Clone)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// The mistakes, in the order of the lines.
    pub fn entries(&self) -> &[Diagnostic] {
        &self.0
    }

    /// One mistake alone.
    pub(super) fn single(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }

    /// Gives issues their file and their lines. `hidden` are byte ranges of `text` that are shown as
    /// asterisks.
    pub(super) fn new(name: &str, text: &str, hidden: &[Range<usize>], mut issues: Vec<Issue>) -> Self {
        issues.sort_by_key(|issue| issue.at);
        // YAML ends a line at a lone carriage return too.
        let shown = hide(text, hidden).replace("\r\n", "\n").replace('\r', "\n");
        let lines: Vec<&str> = shown.lines().collect();
        let diagnostics = issues.into_iter().map(|issue| Diagnostic {
            severity: Severity::Error,
            file: name.to_owned(),
            line: issue.at.map(|at| at.line),
            column: issue.at.map(|at| at.column),
            message: issue.message,
            expected: issue.expected,
            help: issue.help,
            source: issue.at.and_then(|at| lines.get(at.line - 1)).copied().unwrap_or_default().to_owned(),
            width: issue.at.map_or(0, |at| at.width),
        });
        Self(diagnostics.collect())
    }
}

impl std::error::Error for Diagnostics {}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        writeln!(f, "{severity}: {}", self.message)?;
        let mut margin = 1;
        match (self.line, self.column) {
            (Some(line), Some(column)) => {
                let number = line.to_string();
                margin = number.len();
                let (source, before) = window(&self.source, column - 1);
                let room = source.chars().count().saturating_sub(before);
                let caret = "^".repeat(self.width.clamp(1, room.max(1)));
                writeln!(f, "{:margin$}--> {}:{line}:{column}", "", self.file)?;
                writeln!(f, "{:margin$} |", "")?;
                writeln!(f, "{number} | {source}")?;
                writeln!(f, "{:margin$} | {:before$}{caret}", "", "")?;
            }
            _ => writeln!(f, "{:margin$}--> {}", "", self.file)?,
        }
        if !self.expected.is_empty() {
            writeln!(f, "{:margin$} = expected: {}", "", self.expected)?;
        }
        if !self.help.is_empty() {
            writeln!(f, "{:margin$} = help: {}", "", self.help)?;
        }
        Ok(())
    }
}

/// The part of a line that is shown, and how many characters of it stand before the caret.
fn window(line: &str, before: usize) -> (String, usize) {
    // A tab or an escape sequence would shift the caret, or do worse to a terminal.
    let clean = |c: char| match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    let length = line.chars().count();
    if length <= SHOWN {
        return (line.trim_end().chars().map(clean).collect(), before);
    }
    let start = before.saturating_sub(SHOWN / 2).min(length - SHOWN);
    let mut source: String = line.chars().skip(start).take(SHOWN).map(clean).collect();
    if start + SHOWN < length {
        source.push('…');
    }
    if start == 0 { (source, before) } else { (format!("…{source}"), before - start + 1) }
}

/// The text with every character of the given byte ranges replaced by an asterisk; lines and columns stay.
fn hide(text: &str, hidden: &[Range<usize>]) -> String {
    if hidden.is_empty() {
        return text.to_owned();
    }
    let mut hidden: Vec<_> = hidden.to_vec();
    hidden.sort_by_key(|range| range.start);
    let mut ranges = hidden.into_iter().peekable();
    text.char_indices()
        .map(|(index, c)| {
            while ranges.next_if(|range| range.end <= index).is_some() {}
            let inside = ranges.peek().is_some_and(|range| range.contains(&index));
            if inside && !c.is_whitespace() { '*' } else { c }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &str, at: Position, hidden: &[Range<usize>]) -> String {
        let issue = Issue::new(at, "found `x`").expected("`y`").help("write `y`");
        Diagnostics::new("a.yaml", text, hidden, vec![issue]).to_string()
    }

    #[test]
    fn a_diagnostic_shows_place_line_caret_expectation_and_remedy() {
        assert_eq!(
            render("one: 1\ntwo: xyz\n", Position::new(2, 6, 3), &[]),
            "error: found `x`\n --> a.yaml:2:6\n  |\n2 | two: xyz\n  |      ^^^\n  = expected: `y`\n  = help: write `y`\n"
        );
    }

    #[test]
    fn a_place_behind_the_last_line_is_still_told() {
        let shown = render("one: 1\n", Position::new(9, 4, 2), &[]);
        assert!(shown.contains("--> a.yaml:9:4") && shown.contains("|    ^\n"), "{shown}");
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let text = format!("{}needle{}", "a".repeat(500), "b".repeat(500));
        let shown = render(&text, Position::new(1, 501, 6), &[]);
        let line = shown.lines().find(|l| l.starts_with("1 |")).expect("source line");
        let carets = shown.lines().find(|l| l.contains('^')).expect("caret line");
        let column = carets.chars().position(|c| c == '^').expect("caret");
        assert!(line.chars().count() < 130);
        assert_eq!(line.chars().skip(column).take(6).collect::<String>(), "needle");
        assert_eq!(carets.matches('^').count(), 6);
    }

    #[test]
    fn escape_sequences_and_tabs_do_not_reach_the_terminal() {
        let shown = render("a:\t\u{1b}[31mred", Position::new(1, 5, 1), &[]);
        assert!(!shown.contains('\u{1b}') && !shown.contains('\t'), "{shown}");
    }

    #[test]
    fn hidden_values_keep_their_width() {
        let text = "env: {A: sécret, B: x}";
        let start = text.find("séc").expect("secret");
        assert_eq!(hide(text, std::slice::from_ref(&(start..start + 7))), "env: {A: ******, B: x}");
    }
}
