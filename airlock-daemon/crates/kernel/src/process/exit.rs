//! The end of a process, told by the kernel: a descriptor of the process (`pidfd_open(2)`) is readable from
//! then on.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The end of one process, to be waited for on the runtime that it was made in.
#[derive(Debug)]
pub struct Exit(AsyncFd<OwnedFd>);

impl Exit {
    /// The end of a process, by its descriptor. Call inside of a runtime with I/O.
    pub(crate) fn of(process: OwnedFd) -> io::Result<Self> {
        // SAFETY: an `OwnedFd` has one open descriptor, always the same, and closes it when it is dropped;
        // the `AsyncFd` owns it until then.
        unsafe { AsyncFd::register_with_interest(process, Interest::READABLE) }
            .map(Self)
            .map_err(io::Error::from)
    }

    /// Waits for it. It stays unreaped.
    ///
    /// # Errors
    /// When the runtime ends.
    pub async fn wait(&self) -> io::Result<()> {
        self.0.readable().await.map(|_| ())
    }
}
