//! The steps by which the mounts of a server are put in place: system calls on paths that were prepared
//! before.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;
use std::ptr;

/// One step of putting mounts in place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// Mounts made here from now on stay here, and those of the host stay there.
    Private,
    /// An empty file system, to put a root together on.
    Empty(CString),
    /// An empty file system for whatever a server keeps in memory for a while, with these bounds.
    Scratch(CString, CString),
    /// A directory, to mount on; it may be there.
    Dir(CString),
    /// A directory to which everybody may write, and where nobody removes what is another's.
    Open(CString),
    /// A file, to mount on; it may be there.
    File(CString),
    /// A symbolic link: what it says, and where it is.
    Link(CString, CString),
    /// Shows the files at the first path, with all that is mounted below, at the second as well.
    Bind(CString, CString),
    /// The same to be read only, and without set-user-ID programs.
    ReadOnly(CString),
    /// This directory is the root from now on, to be read only, and the former one is gone.
    Root(CString),
    /// A `/proc` of the namespace that the caller is in is at this directory, to be read only.
    Proc(CString),
    /// Nothing is at this directory, if it is there.
    HideDir(CString),
    /// Nothing is at this file, if it is there.
    HideFile(CString),
}

/// Takes a step. System calls only.
pub(crate) fn run(op: &Op) -> io::Result<()> {
    match op {
        Op::Private => mount(None, c"/", None, libc::MS_REC | libc::MS_PRIVATE, None),
        Op::Empty(at) => empty(at, c"mode=755,size=64k"),
        Op::Scratch(at, bounds) => {
            mount(Some(c"tmpfs"), at, Some(c"tmpfs"), libc::MS_NOSUID | libc::MS_NODEV, Some(bounds))
        }
        Op::Dir(at) => unless(libc::EEXIST, directory(at, 0o755)),
        Op::Open(at) => directory(at, 0o1777),
        Op::File(at) => {
            // SAFETY: a string with its end, which lives for the call.
            unless(libc::EEXIST, done(unsafe { libc::mknod(at.as_ptr(), libc::S_IFREG | 0o444, 0) }))
        }
        Op::Link(to, at) => {
            // SAFETY: as above.
            unless(libc::EEXIST, done(unsafe { libc::symlink(to.as_ptr(), at.as_ptr()) }))
        }
        Op::Bind(from, at) => mount(Some(from), at, None, libc::MS_BIND | libc::MS_REC, None),
        Op::ReadOnly(at) => read_only(at, libc::AT_RECURSIVE),
        Op::Root(at) => change_root(at),
        Op::Proc(at) => {
            let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_RDONLY;
            mount(Some(c"proc"), at, Some(c"proc"), flags, None)
        }
        Op::HideDir(at) => absent(empty(at, c"mode=000,size=4k").and_then(|()| read_only(at, 0))),
        Op::HideFile(at) => absent(mount(Some(c"/dev/null"), at, None, libc::MS_BIND, None)),
    }
}

/// Makes a directory with this mode, whatever the umask is.
fn directory(at: &CStr, mode: libc::mode_t) -> io::Result<()> {
    // SAFETY: a string with its end, which lives for the call.
    done(unsafe { libc::mkdir(at.as_ptr(), mode) })?;
    // SAFETY: as above.
    done(unsafe { libc::chmod(at.as_ptr(), mode) })
}

/// A file that is gone by now is hidden.
fn absent(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| match error.raw_os_error() {
        Some(libc::ENOENT) => Ok(()),
        _ => Err(error),
    })
}

fn empty(at: &CStr, options: &CStr) -> io::Result<()> {
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    mount(Some(c"tmpfs"), at, Some(c"tmpfs"), flags, Some(options))
}

fn mount(
    source: Option<&CStr>,
    at: &CStr,
    kind: Option<&CStr>,
    flags: libc::c_ulong,
    options: Option<&CStr>,
) -> io::Result<()> {
    let pointer = |text: Option<&CStr>| text.map_or(ptr::null(), CStr::as_ptr);
    let options = pointer(options).cast();
    // SAFETY: strings with their ends, or none, which live for the call.
    done(unsafe { libc::mount(pointer(source), at.as_ptr(), pointer(kind), flags, options) })
}

/// With `AT_RECURSIVE` also all that is mounted below. Only adds attributes, which those of an outer user
/// namespace may not be taken off.
fn read_only(at: &CStr, flags: libc::c_int) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: a string with its end, and a structure with its size, which live for the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            at.as_ptr(),
            flags,
            &raw const attributes,
            size_of_val(&attributes),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn change_root(at: &CStr) -> io::Result<()> {
    let here = c".".as_ptr();
    // SAFETY: a string with its end, which lives for the call.
    done(unsafe { libc::chdir(at.as_ptr()) })?;
    // SAFETY: as above. The new root lies over the old one at the same place, which pivot_root(2) describes.
    let pivoted = unsafe { libc::syscall(libc::SYS_pivot_root, here, here) };
    if pivoted == 0 {
        // SAFETY: as above; takes the old root away.
        done(unsafe { libc::umount2(here, libc::MNT_DETACH) })?;
    } else {
        // The first root of a kernel, an initramfs, cannot be left. It is covered, and nobody here may come
        // out from below.
        mount(Some(c"."), c"/", None, libc::MS_MOVE, None)?;
        // SAFETY: as above.
        done(unsafe { libc::chroot(here) })?;
    }
    // SAFETY: as above.
    done(unsafe { libc::chdir(c"/".as_ptr()) })?;
    read_only(c"/", 0)
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The same, where this error is fine.
fn unless(errno: libc::c_int, result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.raw_os_error() == Some(errno) { Ok(()) } else { Err(error) })
}
