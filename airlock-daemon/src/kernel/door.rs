//! A door in a sealed cage: one listening socket that its processes may connect to.
//!
//! It is known by the socket's cookie, which the kernel gives out once; no path, link, mount or name is looked at.

use std::os::fd::AsFd;
use std::sync::Arc;

use airlock_ebpf::Door as Entry;

use super::spawn::Cell;
use super::{KernelError, KernelHalf, Programs, sealed};

/// An open door. It closes with this value; connections that were made through it stay.
#[derive(Debug)]
#[must_use = "the door closes when this is dropped"]
pub struct Door {
    programs: Arc<Programs>,
    entry: Entry,
}

impl KernelHalf {
    /// Lets the processes of this cell connect to a listening unix socket, on the rung `sealed`; below it nothing looks at
    /// doors, and this changes nothing: `no-network` refuses every unix connection, `no-ip` none.
    ///
    /// `None` where there are no programs or the cell has no cgroup.
    ///
    /// # Errors
    /// When 1,024 doors are open, or `listener` is no socket.
    pub fn open_door(&self, cell: &Cell, listener: impl AsFd) -> Result<Option<Door>, KernelError> {
        let (Some(programs), Some(leaf)) = (&self.programs, &cell.leaf) else { return Ok(None) };
        let cookie = rustix::net::sockopt::socket_cookie(listener)
            .map_err(|error| KernelError::Door(std::io::Error::from(error)))?;
        let entry = Entry { cgroup: leaf.id()?, cookie };
        sealed::open_door(&mut programs.lock(), entry)?;
        Ok(Some(Door { programs: Arc::clone(programs), entry }))
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Err(error) = sealed::close_door(&mut self.programs.lock(), self.entry) {
            tracing::warn!(%error, "a door of a cage stays open for a cgroup that is gone");
        }
    }
}
