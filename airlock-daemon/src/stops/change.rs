//! Orders of an operator: to stop something, and to take a stop back.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::keeper::Stops;
use super::order::{MAX_REASON, MOST, StopOrder, is_reason, now};
use super::target::{StopTarget, TargetFault};
use crate::config::units::Period;

/// Longest time that a stop can be ordered for. A longer one has no end of its own.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// The process that gives an order, as the kernel knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operator {
    /// Its user.
    pub uid: u32,
    /// Its number, where the kernel tells it.
    pub pid: Option<i32>,
}

/// An order that is carried out.
#[derive(Debug)]
pub struct Ordered {
    /// The stop that began, or that has ended.
    pub order: Arc<StopOrder>,
    /// Why a restart would have it otherwise: the state file is not written.
    pub unkept: Option<String>,
}

/// Why an order is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OrderFault {
    /// Its target is none.
    #[error(transparent)]
    Target(#[from] TargetFault),
    /// The reason is missing, too long, or has control characters.
    #[error(
        "a stop has a reason of at most {MAX_REASON} characters, without line breaks and control characters: \
         clients are told it"
    )]
    Reason,
    /// The time makes no sense.
    #[error("a stop lasts between 1s and {}, or, without a time, until it is taken back", Period(LONGEST))]
    Time,
    /// So many are enough.
    #[error("{MOST} stops are in force, and there is no room for more: take some back, or stop more at once")]
    Full,
    /// There is no such stop.
    #[error("there is no stop of {0}; `airlock stops` shows those that there are")]
    NotStopped(String),
    /// A file stops it.
    #[error("everything is stopped since the file {0} is there: remove it")]
    ByFile(PathBuf),
    /// The state file that cannot be read cannot be set aside.
    #[error("{0}")]
    Unread(String),
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "user {} (process {pid})", self.uid),
            None => write!(f, "user {}", self.uid),
        }
    }
}

impl Stops {
    /// Stops something from now on, for a time or until it is taken back. Another order for the same target
    /// takes the place of the one before. In force once this returns, also where that cannot be kept. Writes
    /// a file: not for a worker's thread.
    ///
    /// # Errors
    /// [`OrderFault`].
    pub fn stop(
        &self,
        target: StopTarget,
        reason: String,
        lasting: Option<Duration>,
        by: Operator,
    ) -> Result<Ordered, OrderFault> {
        target.check()?;
        if !is_reason(&reason) {
            return Err(OrderFault::Reason);
        }
        if lasting.is_some_and(|time| time < Duration::from_secs(1) || time > LONGEST) {
            return Err(OrderFault::Time);
        }
        let until = lasting.map(|time| {
            let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + time;
            // Never shorter than it was ordered.
            end.as_secs() + u64::from(end.subsec_nanos() > 0)
        });
        let order = Arc::new(StopOrder { target, reason, by: Some(by.uid), since: now(), until });
        let has_room = self.change(|book| {
            // Everything can always be stopped.
            let has_room = order.target == StopTarget::All {}
                || book.ordered.len() < MOST
                || book.ordered.contains_key(&order.target);
            if has_room {
                book.ordered.insert(order.target.clone(), Arc::clone(&order));
            }
            has_room
        });
        if !has_room {
            return Err(OrderFault::Full);
        }
        let time = lasting.map_or_else(String::new, |time| format!(" for {}", Period(time)));
        self.tell(&order, Some(by.uid), &format!("{by} ordered it{time}: {}", order.reason));
        Ok(Ordered { order, unkept: self.keep().err() })
    }

    /// Takes a stop back. Writes a file: not for a worker's thread.
    ///
    /// # Errors
    /// [`OrderFault`], where there is no such stop, or one that is not an operator's order.
    pub fn resume(&self, target: &StopTarget, by: Operator) -> Result<Ordered, OrderFault> {
        let all = *target == StopTarget::All {};
        let set_aside = if all { self.set_aside().map_err(OrderFault::Unread)? } else { None };
        let is_there = self.in_force().ordered.contains_key(target);
        let taken = is_there.then(|| self.change(|book| book.ordered.remove(target))).flatten();
        let Some(order) = taken.or(set_aside) else {
            return Err(if all && self.in_force().touched.is_some() {
                OrderFault::ByFile(self.touch_file().to_owned())
            } else {
                OrderFault::NotStopped(target.to_string())
            });
        };
        self.tell_end(&order, Some(by.uid), &format!("{by} took the stop back"));
        Ok(Ordered { order, unkept: self.keep().err() })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::halt::Halt;
    use super::super::target::tests::{alice, each};
    use super::*;

    const ME: Operator = Operator { uid: 7, pid: Some(1) };

    fn stops(dir: &Path) -> Arc<Stops> {
        Arc::new(Stops::read(dir.join("stops.json"), dir.join("stop"), None))
    }

    fn stop(stops: &Stops, target: StopTarget) -> Result<Ordered, OrderFault> {
        stops.stop(target, "a leak".into(), None, ME)
    }

    fn shown(stops: &Stops) -> Vec<String> {
        stops.in_force().all().map(|order| order.target.to_string()).collect()
    }

    #[test]
    fn an_order_is_kept_over_a_restart_until_it_is_taken_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let own = stops(dir.path());
        assert!(own.in_force().is_empty() && own.alarms().is_empty());
        for target in each() {
            let ordered = stop(&own, target).expect("stopped");
            assert_eq!((ordered.unkept, ordered.order.by), (None, Some(7)));
        }
        assert_eq!(*stops(dir.path()).in_force(), *own.in_force());
        for target in each() {
            assert!(own.resume(&target, ME).is_ok());
            let fault = own.resume(&target, ME).expect_err("it is not stopped");
            assert_eq!(fault, OrderFault::NotStopped(target.to_string()));
        }
        assert!(own.in_force().is_empty() && stops(dir.path()).in_force().is_empty());
    }

    #[test]
    fn orders_are_bounded_and_everything_has_room() {
        let dir = tempfile::tempdir().expect("a directory");
        let own = stops(dir.path());
        let tenant = |n: usize| StopTarget::Tenant { tenant: n.to_string() };
        // The file is written once for all of them.
        own.change(|book| {
            for n in 0..MOST {
                let (target, by, until) = (tenant(n), None, None);
                let order = StopOrder { target, reason: "x".into(), by, since: 0, until };
                book.ordered.insert(order.target.clone(), Arc::new(order));
            }
        });
        assert_eq!(stop(&own, tenant(MOST)).err(), Some(OrderFault::Full));
        assert!(stop(&own, tenant(7)).is_ok(), "one that is there can be changed");
        assert!(stop(&own, StopTarget::All {}).is_ok());
        assert_eq!(stops(dir.path()).in_force().all().count(), MOST + 1);
        for (reason, time, fault) in [
            ("", None, OrderFault::Reason),
            (" ", None, OrderFault::Reason),
            ("a\nb", None, OrderFault::Reason),
            (&"x".repeat(MAX_REASON + 1), None, OrderFault::Reason),
            ("x", Some(Duration::ZERO), OrderFault::Time),
            ("x", Some(LONGEST + Duration::from_secs(1)), OrderFault::Time),
        ] {
            assert_eq!(own.stop(tenant(1), reason.into(), time, ME).err(), Some(fault), "{reason:?}");
        }
    }

    #[test]
    fn a_stop_ends_by_itself_when_its_time_is_over() {
        let dir = tempfile::tempdir().expect("a directory");
        let own = stops(dir.path());
        let hour = Some(Duration::from_hours(1));
        let ordered = own.stop(StopTarget::All {}, "x".into(), hour, ME).expect("stopped");
        let end = ordered.order.until.expect("an end");
        assert_eq!(own.in_force().next_end(), Some(end));
        own.sweep(end - 1);
        assert_eq!(shown(&own), ["everything"]);
        own.sweep(end);
        assert!(own.in_force().is_empty() && stops(dir.path()).in_force().is_empty());
    }

    #[test]
    fn where_the_file_cannot_be_read_everything_is_stopped_until_it_is_set_aside() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("stops.json");
        std::fs::write(&path, "<<<<<<< ours").expect("written");
        let own = stops(dir.path());
        assert_eq!(shown(&own), ["everything"]);
        let alarms = own.alarms().join("\n");
        assert!(alarms.contains("stops.json is no list of stops: "), "{alarms}");
        assert!(alarms.contains("`airlock resume --all`"), "{alarms}");
        let ordered = stop(&own, StopTarget::Upstream { upstream: "docs".into() }).expect("stopped");
        assert!(ordered.unkept.is_some(), "the file may have more than is known");
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), "<<<<<<< ours");
        assert!(own.resume(&StopTarget::All {}, ME).expect("resumed").unkept.is_none());
        assert_eq!((shown(&own), own.alarms()), (vec!["upstream docs".to_owned()], vec![]));
        assert_eq!(shown(&stops(dir.path())), ["upstream docs"]);
        let aside = std::fs::read_to_string(dir.path().join("stops.json.broken")).expect("a file");
        assert_eq!(aside, "<<<<<<< ours");
    }

    #[test]
    fn an_order_that_cannot_be_kept_is_in_force_and_says_so() {
        let dir = tempfile::tempdir().expect("a directory");
        let own = stops(&dir.path().join("none"));
        let unkept = stop(&own, StopTarget::All {}).expect("stopped").unkept.expect("no directory");
        assert!(unkept.contains("stops.json cannot be written"), "{unkept}");
        assert_eq!(shown(&own), ["everything"]);
        assert!(own.alarms().concat().contains(&unkept), "{:?}", own.alarms());
        std::fs::create_dir(dir.path().join("none")).expect("made");
        assert!(own.resume(&StopTarget::All {}, ME).expect("resumed").unkept.is_none());
        assert!(own.alarms().is_empty());
    }

    #[test]
    fn a_file_stops_everything_as_long_as_it_is_there() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("stop");
        std::fs::write(&path, "a leak\n").expect("written");
        let own = stops(dir.path());
        let told = |stops: &Stops| stops.in_force().of_everything().map(|order| order.reason.clone());
        assert_eq!(told(&own).as_deref(), Some("a leak"), "it was there at the start");
        assert_eq!(own.resume(&StopTarget::All {}, ME).err(), Some(OrderFault::ByFile(path.clone())));
        std::fs::write(&path, "").expect("written");
        own.look();
        assert_eq!(told(&own).as_deref(), Some(""));
        assert!(stop(&own, StopTarget::All {}).is_ok());
        std::fs::remove_file(&path).expect("removed");
        own.look();
        assert_eq!(told(&own).as_deref(), Some("a leak"), "the order stays");
        assert!(own.resume(&StopTarget::All {}, ME).is_ok() && own.in_force().is_empty());
    }

    #[tokio::test]
    async fn whoever_runs_is_told_at_once_and_before_its_first_look() {
        let dir = tempfile::tempdir().expect("a directory");
        let own = stops(dir.path());
        let (alice, docs) = (Arc::new(alice()), Arc::from("docs"));
        let halt = || Halt::new(&own, &alice, Some(&docs), Some("read"));
        let mut before = halt();
        stop(&own, StopTarget::Tenant { tenant: "globex".into() }).expect("stopped");
        let tool = StopTarget::Tool { upstream: "docs".into(), tool: "read".into() };
        let waits = async { before.reached().await };
        let (order, ordered) = tokio::join!(waits, async { stop(&own, tool.clone()).expect("stopped") });
        assert_eq!((&order.target, &ordered.order.target), (&tool, &tool));
        assert_eq!(halt().reached().await.target, tool, "one that came before is not missed");
    }
}
