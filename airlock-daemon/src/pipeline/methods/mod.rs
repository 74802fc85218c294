//! Methods: the kind of each, the names of what it is about, and what the policy is asked of it.

pub mod kind;
pub mod naming;
pub mod table;
pub mod wish;
