//! Words between the processes of a start, and the descriptors that carry them: plain system calls, which
//! neither allocate nor lock, for a process that was just cloned.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// Writes a few bytes, without allocating; the result of `write(2)`.
pub(crate) fn tell(fd: RawFd, bytes: &[u8]) -> libc::c_long {
    // SAFETY: the bytes live for the call.
    unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) as libc::c_long }
}

/// Reads a byte, without allocating, and fails at the end of the stream.
pub(crate) fn hear(fd: RawFd) -> io::Result<()> {
    let mut byte = 0_u8;
    // SAFETY: one byte, which lives for the call.
    match unsafe { libc::read(fd, (&raw mut byte).cast(), 1) } {
        1 => Ok(()),
        0 => Err(io::Error::from_raw_os_error(libc::EPIPE)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// True where the calling process, a child, is closed to others of its user until it executes a program. One
/// system call.
pub(crate) fn set_closed(closed: bool) -> io::Result<()> {
    let dumpable = libc::c_ulong::from(!closed);
    // SAFETY: plain numbers.
    match unsafe { libc::prctl(libc::PR_SET_DUMPABLE, dumpable, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Closes a descriptor in a child, whose copies of values are never dropped.
pub(crate) fn close(fd: RawFd) {
    // SAFETY: a number; nobody uses it in the child afterwards, and the parent's own stays.
    unsafe { libc::close(fd) };
}

/// Both ends of a connection: ours, and the one that becomes a descriptor of the child.
pub(super) fn socket_pair() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    Ok((ours, theirs.into()))
}
