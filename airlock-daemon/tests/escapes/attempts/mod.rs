//! Every attempt, by what it goes for.

pub(crate) mod bpf;
pub(crate) mod cgroups;
pub(crate) mod descriptors;
pub(crate) mod families;
pub(crate) mod files;
pub(crate) mod internet;
pub(crate) mod machine;
pub(crate) mod namespaces;
pub(crate) mod processes;
pub(crate) mod unix;

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::attempt::Attempt;

/// Gives the attempts of a group.
type Group = fn() -> Vec<Attempt>;

/// The groups: each is one test.
pub(crate) const GROUPS: [(&str, Group); 10] = [
    ("families", families::attempts),
    ("internet", internet::attempts),
    ("descriptors", descriptors::attempts),
    ("unix", unix::attempts),
    ("namespaces", namespaces::attempts),
    ("processes", processes::attempts),
    ("bpf", bpf::attempts),
    ("cgroups", cgroups::attempts),
    ("files", files::attempts),
    ("machine", machine::attempts),
];

/// All of them.
pub(crate) fn all() -> Vec<Attempt> {
    GROUPS.iter().flat_map(|(_, attempts)| attempts()).collect()
}

/// The error of an attempt where this kernel does not have what it needs.
fn absent() -> io::Error {
    io::Error::from_raw_os_error(libc::ENODEV)
}

/// A path for the kernel, with its zero.
fn path(path: &Path) -> Vec<u8> {
    // A path with a zero in it is none; the attempt fails with an error that counts for nothing.
    CString::new(path.as_os_str().as_bytes()).map(CString::into_bytes_with_nul).unwrap_or_default()
}

/// The number of a descriptor.
fn number(fd: &impl std::os::fd::AsFd) -> RawFd {
    let fd: BorrowedFd<'_> = fd.as_fd();
    fd.as_fd().as_raw_fd()
}
