//! The scan: one pass over a text that tells where patterns may find something, and what each of its parts
//! asks of the text.

pub(crate) mod ats;
mod fingers;
pub(crate) mod gate;
pub(crate) mod marks;
pub(crate) mod net;
pub(crate) mod numbers;
pub(crate) mod sieve;
pub(crate) mod told;
pub(crate) mod vector;
pub(crate) mod windows;
