//! The two programs that the loader library has no attach type for: `connect_unix` and `sendmsg_unix` (Linux 6.7).
//!
//! They refuse every connection and every addressed datagram of unix sockets that were born in the cgroup. Their instructions
//! come from the same object as all others, and are loaded and linked by `bpf(2)` itself.
#![allow(unsafe_code)]

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd, FromRawFd, OwnedFd, RawFd};

use airlock_ebpf::Hook;
use aya::Ebpf;
use aya::maps::Map;
use aya_obj::Object;
use aya_obj::generated::bpf_insn;

use super::loader::OBJECT;

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
    /// Loads both programs and links them to the cgroup whose directory is open as `cgroup`. They use the maps of `ebpf`.
    pub(super) fn attach(ebpf: &Ebpf, cgroup: &File) -> Result<Self, UnixHookError> {
        let cgroup = cgroup.as_raw_fd();
        let attach = |hook: Hook, attach_type| {
            instructions(ebpf, hook.name())
                .and_then(|instructions| load(hook.name(), &instructions, attach_type))
                .and_then(|program| link(&program, cgroup, attach_type))
                .map_err(|source| UnixHookError { hook: hook.name(), source })
        };
        Ok(Self {
            _links: [attach(Hook::ConnectUnix, UNIX_CONNECT)?, attach(Hook::SendmsgUnix, UNIX_SENDMSG)?],
        })
    }
}

/// The instructions of a program of the object, with the maps of `ebpf` in their places.
fn instructions(ebpf: &Ebpf, name: &str) -> io::Result<Vec<bpf_insn>> {
    let mut object = Object::parse(OBJECT.unwrap_or_default()).map_err(io::Error::other)?;
    let sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    let maps = object.maps.clone();
    // A map that these two programs do not use may have gone to its owner: it stands in none of their instructions.
    let places = maps.iter().map(|(name, map)| {
        let fd = ebpf.map(name).and_then(descriptor).unwrap_or(-1);
        (name.as_str(), fd, map)
    });
    object.relocate_maps(places, &sections).map_err(io::Error::other)?;
    object.relocate_calls(&sections).map_err(io::Error::other)?;
    let key = object.programs.get(name).map(aya_obj::Program::function_key);
    let function = key.and_then(|key| object.functions.get(&key));
    function
        .map(|function| function.instructions.clone())
        .ok_or_else(|| io::Error::other("the embedded object has no such program"))
}

/// The descriptor of a map of the kinds that a refusal uses.
fn descriptor(map: &Map) -> Option<RawFd> {
    match map {
        Map::PerCpuArray(map) | Map::RingBuf(map) | Map::LruHashMap(map) => {
            Some(map.fd().as_fd().as_raw_fd())
        }
        _ => None,
    }
}

fn load(name: &str, instructions: &[bpf_insn], attach_type: u32) -> io::Result<OwnedFd> {
    let license = c"GPL";
    let mut attr = LoadAttr {
        prog_type: CGROUP_SOCK_ADDR,
        insn_cnt: u32::try_from(instructions.len()).map_err(io::Error::other)?,
        insns: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        expected_attach_type: attach_type,
        ..LoadAttr::default()
    };
    // The last byte stays zero.
    for (place, byte) in attr.prog_name.iter_mut().take(15).zip(name.bytes()) {
        *place = byte;
    }
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
