//! The attempts of the canary in the cage. It is forked and executes no program, so that nothing but the
//! kernel's hooks is in its way.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io::{self, Read as _};
use std::net::UdpSocket;
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::net::UnixStream;

use crate::confine::Confinement;
use crate::process::clone::Birth;
use crate::process::step::{StartError, StartStep};
use crate::process::wire::tell;

/// The error number of each attempt, 0 where it was allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attempts {
    /// `socket(2)`: IPv4 stream, IPv4 datagram, IPv6 stream, IPv6 datagram.
    pub(crate) ip: [u8; 4],
    /// `connect(2)` to a listening unix socket.
    pub(super) unix_stream: u8,
    /// `sendto(2)` to a bound unix socket.
    pub(super) unix_datagram: u8,
    /// The attempt that only a seal stops: a netlink socket, which nobody needs a privilege for.
    pub(crate) netlink: u8,
    /// Giving a unix socket a name, to be reached at.
    pub(super) unix_bind: u8,
    /// Sending on an IP socket that was inherited.
    pub(crate) inherited: u8,
    /// `bpf(2)`.
    pub(crate) bpf: u8,
    /// A new user namespace.
    pub(super) userns: u8,
    /// Opening its own cgroup's list of processes for writing.
    pub(super) cgroup_write: u8,
    /// A signal to the process that started it.
    pub(crate) signal: u8,
}

impl Attempts {
    const COUNT: usize = 13;

    fn from_bytes(found: [u8; Self::COUNT]) -> Self {
        let [
            a,
            b,
            c,
            d,
            unix_stream,
            unix_datagram,
            netlink,
            unix_bind,
            inherited,
            bpf,
            cgroup_write,
            signal,
            userns,
        ] = found;
        Self {
            ip: [a, b, c, d],
            unix_stream,
            unix_datagram,
            netlink,
            unix_bind,
            inherited,
            bpf,
            userns,
            cgroup_write,
            signal,
        }
    }
}

/// The sockets that wait for the canary outside, and the descriptors that it is given.
pub(super) struct Bait<'a> {
    /// The abstract name, without the leading zero byte, of a stream listener.
    pub(crate) stream: &'a [u8],
    /// The same of a datagram socket.
    pub(crate) datagram: &'a [u8],
    /// An abstract name that nobody has.
    pub(crate) free: &'a [u8],
    /// A file of its cgroup.
    pub(crate) cgroup: CString,
}

/// Starts a child that confines itself and then tries what it must not be able to do; what came of it, and
/// where the child was born. No program is executed.
pub(crate) fn attempt(
    confinement: &Confinement,
    bait: &Bait<'_>,
) -> io::Result<Result<(Attempts, Birth), StartStep>> {
    let (mut reader, writer) = UnixStream::pair()?;
    let [stream, datagram, free] =
        [abstract_address(bait.stream)?, abstract_address(bait.datagram)?, abstract_address(bait.free)?];
    let cgroup = bait.cgroup.clone();
    // To itself: whether the packet arrives is not the question.
    let inherited = UdpSocket::bind("127.0.0.1:0").or_else(|_| UdpSocket::bind("[::1]:0"))?;
    inherited.connect(inherited.local_addr()?)?;
    // The child has ended when the other end of the channel is closed, and is reaped with its value.
    let (_child, birth) = {
        let writer = writer.as_raw_fd();
        // SAFETY: the closure makes system calls only, on values that were made before.
        let started = unsafe {
            confinement.start(|birth| {
                if let Err((step, _)) = confinement.enter(birth, None) {
                    tell(writer, &[step as u8]);
                    return;
                }
                let found: [u8; Attempts::COUNT] = [
                    try_socket(libc::AF_INET, libc::SOCK_STREAM),
                    try_socket(libc::AF_INET, libc::SOCK_DGRAM),
                    try_socket(libc::AF_INET6, libc::SOCK_STREAM),
                    try_socket(libc::AF_INET6, libc::SOCK_DGRAM),
                    try_unix(libc::SOCK_STREAM, &stream),
                    try_unix(libc::SOCK_DGRAM, &datagram),
                    try_socket(libc::AF_NETLINK, libc::SOCK_RAW),
                    try_bind(&free),
                    try_send(inherited.as_raw_fd()),
                    try_bpf(),
                    try_open(&cgroup),
                    try_signal(),
                    // Last: in a namespace of its own the canary would be another one.
                    try_user_namespace(),
                ];
                tell(writer, &found);
            })
        };
        match started {
            Ok(started) => started,
            Err(StartError::Step(step, _)) => return Ok(Err(step)),
            Err(StartError::Clone(error) | StartError::Execute(error)) => return Err(error),
        }
    };
    drop(writer);
    let mut found = Vec::new();
    reader.read_to_end(&mut found)?;
    if let Ok(found) = found.as_slice().try_into() {
        return Ok(Ok((Attempts::from_bytes(found), birth)));
    }
    match found.as_slice() {
        [step] => StartStep::from_byte(*step).map(Err).ok_or_else(|| io::Error::other("unknown step")),
        _ => Err(io::Error::other("the canary said nothing")),
    }
}

/// The error number of creating a socket; 0 when it is allowed, 255 for a number that does not fit.
fn try_socket(family: libc::c_int, kind: libc::c_int) -> u8 {
    // SAFETY: plain numbers; what was opened is closed when the child ends, at once.
    result_number(unsafe { libc::socket(family, kind, 0) })
}

/// The same for reaching a unix socket: connecting a stream, sending a datagram without connecting.
fn try_unix(kind: libc::c_int, (address, length): &(libc::sockaddr_un, libc::socklen_t)) -> u8 {
    let address = std::ptr::from_ref(address).cast();
    // SAFETY: plain numbers.
    let socket = unsafe { libc::socket(libc::AF_UNIX, kind, 0) };
    if socket < 0 {
        return result_number(socket);
    }
    if kind == libc::SOCK_STREAM {
        // SAFETY: the address lives for the call, and its length is within it.
        return result_number(unsafe { libc::connect(socket, address, *length) });
    }
    // SAFETY: as above; one byte is sent from a buffer of one byte.
    let sent = unsafe { libc::sendto(socket, [0_u8].as_ptr().cast(), 1, 0, address, *length) };
    result_number(if sent < 0 { -1 } else { 0 })
}

fn result_number(result: libc::c_int) -> u8 {
    if result >= 0 {
        return 0;
    }
    // SAFETY: the address of this thread's errno is always valid.
    u8::try_from(unsafe { *libc::__errno_location() }).unwrap_or(u8::MAX)
}

fn try_bind((address, length): &(libc::sockaddr_un, libc::socklen_t)) -> u8 {
    // SAFETY: plain numbers.
    let socket = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0) };
    if socket < 0 {
        return result_number(socket);
    }
    // SAFETY: the address lives for the call, and its length is within it.
    result_number(unsafe { libc::bind(socket, std::ptr::from_ref(address).cast(), *length) })
}

/// Sends a byte on a connected socket.
fn try_send(socket: RawFd) -> u8 {
    // SAFETY: one byte is sent from a buffer of one byte.
    let sent = unsafe { libc::send(socket, [0_u8].as_ptr().cast(), 1, libc::MSG_DONTWAIT) };
    result_number(if sent < 0 { -1 } else { 0 })
}

/// Asks for a map: an array of one number.
fn try_bpf() -> u8 {
    /// `BPF_MAP_CREATE`.
    const MAP_CREATE: libc::c_int = 0;
    // Type (array), sizes of key and value, entries.
    let attr: [u32; 4] = [2, 4, 4, 1];
    // SAFETY: a live prefix of `union bpf_attr`, with its true size.
    let made = unsafe { libc::syscall(libc::SYS_bpf, MAP_CREATE, attr.as_ptr(), size_of_val(&attr)) };
    result_number(if made < 0 { -1 } else { 0 })
}

fn try_open(path: &CString) -> u8 {
    // SAFETY: the path is a string with its end, and lives for the call.
    result_number(unsafe { libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) })
}

/// Asks by signal 0, which does nothing to whoever may be sent one.
fn try_signal() -> u8 {
    // SAFETY: plain numbers.
    result_number(unsafe { libc::kill(libc::getppid(), 0) })
}

fn try_user_namespace() -> u8 {
    // SAFETY: plain numbers; the child is about to end.
    result_number(unsafe { libc::unshare(libc::CLONE_NEWUSER) })
}

/// An abstract unix address.
fn abstract_address(name: &[u8]) -> io::Result<(libc::sockaddr_un, libc::socklen_t)> {
    // SAFETY: the structure is plain numbers, for which zero is valid.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::sa_family_t::try_from(libc::AF_UNIX).map_err(io::Error::other)?;
    let place = address.sun_path.get_mut(1..=name.len()).ok_or(io::ErrorKind::InvalidInput)?;
    for (to, from) in place.iter_mut().zip(name) {
        *to = (*from).cast_signed();
    }
    let length = std::mem::offset_of!(libc::sockaddr_un, sun_path) + 1 + name.len();
    Ok((address, libc::socklen_t::try_from(length).map_err(io::Error::other)?))
}

#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};

    use super::*;

    #[test]
    fn outside_of_a_cage_the_canary_gets_out() {
        let name = |kind: &str| format!("airlock-attempt-{kind}-{}", std::process::id()).into_bytes();
        let (stream, datagram, free) = (name("stream"), name("datagram"), name("free"));
        let address = |name: &[u8]| SocketAddr::from_abstract_name(name).expect("an address");
        let _listener = UnixListener::bind_addr(&address(&stream)).expect("a listener");
        let _receiver = UnixDatagram::bind_addr(&address(&datagram)).expect("a receiver");
        let bait = Bait { stream: &stream, datagram: &datagram, free: &free, cgroup: c"/dev/null".into() };
        let (attempts, _) = attempt(&Confinement::default(), &bait).expect("a canary").expect("every step");
        let [v4_stream, v4_datagram, _, _] = attempts.ip;
        assert_eq!([v4_stream, v4_datagram, attempts.unix_stream, attempts.unix_datagram], [0; 4]);
        assert_eq!([attempts.netlink, attempts.unix_bind, attempts.inherited], [0; 3]);
        assert_eq!([attempts.cgroup_write, attempts.signal], [0; 2]);
        assert_eq!(attempts.rung(), None);
    }
}
