//! The audit log: what a record says, how records are chained, stored, sent to journald and verified.
//!
//! A record is made on a worker ([`Record`]) and handed over without waiting ([`AuditLog::record`]): its text
//! goes into a ring that outlives the process ([`spool`]), and from then on belongs to one writer thread,
//! which numbers, chains, hashes and stores. A *line* is a record as stored: JSON, one line, with `prev`, the
//! SHA-256 of the whole line before it. Stored records go to journald by a thread of its own ([`forward`]).

mod chain;
pub mod denials;
mod error;
mod event;
mod file;
mod forward;
pub mod hash;
mod input;
mod journal;
mod line;
mod log;
mod mapping;
mod message;
mod record;
mod shared;
mod space;
mod spool;
mod strangers;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
pub mod verify;
mod writer;

pub use chain::Chain;
pub use error::{AuditError, AuditFull, CAPACITY};
pub use event::Event;
pub use file::{MAX_LINE, segments, tail_lines};
pub use hash::{GENESIS, Hash, digest, hex};
pub use input::input_digest;
pub use log::{AuditLog, AuditWriter};
pub use message::message;
pub use record::{Counts, Record, Verdict};
pub use shared::Stats;
pub use space::Space;
