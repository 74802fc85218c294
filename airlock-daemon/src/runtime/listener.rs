//! The listening sockets: handed over by systemd, or opened here.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::{fmt, io};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::config::schema::Server;

use super::listen_error::ListenError;
use super::unix_socket::{self, SocketFile};

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket.
    Unix(UnixListener),
}

impl Listener {
    /// Another descriptor of the same socket.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn share(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(listener) => listener.try_clone().map(Self::Tcp),
            Self::Unix(listener) => listener.try_clone().map(Self::Unix),
        }
    }

    /// The addresses that it takes connections to, of TCP only: two of one that takes IPv4 as well as IPv6,
    /// as systemd may hand it over.
    pub fn tcp_addresses(&self) -> Vec<SocketAddr> {
        let Some(address) = self.tcp_address() else { return Vec::new() };
        let Self::Tcp(listener) = self else { return Vec::new() };
        let takes_both = address.is_ipv6()
            && address.ip().is_unspecified()
            && !rustix::net::sockopt::ipv6_v6only(listener).unwrap_or(false);
        let v4 = SocketAddr::from(([0, 0, 0, 0], address.port()));
        std::iter::once(address).chain(takes_both.then_some(v4)).collect()
    }

    /// The address, of TCP only.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Listener {
    /// For TCP the address, for a unix socket `unix:` and its path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => write!(f, "{address}"),
                Err(_) => f.write_str("an address that is not known"),
            },
            Self::Unix(listener) => {
                let address = listener.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                write!(f, "unix:{}", path.unwrap_or_else(|| "(no path)".as_ref()).display())
            }
        }
    }
}

/// Opens all listeners; sockets handed over by systemd take the place of `server.listen` and
/// `server.unix_socket`. To be called while the process has one thread.
///
/// # Errors
/// [`ListenError`] with the remedy.
pub fn open(server: &Server) -> Result<(Vec<Listener>, Option<SocketFile>), ListenError> {
    let activated = activated()?;
    if !activated.is_empty() {
        return Ok((activated, None));
    }
    let mut listeners = Vec::with_capacity(server.listen.len() + 1);
    for address in &server.listen {
        listeners.push(Listener::Tcp(bind(*address)?));
    }
    let Some(path) = &server.unix_socket else { return Ok((listeners, None)) };
    let (listener, file) = unix_socket::open(path, server.unix_socket_mode, "server.unix_socket")?;
    listeners.push(Listener::Unix(listener));
    Ok((listeners, Some(file)))
}

/// Opens one listener that is never handed over.
///
/// # Errors
/// [`ListenError`] with the remedy.
pub fn open_one(address: SocketAddr) -> Result<TcpListener, ListenError> {
    bind(address)
}

fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let listener = socket(address).map_err(|error| {
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
    Ok(listener)
}

/// A socket that listens on this address and no other: one of IPv6 takes no IPv4, so that `0.0.0.0` and
/// `[::]` are two, whatever `net.ipv6.bindv6only` says. Each worker accepts from the same one, so none may
/// block in accept.
pub(super) fn socket(address: SocketAddr) -> io::Result<TcpListener> {
    /// Connections that wait to be accepted; the kernel takes less where `net.core.somaxconn` says so.
    const WAITING: i32 = 1_024;
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, WAITING)?;
    Ok(socket.into())
}

/// Sockets of systemd's socket activation, empty without.
fn activated() -> Result<Vec<Listener>, ListenError> {
    use systemd::daemon::{Listening, SocketType, is_socket_inet, is_socket_unix, listen_fds};
    let fault = |error: &dyn fmt::Display| ListenError::Activation(error.to_string());
    let fds = listen_fds().map_err(|error| fault(&error))?;
    let mut listeners = Vec::new();
    for fd in fds.iter() {
        let stream = Some(SocketType::Stream);
        let is_tcp = is_socket_inet(fd, None, stream, Listening::IsListening, None);
        let is_unix = is_socket_unix(fd, Some(SocketType::Stream), Listening::IsListening, None::<&str>);
        let (is_tcp, is_unix) =
            (is_tcp.map_err(|error| fault(&error))?, is_unix.map_err(|error| fault(&error))?);
        if !is_tcp && !is_unix {
            return Err(fault(&format_args!("descriptor {fd} is not a listening TCP or unix socket")));
        }
        let owned = own(fd);
        let listener = if is_tcp { Listener::Tcp(owned.into()) } else { Listener::Unix(owned.into()) };
        let blocking = match &listener {
            Listener::Tcp(listener) => listener.set_nonblocking(true),
            Listener::Unix(listener) => listener.set_nonblocking(true),
        };
        blocking.map_err(|error| fault(&error))?;
        listeners.push(listener);
    }
    Ok(listeners)
}

#[allow(unsafe_code)]
fn own(fd: std::os::fd::RawFd) -> OwnedFd {
    // SAFETY: systemd passes the descriptors from 3 on to this process alone (`listen_fds` checks
    // LISTEN_PID), and `open` runs once, at start, before anything else could own one of them.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
