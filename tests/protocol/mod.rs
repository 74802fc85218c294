//! The protocol: calls, and all else that servers offer, reach clients of either era whole and with one
//! meaning.

mod eras;
mod merged;
mod messages;
pub(crate) mod owners;
mod servers;
