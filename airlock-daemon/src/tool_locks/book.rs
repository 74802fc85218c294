//! The definitions that are held back, so that they can be looked at and approved.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant, SystemTime};

use airlock_tool_locks::definition::{Definition, Digest, Kind};
use airlock_tool_locks::lock_file::Definitions;

/// Most definitions of one list that are kept, and most of their bytes. Those beyond are held back as well,
/// and known by their number only.
const MAX_HELD: usize = 10_000;
/// The same in bytes, of their texts, names and reasons.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Most that find no room and are counted.
const MAX_BEYOND: usize = 65_536;

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
    /// All names of the last whole list; `None` before one was seen.
    pub(super) listed: Option<BTreeSet<String>>,
    /// Digests of the names that are held back and have no room here, since the last whole list: none of them
    /// counts twice.
    beyond: HashSet<Digest>,
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

impl HeldBack {
    /// The bytes that count.
    fn size(&self) -> usize {
        self.definition.text.len() + self.definition.name.len() + self.why.len()
    }
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

    /// The lists of a server that were seen whole.
    pub(super) fn whole(&self, upstream: &str) -> Vec<Kind> {
        let is_whole = |kind: &Kind| self.list(upstream, *kind).is_some_and(|list| list.listed.is_some());
        Kind::ALL.into_iter().filter(is_whole).collect()
    }

    /// The servers with definitions that are held back and have no room here, and how many each has.
    pub(super) fn beyond(&self) -> BTreeMap<&str, usize> {
        let mut all: BTreeMap<&str, usize> = BTreeMap::new();
        for ((upstream, _), list) in self.lists.iter().filter(|(_, list)| !list.beyond.is_empty()) {
            *all.entry(upstream).or_default() += list.beyond.len();
        }
        all
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
                list.bytes = list.bytes.saturating_sub(held.size());
            }
            stays
        });
    }
}

impl List {
    /// How many are held back now.
    pub(super) fn count(&self) -> usize {
        self.held.values().filter(|held| held.is_there).count() + self.beyond.len()
    }

    fn take(&mut self, seen: Seen<'_>, now: (Instant, SystemTime)) -> Vec<(String, String)> {
        let Seen { good, others, is_whole } = seen;
        // A name that is there twice is one, and is held back.
        let others: BTreeMap<String, (Definition, String)> =
            others.into_iter().map(|(one, why)| (one.name.clone(), (one, why))).collect();
        for name in good.iter().filter(|name| !others.contains_key(*name)) {
            if let Some(held) = self.held.get_mut(name) {
                held.is_there = false;
            }
            self.has_found_room(name);
        }
        if is_whole {
            self.beyond.clear();
            let listed: BTreeSet<String> = good.iter().chain(others.keys()).cloned().collect();
            let gone = self.held.iter_mut().filter(|(name, _)| !listed.contains(*name));
            gone.for_each(|(_, held)| held.is_there = false);
            self.listed = Some(listed);
        }
        let mut gone = None;
        let each = others.into_iter();
        each.filter_map(|(name, other)| self.hold(name, other, now, &mut gone)).collect()
    }

    /// Takes in a definition that is held back. Gives what is to be told of it.
    fn hold(
        &mut self,
        name: String,
        (definition, why): (Definition, String),
        (now, time): (Instant, SystemTime),
        gone: &mut Option<Vec<String>>,
    ) -> Option<(String, String)> {
        let is_same = |held: &HeldBack| held.is_there && held.definition.digest == definition.digest;
        let is_known = self.held.get(&name).is_some_and(is_same);
        if !is_known && !self.put(&name, (definition, why), time, gone) {
            if self.beyond.len() < MAX_BEYOND {
                self.beyond.insert(Digest::of(&name));
            }
            return None;
        }
        let held = self.held.get_mut(&name)?;
        if !held.is_untold || held.told.is_some_and(|told| now.duration_since(told) < AGAIN) {
            return None;
        }
        (held.told, held.is_untold) = (Some(now), false);
        Some((name, held.why.clone()))
    }

    /// Puts in a definition that is new or another. False where it finds no room; an older one of its name
    /// counts as gone then.
    fn put(
        &mut self,
        name: &str,
        (definition, why): (Definition, String),
        time: SystemTime,
        gone: &mut Option<Vec<String>>,
    ) -> bool {
        let old = self.remove(name);
        let (since, told) = old.as_ref().map_or((time, None), |old| (old.since, old.told));
        let times = old.as_ref().map_or(1, |old| old.times.saturating_add(1));
        let why = if old.is_some() { format!("{why}; it has come and gone {times} times") } else { why };
        let new = HeldBack { definition, why, since, times, is_there: true, told, is_untold: true };
        let fits = self.make_room(new.size(), gone);
        if fits {
            self.has_found_room(name);
            self.insert(new);
        } else if let Some(old) = old {
            self.insert(HeldBack { is_there: false, ..old });
        }
        fits
    }

    /// Drops entries that are gone, the oldest first, until there is room for one more of this size. False
    /// where there is none even so. `gone` has their names, once they were needed.
    fn make_room(&mut self, size: usize, gone: &mut Option<Vec<String>>) -> bool {
        if size > MAX_BYTES {
            return false;
        }
        while self.held.len() >= MAX_HELD || self.bytes + size > MAX_BYTES {
            let Some(name) = gone.get_or_insert_with(|| self.gone()).pop() else { return false };
            // It may have come back since.
            if self.held.get(&name).is_some_and(|held| !held.is_there) {
                self.remove(&name);
            }
        }
        true
    }

    /// The names of the entries that are gone, the oldest last.
    fn gone(&self) -> Vec<String> {
        let gone = self.held.iter().filter(|(_, held)| !held.is_there);
        let mut gone: Vec<_> = gone.map(|(name, held)| (Reverse(held.since), name)).collect();
        gone.sort_unstable();
        gone.into_iter().map(|(_, name)| name.clone()).collect()
    }

    fn insert(&mut self, held: HeldBack) {
        self.bytes += held.size();
        self.held.insert(held.definition.name.clone(), held);
    }

    fn remove(&mut self, name: &str) -> Option<HeldBack> {
        let held = self.held.remove(name)?;
        self.bytes = self.bytes.saturating_sub(held.size());
        Some(held)
    }

    fn has_found_room(&mut self, name: &str) {
        if !self.beyond.is_empty() {
            self.beyond.remove(&Digest::of(name));
        }
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

    /// Takes a list with others alone, at this second; gives how many are held back.
    fn see(book: &mut Book, others: &[(Definition, String)], is_whole: bool, second: u64) -> usize {
        let seen = Seen { good: &BTreeSet::new(), others: others.to_vec(), is_whole };
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        book.take("u", Kind::Tools, seen, (Instant::now(), time));
        book.count("u")
    }

    fn names(book: &Book) -> Vec<(&str, bool)> {
        let list = book.list("u", Kind::Tools).expect("a list");
        assert_eq!(list.bytes, list.held.values().map(HeldBack::size).sum::<usize>());
        list.held.iter().map(|(name, held)| (name.as_str(), held.is_there)).collect()
    }

    #[test]
    fn what_is_gone_gives_way_the_oldest_first() {
        let (mut book, long) = (Book::default(), "x".repeat(MAX_BYTES / 4));
        let tools = ["a", "b", "c", "d", "e"].map(|name| tool(name, &long));
        see(&mut book, &tools[1..2], true, 1);
        see(&mut book, &tools[..2], true, 2);
        assert_eq!(see(&mut book, &tools[..3], true, 3), 3);
        assert_eq!(see(&mut book, &tools[2..4], true, 4), 2);
        assert_eq!(names(&book), [("a", false), ("c", true), ("d", true)]);
        assert_eq!((see(&mut book, &tools[2..], true, 5), book.beyond().len()), (3, 0));
        assert_eq!(names(&book), [("c", true), ("d", true), ("e", true)]);
    }

    #[test]
    fn what_finds_no_room_is_counted_once_until_the_next_whole_list() {
        let (mut book, half) = (Book::default(), "x".repeat(MAX_BYTES / 2));
        assert_eq!(see(&mut book, &[tool("a", ""), tool("b", &half)], true, 1), 2);
        let longer = [tool("a", &half), (tool("c", "").0, half.clone()), (tool(&half, "").0, String::new())];
        for _ in 0..3 {
            assert_eq!(see(&mut book, &longer, false, 2), 4, "text, name and reason count");
            assert_eq!(names(&book), [("a", false), ("b", true)]);
        }
        assert_eq!(book.beyond(), BTreeMap::from([("u", 3)]));
        assert_eq!(see(&mut book, &[tool("a", ""), tool("b", &half)], false, 3), 4, "it is what it was");
        assert_eq!((see(&mut book, &[tool("b", &half)], true, 4), book.beyond().len()), (1, 0));
    }
}
