//! The table in docs/escapes.md has a row for every attempt, and no other.

use std::collections::BTreeSet;

use crate::attempts;

const PAGE: &str = include_str!("../../../docs/escapes.md");

/// The lines between which the table is.
const BEGIN: &str = "<!-- escapes: begin -->";
const END: &str = "<!-- escapes: end -->";

/// At least as many as were promised, each with a name of its own.
pub(crate) fn complete() -> Result<(), String> {
    let all = attempts::all();
    let names: BTreeSet<&str> = all.iter().map(|attempt| attempt.name).collect();
    if names.len() != all.len() {
        return Err(format!("{} attempts have only {} names", all.len(), names.len()));
    }
    if all.len() < 60 {
        return Err(format!("{} attempts are fewer than 60", all.len()));
    }
    Ok(())
}

/// Each row is that of an attempt, in order, with what it tries.
pub(crate) fn in_page() -> Result<(), String> {
    let table = PAGE
        .split_once(BEGIN)
        .and_then(|(_, rest)| rest.split_once(END))
        .ok_or("docs/escapes.md has no table between its markers")?
        .0;
    let cells = |line: &str| {
        let mut cells = line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned());
        Some((cells.next()?.trim_matches('`').to_owned(), cells.next()?))
    };
    let shown: Vec<(String, String)> =
        table.lines().filter(|line| line.starts_with("| `")).filter_map(cells).collect();
    let known: Vec<(String, String)> =
        attempts::all().into_iter().map(|attempt| (attempt.name.to_owned(), attempt.tries)).collect();
    if shown == known {
        return Ok(());
    }
    let difference = known
        .iter()
        .find(|row| !shown.contains(row))
        .or_else(|| shown.iter().find(|row| !known.contains(row)))
        .map_or_else(|| "their order".to_owned(), |(name, _)| name.clone());
    Err(format!(
        "docs/escapes.md shows {} attempts, and there are {}; the first difference: {difference}\n\
         write it anew: cargo xtask vm --all --write",
        shown.len(),
        known.len()
    ))
}
