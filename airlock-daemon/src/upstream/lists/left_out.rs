//! Entries of a server's lists that are not passed on, for the operator: a line of the log with each change,
//! and all of it for `airlock status` and the metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::observe::metrics::UpstreamMetrics;

use super::listed::Walk;
use super::listed::shape::Shape;

/// Most entries of one list that are remembered.
const MAX_ENTRIES: usize = 1024;
/// Most lines of one report; the rest is told as a number.
const MAX_LINES: usize = 16;
/// A list whose faults change all the time is told of once in this time.
const MOMENT: Duration = Duration::from_secs(1);
/// An entry that no whole list has shown for so long is forgotten. Lists differ from principal to principal,
/// so one alone that does not show it proves nothing.
const REMEMBERED: Duration = Duration::from_mins(5);

/// Entries of one server's lists that are not passed on.
#[derive(Debug)]
pub(in crate::upstream) struct Remembered {
    lists: Mutex<BTreeMap<&'static str, List>>,
    metrics: Arc<UpstreamMetrics>,
}

#[derive(Debug, Default)]
struct List {
    /// By the entry's name, or its place.
    entries: BTreeMap<String, Entry>,
    /// When the log was last told of them.
    told: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    reason: String,
    seen: Instant,
    is_told: bool,
}

impl Remembered {
    pub(in crate::upstream) fn new(metrics: &Arc<UpstreamMetrics>) -> Self {
        Self { lists: Mutex::default(), metrics: Arc::clone(metrics) }
    }

    /// Takes over what a walk has found; `whole` when it went from the first page to the last.
    pub(in crate::upstream) fn report(&self, upstream: &str, shape: Shape, walk: Walk, whole: bool) {
        let lines = self.take(shape, walk, whole, Instant::now());
        let more = lines.len().saturating_sub(MAX_LINES);
        let list = shape.method;
        for (entry, reason) in lines.into_iter().take(MAX_LINES) {
            tracing::warn!(upstream, list, entry, reason, "an entry is left out of a list of the server's");
        }
        if more > 0 {
            tracing::warn!(upstream, list, more, "more entries are left out; `airlock status` names them");
        }
    }

    /// Gives back what the log is to be told.
    fn take(&self, shape: Shape, walk: Walk, whole: bool, now: Instant) -> Vec<(String, String)> {
        let (left_out, names) = walk.outcome();
        // Every change to the map is one call, so a panic elsewhere leaves it whole.
        let mut lists = self.lists.lock();
        if left_out.is_empty() && !lists.contains_key(shape.method) {
            return Vec::new();
        }
        let list = lists.entry(shape.method).or_default();
        list.entries.retain(|entry, known| {
            let name = entry.trim_matches('`');
            let is_good_now = names.contains(name) && left_out.iter().all(|other| other.entry != *entry);
            let is_old = whole && now.duration_since(known.seen) >= REMEMBERED;
            !is_good_now && !is_old
        });
        for one in left_out {
            let is_full = list.entries.len() >= MAX_ENTRIES;
            match list.entries.get_mut(&one.entry) {
                Some(known) if known.reason == one.reason => known.seen = now,
                None if is_full => {}
                _ => {
                    let entry = Entry { reason: one.reason, seen: now, is_told: false };
                    list.entries.insert(one.entry, entry);
                }
            }
        }
        let mut lines = Vec::new();
        if list.told.is_none_or(|told| now.duration_since(told) >= MOMENT) {
            for (entry, known) in list.entries.iter_mut().filter(|(_, known)| !known.is_told) {
                known.is_told = true;
                lines.push((entry.clone(), known.reason.clone()));
            }
            if !lines.is_empty() {
                list.told = Some(now);
            }
        }
        lists.retain(|_, list| {
            !list.entries.is_empty() || list.told.is_some_and(|told| now.duration_since(told) < MOMENT)
        });
        let count: usize = lists.values().map(|list| list.entries.len()).sum();
        self.metrics.left_out(count);
        lines
    }

    /// All of it, a sentence each.
    pub(in crate::upstream) fn sentences(&self) -> Vec<String> {
        let lists = self.lists.lock();
        let each = |(method, list): (&&str, &List)| {
            let sentence = |(entry, known): (&String, &Entry)| {
                format!("{entry} is left out of {method}: {}", known.reason)
            };
            list.entries.iter().map(sentence).collect::<Vec<_>>()
        };
        lists.iter().flat_map(each).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::metrics::Metrics;
    use crate::upstream::lists::listed::shape::TOOLS;

    async fn walk(tools: &str) -> Walk {
        let mut walk = Walk::new(TOOLS, 1 << 20);
        walk.take(format!(r#"{{"tools":[{tools}]}}"#)).await.expect("a list");
        walk
    }

    #[tokio::test]
    async fn each_change_is_told_once_and_what_is_mended_is_forgotten() {
        let metrics = Metrics::new();
        let remembered = Remembered::new(&metrics.upstream("u"));
        let start = Instant::now();
        let good = r#"{"name":"a"}"#;
        let bad = r#"{"name":"a","x":"\ud800"}"#;
        let later = |seconds| start + Duration::from_secs(seconds);
        let take =
            async |tools: &str, whole, now| remembered.take(TOOLS, walk(tools).await, whole, now).len();

        assert_eq!(take(good, true, start).await, 0);
        assert_eq!(take(bad, true, start).await, 1);
        assert_eq!(take(bad, true, later(2)).await, 0, "it is known");
        assert!(metrics.encode().contains("airlock_upstream_entries_left_out{upstream=\"u\"} 1"));
        let sentences = remembered.sentences();
        assert!(matches!(sentences.as_slice(), [one] if one.starts_with("`a` is left out of tools/list: ")));
        assert_eq!(take("", true, later(3)).await, 0);
        assert_eq!(remembered.sentences().len(), 1, "another principal may see it still");
        assert_eq!(
            take(r#"{"name":"a","a":1,"a":2}"#, true, later(4)).await,
            1,
            "it is wrong in another way"
        );
        assert_eq!(take(good, false, later(5)).await, 0);
        assert!(remembered.sentences().is_empty());
        assert!(metrics.encode().contains("airlock_upstream_entries_left_out{upstream=\"u\"} 0"));
        assert_eq!(take("7", true, later(6)).await, 1);
        assert_eq!(take("", true, later(400)).await, 0);
        assert!(remembered.sentences().is_empty(), "no list shows it any more");
    }

    #[tokio::test]
    async fn a_list_that_changes_all_the_time_is_told_of_once_in_a_moment() {
        let metrics = Metrics::new();
        let remembered = Remembered::new(&metrics.upstream("u"));
        let start = Instant::now();
        let mut lines = 0;
        for number in 0..300_u32 {
            let tools = if number % 2 == 0 {
                r#"{"name":"a","x":1e400}"#.to_owned()
            } else {
                r#"{"name":"a"}"#.to_owned()
            };
            lines += remembered
                .take(TOOLS, walk(&tools).await, true, start + Duration::from_millis(10) * number)
                .len();
        }
        assert_eq!(lines, 3);
        let many: Vec<_> = (0..2 * MAX_ENTRIES).map(|number| number.to_string()).collect();
        remembered.take(TOOLS, walk(&many.join(",")).await, true, start + Duration::from_mins(1));
        assert_eq!(remembered.sentences().len(), MAX_ENTRIES);
    }
}
