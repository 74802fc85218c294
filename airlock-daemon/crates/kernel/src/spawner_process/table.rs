//! The servers that the spawner may start.

use super::super::command::ServerCommand;
use airlock_config::schema::{KernelMode, Pin};
use std::fmt;
use std::path::PathBuf;

/// A server that may be started.
pub struct Startable {
    /// The upstream.
    pub name: String,
    /// Its cage.
    pub pin: Pin,
    /// How to start it, with its secrets as they are at that time.
    pub command: Box<dyn Fn() -> Result<ServerCommand, String> + Send + Sync>,
}

impl fmt::Debug for Startable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Startable").field("name", &self.name).finish_non_exhaustive()
    }
}

/// All that the process that starts servers knows.
#[derive(Debug)]
pub struct Table {
    /// The servers.
    pub servers: Vec<Startable>,
    /// The mode of the kernel half.
    pub mode: KernelMode,
    /// Files and directories that are hidden from every server.
    pub hidden: Vec<PathBuf>,
}
