//! The audit log: what a record says, how records are chained, stored, sent to journald and verified.
//!
//! A record is made on a worker ([`Record`]) and handed over without waiting ([`AuditLog::record`]): its text
//! goes into a ring that outlives the process ([`spool`]), and from then on belongs to one writer thread,
//! which numbers, chains, hashes and stores. A *line* is a record as stored: JSON, one line, with `prev`, the
//! SHA-256 of the whole line before it. Stored records go to journald by a thread of its own ([`forward`]).

pub mod denials;
mod error;
mod health;
mod journald;
mod log;
pub mod records;
mod shared;
mod store;
mod strain;
mod strangers;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
pub mod verify;
mod wait;
mod writer;

pub use error::{AuditError, AuditFull, CAPACITY};
pub use log::{AuditLog, AuditWriter};
pub use records::chain::Chain;
pub use records::event::Event;
pub use records::hash::{GENESIS, Hash, digest, hex};
pub use records::input::input_digest;
pub use records::message::message;
pub use records::record::{Counts, Record, Verdict};
pub use shared::Stats;
pub use store::file::{MAX_LINE, segments, tail_lines};
pub use store::space::Space;
pub use wait::RecordWait;
