//! Programs of the embedded object that the loader library has no type for, loaded by `bpf(2)` itself. They
//! use the maps of those that it has loaded.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};

use aya::Ebpf;
use aya::maps::Map;
use aya_obj::Object;
use aya_obj::generated::{bpf_attach_type, bpf_cmd, bpf_insn, bpf_prog_type};

use super::links;
use super::loader::OBJECT;

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
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
}

/// Where a program is to stand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Purpose {
    /// Its type.
    pub(crate) kind: bpf_prog_type,
    /// The place.
    pub(super) attach_type: bpf_attach_type,
    /// The function of the kernel that it is for, by its number among the kernel's types; 0 for none.
    pub(crate) function: u32,
}

/// The object with the maps in their places.
pub(super) struct Instructions(Object);

impl Instructions {
    /// Those of the embedded object, for programs that use the maps of `ebpf`.
    ///
    /// # Errors
    /// When the object is broken.
    pub(crate) fn of(ebpf: &Ebpf) -> io::Result<Self> {
        let mut object = Object::parse(OBJECT.unwrap_or_default()).map_err(io::Error::other)?;
        let sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
        let maps = object.maps.clone();
        // A map that these programs do not use may have gone to its owner: it stands in none of their
        // instructions.
        let places = maps.iter().map(|(name, map)| {
            let fd = ebpf.map(name).and_then(descriptor).unwrap_or(-1);
            (name.as_str(), fd, map)
        });
        object.relocate_maps(places, &sections).map_err(io::Error::other)?;
        object.relocate_calls(&sections).map_err(io::Error::other)?;
        Ok(Self(object))
    }

    /// Loads a program, by its name in the object.
    ///
    /// # Errors
    /// When the object has no such program, and when the kernel refuses it.
    pub(crate) fn load(&self, name: &str, purpose: Purpose) -> io::Result<OwnedFd> {
        let instructions =
            self.named(name).ok_or_else(|| io::Error::other("the embedded object has no such program"))?;
        let license = c"GPL";
        let mut attr = LoadAttr {
            prog_type: purpose.kind as u32,
            insn_cnt: u32::try_from(instructions.len()).map_err(io::Error::other)?,
            insns: instructions.as_ptr() as u64,
            license: license.as_ptr() as u64,
            expected_attach_type: purpose.attach_type as u32,
            attach_btf_id: purpose.function,
            ..LoadAttr::default()
        };
        // The last byte stays zero.
        for (place, byte) in attr.prog_name.iter_mut().take(15).zip(name.bytes()) {
            *place = byte;
        }
        links::open(bpf_cmd::BPF_PROG_LOAD, &attr)
    }

    fn named(&self, name: &str) -> Option<&[bpf_insn]> {
        let key = self.0.programs.get(name)?.function_key();
        self.0.functions.get(&key).map(|function| function.instructions.as_slice())
    }
}

/// The descriptor of a map of the kinds that these programs use.
fn descriptor(map: &Map) -> Option<RawFd> {
    match map {
        Map::Array(map)
        | Map::CgroupArray(map)
        | Map::LruHashMap(map)
        | Map::PerCpuArray(map)
        | Map::RingBuf(map) => Some(map.fd().as_fd().as_raw_fd()),
        _ => None,
    }
}
