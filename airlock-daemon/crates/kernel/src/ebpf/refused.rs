//! The sum of what the kernel refused to the processes of each server, since one of them was last started: it
//! often says why a server does not start.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::mpsc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::events::Denied;

/// Most targets of one server that are told apart; a process chooses what it asks for.
const TARGETS: usize = 16;
/// How long it may take to read what the kernel has told already.
const READ: Duration = Duration::from_millis(500);

/// Counts of what was refused to a server, by its target: an address family, or the name of a hook.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    targets: BTreeMap<String, u64>,
    /// Refusals of further targets.
    others: u64,
}

impl Refused {
    fn add(&mut self, target: String) {
        if self.targets.len() < TARGETS || self.targets.contains_key(&target) {
            *self.targets.entry(target).or_default() += 1;
        } else {
            self.others += 1;
        }
    }

    /// True where the server was refused the internet, or another network.
    pub fn is_of_network(&self) -> bool {
        ["AF_INET", "AF_INET6"].iter().any(|family| self.targets.contains_key(*family))
    }
}

/// `AF_INET 4 times, AF_NETLINK once`.
impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others = Some(("others", self.others)).filter(|(_, count)| *count > 0);
        let targets = self.targets.iter().map(|(target, count)| (target.as_str(), *count));
        for (place, (target, count)) in targets.chain(others).enumerate() {
            f.write_str(if place == 0 { "" } else { ", " })?;
            match count {
                1 => write!(f, "{target} once")?,
                count => write!(f, "{target} {count} times")?,
            }
        }
        Ok(())
    }
}

/// Asks the reader of events to read what is there.
pub(crate) type Asked = UnboundedReceiver<mpsc::Sender<()>>;

/// The sums of all servers, and the way to whoever reads the events.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    servers: Mutex<BTreeMap<String, Refused>>,
    reader: Mutex<Option<UnboundedSender<mpsc::Sender<()>>>>,
}

impl Refusals {
    /// Counts an event.
    pub(crate) fn count(&self, denied: &Denied) {
        if let Some(upstream) = &denied.upstream {
            let mut servers = self.servers.lock();
            servers.entry(upstream.to_string()).or_default().add(denied.target());
        }
    }

    /// Begins anew: a process of this server is started.
    pub(crate) fn forget(&self, upstream: &str) {
        self.servers.lock().remove(upstream);
    }

    /// The sum of one server; none where nothing was refused.
    pub(crate) fn of(&self, upstream: &str) -> Option<Refused> {
        self.servers.lock().get(upstream).cloned()
    }

    /// The questions that the reader of events is to listen to.
    pub(crate) fn read(&self) -> Asked {
        let (sender, asked) = unbounded_channel();
        *self.reader.lock() = Some(sender);
        asked
    }

    /// Waits until what the kernel has told so far is counted, where somebody reads it; [`READ`] at most.
    pub(crate) fn settle(&self) {
        let (done, counted) = mpsc::channel();
        let reader = self.reader.lock().clone();
        if reader.is_some_and(|reader| reader.send(done).is_ok()) {
            let _ = counted.recv_timeout(READ);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_summed_by_target_and_bounded() {
        let mut refused = Refused::default();
        for target in ["AF_NETLINK", "AF_INET", "AF_INET", "AF_INET"] {
            refused.add(target.to_owned());
        }
        assert_eq!(refused.to_string(), "AF_INET 3 times, AF_NETLINK once");
        assert!(refused.is_of_network());
        for number in 0..100 {
            refused.add(format!("address family {number}"));
        }
        assert_eq!(refused.targets.len(), TARGETS);
        assert!(refused.to_string().ends_with(", others 86 times"), "{refused}");
    }
}
