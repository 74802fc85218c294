//! Changes that a server tells of again and again, summed up: each list, and each resource, is said to have
//! changed at most once a second, and the last change is never lost.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::mcp::object::Object;

use super::subscription::Notice;

/// A resource that somebody watches has changed.
pub(super) const UPDATED: &str = "notifications/resources/updated";

/// At most one notice of a kind in this time.
const SPAN: Duration = Duration::from_secs(1);
/// Most kinds that are remembered: three lists, and resources. What is beyond passes.
const MAX: usize = 512;

/// What one subscriber has heard of late, shared by those who tell it and itself.
#[derive(Default)]
pub(super) struct Heard {
    summed: Mutex<Summed>,
    /// Told when something begins to wait.
    waits: Notify,
}

/// The same, without anybody who waits for it.
#[derive(Default)]
struct Summed {
    kinds: HashMap<Kind, Slot>,
    /// How many wait to be told.
    waiting: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
    /// A list, by the method that says so.
    List(Box<str>),
    Resource(Box<str>),
    /// Notices that were dropped on the way.
    Dropped,
}

struct Slot {
    last: Instant,
    later: Option<Notice>,
}

/// The resource that has changed, where the notification is about one.
pub(super) fn uri_of(method: &str, params: &str) -> Option<String> {
    if method != UPDATED {
        return None;
    }
    Some(Object::parse(params).ok()?.string("uri")?.into_owned())
}

impl Kind {
    /// What a notice is about; none where each one counts.
    fn of(notice: &Notice) -> Option<Self> {
        match notice {
            Notice::Notification(method, params) => {
                if let Some(uri) = uri_of(method, params) {
                    return Some(Self::Resource(uri.into()));
                }
                method.ends_with("/list_changed").then(|| Self::List(method.as_str().into()))
            }
            // A gap in which nobody listened follows a pause that grows.
            Notice::Dropped(0) | Notice::Ask(_) => None,
            Notice::Dropped(_) => Some(Self::Dropped),
        }
    }
}

impl Heard {
    fn lock(&self) -> MutexGuard<'_, Summed> {
        // Nothing in here panics half-way through a change.
        self.summed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a notice; gives it back where it is to be told now.
    pub(super) fn hear(&self, notice: Notice) -> Option<Notice> {
        let told = self.lock().hear(notice, Instant::now());
        if told.is_none() {
            self.waits.notify_one();
        }
        told
    }

    /// One that has waited long enough; with `all`, any that waits.
    pub(super) fn take(&self, all: bool) -> Option<Notice> {
        self.lock().take(Instant::now(), all)
    }

    /// Waits until one may have waited long enough. May be cancelled without loss.
    pub(super) async fn due(&self) {
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
    /// Takes in a notice; gives it back where it is to be told now.
    fn hear(&mut self, notice: Notice, now: Instant) -> Option<Notice> {
        let Some(kind) = Kind::of(&notice) else { return Some(notice) };
        if let Some(slot) = self.kinds.get_mut(&kind) {
            if now.duration_since(slot.last) < SPAN {
                let sum = match (&slot.later, notice) {
                    (Some(Notice::Dropped(before)), Notice::Dropped(count)) => {
                        Notice::Dropped(before + count)
                    }
                    (_, notice) => notice,
                };
                self.waiting += usize::from(slot.later.replace(sum).is_none());
                return None;
            }
            slot.last = now;
            // What waited is older than this.
            self.waiting -= usize::from(slot.later.take().is_some());
            return Some(notice);
        }
        if self.kinds.len() >= MAX {
            self.kinds.retain(|_, slot| slot.later.is_some() || now.duration_since(slot.last) < SPAN);
        }
        if self.kinds.len() < MAX {
            self.kinds.insert(kind, Slot { last: now, later: None });
        }
        Some(notice)
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
        let is_due = |slot: &&mut Slot| slot.later.is_some() && (all || slot.last + SPAN <= now);
        let slot = self.kinds.values_mut().find(is_due)?;
        slot.last = now;
        self.waiting -= 1;
        slot.later.take()
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
        assert!(summed.hear(said(TOOLS, "{}"), now + SPAN).is_some());
        assert_eq!(summed.kinds.len(), 1);
    }
}
