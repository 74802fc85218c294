//! `bpf(2)`: the cage's own means.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use super::{absent, number, path};
use crate::attempt::{Attempt, attempt};
use crate::raw::{Arg, adopt, call};

const MAP_CREATE: i32 = 0;
const PROG_LOAD: i32 = 5;
const OBJ_PIN: i32 = 6;
const OBJ_GET: i32 = 7;
const PROG_ATTACH: i32 = 8;
const PROG_DETACH: i32 = 9;
const PROG_GET_NEXT_ID: i32 = 11;
const PROG_GET_FD_BY_ID: i32 = 13;
const LINK_GET_FD_BY_ID: i32 = 30;
const LINK_GET_NEXT_ID: i32 = 31;
const SOCKET_FILTER: u32 = 1;

pub(super) fn attempts() -> Vec<Attempt> {
    const HIDDEN: &[i32] = &[libc::ENOENT];
    vec![
        attempt("bpf-map", "`bpf`: create a map", |_| create_map().map(drop)),
        attempt("bpf-program", "`bpf`: load a program", |_| load(SOCKET_FILTER).map(drop)),
        attempt("bpf-pin-get", "`bpf`: open a map that is pinned in bpffs", |place| {
            let file = path(place.pinned.as_deref().ok_or_else(absent)?);
            object(OBJ_GET, 0, &file).map(drop)
        })
        .also(HIDDEN),
        attempt("bpf-program-by-id", "`bpf`: open a loaded program of somebody else", |_| {
            by_id(PROG_GET_NEXT_ID, PROG_GET_FD_BY_ID)
        })
        // Between the two questions it may have gone with another test.
        .lacks(&[libc::ENOENT]),
        attempt("bpf-link-by-id", "`bpf`: open a link, to detach it", |_| {
            by_id(LINK_GET_NEXT_ID, LINK_GET_FD_BY_ID)
        })
        // Between the two questions it may have gone with another test.
        .lacks(&[libc::ENOENT]),
        attempt("bpf-attach", "`bpf`: attach a program of one's own to a cgroup", |place| {
            const CGROUP_SKB: u32 = 8;
            const ALLOW_MULTI: i32 = 2;
            let program = load(CGROUP_SKB)?;
            let cgroup = std::fs::File::open(&place.cgroups[2])?;
            // target, program, type of attachment: ingress
            let mut attributes = [0; 32];
            let program = i32::try_from(program).map_err(io::Error::other)?;
            for (place, value) in
                attributes.chunks_exact_mut(4).zip([number(&cgroup), program, 0, ALLOW_MULTI])
            {
                place.copy_from_slice(&value.to_ne_bytes());
            }
            bpf(PROG_ATTACH, &attributes)?;
            attributes[12..16].fill(0);
            bpf(PROG_DETACH, &attributes).map(drop)
        })
        .also(HIDDEN),
        attempt("bpf-pin-remove", "remove what is pinned in bpffs", |place| {
            let pinned = place.pinned.as_deref().ok_or_else(absent)?;
            let aside = pinned.with_extension("aside");
            std::fs::rename(pinned, &aside)?;
            // Put back, for those who come after.
            std::fs::rename(&aside, pinned)
        })
        .also(&[libc::ENOENT, libc::EROFS]),
    ]
}

/// Creates an array of one number.
pub(crate) fn create_map() -> io::Result<OwnedFd> {
    // type (array), size of keys, size of values, entries
    let mut attributes = [0; 72];
    for (place, value) in attributes.chunks_exact_mut(4).zip([2_u32, 4, 4, 1]) {
        place.copy_from_slice(&value.to_ne_bytes());
    }
    descriptor(bpf(MAP_CREATE, &attributes)?)
}

/// Pins it.
pub(crate) fn pin(map: &OwnedFd, at: &Path) -> io::Result<()> {
    object(OBJ_PIN, number(map), &path(at)).map(drop)
}

fn object(command: i32, fd: i32, path: &[u8]) -> io::Result<i64> {
    let mut attributes = [0; 16];
    attributes[..8].copy_from_slice(&(path.as_ptr() as u64).to_ne_bytes());
    attributes[8..12].copy_from_slice(&fd.to_ne_bytes());
    bpf(command, &attributes)
}

/// Loads a program of a type: `r0 = 0; exit`.
fn load(kind: u32) -> io::Result<i64> {
    let instructions: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
    let license = b"GPL\0";
    let mut attributes = [0; 72];
    attributes[..4].copy_from_slice(&kind.to_ne_bytes());
    attributes[4..8].copy_from_slice(&2_u32.to_ne_bytes());
    attributes[8..16].copy_from_slice(&(instructions.as_ptr() as u64).to_ne_bytes());
    attributes[16..24].copy_from_slice(&(license.as_ptr() as u64).to_ne_bytes());
    bpf(PROG_LOAD, &attributes)
}

/// Opens the first object that there is.
fn by_id(next: i32, open: i32) -> io::Result<()> {
    let mut attributes = [0_u8; 16];
    let length = i64::try_from(attributes.len()).map_err(io::Error::other)?;
    call(libc::SYS_bpf, [next.into(), Arg::Buffer(&mut attributes), length.into()])?;
    let mut wanted = [0; 16];
    wanted[..4].copy_from_slice(&attributes[4..8]);
    bpf(open, &wanted).map(drop)
}

fn bpf(command: i32, attributes: &[u8]) -> io::Result<i64> {
    let length = i64::try_from(attributes.len()).map_err(io::Error::other)?;
    call(libc::SYS_bpf, [command.into(), attributes.into(), length.into()])
}

fn descriptor(fd: i64) -> io::Result<OwnedFd> {
    adopt(i32::try_from(fd).map_err(io::Error::other)?)
}
