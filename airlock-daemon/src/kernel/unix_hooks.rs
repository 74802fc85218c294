//! The two programs that the loader library has no attach type for: `connect_unix` and `sendmsg_unix` (Linux
//! 6.7).
//!
//! They refuse every connection and every addressed datagram of unix sockets that were born in the cgroup.
//! Their instructions come from the same object as all others, and are loaded and linked by `bpf(2)` itself.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};

use airlock_ebpf::Hook;
use aya::Ebpf;
use aya::maps::Map;
use aya_obj::Object;
use aya_obj::generated::{bpf_attach_type, bpf_cmd, bpf_insn, bpf_prog_type};

use super::links::{self, Links};
use super::loader::OBJECT;

/// The hooks, and how the kernel calls their places.
const PLACES: [(Hook, bpf_attach_type); 2] = [
    (Hook::ConnectUnix, bpf_attach_type::BPF_CGROUP_UNIX_CONNECT),
    (Hook::SendmsgUnix, bpf_attach_type::BPF_CGROUP_UNIX_SENDMSG),
];

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

/// Which of the two was refused.
#[derive(Debug, thiserror::Error)]
#[error("{hook}: {source}")]
pub(super) struct UnixHookError {
    hook: &'static str,
    pub(super) source: io::Error,
}

/// Loads both programs and links them to the cgroup whose directory is open as `cgroup`. They use the maps of
/// `ebpf`.
pub(super) fn attach(ebpf: &Ebpf, cgroup: &File) -> Result<Links, UnixHookError> {
    let failed = |hook: Hook| move |source| UnixHookError { hook: hook.name(), source };
    let object = relocated(ebpf).map_err(failed(Hook::ConnectUnix))?;
    let mut links = Links::default();
    for (hook, attach_type) in PLACES {
        instructions(&object, hook.name())
            .and_then(|instructions| load(hook.name(), instructions, attach_type))
            .and_then(|program| links.add_to_cgroup(hook.name(), program.as_fd(), cgroup, attach_type))
            .map_err(failed(hook))?;
    }
    Ok(links)
}

/// The object with the maps of `ebpf` in their places.
fn relocated(ebpf: &Ebpf) -> io::Result<Object> {
    let mut object = Object::parse(OBJECT.unwrap_or_default()).map_err(io::Error::other)?;
    let sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    let maps = object.maps.clone();
    // A map that these two programs do not use may have gone to its owner: it stands in none of their
    // instructions.
    let places = maps.iter().map(|(name, map)| {
        let fd = ebpf.map(name).and_then(descriptor).unwrap_or(-1);
        (name.as_str(), fd, map)
    });
    object.relocate_maps(places, &sections).map_err(io::Error::other)?;
    object.relocate_calls(&sections).map_err(io::Error::other)?;
    Ok(object)
}

/// The instructions of a program of the object.
fn instructions<'a>(object: &'a Object, name: &str) -> io::Result<&'a [bpf_insn]> {
    let key = object.programs.get(name).map(aya_obj::Program::function_key);
    let function = key.and_then(|key| object.functions.get(&key));
    function
        .map(|function| function.instructions.as_slice())
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

fn load(name: &str, instructions: &[bpf_insn], attach_type: bpf_attach_type) -> io::Result<OwnedFd> {
    let license = c"GPL";
    let mut attr = LoadAttr {
        prog_type: bpf_prog_type::BPF_PROG_TYPE_CGROUP_SOCK_ADDR as u32,
        insn_cnt: u32::try_from(instructions.len()).map_err(io::Error::other)?,
        insns: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        expected_attach_type: attach_type as u32,
        ..LoadAttr::default()
    };
    // The last byte stays zero.
    for (place, byte) in attr.prog_name.iter_mut().take(15).zip(name.bytes()) {
        *place = byte;
    }
    links::open(bpf_cmd::BPF_PROG_LOAD, &attr)
}
