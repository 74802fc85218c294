//! Lists that a server says to have changed: what was seen of them before is looked at anew.

use std::sync::atomic::{AtomicU64, Ordering};

use airlock_tool_locks::definition::Kind;

/// Counts how often a server has said of each list that it has changed.
#[derive(Debug, Default)]
pub struct Changed([AtomicU64; Kind::ALL.len()]);

impl Changed {
    /// Takes in a notification of the server's.
    pub fn hear(&self, method: &str) {
        let kind = match method {
            "notifications/tools/list_changed" => Kind::Tools,
            "notifications/prompts/list_changed" => Kind::Prompts,
            "notifications/resources/list_changed" => Kind::ResourceTemplates,
            _ => return,
        };
        if let Some(count) = self.0.get(kind as usize) {
            count.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Nobody has heard the server for a while: each list may have changed meanwhile.
    pub fn was_unheard(&self) {
        for count in &self.0 {
            count.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// How often it has said so of a list.
    pub(super) fn times(&self, kind: Kind) -> u64 {
        self.0.get(kind as usize).map_or(0, |count| count.load(Ordering::Acquire))
    }
}
