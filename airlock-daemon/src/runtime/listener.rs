//! The listening sockets: handed over by systemd, or opened here.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{FromRawFd as _, OwnedFd};

/// A listener cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// `bind(2)` or `listen(2)` failed.
    #[error("cannot listen on {address}: {error}. {remedy}")]
    Bind {
        /// The address of `server.listen`.
        address: SocketAddr,
        /// What the kernel said.
        error: io::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// systemd handed over something else.
    #[error(
        "the sockets handed over by systemd cannot be used: {0}. Use ListenStream= with TCP addresses in airlock.socket"
    )]
    Activation(String),
}

/// Opens all listeners; sockets handed over by systemd take the place of `server.listen`.
///
/// # Errors
/// [`ListenError`] with the remedy.
pub fn open(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, ListenError> {
    let activated = activated()?;
    if !activated.is_empty() {
        return Ok(activated);
    }
    addresses.iter().map(|address| bind(*address)).collect()
}

/// Opens one listener that is never handed over.
///
/// # Errors
/// [`ListenError`] with the remedy.
pub fn open_one(address: SocketAddr) -> Result<TcpListener, ListenError> {
    bind(address)
}

fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let listener = TcpListener::bind(address).map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "Another process has the port: `ss -ltnp` names it. Stop it or choose another `server.listen`"
            }
            io::ErrorKind::PermissionDenied => {
                "Ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher port or add the capability to the unit"
            }
            io::ErrorKind::AddrNotAvailable => "The host does not have this address: `ip address` lists those that it has",
            _ => "Check `server.listen`",
        };
        ListenError::Bind { address, error, remedy }
    })?;
    // Each worker accepts from the same socket, so none may block in accept.
    listener.set_nonblocking(true).map_err(|error| ListenError::Bind {
        address,
        error,
        remedy: "Check `server.listen`",
    })?;
    Ok(listener)
}

/// Sockets of systemd's socket activation, empty without.
#[allow(unsafe_code)]
fn activated() -> Result<Vec<TcpListener>, ListenError> {
    let fds = systemd::daemon::listen_fds().map_err(|error| ListenError::Activation(error.to_string()))?;
    fds.iter()
        .map(|fd| {
            match systemd::daemon::is_socket_inet(
                fd,
                None,
                Some(systemd::daemon::SocketType::Stream),
                systemd::daemon::Listening::IsListening,
                None,
            ) {
                Ok(true) => {}
                Ok(false) => {
                    return Err(ListenError::Activation(format!(
                        "descriptor {fd} is not a listening TCP socket"
                    )));
                }
                Err(error) => return Err(ListenError::Activation(error.to_string())),
            }
            // SAFETY: systemd passes the descriptors from 3 on to this process alone (`listen_fds` checks LISTEN_PID), and
            // `open` runs once, at start, before anything else could own one of them.
            let owned = unsafe { OwnedFd::from_raw_fd(fd) };
            let listener = TcpListener::from(owned);
            listener.set_nonblocking(true).map_err(|error| ListenError::Activation(error.to_string()))?;
            Ok(listener)
        })
        .collect()
}

/// Gives another worker its own descriptor of the same listening socket.
///
/// # Errors
/// When the process is out of descriptors.
pub fn share(listeners: &[TcpListener]) -> io::Result<Vec<TcpListener>> {
    listeners.iter().map(TcpListener::try_clone).collect()
}
