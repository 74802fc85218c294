//! Reasons why a socket cannot be listened at.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A listener cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// `bind(2)` or `listen(2)` failed.
    #[error("cannot listen on {address}: {error}. {remedy}")]
    Bind {
        /// The address of `server.listen`.
        address: SocketAddr,
        /// The kernel's error.
        error: io::Error,
        /// The remedy.
        remedy: &'static str,
    },
    /// The unix socket cannot be made.
    #[error("cannot listen on {}: {error}. {remedy}", path.display())]
    Unix {
        /// Its path.
        path: PathBuf,
        /// The obstacle.
        error: io::Error,
        /// The remedy.
        remedy: String,
    },
    /// systemd handed over something else.
    #[error(
        "the sockets handed over by systemd cannot be used: {0}. Use ListenStream= with TCP addresses and paths in airlock.socket"
    )]
    Activation(String),
}
