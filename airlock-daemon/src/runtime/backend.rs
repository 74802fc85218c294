//! Which kind of socket I/O this process uses: asked of the kernel by trying, never of a version number.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use crate::config::schema::Io;

use super::stream::BoxStream;
use super::{epoll, uring};

/// Submission queue entries of one worker's ring.
const RING_ENTRIES: u32 = 1024;

/// The kind of socket I/O in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// `io_uring`.
    IoUring,
    /// epoll.
    Epoll,
}

/// The choice, and why.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The kind of I/O.
    pub backend: Backend,
    /// One sentence for the log and `/info`.
    pub why: String,
}

/// `server.io: io_uring`, and the kernel refuses.
#[derive(Debug, thiserror::Error)]
#[error(
    "server.io is `io_uring`, but the kernel refuses a ring: {error}. Allow io_uring_setup (kernel.io_uring_disabled=0, no seccomp filter \
     against it, memory lock limit), or set `server.io: auto`"
)]
pub struct RingRefused {
    error: io::Error,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        })
    }
}

/// Decides by setting up a ring for real.
///
/// # Errors
/// [`RingRefused`] when `io_uring` is demanded and cannot be had.
pub fn choose(io: Io) -> Result<Choice, RingRefused> {
    if io == Io::Epoll {
        return Ok(Choice { backend: Backend::Epoll, why: "server.io is `epoll`".into() });
    }
    match Ring::new() {
        Ok(ring) => {
            Ok(Choice { backend: Backend::IoUring, why: format!("a ring could be set up ({})", ring.flags) })
        }
        Err(error) if io == Io::IoUring => Err(RingRefused { error }),
        Err(error) => {
            Ok(Choice { backend: Backend::Epoll, why: format!("the kernel refuses a ring: {error}") })
        }
    }
}

struct Ring {
    runtime: tokio_uring::Runtime,
    flags: &'static str,
}

impl Ring {
    /// Sets up a ring with the flags that spare interrupts where the kernel has them (5.19 and 6.0),
    /// otherwise without.
    fn new() -> io::Result<Self> {
        let mut tuned = io_uring::IoUring::builder();
        tuned.setup_coop_taskrun().setup_single_issuer();
        let plain = io_uring::IoUring::builder();
        let try_with = |ring: &io_uring::Builder, flags| {
            let mut builder = tokio_uring::builder();
            builder.entries(RING_ENTRIES).uring_builder(ring);
            tokio_uring::Runtime::new(&builder).map(|runtime| Self { runtime, flags })
        };
        try_with(&tuned, "coop_taskrun, single_issuer").or_else(|_| try_with(&plain, "no flags"))
    }
}

impl Backend {
    /// Runs a worker's whole life on the current thread.
    ///
    /// # Errors
    /// When the runtime cannot be set up.
    pub fn run<F: Future>(self, future: F) -> io::Result<F::Output> {
        match self {
            Self::IoUring => Ok(Ring::new()?.runtime.block_on(future)),
            Self::Epoll => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                Ok(tokio::task::LocalSet::new().block_on(&runtime, future))
            }
        }
    }

    /// Takes over a TCP socket, on a worker's thread.
    ///
    /// # Errors
    /// When the socket refuses its options.
    pub fn tcp(self, stream: TcpStream) -> io::Result<BoxStream> {
        match self {
            Self::IoUring => uring::tcp(stream),
            Self::Epoll => epoll::tcp(stream),
        }
    }

    /// Takes over a unix socket, on a worker's thread.
    ///
    /// # Errors
    /// When the socket refuses its options.
    pub fn unix(self, stream: UnixStream) -> io::Result<BoxStream> {
        match self {
            Self::IoUring => uring::unix(stream),
            Self::Epoll => epoll::unix(stream),
        }
    }
}
