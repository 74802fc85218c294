//! A request: what it asks, who sends it, where it comes from, and the state that it brings back.

pub mod asked;
pub mod context;
pub mod requester;
pub mod state;
