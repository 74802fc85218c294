//! The definitions that are held back, so that they can be looked at and approved.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use airlock_tool_locks::definition::{Definition, Kind};
use airlock_tool_locks::lock_file::Definitions;

/// Most definitions of one list that are kept, and most of their bytes. Those beyond are held back as well,
/// and known by their number only.
const MAX_HELD: usize = 10_000;
/// The same in bytes.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// A definition that comes again and again, each time another, is told of once in this time.
const AGAIN: Duration = Duration::from_mins(1);

/// All lists of one server, by what they list.
#[derive(Debug, Default)]
pub(super) struct Book {
    lists: BTreeMap<(String, Kind), List>,
}

/// One list.
#[derive(Debug, Default)]
pub(super) struct List {
    /// The definitions that are held back, or were.
    pub(super) held: BTreeMap<String, HeldBack>,
    /// All names of the last whole list.
    pub(super) listed: BTreeSet<String>,
    /// How many are held back that have no room here.
    pub(super) beyond: usize,
    bytes: usize,
}

/// A definition that is held back.
#[derive(Debug)]
pub(super) struct HeldBack {
    pub(super) definition: Definition,
    /// A predicate: why.
    pub(super) why: String,
    /// When it was first seen so.
    pub(super) since: SystemTime,
    /// How often it has come: more than once where it has gone meanwhile, or become another.
    pub(super) times: u32,
    /// False once it is gone again, or what it was.
    pub(super) is_there: bool,
    told: Option<Instant>,
    is_untold: bool,
}

/// The news of a list that has just been seen.
pub(super) struct Seen<'a> {
    /// Names of the entries that are as they are locked.
    pub(super) good: &'a BTreeSet<String>,
    /// The others, each with why it is held back.
    pub(super) others: Vec<(Definition, String)>,
    /// True where there are no other entries than these.
    pub(super) is_whole: bool,
}

impl Book {
    /// One list.
    pub(super) fn list(&self, upstream: &str, kind: Kind) -> Option<&List> {
        self.lists.get(&(upstream.to_owned(), kind))
    }

    /// How many definitions of a server are held back now.
    pub(super) fn count(&self, upstream: &str) -> usize {
        Kind::ALL.iter().filter_map(|kind| self.list(upstream, *kind)).map(List::count).sum()
    }

    /// The servers with something that is held back, each with its sentences.
    pub(super) fn each(&self) -> impl Iterator<Item = (&str, Kind, &str, &HeldBack)> {
        self.lists.iter().flat_map(|((upstream, kind), list)| {
            let there = list.held.iter().filter(|(_, held)| held.is_there);
            there.map(move |(name, held)| (upstream.as_str(), *kind, name.as_str(), held))
        })
    }

    /// Takes in a list that has been seen. Gives what is to be told: names, each with why.
    pub(super) fn take(
        &mut self,
        upstream: &str,
        kind: Kind,
        seen: Seen<'_>,
        now: (Instant, SystemTime),
    ) -> Vec<(String, String)> {
        let key = (upstream.to_owned(), kind);
        if seen.others.is_empty() && !self.lists.contains_key(&key) && !seen.is_whole {
            return Vec::new();
        }
        self.lists.entry(key).or_default().take(seen, now)
    }

    /// Forgets what is held back of a list, after it was locked.
    pub(super) fn settle(&mut self, upstream: &str, kind: Kind, locked: &Definitions) {
        let Some(list) = self.lists.get_mut(&(upstream.to_owned(), kind)) else { return };
        list.held.retain(|name, held| {
            let stays = locked.get(name) != Some(&held.definition);
            if !stays {
                list.bytes = list.bytes.saturating_sub(held.definition.text.len());
            }
            stays
        });
    }
}

impl List {
    /// How many are held back now.
    pub(super) fn count(&self) -> usize {
        self.held.values().filter(|held| held.is_there).count() + self.beyond
    }

    fn take(&mut self, seen: Seen<'_>, (now, time): (Instant, SystemTime)) -> Vec<(String, String)> {
        let Seen { good, others, is_whole } = seen;
        for name in good {
            if let Some(held) = self.held.get_mut(name) {
                held.is_there = false;
            }
        }
        if is_whole {
            self.beyond = 0;
            self.listed =
                good.iter().cloned().chain(others.iter().map(|(one, _)| one.name.clone())).collect();
            let gone = self.held.iter_mut().filter(|(name, _)| !self.listed.contains(*name));
            gone.for_each(|(_, held)| held.is_there = false);
        }
        let mut told = Vec::new();
        for (definition, why) in others {
            let name = definition.name.clone();
            let fits = self.held.len() < MAX_HELD && self.bytes + definition.text.len() <= MAX_BYTES;
            match self.held.get_mut(&name) {
                Some(held) if held.is_there && held.definition.digest == definition.digest => {}
                None if !fits => {
                    self.beyond += 1;
                    continue;
                }
                Some(held) => {
                    self.bytes =
                        self.bytes.saturating_sub(held.definition.text.len()) + definition.text.len();
                    held.definition = definition;
                    held.times = held.times.saturating_add(1);
                    held.why = format!("{why}; it has come and gone {} times", held.times);
                    (held.is_there, held.is_untold) = (true, true);
                }
                None => {
                    self.bytes += definition.text.len();
                    let held = HeldBack {
                        definition,
                        why,
                        since: time,
                        times: 1,
                        is_there: true,
                        told: None,
                        is_untold: true,
                    };
                    self.held.insert(name.clone(), held);
                }
            }
            if let Some(held) = self.held.get_mut(&name)
                && held.is_untold
                && held.told.is_none_or(|told| now.duration_since(told) >= AGAIN)
            {
                (held.told, held.is_untold) = (Some(now), false);
                told.push((name, held.why.clone()));
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str, description: &str) -> (Definition, String) {
        let text = format!(r#"{{"name":"{name}","description":"{description}"}}"#);
        (Definition::read(Kind::Tools, &text).expect("a tool"), "is new".to_owned())
    }

    fn take(book: &mut Book, good: &[&str], others: Vec<(Definition, String)>, now: Instant) -> usize {
        let good = good.iter().map(ToString::to_string).collect();
        let seen = Seen { good: &good, others, is_whole: true };
        book.take("u", Kind::Tools, seen, (now, SystemTime::UNIX_EPOCH)).len()
    }

    #[test]
    fn what_comes_and_goes_is_told_seldom_and_counted() {
        let (mut book, start) = (Book::default(), Instant::now());
        assert_eq!(take(&mut book, &["a"], vec![tool("b", "1")], start), 1);
        assert_eq!(take(&mut book, &["a"], vec![tool("b", "1")], start + 2 * AGAIN), 0, "it is known");
        assert_eq!(book.count("u"), 1);
        let mut told = 0;
        for second in 1..=120 {
            let now = start + 2 * AGAIN + Duration::from_secs(second);
            let others = if second % 2 == 0 { vec![tool("b", &second.to_string())] } else { Vec::new() };
            told += take(&mut book, &["a"], others, now);
        }
        assert!((1..=3).contains(&told), "{told}");
        let (_, _, _, held) = book.each().next().expect("it is there");
        assert!(held.times == 61 && held.why.ends_with("it has come and gone 61 times"), "{held:?}");
        assert_eq!(take(&mut book, &["a", "b"], Vec::new(), start + 9 * AGAIN), 0);
        assert_eq!((book.count("u"), book.each().count()), (0, 0), "it is what it was");
    }

    #[test]
    fn nothing_grows_without_end() {
        let (mut book, now) = (Book::default(), Instant::now());
        let many = (0..=MAX_HELD).map(|number| tool(&number.to_string(), "")).collect();
        assert_eq!(take(&mut book, &[], many, now), MAX_HELD);
        assert_eq!((book.count("u"), book.each().count()), (MAX_HELD + 1, MAX_HELD));
        let (mut book, long) = (Book::default(), "x".repeat(MAX_BYTES / 4));
        let many = (0..8).map(|number| tool(&number.to_string(), &long)).collect();
        assert_eq!(take(&mut book, &[], many, now), 3);
        assert_eq!(book.count("u"), 8);
    }
}
