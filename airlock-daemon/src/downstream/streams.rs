//! The event streams of a legacy session, and the questions that wait for its client.
//!
//! The messages of a call before its answer go to a stream of the call's own; those that belong to no call go
//! to the standing stream, which the client opens by GET. A message is on one stream only.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::budget::Charge;
use crate::mcp::envelope::Id;
use crate::upstream::message::ask::Ask;

use super::event_store::EventStore;
use super::kept::Notifiers;

/// Streams of calls that have ended: how many are kept, for how long, and how many bytes.
const KEPT: usize = 16;
const KEPT_FOR: Duration = Duration::from_mins(5);
const KEPT_BYTES: usize = 4 * 1024 * 1024;
/// Everything of a session that is more than its name.
#[derive(Default)]
pub(super) struct Streams {
    /// The session has ended: nothing is opened any more.
    pub(crate) over: bool,
    pub(crate) standing: Option<Arc<EventStore>>,
    /// The streams of calls, the oldest first.
    pub(crate) calls: Vec<Arc<EventStore>>,
    pub(crate) asks: HashMap<Id, Asked>,
    /// The notifiers that listen for it to what servers say outside of calls.
    pub(super) notifiers: Option<Box<Notifiers>>,
}

pub(super) struct Asked {
    pub(crate) ask: Ask,
    pub(super) until: Instant,
    pub(super) _charge: Charge,
}

impl Streams {
    /// True once the session has ended.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    pub(crate) fn tidy(&mut self) {
        let mut bytes = 0;
        let mut kept = 0;
        // The newest are kept; one that still runs always is.
        let mut place = self.calls.len();
        while place > 0 {
            place -= 1;
            let Some((age, size)) = self.calls.get(place).and_then(|store| store.ended()) else { continue };
            if kept >= KEPT || age >= KEPT_FOR || (kept > 0 && bytes + size > KEPT_BYTES) {
                self.calls.remove(place);
            } else {
                (kept, bytes) = (kept + 1, bytes + size);
            }
        }
    }
}
