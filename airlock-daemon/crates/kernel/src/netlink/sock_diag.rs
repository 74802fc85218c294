//! Sockets of other processes, as the kernel's diagnosis tells them. See `sock_diag(7)`.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{DUMP, SOCK_DIAG, ask, attributes};

/// `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
/// `AF_UNIX`, and `SOCK_DGRAM`.
const AF_UNIX: u8 = 1;
const DATAGRAMS: u8 = 2;
/// `TCP_ESTABLISHED`, `TCP_CLOSE` and `TCP_LISTEN`, which unix sockets have as well. One of datagrams is in
/// the first as soon as somebody has connected to it.
const STATES: [u8; 3] = [1, 7, LISTENING];
const LISTENING: u8 = 10;
/// `UDIAG_SHOW_VFS`, and its answer `UNIX_DIAG_VFS`: the inode and the device of the socket's file.
const SHOW_FILE: u32 = 2;
const FILE: u16 = 1;
/// Where `struct unix_diag_msg` has the cookie, and its length.
const COOKIE: std::ops::Range<usize> = 8..16;
const MESSAGE: usize = 16;

/// The cookie (`SO_COOKIE`) of the unix socket that listens, or is sent datagrams, at a path.
///
/// # Errors
/// When there is no such file, when nobody listens there, and when the kernel does not tell (`unix_diag` is a
/// module of it).
pub(crate) fn cookie_of(path: &Path) -> io::Result<u64> {
    let file = fs::metadata(path)?;
    let device = (rustix::fs::major(file.dev()) << 20) | rustix::fs::minor(file.dev());
    let mut request = vec![AF_UNIX, 0, 0, 0];
    let states = STATES.into_iter().fold(0, |states, state| states | 1 << state);
    for word in [states, 0, SHOW_FILE, u32::MAX, u32::MAX] {
        request.extend(word.to_ne_bytes());
    }
    let sockets = ask(SOCK_DIAG, BY_FAMILY, DUMP, &request)?;
    sockets
        .iter()
        .filter(|(kind, _)| *kind == BY_FAMILY)
        .find_map(|(_, socket)| cookie(socket, file.ino(), device))
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "nobody listens there"))
}

/// The cookie of a socket, if others reach it by this file, which those that were accepted there have as
/// well. The kernel tells the lower half of an inode's number.
fn cookie(socket: &[u8], inode: u64, device: u32) -> Option<u64> {
    let (_, file) = attributes(socket.get(MESSAGE..)?).find(|(kind, _)| *kind == FILE)?;
    let word = |at: usize| Some(u32::from_ne_bytes(file.get(at..at + 4)?.try_into().ok()?));
    let is_reached = *socket.get(1)? == DATAGRAMS || *socket.get(2)? == LISTENING;
    let is_same = u64::from(word(0)?) == inode & u64::from(u32::MAX) && word(4)? == device;
    (is_same && is_reached).then(|| socket.get(COOKIE)?.try_into().ok().map(u64::from_ne_bytes)).flatten()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use super::*;
    use crate::netlink::tests::attribute;

    #[test]
    fn the_listener_of_a_path_is_found_by_its_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        let ours = UnixListener::bind(&path).expect("a listener");
        let _other = UnixListener::bind(dir.path().join("other")).expect("a listener");
        let _connected = UnixStream::connect(&path).expect("connected");
        let _accepted = ours.accept().expect("accepted");
        let expected = rustix::net::sockopt::socket_cookie(&ours).expect("its cookie");
        let datagrams = UnixDatagram::bind(dir.path().join("datagrams")).expect("a socket");
        match cookie_of(&path) {
            Ok(cookie) => assert_eq!(cookie, expected),
            // A kernel without the module.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                return crate::skip::skip("this kernel has no unix_diag");
            }
            Err(error) => panic!("{error}"),
        }
        std::os::unix::fs::symlink(&path, dir.path().join("link")).expect("a link");
        assert_eq!(cookie_of(&dir.path().join("link")).expect("the same file"), expected);
        let sender = UnixDatagram::unbound().expect("a socket");
        sender.connect(dir.path().join("datagrams")).expect("connected");
        let expected = rustix::net::sockopt::socket_cookie(&datagrams).expect("its cookie");
        assert_eq!(cookie_of(&dir.path().join("datagrams")).expect("that of datagrams"), expected);
        drop(ours);
        assert_eq!(cookie_of(&path).expect_err("gone").to_string(), "nobody listens there");
        assert!(cookie_of(&dir.path().join("nowhere")).is_err());
    }

    #[test]
    fn what_is_cut_has_no_cookie() {
        let mut socket = vec![AF_UNIX, 1, 10, 0, 7, 0, 0, 0];
        socket.extend(77_u64.to_ne_bytes());
        socket.extend(attribute(FILE, &[5_u32.to_ne_bytes(), 9_u32.to_ne_bytes()].concat()));
        assert_eq!(cookie(&socket, 5 | 3 << 32, 9), Some(77));
        assert_eq!((cookie(&socket, 6, 9), cookie(&socket, 5, 8)), (None, None));
        let accepted = [&[AF_UNIX, 1, 1], &socket[3..]].concat();
        assert_eq!(cookie(&accepted, 5, 9), None);
        for length in 0..socket.len() {
            assert_eq!(cookie(&socket[..length], 5, 9), None, "{length}");
        }
    }
}
