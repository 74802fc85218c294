//! Tool locks: what a server says of its tools, in a form that can be compared.
//!
//! A definition has one [canonical form](canonical), whatever the order, the spaces and the escapes it came
//! with, and a [digest](definition::Digest) of that. It knows nothing of who asks, nor of files.

pub mod canonical;
pub mod definition;
mod number;
