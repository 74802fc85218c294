//! All stops that are in force.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::order::StopOrder;
use super::target::{Matter, StopTarget};

/// All stops that are in force, as of one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StopBook {
    /// By order of an operator.
    pub(super) ordered: BTreeMap<StopTarget, Arc<StopOrder>>,
    /// By the file whose being there stops everything.
    pub(super) touched: Option<Arc<StopOrder>>,
    /// Because the state file cannot be read: what it stops is not known, so everything is stopped.
    pub(super) unread: Option<Arc<StopOrder>>,
}

impl StopBook {
    /// True where nothing is stopped.
    pub fn is_empty(&self) -> bool {
        self.ordered.is_empty() && self.touched.is_none() && self.unread.is_none()
    }

    /// All stops, in the order in which they refuse.
    pub fn all(&self) -> impl Iterator<Item = &Arc<StopOrder>> {
        self.unread.iter().chain(&self.touched).chain(self.ordered.values())
    }

    /// The first one that reaches this.
    pub fn covering(&self, matter: &Matter<'_>) -> Option<&Arc<StopOrder>> {
        self.all().find(|order| order.target.covers(matter))
    }

    /// The first one that stops everything.
    pub fn of_everything(&self) -> Option<&Arc<StopOrder>> {
        self.all().find(|order| order.target == StopTarget::All {})
    }

    /// The stop of this server as a whole.
    pub fn of_upstream(&self, name: &str) -> Option<&Arc<StopOrder>> {
        self.ordered.get(&StopTarget::Upstream { upstream: name.to_owned() })
    }

    /// How many there are of each kind.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let count = |kind| self.all().filter(|order| order.target.kind() == kind).count();
        StopTarget::KINDS.into_iter().map(move |kind| (kind, count(kind)))
    }

    /// When the first of them ends by itself, in seconds since the Unix epoch.
    pub fn next_end(&self) -> Option<u64> {
        self.ordered.values().filter_map(|order| order.until).min()
    }
}
