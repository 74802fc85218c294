//! Lists of a server, and what is known of its tools.

pub(super) mod left_out;
pub mod listed;
pub mod safe_names;
pub mod schemas;
