//! Unix sockets: connecting to somebody, sending to somebody, and being connected to.

use std::io;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::Path;

use airlock::config::schema::Rung;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::attempt::{Attempt, Help, attempt};
use crate::inside::listening;
use crate::raw::{uring_connect, uring_socket};

/// The errors that refuse a socket that is not to be seen, besides the usual.
const HIDDEN: &[i32] = &[libc::ENOENT, libc::ENOTDIR];
/// The same for an abstract name, which another network namespace does not have.
const NOBODY: &[i32] = &[libc::ECONNREFUSED];

pub(super) fn attempts() -> Vec<Attempt> {
    let mut attempts = paths();
    attempts.extend(names());
    attempts.extend(bound());
    attempts
}

/// By a path.
fn paths() -> Vec<Attempt> {
    let path = |name: &'static str, tries: &str, file: &'static str| {
        attempt(name, format!("connect to {tries}"), move |place| stream(&place.dir.join(file)))
            .from(Rung::NoNetwork)
            .also(HIDDEN)
            .knocks()
    };
    vec![
        path("unix-path", "a stream socket by its path (as docker's)", "docker.sock"),
        path("unix-symlink", "the same by a symbolic link", "link"),
        path("unix-bind-mount", "the same by a bind mount", "bound"),
        // On its way is a directory of the daemon's.
        path("unix-dots", "the same by a path with dots", "daemon/../bus").by_namespaces(),
        attempt("unix-proc-root", "connect by `/proc/self/root`", |place| {
            let path = place.dir.strip_prefix("/").unwrap_or(&place.dir).join("docker.sock");
            stream(&Path::new("/proc/self/root").join(path))
        })
        .from(Rung::NoNetwork)
        .also(HIDDEN)
        .knocks(),
        attempt("unix-short-path", "connect by a path relative to the socket's directory", |place| {
            std::env::set_current_dir(&place.dir)?;
            stream(Path::new("docker.sock"))
        })
        .from(Rung::NoNetwork)
        .also(HIDDEN)
        .knocks(),
    ]
}

/// By an abstract name, and without a connection.
fn names() -> Vec<Attempt> {
    vec![
        attempt("unix-abstract", "connect to an abstract stream socket", |place| {
            let address = SocketAddr::from_abstract_name(&place.names[0])?;
            UnixStream::connect_addr(&address).map(drop)
        })
        .from(Rung::NoNetwork)
        .by_namespaces()
        .also(NOBODY)
        .knocks(),
        attempt("unix-datagram", "send a datagram to a path (as to /dev/log)", |place| {
            UnixDatagram::unbound()?.send_to(b"!", place.dir.join("log")).map(drop)
        })
        .from(Rung::NoNetwork)
        .also(HIDDEN)
        .knocks(),
        attempt("unix-datagram-connected", "the same by a connected socket", |place| {
            let socket = UnixDatagram::unbound()?;
            socket.connect(place.dir.join("log"))?;
            socket.send(b"!").map(drop)
        })
        .from(Rung::NoNetwork)
        .also(HIDDEN)
        .knocks(),
        attempt("unix-datagram-pair", "turn one half of a pair to a path", |place| {
            let (socket, _other) = UnixDatagram::pair()?;
            socket.connect(place.dir.join("log"))?;
            socket.send(b"!").map(drop)
        })
        .from(Rung::NoNetwork)
        .also(HIDDEN)
        .knocks(),
        attempt("unix-datagram-abstract", "send a datagram to an abstract name", |place| {
            let address = SocketAddr::from_abstract_name(&place.names[1])?;
            UnixDatagram::unbound()?.send_to_addr(b"!", &address).map(drop)
        })
        .from(Rung::NoNetwork)
        .by_namespaces()
        .also(NOBODY)
        .knocks(),
        attempt("unix-seqpacket", "connect a packet socket to a path", |place| {
            let address = SocketAddrUnix::new(place.dir.join("packet"))?;
            rustix::net::connect(&packets()?, &address).map_err(Into::into)
        })
        .from(Rung::NoNetwork)
        .also(HIDDEN)
        .knocks(),
        attempt("unix-seqpacket-abstract", "connect a packet socket to an abstract name", |place| {
            let address = SocketAddrUnix::new_abstract_name(place.names[2].as_bytes())?;
            rustix::net::connect(&packets()?, &address).map_err(Into::into)
        })
        .from(Rung::NoNetwork)
        .by_namespaces()
        .also(NOBODY)
        .knocks(),
        attempt("unix-uring", "io_uring: connect to a path", |place| {
            let address = sockaddr(&place.dir.join("docker.sock"))?;
            uring_connect(uring_socket(libc::AF_UNIX, libc::SOCK_STREAM)?, &address)
        })
        .also(HIDDEN)
        .knocks(),
    ]
}

/// The other way round, and to the daemon.
fn bound() -> Vec<Attempt> {
    vec![
        attempt("unix-bind-path", "bind a path, and have an accomplice connect to it", |_| {
            // Where it may make files.
            let at = std::env::temp_dir().join(format!("ours-{}", std::process::id()));
            let listener = UnixListener::bind(&at)?;
            open_to_all(&at)?;
            let answer = listening(&at.display().to_string());
            drop(listener);
            answer
        })
        .helped(Help::Dial)
        .from(Rung::Sealed)
        .by_namespaces()
        .also(&[libc::ENOENT, libc::EROFS, libc::ECONNREFUSED]),
        attempt("unix-bind-abstract", "bind an abstract name, and have an accomplice connect to it", |_| {
            let name = format!("airlock-escapes-ours-{}", std::process::id());
            let _listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
            listening(&format!("@{name}"))
        })
        .helped(Help::Dial)
        .from(Rung::Sealed)
        .by_namespaces()
        .also(&[libc::ECONNREFUSED]),
        attempt("unix-daemon-socket", "connect to the daemon's own socket", |place| {
            stream(&place.daemon.join("admin.sock"))
        })
        .from(Rung::NoNetwork)
        .by_namespaces()
        .also(HIDDEN)
        .knocks(),
    ]
}

fn stream(path: &Path) -> io::Result<()> {
    UnixStream::connect(path).map(drop)
}

fn packets() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Whoever binds a path decides who may connect to it.
fn open_to_all(path: &Path) -> io::Result<()> {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777))
}

/// A path as an address.
fn sockaddr(path: &Path) -> io::Result<Vec<u8>> {
    let family = u16::try_from(libc::AF_UNIX).map_err(io::Error::other)?;
    Ok([&family.to_ne_bytes()[..], &super::path(path)].concat())
}
