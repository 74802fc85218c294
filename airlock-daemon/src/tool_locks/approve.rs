//! Orders of an operator: a definition that is held back is let in, or a server is locked as it is now.

use std::collections::BTreeSet;
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
    /// Only what has this name; everything when absent.
    pub name: Option<&'a str>,
    /// Only what is of this kind; all kinds when absent.
    pub kind: Option<Kind>,
    /// Its whole digest, with or without `sha256:`, where it was looked at before: nothing else is let in.
    pub digest: Option<&'a str>,
}

/// The beginning of each digest as it is shown.
const PREFIX: &str = "sha256:";

/// One that was let in: its kind and definition.
pub type Approved = (Kind, Definition);

impl ToolLocks {
    /// Lets in what is held back. Writes a file: not for a worker's thread.
    ///
    /// # Errors
    /// A sentence with reason and remedy; nothing has changed then.
    pub fn approve(&self, wanted: Wanted<'_>, by: u32) -> Result<Vec<Approved>, String> {
        let Wanted { upstream, bound_to, name, kind, digest } = wanted;
        let digest = digest.map(digits).transpose()?;
        if let Lock::Foreign(_) = self.lock(&self.in_force(), upstream, bound_to, Kind::Tools) {
            return Err(format!(
                "upstream {upstream} has another command or address than the one that is locked: lock it as a whole by \
                 `airlock tools lock {upstream}`"
            ));
        }
        let held = held(&self.book(), upstream, (name, kind));
        let fits = |one: &Definition| {
            digest.is_none_or(|digits| one.digest.to_string().strip_prefix(PREFIX) == Some(digits))
        };
        let (fitting, others): (Vec<_>, Vec<_>) = held.into_iter().partition(|(_, one)| fits(one));
        if let Some((_, one)) = others.first().filter(|_| fitting.is_empty()) {
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
        let held = held(&self.book(), upstream, (None, None));
        let mut locked = Vec::new();
        self.write(|file| {
            let (whole, is_known) = {
                let book = self.book();
                locked = as_it_is(&book, file, (upstream, bound_to), &held);
                (book.whole(upstream), knows_all(&book, upstream, &locked))
            };
            if !is_known {
                return Err(format!(
                    "what upstream {upstream} lists is not known any more, since its lock was removed: have a client \
                     list it, then lock it"
                ));
            }
            if locked.is_empty() && whole.is_empty() {
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
            for kind in locked.iter().map(|(kind, _)| kind).chain(&whole) {
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

/// The digits of a digest. A part of them fits more than one definition, and a server can make two that it
/// fits.
fn digits(digest: &str) -> Result<&str, String> {
    let digits = digest.strip_prefix(PREFIX).unwrap_or(digest);
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() == 64 && digits.bytes().all(is_digit) {
        return Ok(digits);
    }
    Err(format!(
        "`{}` is not a whole digest: give all 64 digits, as `airlock tools diff` shows them",
        revealed(digest)
    ))
}

/// The definitions of a server that are held back now.
fn held(book: &Book, upstream: &str, (name, kind): (Option<&str>, Option<Kind>)) -> Vec<Approved> {
    let own = book.each().filter(|(own, of, known, _)| {
        *own == upstream && name.is_none_or(|name| name == *known) && kind.is_none_or(|kind| kind == *of)
    });
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
        let listed = book.list(upstream, *kind).and_then(|list| list.listed.as_ref());
        let is_there = |one: &&Definition| {
            listed.is_none_or(|listed| listed.contains(&one.name))
                && held.iter().all(|(other, held)| other != kind || held.name != one.name)
        };
        all.extend(definitions.values().filter(is_there).map(|one| (*kind, one.clone())));
    }
    all
}

/// True where these are all that the whole lists of a server have, but for what found no room. What is as it
/// was locked is known by its lock alone.
fn knows_all(book: &Book, upstream: &str, locked: &[Approved]) -> bool {
    let known: BTreeSet<(Kind, &str)> = locked.iter().map(|(kind, one)| (*kind, one.name.as_str())).collect();
    let is_known = |kind: Kind| {
        let mut listed = book.list(upstream, kind).into_iter().flat_map(|list| list.listed.iter().flatten());
        listed.all(|name| known.contains(&(kind, name.as_str())))
    };
    book.beyond().contains_key(upstream) || Kind::ALL.into_iter().all(is_known)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Instant, SystemTime};

    use super::super::book::Seen;
    use super::super::report::State;
    use super::*;
    use crate::config::schema::ToolLockMode;
    use crate::observe::metrics::Metrics;

    const BOUND_TO: &str = "stdio docs";

    /// Locks with a file in this folder.
    fn locks(folder: &tempfile::TempDir) -> ToolLocks {
        let mut locks = Arc::into_inner(ToolLocks::off(&Metrics::new())).expect("the only one");
        (locks.mode, locks.path) = (ToolLockMode::Approve, folder.path().join("tools.lock"));
        locks.reload(true).expect("there is no file yet");
        locks
    }

    fn prompt(description: &str) -> Definition {
        let text = format!(r#"{{"name":"read","description":"{description}"}}"#);
        Definition::read(Kind::Prompts, &text).expect("a prompt")
    }

    /// Has these seen as the whole list of prompts, all of them held back.
    fn see(locks: &ToolLocks, others: &[Definition]) {
        let others = others.iter().map(|one| (one.clone(), "is new".to_owned())).collect();
        let seen = Seen { good: &BTreeSet::new(), others, is_whole: true };
        locks.book().take("docs", Kind::Prompts, seen, (Instant::now(), SystemTime::UNIX_EPOCH));
    }

    fn approve(locks: &ToolLocks, digest: Option<&str>) -> Result<Vec<Approved>, String> {
        locks.approve(
            Wanted { upstream: "docs", bound_to: BOUND_TO, name: Some("read"), kind: None, digest },
            0,
        )
    }

    #[test]
    fn only_a_whole_digest_says_what_was_looked_at() {
        let folder = tempfile::tempdir().expect("a folder");
        let (locks, one) = (locks(&folder), prompt("reads"));
        see(&locks, std::slice::from_ref(&one));
        let whole = one.digest.to_string();
        let digits = &whole[PREFIX.len()..];
        let (longer, upper) = (format!("{whole}0"), digits.to_uppercase());
        let parts = ["", PREFIX, &whole[..PREFIX.len() + 12], &digits[..63], longer.as_str(), upper.as_str()];
        for part in parts {
            let refused = approve(&locks, Some(part)).expect_err(part);
            assert!(refused.contains("is not a whole digest: give all 64 digits"), "{refused}");
        }
        let other = prompt("writes").digest.to_string();
        let refused = approve(&locks, Some(&other)).expect_err("another");
        assert!(refused.contains("not what you looked at"), "{refused}");
        assert_eq!(approve(&locks, Some(digits)), Ok(vec![(Kind::Prompts, one.clone())]));
        see(&locks, &[prompt("writes")]);
        assert!(approve(&locks, Some(&whole)).is_err() && approve(&locks, Some(&other)).is_ok());
    }

    #[test]
    fn what_is_not_known_any_more_is_not_locked_as_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let locks = locks(&folder);
        let one = prompt("reads");
        see(&locks, std::slice::from_ref(&one));
        approve(&locks, None).expect("approved");
        let good = BTreeSet::from([one.name.clone()]);
        let seen = Seen { good: &good, others: Vec::new(), is_whole: true };
        locks.book().take("docs", Kind::Prompts, seen, (Instant::now(), SystemTime::UNIX_EPOCH));
        std::fs::remove_file(&locks.path).expect("removed");
        locks.reload(true).expect("there is none");
        let refused = locks.lock_as_it_is("docs", BOUND_TO, 0).expect_err("it is not known");
        assert!(refused.contains("have a client list it, then lock it"), "{refused}");
        see(&locks, std::slice::from_ref(&one));
        assert_eq!(locks.lock_as_it_is("docs", BOUND_TO, 0), Ok(vec![(Kind::Prompts, one)]));
    }

    #[test]
    fn a_tool_and_a_prompt_of_one_name_are_told_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        let locks = locks(&folder);
        let tool =
            Definition::read(Kind::Tools, r#"{"name":"read","description":"a tool"}"#).expect("a tool");
        let see_both = |prompt: Definition| {
            see(&locks, &[prompt]);
            let others = vec![(tool.clone(), "is new".to_owned())];
            let seen = Seen { good: &BTreeSet::new(), others, is_whole: true };
            locks.book().take("docs", Kind::Tools, seen, (Instant::now(), SystemTime::UNIX_EPOCH));
        };
        see_both(prompt("reads"));
        let digest = tool.digest.to_string();
        assert_eq!(
            approve(&locks, Some(&digest)),
            Ok(vec![(Kind::Tools, tool.clone())]),
            "the digest decides"
        );
        // One text may be a tool and a prompt; only the kind tells which was looked at.
        let twin = Definition::read(Kind::Prompts, &tool.text).expect("a prompt");
        locks.write(|file| Ok(file.upstreams.remove("docs").is_some())).expect("forgotten");
        see_both(twin.clone());
        let wanted = |kind| Wanted {
            upstream: "docs",
            bound_to: BOUND_TO,
            name: Some("read"),
            kind: Some(kind),
            digest: Some(&digest),
        };
        assert_eq!(locks.approve(wanted(Kind::Prompts), 0), Ok(vec![(Kind::Prompts, twin)]));
        assert_eq!(locks.approve(wanted(Kind::Tools), 0), Ok(vec![(Kind::Tools, tool.clone())]));
        assert!(locks.approve(wanted(Kind::ResourceTemplates), 0).is_err());
    }

    #[test]
    fn a_whole_list_that_is_empty_leaves_nothing_locked() {
        let folder = tempfile::tempdir().expect("a folder");
        let locks = locks(&folder);
        let refused = locks.lock_as_it_is("docs", BOUND_TO, 0).expect_err("nothing was seen");
        assert!(refused.contains("no list of upstream docs has been seen"), "{refused}");
        see(&locks, &[prompt("reads")]);
        approve(&locks, None).expect("approved");
        let states = || -> Vec<State> {
            let mut report = locks.report([("docs", BOUND_TO)].into_iter());
            report.upstreams.remove(0).entries.into_iter().map(|entry| entry.state).collect()
        };
        assert_eq!(states(), [State::Locked]);
        see(&locks, &[]);
        assert_eq!(states(), [State::Gone]);
        assert_eq!(locks.lock_as_it_is("docs", BOUND_TO, 0), Ok(Vec::new()));
        assert!(states().is_empty());
        let in_force = locks.in_force();
        let Ok(file) = &*in_force else { panic!("there is no file in force") };
        let server = file.upstreams.get("docs").expect("a server");
        assert!(server.kinds.get(&Kind::Prompts).is_some_and(Definitions::is_empty), "{server:?}");
        assert!(!server.kinds.contains_key(&Kind::Tools), "no list of tools was seen");
    }
}
