//! Work on long texts, done by a thread that nobody else waits for: all other calls of a worker would stand
//! still for as long as it takes.

/// The length from which on a text is worked on apart, in bytes. To look through a shorter one costs a worker
/// less than a millisecond.
pub const LONG: usize = 32 * 1024;
