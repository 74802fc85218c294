//! A store that a test holds and lets go.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::{fs, io};

use parking_lot::Mutex;

use super::{first_segment, intact};
use crate::audit::journald::journal::Journal;
use crate::audit::store::file::{Store, StoreError};
use crate::audit::store::spool::{RING, Spool};
use crate::audit::verify::Report;
use crate::audit::writer::First;
use crate::audit::*;
use crate::config::schema::{self, OnAuditFailure};

/// A store that does what the test tells it, batch by batch, and says when it was asked.
struct ScriptedStore {
    asked: Sender<()>,
    orders: Receiver<Result<(), i32>>,
    stored: Arc<Mutex<Vec<u8>>>,
    space: Arc<Mutex<Space>>,
}

impl Store for ScriptedStore {
    fn append(&mut self, _first_seq: u64, lines: &[u8]) -> Result<(), StoreError> {
        self.asked.send(()).ok();
        // Without orders any more: everything works.
        match self.orders.recv().unwrap_or(Ok(())) {
            Err(DEFECT) => panic!("a defect"),
            Ok(()) => {
                self.stored.lock().extend_from_slice(lines);
                Ok(())
            }
            Err(errno) => {
                Err(StoreError::new("append to", Path::new("s"), io::Error::from_raw_os_error(errno)))
            }
        }
    }

    fn space(&self) -> Space {
        *self.space.lock()
    }
}

/// The order to panic.
pub(super) const DEFECT: i32 = -1;

/// The log over such a store.
pub(super) struct Bench {
    pub(super) log: AuditLog,
    pub(super) writer: AuditWriter,
    pub(super) asked: Receiver<()>,
    pub(super) orders: Sender<Result<(), i32>>,
    pub(super) stored: Arc<Mutex<Vec<u8>>>,
    /// The writer stands still where it looks at this while the test holds it.
    pub(super) space: Arc<Mutex<Space>>,
}

pub(super) fn told(on_failure: OnAuditFailure, journal: Option<Box<dyn Journal>>) -> Bench {
    told_to(&schema::Audit { on_failure, ..schema::Audit::default() }, journal)
}

pub(super) fn told_to(config: &schema::Audit, journal: Option<Box<dyn Journal>>) -> Bench {
    told_first(config, journal, Vec::new())
}

/// The same with these records before all others.
pub(super) fn told_first(
    config: &schema::Audit,
    journal: Option<Box<dyn Journal>>,
    first: Vec<First>,
) -> Bench {
    let ((asks, asked), (orders, order)) = (channel(), channel());
    let stored = Arc::new(Mutex::new(Vec::new()));
    let space = Arc::new(Mutex::new(Space::Plenty));
    let store = ScriptedStore { asked: asks, orders: order, stored: stored.clone(), space: space.clone() };
    let (log, writer) =
        AuditLog::start(Box::new(store), journal, Chain::default(), config, Spool::in_memory(RING), first)
            .unwrap();
    Bench { log, writer, asked, orders, stored, space }
}

pub(super) fn check_stored(stored: &Mutex<Vec<u8>>) -> Report {
    let dir = tempfile::tempdir().unwrap();
    fs::write(first_segment(dir.path()), &*stored.lock()).unwrap();
    intact(dir.path())
}
