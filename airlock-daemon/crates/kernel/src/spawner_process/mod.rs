//! The other side of [`super::spawner`]: the process that starts servers.

mod fork;
mod serve;
pub mod table;
