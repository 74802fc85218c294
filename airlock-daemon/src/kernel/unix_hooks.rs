//! The two programs that the loader library has no attach type for: `connect_unix` and `sendmsg_unix` (Linux 6.7).
//!
//! Each is two instructions, "return 0", which refuses every connection and every addressed datagram of unix sockets that
//! were born in the cgroup. They are loaded and linked by `bpf(2)` itself.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

/// `BPF_PROG_LOAD`.
const PROG_LOAD: libc::c_int = 5;
/// `BPF_LINK_CREATE`.
const LINK_CREATE: libc::c_int = 28;
/// `BPF_PROG_TYPE_CGROUP_SOCK_ADDR`.
const CGROUP_SOCK_ADDR: u32 = 18;
/// `BPF_CGROUP_UNIX_CONNECT`.
const UNIX_CONNECT: u32 = 49;
/// `BPF_CGROUP_UNIX_SENDMSG`.
const UNIX_SENDMSG: u32 = 50;

/// `mov64 r0, 0` and `exit`.
const DENY: [u64; 2] = [0x0000_0000_0000_00b7, 0x0000_0000_0000_0095];

/// The part of `union bpf_attr` for `BPF_PROG_LOAD` that is used here; the kernel takes the rest as zero.
#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// The part of `union bpf_attr` for `BPF_LINK_CREATE`.
#[repr(C)]
struct LinkAttr {
    prog_fd: i32,
    target_fd: i32,
    attach_type: u32,
    flags: u32,
}

/// The links; the refusals end when this is dropped.
#[derive(Debug)]
pub(super) struct UnixHooks {
    _links: [OwnedFd; 2],
}

/// Which of the two was refused.
#[derive(Debug, thiserror::Error)]
#[error("{hook}: {source}")]
pub(super) struct UnixHookError {
    hook: &'static str,
    pub(super) source: io::Error,
}

impl UnixHooks {
    /// Loads both programs and links them to the cgroup whose directory is open as `cgroup`.
    pub(super) fn attach(cgroup: impl AsFd) -> Result<Self, UnixHookError> {
        let cgroup = cgroup.as_fd().as_raw_fd();
        let attach = |hook, name, attach_type| {
            load(name, attach_type)
                .and_then(|program| link(&program, cgroup, attach_type))
                .map_err(|source| UnixHookError { hook, source })
        };
        Ok(Self {
            _links: [
                attach("connect_unix", b"connect_unix\0\0\0\0", UNIX_CONNECT)?,
                attach("sendmsg_unix", b"sendmsg_unix\0\0\0\0", UNIX_SENDMSG)?,
            ],
        })
    }
}

fn load(name: &[u8; 16], attach_type: u32) -> io::Result<OwnedFd> {
    let license = c"GPL";
    let attr = LoadAttr {
        prog_type: CGROUP_SOCK_ADDR,
        insn_cnt: 2,
        insns: DENY.as_ptr() as u64,
        license: license.as_ptr() as u64,
        prog_name: *name,
        expected_attach_type: attach_type,
        ..LoadAttr::default()
    };
    bpf(PROG_LOAD, &attr)
}

fn link(program: &OwnedFd, cgroup: RawFd, attach_type: u32) -> io::Result<OwnedFd> {
    bpf(LINK_CREATE, &LinkAttr { prog_fd: program.as_raw_fd(), target_fd: cgroup, attach_type, flags: 0 })
}

/// Calls `bpf(2)` with a command that answers with a new descriptor.
fn bpf<T>(command: libc::c_int, attr: &T) -> io::Result<OwnedFd> {
    // SAFETY: `attr` is a live #[repr(C)] prefix of `union bpf_attr` without padding, its true size is passed, and the
    // pointers inside it point to data that outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size_of::<T>()) };
    let fd = RawFd::try_from(result).map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW))?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both commands return a new descriptor that nobody else owns, close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
