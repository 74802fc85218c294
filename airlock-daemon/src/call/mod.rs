//! The course of a message that has been admitted: the server is started and asked, its answer is filtered
//! and rewritten, and its questions go to the client and come back.
//!
//! [`start`] takes a call to its server, [`running`] follows it to its end, [`open`] puts the outcome on
//! record. Questions of a server (`questions`) pass [`ask`] on their way out; a modern client is asked by
//! [`required`], its call is [`waiting`] meanwhile, and [`suspended`] knows all that are. [`list`], [`level`]
//! and [`subscribe`] have a file each. All words of a server pass `sifted` before anything else, and those
//! that belong to no call `aside` as well. [`talk`] keeps the questions of one call, [`tasks`] what a stop
//! has to end, and `written` puts a result into the words of its client, with URIs by [`rewrite`].

pub(crate) mod aside;
pub mod ask;
pub mod event;
pub mod level;
pub mod list;
pub mod means;
pub mod open;
mod questions;
pub mod required;
pub mod rewrite;
pub mod running;
pub(crate) mod sifted;
pub mod start;
pub mod subscribe;
pub mod suspended;
pub mod talk;
pub mod tasks;
pub mod waiting;
mod written;
