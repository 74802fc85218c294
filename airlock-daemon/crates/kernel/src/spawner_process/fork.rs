//! The birth of the spawner.
#![allow(unsafe_code)]

use std::io;

use rustix::process::{Pid, getpid};

use super::serve;
use super::table::Table;
use crate::spawner::{Spawner, channel};

impl Spawner {
    /// Starts the process. Call before this one has a second thread, or anything that the other is not to
    /// have.
    ///
    /// # Errors
    /// When there is no room for a process.
    pub fn fork(table: Table) -> io::Result<Self> {
        let (control, theirs) = channel::pair()?;
        let names = table.servers.iter().map(|server| server.name.clone()).collect();
        let parent = getpid();
        // SAFETY: the C library's own function, which makes its allocator usable in the child even if there
        // were other threads. The child never returns from `serve`, so nothing of this stack runs twice.
        match unsafe { libc::fork() } {
            0 => serve::serve(&theirs, table, parent),
            pid => match Pid::from_raw(pid.max(0)) {
                Some(pid) => Ok(Self { control, pid, names }),
                None => Err(io::Error::last_os_error()),
            },
        }
    }
}
