//! The audit log: what a record says, how records are chained, stored, sent to journald and verified.
//!
//! A record is made on a worker ([`Record`]), handed over without waiting ([`AuditLog::record`]), and from then on belongs
//! to one writer thread: it numbers, chains, hashes and stores. A *line* is a record as stored: JSON, one line, with `prev`,
//! the SHA-256 of the whole line before it.

mod chain;
mod event;
mod file;
mod journal;
mod log;
mod message;
mod record;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
pub mod verify;
mod writer;

pub use chain::{Chain, GENESIS, Hash, digest, hex};
pub use event::Event;
pub use file::{MAX_LINE, segments, tail_lines};
pub use log::{AuditError, AuditFull, AuditLog, AuditWriter, CAPACITY, Stats};
pub use message::{message, printable};
pub use record::{Record, Verdict};
