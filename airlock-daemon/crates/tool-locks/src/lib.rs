//! Tool locks: what a server says of its tools, in a form that can be compared.
//!
//! A definition has one [canonical form](canonical), whatever the order, the spaces and the escapes it came
//! with, and a [digest](definition::Digest) of that. The [file of locks](lock_file) holds those that are
//! trusted; [what has become of one](change) that differs is said in words, and shown
//! [line by line](difference). It knows nothing of who asks, nor where a file lies.

pub mod canonical;
pub mod change;
pub mod definition;
pub mod difference;
pub mod hidden;
mod layout;
pub mod lock_file;
mod look;
mod number;
