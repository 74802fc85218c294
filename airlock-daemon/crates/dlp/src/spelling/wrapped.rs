//! Encoded text in lines of one length, as MIME (RFC 2045, section 6.8), PEM and the tools that encode write
//! it.

use std::ops::Range;

use crate::classes::is_token;

/// The shortest line, but for the last, in characters.
const LINE: usize = 40;

/// The most bytes of a line break, with the indentation behind it.
pub(crate) const BREAK: usize = 34;

/// Lines that are one encoded text.
#[derive(Debug)]
pub(crate) struct Lines {
    /// Their place, padding included.
    pub(crate) range: Range<usize>,
    /// They without their breaks, padding included.
    pub(crate) text: String,
    /// The length of the text without padding.
    pub(crate) run: usize,
    line: usize,
    between: String,
}

impl Lines {
    /// The lines as they stand in the text once a part of it is another: of the same length.
    pub(crate) fn with(&self, part: &Range<usize>, with: &str) -> String {
        let text = [&self.text[..part.start], with, &self.text[part.end..]].concat();
        let mut lines = String::with_capacity(text.len() + text.len() / self.line * self.between.len());
        for (number, character) in text.chars().enumerate() {
            if number > 0 && number % self.line == 0 {
                lines.push_str(&self.between);
            }
            lines.push(character);
        }
        lines
    }
}

/// Finds lines of one length among the runs of a text, and takes their runs out.
pub(crate) fn all(text: &str, runs: &mut Vec<Range<usize>>) -> Vec<Lines> {
    let mut all = Vec::new();
    let (mut first, mut kept) = (0, 0);
    while first < runs.len() {
        if let Some((lines, end)) = lines(text, &runs[first..]) {
            all.push(lines);
            first += end;
        } else {
            runs.swap(kept, first);
            kept += 1;
            first += 1;
        }
    }
    runs.truncate(kept);
    all
}

/// The lines that begin with the first of some runs, and the number of runs that they have.
fn lines(text: &str, runs: &[Range<usize>]) -> Option<(Lines, usize)> {
    let first = runs.first().filter(|run| run.len() >= LINE)?;
    let line = first.len();
    let between = line_break(text, first.end)?;
    let mut last = first.clone();
    let mut joined = text[first.clone()].to_owned();
    let mut count = 1;
    while text[last.end..].starts_with(between) {
        let start = last.end + between.len();
        let run = match runs.get(count) {
            Some(run) if run.start == start => run.clone(),
            // The last line may be too short for a run.
            _ => start..start + text[start..].bytes().take_while(|&byte| is_token(byte)).count(),
        };
        let is_last = run.len() < line;
        if run.is_empty() || run.len() > line || (is_last && !ends(text, run.end)) {
            break;
        }
        count += usize::from(runs.get(count).is_some_and(|known| known.start == run.start));
        joined.push_str(&text[run.clone()]);
        last = run;
        if is_last {
            break;
        }
    }
    if last.start == first.start {
        return None;
    }
    let run = joined.len();
    let padding = text[last.end..].bytes().take(2).take_while(|&byte| byte == b'=').count();
    joined.push_str(&text[last.end..last.end + padding]);
    let range = first.start..last.end + padding;
    Some((Lines { range, text: joined, run, line, between: between.to_owned() }, count))
}

/// The line break at a place, with the indentation behind it.
fn line_break(text: &str, at: usize) -> Option<&str> {
    let rest = &text[at..];
    let length = if rest.starts_with("\r\n") { 2 } else { usize::from(rest.starts_with('\n')) };
    let indented = rest.bytes().skip(length).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    (length > 0 && length + indented <= BREAK).then(|| &rest[..length + indented])
}

/// Answers whether a line ends at a place.
fn ends(text: &str, at: usize) -> bool {
    text.as_bytes()
        .get(at)
        .is_none_or(|byte| matches!(byte, b'=' | b'\n' | b'\r' | b'"' | b'\'' | b'<' | b')'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runs_of_lines_are_taken_out_and_all_others_stay() {
        let long = "A".repeat(LINE);
        let lines = format!("{long}\n{long}\nAAAAAAAAAAAAAAAAAAAA=");
        let text = [&*long, &*lines, "some-other-run-of-a-token", &*lines, &*long, &*lines].join(" ");
        let mut runs = Vec::new();
        let mut at = 0;
        for word in text.split_inclusive([' ', '\n']) {
            runs.push(at..at + word.trim_end_matches([' ', '\n', '=']).len());
            at += word.len();
        }
        let all = all(&text, &mut runs);
        assert!(all.iter().all(|of| text[of.range.clone()] == lines), "{all:?}");
        assert_eq!(all.len(), 3);
        let others: Vec<_> = runs.into_iter().map(|run| &text[run]).collect();
        assert_eq!(others, [&*long, "some-other-run-of-a-token", &*long]);
    }
}
