//! Everything that `airlock tools` shows.

use airlock_tool_locks::definition::{Definition, Kind};
use serde::{Deserialize, Serialize};

use crate::config::schema::ToolLockMode;

use super::locks::{Lock, ToolLocks};

/// The locks, and what is held back. Its JSON form is a stable contract: members are added, never renamed or
/// removed.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// How a definition comes to be trusted.
    pub mode: ToolLockMode,
    /// The file of the locks.
    pub file: String,
    /// Faults of the file, and how much is held back, a sentence each.
    pub alarms: Vec<String>,
    /// Each server.
    pub upstreams: Vec<Upstream>,
}

/// One server.
#[derive(Debug, Serialize, Deserialize)]
pub struct Upstream {
    /// Its name.
    pub name: String,
    /// Its command or address.
    pub bound_to: String,
    /// The same in its lock, where that is another.
    pub locked_as: Option<String>,
    /// All that is locked or held back.
    pub entries: Vec<Entry>,
    /// How many more are held back that there is no room for: no entry shows them.
    #[serde(default)]
    pub beyond: usize,
}

/// One tool, prompt or template.
#[derive(Debug, Serialize, Deserialize)]
pub struct Entry {
    /// `tool`, `prompt` or `resource template`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: State,
    /// Its digest, `sha256:…`.
    pub digest: String,
    /// Why it is held back, a predicate.
    pub why: Option<String>,
    /// Since when (RFC 3339).
    pub since: Option<String>,
    /// Its definition now, where it is held back.
    pub definition: Option<String>,
    /// The locked definition, where something else is held back.
    pub locked: Option<String>,
}

/// The state of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is what is locked, as far as it was seen.
    Locked,
    /// It is locked, and the server's last list did not have it.
    Gone,
    /// It is held back.
    Held,
}

impl ToolLocks {
    /// The report on these servers, each a name and its command or address.
    pub fn report<'a>(&self, upstreams: impl Iterator<Item = (&'a str, &'a str)>) -> Report {
        Report {
            mode: self.mode,
            file: self.path.display().to_string(),
            alarms: self.alarms(),
            upstreams: upstreams.map(|(name, bound_to)| self.upstream(name, bound_to)).collect(),
        }
    }

    /// Servers with definitions that are held back and find no room, a sentence each.
    pub(super) fn crowded(&self) -> Vec<String> {
        let book = self.book();
        let each = book.beyond().into_iter().map(|(upstream, count)| {
            format!(
                "tool locks: {count} of upstream {upstream} held back without room to keep them, so that \
                 `airlock tools diff` cannot show them: approve what it shows, or have the server list less"
            )
        });
        each.collect()
    }

    fn upstream(&self, name: &str, bound_to: &str) -> Upstream {
        let in_force = self.in_force();
        let book = self.book();
        let (mut entries, mut locked_as) = (Vec::new(), None);
        for kind in Kind::ALL {
            let list = book.list(name, kind);
            let listed = list.and_then(|list| list.listed.as_ref());
            let held = list.into_iter().flat_map(|list| list.held.iter().filter(|(_, held)| held.is_there));
            let held: Vec<_> = held.collect();
            let lock = self.lock(&in_force, name, bound_to, kind);
            if let Lock::Foreign(server) = lock {
                locked_as = Some(server.bound_to.clone());
            }
            let locked = match lock {
                Lock::Of(definitions) => Some(definitions),
                Lock::Foreign(server) => server.kinds.get(&kind),
                Lock::Off | Lock::Never | Lock::Unlooked | Lock::Unusable(_) => None,
            };
            let is_held = |one: &&Definition| held.iter().all(|(name, _)| **name != one.name);
            for one in locked.into_iter().flat_map(|all| all.values()).filter(is_held) {
                let is_gone = listed.is_some_and(|listed| !listed.contains(&one.name));
                let state = if is_gone { State::Gone } else { State::Locked };
                entries.push(entry(kind, one, state));
            }
            for (name, held) in held {
                entries.push(Entry {
                    why: Some(held.why.clone()),
                    since: Some(humantime::format_rfc3339_seconds(held.since).to_string()),
                    definition: Some(held.definition.text.clone()),
                    locked: locked.and_then(|all| all.get(name)).map(|one| one.text.clone()),
                    ..entry(kind, &held.definition, State::Held)
                });
            }
        }
        let beyond = book.beyond().get(name).copied().unwrap_or_default();
        Upstream { name: name.to_owned(), bound_to: bound_to.to_owned(), locked_as, entries, beyond }
    }
}

fn entry(kind: Kind, one: &Definition, state: State) -> Entry {
    Entry {
        kind: kind.noun().to_owned(),
        name: one.name.clone(),
        state,
        digest: one.digest.to_string(),
        why: None,
        since: None,
        definition: None,
        locked: None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::{Instant, SystemTime};

    use super::super::book::Seen;
    use super::*;
    use crate::observe::metrics::Metrics;

    #[test]
    fn what_finds_no_room_is_told_though_nothing_else_is_held_back() {
        let locks = ToolLocks::off(&Metrics::new());
        let one = Definition::read(Kind::Tools, r#"{"name":"a"}"#).expect("a tool");
        let others = vec![(one, "x".repeat(17 * 1024 * 1024))];
        let seen = Seen { good: &BTreeSet::new(), others, is_whole: true };
        locks.book().take("docs", Kind::Tools, seen, (Instant::now(), SystemTime::UNIX_EPOCH));
        let report = locks.report([("docs", "stdio docs"), ("other", "stdio other")].into_iter());
        let beyond: Vec<_> = report.upstreams.iter().map(|one| (one.entries.len(), one.beyond)).collect();
        assert_eq!(beyond, [(0, 1), (0, 0)]);
        assert_eq!(report.alarms, locks.crowded());
        assert!(report.alarms.concat().starts_with("tool locks: 1 of upstream docs held back without room"));
    }
}
