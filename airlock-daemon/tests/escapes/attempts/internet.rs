//! Reaching somebody over IP, whatever the socket.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

use super::{absent, number};
use crate::attempt::{Attempt, OutsideFacts, attempt};
use crate::raw::{Arg, call, uring_connect, uring_socket};

pub(super) fn attempts() -> Vec<Attempt> {
    vec![
        attempt("tcp-connect", "connect to a listener, IPv4", |place| {
            TcpStream::connect(at(place.tcp[0])?).map(drop)
        })
        .knocks(),
        attempt("tcp6-connect", "connect to a listener, IPv6", |place| {
            TcpStream::connect(at(place.tcp[1])?).map(drop)
        })
        .knocks(),
        attempt("tcp-connect-mapped", "connect to an IPv4 listener by an IPv6 socket", |place| {
            let SocketAddr::V4(v4) = at(place.tcp[0])? else { return Err(absent()) };
            TcpStream::connect((v4.ip().to_ipv6_mapped(), v4.port())).map(drop)
        })
        .knocks(),
        attempt("mptcp-connect", "connect by multipath TCP", |place| {
            let socket = socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP)?;
            let address = sockaddr(at(place.tcp[0])?)?;
            call(libc::SYS_connect, [Arg::Number(socket), (&address).into(), 16.into()]).map(drop)
        })
        .lacks(&[libc::ENOPROTOOPT])
        .knocks(),
        attempt("tcp-fast-open", "TCP fast open: data before `connect`", |place| {
            let socket = socket(libc::AF_INET, libc::SOCK_STREAM, 0)?;
            send_to(socket, libc::MSG_FASTOPEN, at(place.tcp[0])?)
        })
        .knocks(),
        attempt("udp-connect", "a connected UDP socket, IPv4", |place| {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.connect(at(place.udp[0])?)?;
            socket.send(b"!").map(drop)
        })
        .knocks(),
        attempt("udp-send", "a datagram, IPv4", |place| {
            let socket = socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
            send_to(socket, 0, at(place.udp[0])?)
        })
        .knocks(),
        attempt("udp6-send", "a datagram, IPv6", |place| {
            let socket = UdpSocket::bind("[::1]:0")?;
            socket.send_to(b"!", at(place.udp[1])?).map(drop)
        })
        .knocks(),
        attempt("tcp-listen", "listen for somebody to connect", |_| TcpListener::bind("0.0.0.0:0").map(drop)),
        attempt("uring-connect", "io_uring: a socket and its `connect`", |place| {
            let address = sockaddr(at(place.tcp[0])?)?;
            uring_connect(uring_socket(libc::AF_INET, libc::SOCK_STREAM)?, &address)
        })
        .knocks(),
        attempt("uring-connect-plain", "io_uring: `connect` of a socket made otherwise", |place| {
            let address = sockaddr(at(place.tcp[0])?)?;
            let socket = socket(libc::AF_INET, libc::SOCK_STREAM, 0)?;
            uring_connect(i32::try_from(socket).map_err(io::Error::other)?, &address)
        })
        .knocks(),
        attempt("fork-connect", "fork twice, start a session, connect", |place| {
            let to = at(place.tcp[0])?;
            crate::raw::in_child(move || {
                rustix::process::setsid()?;
                crate::raw::in_child(move || TcpStream::connect(to).map(drop))
            })
        })
        .knocks(),
        attempt("exec-connect", "execute another program, which connects", |place| {
            let mut shell = std::process::Command::new(place.dir.join("plain"));
            shell.env(crate::inside::ATTEMPT, "tcp-connect").stdin(std::process::Stdio::null());
            let output = shell.output()?;
            let said = String::from_utf8_lossy(&output.stdout);
            match said.trim().strip_prefix("RESULT ").and_then(|number| number.parse().ok()) {
                Some(0) => Ok(()),
                Some(errno) => Err(io::Error::from_raw_os_error(errno)),
                None => Err(io::Error::other("it said nothing")),
            }
        })
        .also(&[libc::ENOENT])
        .knocks(),
        attempt("thread-connect", "connect on a new thread", |place| {
            let to = at(place.tcp[0])?;
            let thread = std::thread::spawn(move || TcpStream::connect(to).map(drop));
            thread.join().unwrap_or_else(|_| Err(io::Error::other("panicked")))
        })
        .knocks(),
        attempt("so-mark", "a packet past the routes: `SO_MARK` on a new socket", |place: &OutsideFacts| {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            let (level, option) = (libc::SOL_SOCKET, libc::SO_MARK);
            let value = 1_i32.to_ne_bytes();
            let fd = number(&socket);
            call(libc::SYS_setsockopt, [fd.into(), level.into(), option.into(), (&value).into(), 4.into()])?;
            socket.send_to(b"!", at(place.udp[0])?).map(drop)
        })
        .knocks(),
    ]
}

/// An address that this host may not have.
fn at(address: Option<SocketAddr>) -> io::Result<SocketAddr> {
    address.ok_or_else(absent)
}

pub(super) fn socket(family: i32, kind: i32, protocol: i32) -> io::Result<i64> {
    let kind = kind | libc::SOCK_CLOEXEC;
    call::<3>(libc::SYS_socket, [family.into(), kind.into(), protocol.into()])
}

/// Sends one byte to an IPv4 address.
pub(super) fn send_to(socket: i64, flags: i32, to: SocketAddr) -> io::Result<()> {
    let address = sockaddr(to)?;
    call(
        libc::SYS_sendto,
        [Arg::Number(socket), b"!".into(), 1.into(), flags.into(), (&address).into(), 16.into()],
    )
    .map(drop)
}

/// An IPv4 address as the kernel reads it.
pub(super) fn sockaddr(address: SocketAddr) -> io::Result<[u8; 16]> {
    let SocketAddr::V4(address) = address else { return Err(absent()) };
    let mut bytes = [0; 16];
    let family = u16::try_from(libc::AF_INET).map_err(io::Error::other)?;
    bytes[..2].copy_from_slice(&family.to_ne_bytes());
    bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
    bytes[4..8].copy_from_slice(&address.ip().octets());
    Ok(bytes)
}
