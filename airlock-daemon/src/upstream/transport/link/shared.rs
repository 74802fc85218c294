//! The state that the handles of a link share with its tasks.

use super::usage::Usage;
use crate::upstream::error::UpstreamError;
use crate::upstream::message::briefing::Briefing;
use crate::upstream::message::reply::{Ending, Reply, Takes};
use arc_swap::ArcSwapOption;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;

pub(super) enum Command {
    Request {
        id: u64,
        text: String,
        waiter: Waiter,
    },
    Notify(String),
    Forget(u64),
    /// Somebody else needs the connection.
    GiveUp,
}

/// A call in flight.
pub(super) struct Waiter {
    pub(crate) replies: mpsc::Sender<Reply>,
    pub(crate) takes: Takes,
    /// Why there will be no answer, though the link goes on.
    pub(crate) failure: Failure,
}

/// Set once, before the call is let go.
pub(super) type Failure = Arc<OnceLock<UpstreamError>>;

pub(super) struct LinkShared {
    pub(super) next_id: AtomicU64,
    pub(crate) alive: AtomicBool,
    /// Nobody used it any more, so it was ended from this side.
    pub(crate) retired: AtomicBool,
    pub(crate) ending: ArcSwapOption<Ending>,
    pub(crate) rubbish: ArcSwapOption<String>,
    /// True once the log knows that answers of the server are wrong.
    pub(super) is_unfit_told: AtomicBool,
    pub(crate) usage: Usage,
    pub(crate) briefing: Briefing,
}

impl LinkShared {
    /// The state of a link that begins.
    pub(super) fn new() -> Self {
        Self {
            next_id: AtomicU64::new(1),
            alive: AtomicBool::new(true),
            retired: AtomicBool::new(false),
            ending: ArcSwapOption::empty(),
            rubbish: ArcSwapOption::empty(),
            is_unfit_told: AtomicBool::new(false),
            usage: Usage::new(),
            briefing: Briefing::default(),
        }
    }
}

pub(super) type Waiting = Rc<RefCell<HashMap<u64, Waiter>>>;

impl LinkShared {
    pub(crate) fn ending(&self) -> Ending {
        let mut ending = self.ending.load_full().map(|ending| ending.as_ref().clone()).unwrap_or_default();
        if ending.rubbish.is_none() {
            ending.rubbish = self.rubbish.load_full().map(|text| text.as_ref().clone());
        }
        ending
    }
}
