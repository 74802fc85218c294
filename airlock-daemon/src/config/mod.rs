//! Configuration: the schema, its loader, its validation.

mod de;
mod diagnostics;
mod load;
mod parse;
pub mod schema;
mod tree;
pub mod units;
mod validate;

#[cfg(test)]
mod tests;

pub use diagnostics::{Diagnostic, Diagnostics};
pub use load::{MAX_BYTES, MAX_DIAGNOSTICS, from_text, load};
