//! Two definitions line by line.

use std::fmt::{self, Display, Formatter};

use crate::hidden::revealed;
use crate::layout;

/// Most lines of either text, without those that are equal at both ends, that are compared each with each.
/// Longer ones are shown as gone and come as a whole.
const MAX_LINES: usize = 2_000;

/// Equal lines that are shown before and behind others.
const CONTEXT: usize = 2;

/// One line. `Display` has the sign of a diff before it, and every hidden character visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// It is in both.
    Same(String),
    /// It is in the first only.
    Gone(String),
    /// It is in the second only.
    Come(String),
    /// So many that are in both are left out.
    More(usize),
}

impl Display for Line {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same(line) => write!(f, "  {}", revealed(line)),
            Self::Gone(line) => write!(f, "- {}", revealed(line)),
            Self::Come(line) => write!(f, "+ {}", revealed(line)),
            Self::More(count) => write!(f, "  … {count} lines that are the same"),
        }
    }
}

/// How the canonical text `new` differs from `old`, either of which may be empty.
pub fn between(old: &str, new: &str) -> Vec<Line> {
    let (old, new) = (layout::reading(old), layout::reading(new));
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let same = |pair: &(&&str, &&str)| pair.0 == pair.1;
    let head = old.iter().zip(&new).take_while(same).count();
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(same).count();
    let (old_middle, end) = old_rest.split_at(old_rest.len() - tail);
    let new_middle = &new_rest[..new_rest.len() - tail];
    let keep = |line: &&str| Line::Same((*line).to_owned());
    let mut lines: Vec<Line> = old[..head].iter().map(keep).collect();
    lines.extend(middle(old_middle, new_middle));
    lines.extend(end.iter().map(keep));
    shortened(lines)
}

/// The shortest way from one to the other, by their longest common subsequence.
fn middle(old: &[&str], new: &[&str]) -> Vec<Line> {
    let gone = |line: &&str| Line::Gone((*line).to_owned());
    let come = |line: &&str| Line::Come((*line).to_owned());
    if old.len() > MAX_LINES || new.len() > MAX_LINES {
        return old.iter().map(gone).chain(new.iter().map(come)).collect();
    }
    let width = new.len() + 1;
    let mut common = vec![0_u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i * width + j] = if old[i] == new[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < old.len() && j < new.len() {
        if old[i] == new[j] {
            lines.push(Line::Same(old[i].to_owned()));
            (i, j) = (i + 1, j + 1);
        } else if common[(i + 1) * width + j] >= common[i * width + j + 1] {
            lines.push(gone(&old[i]));
            i += 1;
        } else {
            lines.push(come(&new[j]));
            j += 1;
        }
    }
    lines.extend(old[i..].iter().map(gone));
    lines.extend(new[j..].iter().map(come));
    lines
}

/// Leaves out equal lines that are far from others.
fn shortened(lines: Vec<Line>) -> Vec<Line> {
    let changed: Vec<usize> = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| !matches!(line, Line::Same(_)))
        .map(|(at, _)| at)
        .collect();
    let is_near = |at: usize| {
        let next = changed.partition_point(|place| *place < at);
        let before = next.checked_sub(1).map(|place| at - changed[place]);
        let behind = changed.get(next).map(|place| place - at);
        before.into_iter().chain(behind).any(|distance| distance <= CONTEXT)
    };
    let mut shown = Vec::new();
    for (at, line) in lines.into_iter().enumerate() {
        match (is_near(at), shown.last_mut()) {
            (true, _) => shown.push(line),
            (false, Some(Line::More(count))) => *count += 1,
            (false, _) => shown.push(Line::More(1)),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(old: &str, new: &str) -> Vec<String> {
        between(old, new).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_line_says_if_it_has_come_or_gone() {
        let old = r#"{"annotations":{"readOnlyHint":true},"description":"one\ntwo\nthree","name":"a"}"#;
        let new = "{\"annotations\":{},\"description\":\"one\\n2 \u{200b}\\nthree\",\"name\":\"a\"}";
        assert_eq!(
            shown(old, new),
            [
                "  {",
                "-   \"annotations\": {",
                "-     \"readOnlyHint\": true",
                "-   },",
                "+   \"annotations\": {},",
                "    \"description\": \"one\\n",
                "-     two\\n",
                "+     2 ⟨U+200B⟩\\n",
                "      three\",",
                "    \"name\": \"a\"",
                "  … 1 lines that are the same",
            ]
        );
        assert_eq!(shown("", r#"{"name":"a"}"#), ["+ {", "+   \"name\": \"a\"", "+ }"]);
        assert!(between(old, old).iter().all(|line| matches!(line, Line::More(_))));
    }

    #[test]
    fn a_schema_of_a_megabyte_is_compared_in_no_time() {
        let list = |first: usize| {
            let values: Vec<_> = (first..first + 140_000).map(|number| format!("\"{number}\"")).collect();
            format!(r#"{{"inputSchema":{{"enum":[{}]}},"name":"a"}}"#, values.join(","))
        };
        assert!(list(0).len() > 1_000_000);
        let lines = between(&list(0), &list(1));
        assert!(lines.contains(&Line::Come("      \"140000\"".to_owned())), "{}", lines.len());
    }
}
