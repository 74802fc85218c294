//! Tool locks: the definitions that are trusted, in force and on disk, and those that are held back.
//!
//! [`ToolLocks`] has the file in force; a [`Guard`] compares what one server lists with it and remembers what
//! each principal was shown of late. The comparing itself, and the form of the file, are in
//! `airlock_tool_locks`, which knows nothing of who asks.

mod approve;
mod book;
mod bound;
mod changed;
mod checked;
mod first;
mod guard;
mod locks;
mod note;
mod report;
mod store;

pub use approve::{Approved, Wanted};
pub use changed::Changed;
pub use checked::{faults, hindrances};
pub use first::Lists;
pub use guard::{Guard, Standing, Viewer};
pub use locks::{Hold, Reloaded, ToolLocks};
pub use report::{Entry, Report, State};
