//! Changes that a server tells of again and again, summed up: each list, and each resource, is said to have
//! changed at most once a second, and the last change is never lost.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::mcp::object::Object;

use crate::upstream::message::notice::Notice;

/// A resource that somebody watches has changed.
pub(super) const UPDATED: &str = "notifications/resources/updated";

/// At most one notice of a kind in this time.
const SPAN: Duration = Duration::from_secs(1);
/// The methods that tell of lists; any other that is named like them is told each time.
const LISTS: [&str; 3] = [
    "notifications/tools/list_changed",
    "notifications/prompts/list_changed",
    "notifications/resources/list_changed",
];
/// Most kinds that are remembered; resources beyond it are told each time. The few others always have room.
const MAX: usize = 512;
/// Most bytes that wait to be told, methods and parameters. A notice beyond that is counted as dropped, so
/// that the subscriber reads anew.
const MAX_WAITING: usize = 256 * 1024;

/// The notices that one subscriber has heard of late, shared by those who tell it and itself.
#[derive(Default)]
pub(in crate::upstream) struct Heard {
    summed: Mutex<Summed>,
    /// Told when something begins to wait.
    waits: Notify,
}

/// The same, without anybody who waits for it.
#[derive(Default)]
struct Summed {
    kinds: HashMap<NoticeKind, LastNotice>,
    /// How many wait to be told.
    waiting: usize,
    /// The bytes of those.
    bytes: usize,
    /// The secret key of the hashes of URIs.
    keys: RandomState,
}

/// A kind of notice, of fixed size whatever the server calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum NoticeKind {
    /// A list, by its place in [`LISTS`].
    List(usize),
    /// A resource, by the hash of its URI. A server that does not know the key finds no two that are alike.
    Resource(u64),
    /// Notices that were dropped on the way.
    Dropped,
}

struct LastNotice {
    last: Instant,
    later: Option<Notice>,
}

/// The resource that has changed, where the notification is about one.
pub(in crate::upstream) fn uri_of(method: &str, params: &str) -> Option<String> {
    if method != UPDATED {
        return None;
    }
    Some(Object::parse(params).ok()?.string("uri")?.into_owned())
}

impl Heard {
    fn lock(&self) -> MutexGuard<'_, Summed> {
        // Nothing in here panics half-way through a change.
        self.summed.lock()
    }

    /// Takes in a notice; gives it back where it is to be told now.
    pub(in crate::upstream) fn hear(&self, notice: Notice) -> Option<Notice> {
        let told = self.lock().hear(notice, Instant::now());
        if told.is_none() {
            self.waits.notify_one();
        }
        told
    }

    /// One that has waited long enough; with `all`, any that waits.
    pub(in crate::upstream) fn take(&self, all: bool) -> Option<Notice> {
        self.lock().take(Instant::now(), all)
    }

    /// Waits until one may have waited long enough. May be cancelled without loss.
    pub(in crate::upstream) async fn due(&self) {
        loop {
            let due = self.lock().due();
            match due {
                Some(due) => return sleep_until(due).await,
                None => self.waits.notified().await,
            }
        }
    }
}

impl Summed {
    /// The subject of a notice; none where each one counts.
    fn kind_of(&self, notice: &Notice) -> Option<NoticeKind> {
        match notice {
            Notice::Notification(method, params) => {
                if let Some(uri) = uri_of(method, params) {
                    return Some(NoticeKind::Resource(self.keys.hash_one(uri.as_str())));
                }
                LISTS.iter().position(|list| *list == method.as_str()).map(NoticeKind::List)
            }
            // A gap in which nobody listened follows a pause that grows.
            Notice::Dropped(0) | Notice::Ask(_) => None,
            Notice::Dropped(_) => Some(NoticeKind::Dropped),
        }
    }

    /// Takes in a notice; gives it back where it is to be told now.
    fn hear(&mut self, notice: Notice, now: Instant) -> Option<Notice> {
        let Some(kind) = self.kind_of(&notice) else { return Some(notice) };
        if let Some(slot) = self.kinds.get_mut(&kind) {
            if now.duration_since(slot.last) < SPAN {
                let sum = match (&slot.later, notice) {
                    (Some(Notice::Dropped(before)), Notice::Dropped(count)) => {
                        Notice::Dropped(before + count)
                    }
                    (_, notice) => notice,
                };
                let bytes = self.bytes - slot.later.as_ref().map_or(0, Notice::bytes) + sum.bytes();
                if bytes > MAX_WAITING {
                    self.lose(now);
                    return None;
                }
                self.bytes = bytes;
                self.waiting += usize::from(slot.later.replace(sum).is_none());
                return None;
            }
            slot.last = now;
            // The notice that waited is older than this.
            if let Some(older) = slot.later.take() {
                self.waiting -= 1;
                self.bytes -= older.bytes();
            }
            return Some(notice);
        }
        if self.kinds.len() >= MAX {
            self.kinds.retain(|_, slot| slot.later.is_some() || now.duration_since(slot.last) < SPAN);
        }
        if self.kinds.len() < MAX || !matches!(kind, NoticeKind::Resource(_)) {
            self.kinds.insert(kind, LastNotice { last: now, later: None });
        }
        Some(notice)
    }

    /// Counts a notice for which there is no room as dropped; that is told with the others that wait.
    fn lose(&mut self, now: Instant) {
        let slot = self.kinds.entry(NoticeKind::Dropped).or_insert(LastNotice { last: now, later: None });
        let before = match slot.later {
            Some(Notice::Dropped(count)) => count,
            _ => 0,
        };
        self.waiting += usize::from(slot.later.replace(Notice::Dropped(before + 1)).is_none());
    }

    /// When the next of those that wait is to be told.
    fn due(&self) -> Option<Instant> {
        if self.waiting == 0 {
            return None;
        }
        self.kinds.values().filter(|slot| slot.later.is_some()).map(|slot| slot.last + SPAN).min()
    }

    /// One that has waited long enough; with `all`, any that waits.
    fn take(&mut self, now: Instant, all: bool) -> Option<Notice> {
        if self.waiting == 0 {
            return None;
        }
        let is_due = |slot: &&mut LastNotice| slot.later.is_some() && (all || slot.last + SPAN <= now);
        let slot = self.kinds.values_mut().find(is_due)?;
        slot.last = now;
        let notice = slot.later.take()?;
        self.waiting -= 1;
        self.bytes -= notice.bytes();
        Some(notice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(method: &str, params: &str) -> Notice {
        Notice::Notification(method.to_owned(), params.to_owned())
    }

    const TOOLS: &str = "notifications/tools/list_changed";

    #[test]
    fn a_storm_is_told_once_a_second_and_its_end_is_not_lost() {
        let start = Instant::now();
        let mut summed = Summed::default();
        let mut told = 0;
        // A hundred a second for ten seconds.
        for number in 0..1_000_u32 {
            let now = start + Duration::from_millis(10) * number;
            told += usize::from(summed.take(now, false).is_some());
            told += usize::from(summed.hear(said(TOOLS, "{}"), now).is_some());
        }
        assert!((9..=11).contains(&told), "{told}");
        let due = summed.due().expect("the last change waits");
        assert!(summed.take(due, false).is_some() && summed.due().is_none());
        assert!(summed.take(due + SPAN, true).is_none());
    }

    #[test]
    fn each_list_and_resource_is_another_and_the_rest_passes() {
        let now = Instant::now();
        let mut summed = Summed::default();
        for notice in [
            said(TOOLS, "{}"),
            said("notifications/prompts/list_changed", "{}"),
            said(UPDATED, r#"{"uri":"a:b"}"#),
            said(UPDATED, r#"{"uri":"a:c"}"#),
            said("notifications/message", "{}"),
            said("notifications/message", "{}"),
            Notice::Dropped(2),
        ] {
            assert!(summed.hear(notice, now).is_some());
        }
        assert!(summed.hear(said(UPDATED, r#"{"uri":"a:b","n":2}"#), now).is_none());
        assert!(
            summed.hear(Notice::Dropped(3), now).is_none() && summed.hear(Notice::Dropped(4), now).is_none()
        );
        let mut last = [summed.take(now, true), summed.take(now, true)];
        last.sort_by_key(|notice| matches!(notice, Some(Notice::Dropped(_))));
        assert!(matches!(&last[0], Some(Notice::Notification(_, params)) if params.contains("\"n\":2")));
        assert!(matches!(last[1], Some(Notice::Dropped(7))));
        assert!(summed.take(now, true).is_none());
    }

    #[test]
    fn it_remembers_no_more_than_it_may() {
        let now = Instant::now();
        let mut summed = Summed::default();
        for number in 0..2 * MAX {
            let notice = said(UPDATED, &format!(r#"{{"uri":"a:{number}"}}"#));
            assert!(summed.hear(notice, now).is_some());
        }
        assert_eq!(summed.kinds.len(), MAX);
        // Lists have room all the same.
        assert!(summed.hear(said(TOOLS, "{}"), now).is_some());
        assert!(summed.hear(said(TOOLS, "{}"), now).is_none());
        assert!(summed.take(now, true).is_some());
        assert!(summed.hear(said("notifications/prompts/list_changed", "{}"), now + SPAN).is_some());
        assert_eq!(summed.kinds.len(), 1);
    }

    #[test]
    fn a_method_that_is_no_lists_is_not_remembered() {
        let now = Instant::now();
        let mut summed = Summed::default();
        for number in 0..10 {
            let method = format!("notifications/{number}/list_changed");
            assert!(summed.hear(said(&method, "{}"), now).is_some());
            assert!(summed.hear(said(&method, "{}"), now).is_some());
        }
        assert!(summed.kinds.is_empty());
    }

    #[test]
    fn what_waits_is_bounded_in_bytes_and_what_is_beyond_is_told_as_dropped() {
        let now = Instant::now();
        let mut summed = Summed::default();
        let pad = "x".repeat(60 * 1024);
        for _ in 0..2 {
            for number in 0..100 {
                summed.hear(said(UPDATED, &format!(r#"{{"uri":"a:{number}","pad":"{pad}"}}"#)), now);
                assert!(summed.bytes <= MAX_WAITING);
            }
        }
        let mut fit = 0_u64;
        let mut dropped = 0;
        while let Some(notice) = summed.take(now, true) {
            match notice {
                Notice::Notification(..) => fit += 1,
                Notice::Dropped(count) => dropped += count,
                Notice::Ask(_) => panic!("a question"),
            }
        }
        assert_eq!((fit, dropped), (4, 96));
        assert_eq!((summed.waiting, summed.bytes), (0, 0));
        // One that replaces another takes its room.
        for length in [10, 100_000, 10, 200_000, 10] {
            summed.hear(said(UPDATED, &format!(r#"{{"uri":"a:0","pad":"{}"}}"#, "x".repeat(length))), now);
        }
        assert!(summed.bytes < 200 && summed.waiting == 1);
        // One that comes in time leaves nothing behind.
        assert!(summed.hear(said(UPDATED, r#"{"uri":"a:0"}"#), now + SPAN).is_some());
        assert_eq!((summed.waiting, summed.bytes), (0, 0));
    }
}
