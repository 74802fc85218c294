//! Refusals of nobody: of requests whose sender is not known, of which anybody can send any number.
//!
//! The first of a kind (the same sender, stage and status) is recorded as it is. Those that follow are
//! counted, and each second one record tells their number. Only so many new kinds a second have a record of
//! their own; the rest are counted together. So a flood leaves some records a second instead of some for each
//! request, and the log, the disk and the journal stay those of known principals.

use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::records::event::Event;
use super::records::record::{Record, Verdict};

/// How long refusals of a kind are counted before one record tells their number.
const WINDOW: Duration = Duration::from_secs(1);
/// How many kinds have records of their own in one window.
const KINDS: usize = 64;

/// Refusals that are one kind: one second of them is one record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct StrangerKind {
    /// The sender's address, of IPv6 its /64; or the peer of a unix socket.
    sender: Box<str>,
    stage: &'static str,
    status: Option<u16>,
}

/// A kind that has been refused in this window or the one before.
#[derive(Debug)]
struct Sum {
    first: Record,
    /// Refusals that no record tells of yet.
    untold: u64,
    since: Instant,
}

/// The sums of all kinds.
#[derive(Debug, Default)]
pub(super) struct Strangers(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    sums: HashMap<StrangerKind, Sum>,
    /// Refusals of kinds that found no place, and since when.
    others: u64,
    others_since: Option<Instant>,
}

impl Strangers {
    /// Counts a refusal, at `stage` of the pipeline. Gives it back where it is to be recorded as it is.
    pub(super) fn count(&self, stage: &'static str, record: Record, now: Instant) -> Option<Record> {
        let kind = StrangerKind { sender: sender(record.client.as_deref()), stage, status: record.status };
        let mut table = self.0.lock();
        if let Some(sum) = table.sums.get_mut(&kind) {
            sum.untold += 1;
            return None;
        }
        if table.sums.len() >= KINDS {
            table.others += 1;
            table.others_since.get_or_insert(now);
            return None;
        }
        table.sums.insert(kind, Sum { first: record.clone(), untold: 0, since: now });
        Some(record)
    }

    /// When the next window ends; none while nothing is counted.
    pub(super) fn due(&self) -> Option<Instant> {
        let table = self.0.lock();
        let sums = table.sums.values().map(|sum| sum.since);
        sums.chain(table.others_since).min().map(|since| since + WINDOW)
    }

    /// The records of all windows that have ended by `now`; of all there are, where it is none.
    pub(super) fn take(&self, now: Option<Instant>) -> Vec<Record> {
        let mut table = self.0.lock();
        let ended = |since: Instant| now.is_none_or(|now| now.saturating_duration_since(since) >= WINDOW);
        let mut told = Vec::new();
        table.sums.retain(|_, sum| {
            if !ended(sum.since) {
                return true;
            }
            if sum.untold == 0 {
                return false;
            }
            told.push(summary(&sum.first, std::mem::take(&mut sum.untold)));
            // It goes on being counted: a flood has one record a second, not two.
            sum.since = now.unwrap_or(sum.since);
            now.is_some()
        });
        if table.others_since.is_some_and(ended) {
            table.others_since = None;
            let others = std::mem::take(&mut table.others);
            let reason = "requests of other senders, whose sender is not known, were refused in one second";
            told.push(Record {
                decision: Some(Verdict::Deny),
                reason: Some(reason.into()),
                count: Some(others),
                ..Record::new(Event::Refusal)
            });
        }
        told
    }
}

/// One record for `count` more refusals like the first.
fn summary(first: &Record, count: u64) -> Record {
    Record { count: Some(count), correlation_id: None, trace_id: None, latency_us: None, ..first.clone() }
}

/// Senders whose refusals are counted together: addresses of IPv6 by their /64, since whoever has one has all
/// of it.
fn sender(client: Option<&str>) -> Box<str> {
    let client = client.unwrap_or_default();
    match client.parse::<Ipv6Addr>() {
        Ok(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).to_string().into(),
        Err(_) => client.into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refusal(client: &str, status: u16) -> Record {
        Record {
            client: Some(client.into()),
            status: Some(status),
            correlation_id: Some("c".into()),
            ..Record::new(Event::Refusal)
        }
    }

    #[test]
    fn a_flood_is_one_record_a_second_with_its_number() {
        let (strangers, start) = (Strangers::default(), Instant::now());
        let count = |client: &str, status| strangers.count("authenticate", refusal(client, status), start);
        let alone = count("192.0.2.9", 401).unwrap();
        assert_eq!((alone.correlation_id.as_deref(), alone.count), (Some("c"), None));
        assert!(count("192.0.2.1", 401).is_some());
        for _ in 0..1_000 {
            assert!(count("192.0.2.1", 401).is_none());
        }
        assert!(count("192.0.2.1", 429).is_some(), "another status is another kind");
        assert!(strangers.take(Some(start)).is_empty(), "no window has ended");
        let second = start + WINDOW;
        assert_eq!(strangers.due(), Some(second));
        let told = strangers.take(Some(second));
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].count, told[0].client.as_deref()), (Some(1_000), Some("192.0.2.1")));
        assert_eq!(told[0].correlation_id, None);
        // It goes on: still one record a second, and none of its own for the first of the next.
        assert!(strangers.count("authenticate", refusal("192.0.2.1", 401), second).is_none());
        assert_eq!(strangers.take(Some(second + WINDOW))[0].count, Some(1));
        assert!(strangers.take(Some(second + WINDOW * 2)).is_empty());
        assert_eq!(strangers.due(), None, "nothing is kept of who has gone");
    }

    #[test]
    fn many_senders_share_what_is_left_and_the_end_tells_all() {
        let (strangers, start) = (Strangers::default(), Instant::now());
        let own = (0..1_000)
            .filter_map(|n| strangers.count("authenticate", refusal(&format!("192.0.2.{n}"), 401), start))
            .count();
        assert_eq!(own, KINDS);
        let told = strangers.take(None);
        assert_eq!(told.iter().filter_map(|record| record.count).sum::<u64>(), 1_000 - KINDS as u64);
        assert_eq!(strangers.due(), None);
    }

    #[test]
    fn addresses_of_one_network_are_one_sender() {
        let (strangers, start) = (Strangers::default(), Instant::now());
        let own = (0..100)
            .filter_map(|n| strangers.count("limit", refusal(&format!("2001:db8::{n:x}"), 429), start))
            .count();
        assert_eq!(own, 1);
    }
}
