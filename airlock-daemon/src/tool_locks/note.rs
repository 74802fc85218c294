//! Lists that have been seen: what is held back of them, in words, on record and as an alarm.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Instant, SystemTime};

use airlock_tool_locks::change::{Change, Surroundings};
use airlock_tool_locks::definition::{Definition, Kind};
use airlock_tool_locks::lock_file::Definitions;

use crate::audit::{Event, Record, Verdict};

use super::book::{List, Seen};
use super::locks::{InForce, Lock, RULE, ToolLocks};

/// Most records of one list; the rest is one record with their number.
const MAX_TOLD: usize = 16;

impl ToolLocks {
    /// Takes note of a list that has been seen: what is held back of it goes on record once.
    pub(super) fn note(
        &self,
        upstream: &str,
        lock: &Lock<'_>,
        in_force: &InForce,
        kind: Kind,
        (good, others): (&BTreeSet<String>, Vec<Definition>),
        is_whole: bool,
    ) {
        let others = self.explained((upstream, kind), lock, in_force, (good, others), is_whole);
        let seen = Seen { good, others, is_whole };
        let (told, count, before) = {
            let mut book = self.book();
            let before = book.count(upstream);
            let told = book.take(upstream, kind, seen, (Instant::now(), SystemTime::now()));
            (told, book.count(upstream), before)
        };
        if count != before {
            self.metrics.upstream(upstream).held_back(count);
        }
        if !told.is_empty() {
            self.tell(upstream, kind, &told);
            self.changed();
        }
    }

    /// Why each definition is held back; of one that is in the book, as the book has it.
    fn explained(
        &self,
        (upstream, kind): (&str, Kind),
        lock: &Lock<'_>,
        in_force: &InForce,
        (good, others): (&BTreeSet<String>, Vec<Definition>),
        is_whole: bool,
    ) -> Vec<(Definition, String)> {
        if others.is_empty() {
            return Vec::new();
        }
        let nothing = Definitions::new();
        let (locked, prefix) = match lock {
            Lock::Of(locked) => (*locked, String::new()),
            Lock::Unusable(why) => (&nothing, format!("cannot be compared, since {why}; it ")),
            Lock::Foreign(server) => {
                let was = &server.bound_to;
                (
                    &nothing,
                    format!("is of a server whose command or address is not the locked one ({was}); it "),
                )
            }
            Lock::Unlooked => {
                let noun = kind.noun();
                (&nothing, format!("is a {noun}, and none was looked at when its server was locked; it "))
            }
            Lock::Never | Lock::Off => {
                let why = self.unwritten().or_else(|| self.unlocked().remove(upstream));
                let prefix = why.map(|why| format!("cannot be locked, since {why}; it "));
                (&nothing, prefix.unwrap_or_default())
            }
        };
        let listed: BTreeSet<String> = if is_whole {
            good.iter().cloned().chain(others.iter().map(|one| one.name.clone())).collect()
        } else {
            BTreeSet::new()
        };
        let by_name: Definitions = others.iter().map(|one| (one.name.clone(), one.clone())).collect();
        let known: Vec<Option<String>> = {
            let book = self.book();
            let list = book.list(upstream, kind);
            others.iter().map(|one| known_why(list?, one)).collect()
        };
        if known.iter().all(Option::is_some) {
            return others.into_iter().zip(known.into_iter().flatten()).collect();
        }
        let elsewhere = elsewhere(in_force, upstream);
        let surroundings = Surroundings::new(locked, &by_name, &listed, &elsewhere);
        let explain = |(one, why): (Definition, Option<String>)| {
            let why = why.unwrap_or_else(|| format!("{prefix}{}", Change::of(&one, &surroundings)));
            (one, why)
        };
        others.into_iter().zip(known).map(explain).collect()
    }

    fn tell(&self, upstream: &str, kind: Kind, told: &[(String, String)]) {
        let record = |target: Option<&str>, reason: &str| {
            let Some(audit) = &self.audit else { return };
            // A full log is the writer's to tell.
            let _ = audit.record_refusal(Record {
                upstream: Some(upstream.into()),
                method: Some(kind.list().into()),
                target: target.map(Into::into),
                decision: Some(Verdict::Deny),
                rule_id: Some(RULE.into()),
                reason: Some(reason.into()),
                ..Record::new(Event::ToolHeld)
            });
        };
        for (name, why) in told.iter().take(MAX_TOLD) {
            let noun = kind.noun();
            tracing::warn!(upstream, name, "a {noun} is held back: it {why}; `airlock tools diff` shows it");
            record(Some(name), why);
        }
        if let Some(more) = told.len().checked_sub(MAX_TOLD).filter(|more| *more > 0) {
            tracing::warn!(upstream, more, "more is held back; `airlock tools diff` shows it");
            record(None, &format!("{more} more of {}", kind.list()));
        }
    }

    /// Faults that somebody should look at, a sentence each.
    pub fn alarms(&self) -> Vec<String> {
        let faults = self.faults();
        let both = [&faults.rejected, &faults.unwritten].into_iter().flatten();
        let mut told: Vec<String> = both.map(|fault| format!("tool locks: {fault}")).collect();
        drop(faults);
        told.extend(self.unlocked().into_iter().map(|(upstream, why)| {
            format!(
                "tool locks: nothing of upstream {upstream} is locked, since {why}; it is tried again when a client \
                 lists something, or let in what is good by `airlock tools approve {upstream}`"
            )
        }));
        let mut counts: BTreeMap<String, (usize, String)> = BTreeMap::new();
        let book = self.book();
        for (upstream, kind, name, held) in book.each() {
            let first = || format!("the {} `{name}` {}", kind.noun(), held.why);
            counts.entry(upstream.to_owned()).or_insert_with(|| (0, first())).0 = book.count(upstream);
        }
        told.extend(counts.into_iter().map(|(upstream, (count, first))| {
            format!(
                "tool locks: {count} of upstream {upstream} held back, such as {first}; `airlock tools diff` shows \
                 them, `airlock tools approve` lets them in"
            )
        }));
        drop(book);
        told.extend(self.crowded());
        told
    }
}

/// Why a definition is held back that the book has as it is.
fn known_why(list: &List, one: &Definition) -> Option<String> {
    let held = list.held.get(&one.name)?;
    (held.is_there && held.definition.digest == one.digest).then(|| held.why.clone())
}

/// Locked names of other servers, each with its server.
fn elsewhere<'a>(in_force: &'a InForce, upstream: &str) -> Vec<(&'a str, &'a str)> {
    let Ok(file) = in_force else { return Vec::new() };
    let others = file.upstreams.iter().filter(|(name, _)| *name != upstream);
    let names = others.flat_map(|(upstream, server)| {
        let names = server.kinds.values().flat_map(Definitions::keys);
        names.map(move |name| (upstream.as_str(), name.as_str()))
    });
    names.collect()
}
