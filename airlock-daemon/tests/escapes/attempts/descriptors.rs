//! Sockets that were born outside: forgotten by the daemon, passed by an accomplice, stolen.

use std::io::{self, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use airlock::config::schema::Rung;

use super::absent;
use super::internet::send_to;
use crate::attempt::{Attempt, Help, attempt};
use crate::raw::{adopt, call, receive_descriptor};

pub(super) fn attempts() -> Vec<Attempt> {
    const CLOSED: &[i32] = &[libc::EBADF];
    vec![
        attempt("inherited-listener", "accept on a listener that the daemon forgot to close", |place| {
            // A connection is not needed: a listener that may be asked is one too many.
            let socket = adopt(place.forgotten[0])?;
            rustix::net::getsockname(&socket)?;
            rustix::net::listen(&socket, 1)?;
            Ok(())
        })
        .also(CLOSED),
        attempt("inherited-udp", "send by a UDP socket that the daemon forgot to close", |place| {
            let to = place.udp[0].ok_or_else(absent)?;
            send_to(place.forgotten[1].into(), 0, to)
        })
        .also(CLOSED)
        .knocks(),
        attempt("any-descriptor", "any open descriptor besides the three standard streams", |_| {
            for fd in 3..1024 {
                if adopt(fd).is_ok() {
                    return Ok(());
                }
            }
            Err(io::Error::from_raw_os_error(libc::EBADF))
        })
        .also(CLOSED),
        attempt("passed-tcp", "write to a TCP connection that an accomplice sent (`SCM_RIGHTS`)", |_| {
            TcpStream::from(receive_descriptor()?).write_all(b"!")
        })
        .helped(Help::SendTcp)
        .from(Rung::Sealed),
        attempt("passed-unix", "write to a unix connection that an accomplice sent", |_| {
            UnixStream::from(receive_descriptor()?).write_all(b"!")
        })
        .helped(Help::SendUnix)
        .from(Rung::Sealed),
        attempt("stolen-socket", "take another process's connection by `pidfd_getfd`", |place| {
            let pid = i64::from(place.victim);
            let pidfd = call(libc::SYS_pidfd_open, [pid.into(), 0.into()])?;
            let socket = call(libc::SYS_pidfd_getfd, [pidfd.into(), place.victim_socket.into(), 0.into()])?;
            let socket = adopt(i32::try_from(socket).map_err(io::Error::other)?)?;
            TcpStream::from(socket).write_all(b"!")
        })
        .also(&[libc::ESRCH]),
    ]
}
