//! Budgets that would refuse everything, or bound nothing.

use super::checks::{Checks, at};
use super::limits::names_a_tool;
use crate::schema::{Config, DayBudget, ToolBudget};
use crate::yaml::tree::PathStep;

pub(super) fn check(config: &Config, checks: &mut Checks<'_>) {
    let budget = &config.budget;
    values(budget.all(), at!["budget"], checks);
    for (pattern, tool) in &budget.tools {
        let path = at!["budget", "tools", pattern.as_str()];
        names_a_tool(config, path, pattern, checks);
        if *tool == ToolBudget::default() && checks.known(path) {
            checks.key(
                path,
                "it bounds nothing, and takes the place of the budget of all tools",
                "`calls`, `bytes`, `arguments` or `repeats` below it",
                "add one of them, such as `calls: 1000`, or remove the entry",
            );
        }
        values(*tool, path, checks);
    }
}

fn values(of: ToolBudget, path: &[PathStep<'_>], checks: &mut Checks<'_>) {
    let below = |key| [path, at![key]].concat();
    for (key, is_none) in [
        ("calls", of.calls == Some(0)),
        ("bytes", of.bytes.is_some_and(|bytes| bytes.0 == 0)),
        ("arguments", of.arguments == Some(0)),
    ] {
        if is_none {
            let (expected, help) = ("a number of at least 1", "write a larger number, or remove the key");
            checks.value(&below(key), "nothing would ever be let through", expected, help);
        }
    }
    let most = DayBudget::MOST_ARGUMENTS;
    if of.arguments.is_some_and(|arguments| arguments > most) {
        checks.value(
            &below("arguments"),
            format!("each of them is kept for a day, and {most} are the most of one tool"),
            "a number from 1 to 10000",
            "write a smaller number, or bound `calls` instead",
        );
    }
}
