//! How many processes of servers run.

use std::sync::Arc;
use tokio::sync::watch;

/// The server processes that run, so that shutdown knows when the last has ended, and that none is started
/// any more.
#[derive(Clone)]
pub struct Running(pub(in crate::upstream) Arc<watch::Sender<ProcessesState>>);

#[derive(Default)]
pub(in crate::upstream) struct ProcessesState {
    pub(in crate::upstream) processes: usize,
    pub(in crate::upstream) closing: bool,
}

/// One running server process.
pub struct RunningProcess(Running);

impl Running {
    pub(crate) fn start(&self) -> RunningProcess {
        self.0.send_modify(|state| state.processes += 1);
        RunningProcess(self.clone())
    }

    /// Waits until no process is started any more.
    pub(in crate::upstream) async fn closing(&self) {
        // The sender lives as long as this.
        let _ = self.0.subscribe().wait_for(|state| state.closing).await;
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.0.borrow().closing
    }
}

impl Drop for RunningProcess {
    fn drop(&mut self) {
        self.0.0.send_modify(|state| state.processes -= 1);
    }
}
