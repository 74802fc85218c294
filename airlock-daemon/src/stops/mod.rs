//! Stops: the things that an operator has ended at once, until they are taken back.
//!
//! [`target`] says for whom or where a stop holds, [`order`] is one stop, [`book`] has all that are in force,
//! `store` keeps them over a restart, and `touch` is a file that stops all. [`Stops`] changes them, [`shown`]
//! is what an operator sees, and a [`Halt`] tells whoever runs. The stage that asks here is
//! `pipeline/stopped.rs`.

pub mod book;
mod change;
mod halt;
mod keeper;
pub mod order;
pub mod shown;
mod store;
pub mod target;
mod touch;

pub use change::{Operator, OrderFault, Ordered};
pub use halt::Halt;
pub use keeper::{RULE, Stops};
