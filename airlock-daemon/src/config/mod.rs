//! Configuration: the schema, its loader, its validation.

pub mod schema;
pub mod units;
