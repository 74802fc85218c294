//! Redaction: which detectors look at what, and what is done with their findings. The scanner itself is the
//! crate `airlock-dlp`.
//!
//! A [`Sieve`] is made for one call, and everything that is said in its course passes it, in either
//! direction.

mod binary;
mod history;
mod in_force;
mod kit;
mod purpose;
mod reload;
mod sieve;
mod snapshot;
mod speaker;
mod told;

pub use crate::config::schema::DlpDirection as Direction;
pub use history::{RedactionStatus, Reloaded};
pub use in_force::Redaction;
pub use purpose::Purpose;
pub use sieve::{Barred, Found, Paths, Sieve, Sifted};
pub use speaker::Speaker;
pub use told::{Detected, FoundPlace, MessageFindings};

#[cfg(test)]
mod tests;
