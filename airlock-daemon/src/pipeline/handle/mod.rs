//! Handles: the things of a server that a client brings back.

pub mod brought;
pub mod task;
