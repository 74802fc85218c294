//! Reasons why the log does not open, or takes no record.

use super::store::file::OpenError;

/// How many records may wait for the store, the batch that is being written included.
pub const CAPACITY: u64 = 10_000;

/// Why the log could not be opened or closed.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The directory cannot be used.
    #[error("audit log: {0}")]
    Open(#[from] OpenError),
    /// The writer thread could not be started.
    #[error("audit log: cannot start the writer thread: {0}; raise TasksMax= or the limit of threads")]
    Thread(std::io::Error),
    /// The store failed to the end.
    #[error("audit log: {records} records could not be stored before the end: {reason}")]
    Unstored {
        /// How many.
        records: u64,
        /// Why.
        reason: String,
    },
    /// The writer thread ended by a defect.
    #[error("audit log: the writer thread panicked; its last message is in the log")]
    Panicked,
}

/// Why a record was not taken. The caller refuses the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuditFull {
    /// [`CAPACITY`] records wait for the store already.
    #[error("the disk of audit.dir has not kept up for longer than audit.wait; look what else writes there")]
    QueueFull,
    /// The store fails, and `audit.on_failure` is `refuse` or [`CAPACITY`] records wait for it already.
    #[error("the audit log cannot be written; `airlock status` says why")]
    StoreFailed,
    /// The file system of the log has less left than its reserve.
    #[error("the disk of the audit log is nearly full; free space below audit.dir")]
    DiskFull,
    /// The log is closed: the daemon ends.
    #[error("the audit log is closed")]
    Closed,
}
