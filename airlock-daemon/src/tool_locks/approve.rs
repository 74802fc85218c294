//! Orders of an operator: a definition that is held back is let in, or a server is locked as it is now.

use std::fmt::Write as _;

use airlock_tool_locks::definition::{Definition, Kind};
use airlock_tool_locks::hidden::revealed;
use airlock_tool_locks::lock_file::{Definitions, LockFile};

use super::book::Book;
use super::locks::{Lock, ToolLocks};

/// The definitions of one server that are to be let in.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The server.
    pub upstream: &'a str,
    /// Its command or address.
    pub bound_to: &'a str,
    /// Only what has this name, of whatever kind; everything when absent.
    pub name: Option<&'a str>,
    /// The first characters of its digest, where it was looked at before: another is refused.
    pub digest: Option<&'a str>,
}

/// One that was let in: its kind and definition.
pub type Approved = (Kind, Definition);

impl ToolLocks {
    /// Lets in what is held back. Writes a file: not for a worker's thread.
    ///
    /// # Errors
    /// A sentence with reason and remedy; nothing has changed then.
    pub fn approve(&self, wanted: Wanted<'_>, by: u32) -> Result<Vec<Approved>, String> {
        let Wanted { upstream, bound_to, name, digest } = wanted;
        if let Lock::Foreign(_) = self.lock(&self.in_force(), upstream, bound_to, Kind::Tools) {
            return Err(format!(
                "upstream {upstream} has another command or address than the one that is locked: lock it as a whole by \
                 `airlock tools lock {upstream}`"
            ));
        }
        let held = held(&self.book(), upstream, name);
        let fits = |one: &Definition| digest.is_none_or(|start| one.digest.to_string().starts_with(start));
        let (fitting, others): (Vec<_>, Vec<_>) = held.into_iter().partition(|(_, one)| fits(one));
        if let Some((_, one)) = others.first() {
            return Err(format!(
                "what is held back now is {}, and not what you looked at: see `airlock tools diff` again",
                one.digest
            ));
        }
        if fitting.is_empty() {
            let what = name.map_or_else(|| "nothing".to_owned(), |name| format!("no `{}`", revealed(name)));
            return Err(format!("{what} of upstream {upstream} is held back: see `airlock tools list`"));
        }
        self.write(|file| {
            let server = file.upstreams.entry(upstream.to_owned()).or_default();
            bound_to.clone_into(&mut server.bound_to);
            for (kind, one) in &fitting {
                server.kinds.entry(*kind).or_default().insert(one.name.clone(), one.clone());
            }
            Ok(true)
        })?;
        self.settled(upstream, "approved", &fitting, by);
        Ok(fitting)
    }

    /// Locks a server as it is now: what is held back is let in, and what it does not list any more is
    /// forgotten. Writes a file: not for a worker's thread.
    ///
    /// # Errors
    /// As for [`ToolLocks::approve`].
    pub fn lock_as_it_is(&self, upstream: &str, bound_to: &str, by: u32) -> Result<Vec<Approved>, String> {
        let held = held(&self.book(), upstream, None);
        let mut locked = Vec::new();
        self.write(|file| {
            locked = as_it_is(&self.book(), file, (upstream, bound_to), &held);
            if locked.is_empty() {
                return Err(format!(
                    "no list of upstream {upstream} has been seen since the start: have a client list its tools, then \
                     lock it"
                ));
            }
            let server = file.upstreams.entry(upstream.to_owned()).or_default();
            if server.bound_to != bound_to {
                server.kinds.clear();
            }
            bound_to.clone_into(&mut server.bound_to);
            for (kind, _) in &locked {
                server.kinds.insert(*kind, Definitions::new());
            }
            for (kind, one) in &locked {
                server.kinds.entry(*kind).or_default().insert(one.name.clone(), one.clone());
            }
            Ok(true)
        })?;
        self.settled(upstream, "locked as they are", &locked, by);
        Ok(locked)
    }

    /// Tells of what was let in.
    fn settled(&self, upstream: &str, how: &str, all: &[Approved], by: u32) {
        let mut reason = format!("{how} by user {by}: {}", all.len());
        for (_, one) in all.iter().take(8) {
            // Writing to a string does not fail.
            let _ = write!(reason, ", `{}` {}", revealed(&one.name), one.digest);
        }
        tracing::info!(upstream, "tool locks: {reason}");
        let kind = all.first().map_or(Kind::Tools, |(kind, _)| *kind);
        self.record_locked(upstream, kind, &reason);
        self.changed();
    }
}

/// The definitions of a server that are held back now.
fn held(book: &Book, upstream: &str, name: Option<&str>) -> Vec<Approved> {
    let own =
        book.each().filter(|(own, _, known, _)| *own == upstream && name.is_none_or(|name| name == *known));
    own.map(|(_, kind, _, held)| (kind, held.definition.clone())).collect()
}

/// All that a server lists now, as far as it was seen.
fn as_it_is(
    book: &Book,
    file: &LockFile,
    (upstream, bound_to): (&str, &str),
    held: &[Approved],
) -> Vec<Approved> {
    let server = file.upstreams.get(upstream).filter(|server| server.bound_to == bound_to);
    let mut all = held.to_vec();
    for (kind, definitions) in server.into_iter().flat_map(|server| &server.kinds) {
        let listed = book.list(upstream, *kind).map(|list| &list.listed).filter(|listed| !listed.is_empty());
        let is_there = |one: &&Definition| {
            listed.is_none_or(|listed| listed.contains(&one.name))
                && held.iter().all(|(other, held)| other != kind || held.name != one.name)
        };
        all.extend(definitions.values().filter(is_there).map(|one| (*kind, one.clone())));
    }
    all
}
