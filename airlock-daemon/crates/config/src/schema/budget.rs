//! `budget`: how much of one tool a principal may have in a day.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::units::{ByteSize, Rate};

/// `budget`: how much of one tool one principal may have in a day, which begins at midnight UTC. Whoever
/// wants more gets 429 with `Retry-After`. Nothing is bounded unless configured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct DayBudget {
    /// Calls of one tool.
    pub calls: Option<u32>,
    /// Bytes of arguments and results of one tool together. Calls under way when they are used up are
    /// answered, and the next one is refused. The results of tasks do not count.
    pub bytes: Option<ByteSize>,
    /// Different arguments of one tool, at most 10,000: whoever goes through a list of customers one by one
    /// meets it. Order of members, spaces and escapes make no difference.
    pub arguments: Option<u32>,
    /// Calls of one tool with the same arguments: `20/min`. Beyond them that call is refused until the span
    /// is over. It stops an agent that goes round in circles.
    pub repeats: Option<Rate>,
    /// Budgets of some tools, in place of those above: `upstream/tool: {calls: 100}`, where `*` stands for
    /// any text. Where several entries match, the least of each counts; of `repeats`, the one that lets fewer
    /// through in a day.
    pub tools: BTreeMap<String, ToolBudget>,
}

/// `budget.tools`: as in `budget`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ToolBudget {
    /// Calls.
    pub calls: Option<u32>,
    /// Bytes of arguments and results.
    pub bytes: Option<ByteSize>,
    /// Different arguments.
    pub arguments: Option<u32>,
    /// Calls with the same arguments.
    pub repeats: Option<Rate>,
}

impl DayBudget {
    /// The most `arguments` of one tool, for each of which a number is kept.
    pub const MOST_ARGUMENTS: u32 = 10_000;

    /// The budget of tools that no entry of `tools` is about.
    pub fn all(&self) -> ToolBudget {
        let Self { calls, bytes, arguments, repeats, .. } = *self;
        ToolBudget { calls, bytes, arguments, repeats }
    }
}
