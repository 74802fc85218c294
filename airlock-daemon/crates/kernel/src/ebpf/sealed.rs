//! The programs that seal a cage: the LSM hooks, for cgroups or for the whole host, the guard of cgroups, and
//! the end of signals.
//!
//! A set is attached whole or not at all: of a set that a kernel refuses in part nothing stays.

use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::MetadataExt as _;

use airlock_ebpf::{CAGE_IDS, CAGES, CGROUP_PREFIX, Cage, DOORS, GUARD, HOST_PREFIX, Hook, SIGNALS};
use aya::maps::{Array, CgroupArray, HashMap, Map, MapError};
use aya::programs::{Program, ProgramError};
use aya::{Btf, Ebpf};
use aya_obj::btf::BtfKind;
use aya_obj::generated::{bpf_attach_type, bpf_prog_type};

use super::instructions::{Instructions, Purpose};
use super::links::Links;
use super::loader::{LoadError, attach, failed, map_failed};

/// The kernel's own types, which the programs are checked against.
///
/// # Errors
/// When the kernel does not show them.
pub(crate) fn types() -> Result<Btf, LoadError> {
    Btf::from_sys_fs().map_err(|error| LoadError::Types(error.to_string()))
}

/// The names of the programs of a set; they live as long as the object, which is as long as the daemon.
fn programs(prefix: &str) -> impl Iterator<Item = (Hook, String)> {
    Hook::SEALED.into_iter().map(move |hook| (hook, format!("{prefix}{}", hook.name())))
}

/// Attaches the ten programs to a cgroup.
///
/// # Errors
/// Also when other software holds some of the ten places that a kernel has for such programs (`EINVAL`).
pub(crate) fn attach_to_cgroup(ebpf: &mut Ebpf, btf: &Btf, cgroup: &File) -> Result<Links, LoadError> {
    whole(ebpf, CGROUP_PREFIX, |links, program, hook, name| {
        let Program::LsmCgroup(lsm) = program else { return Err(LoadError::Foreign(hook.name())) };
        lsm.load(hook.name(), btf).map_err(failed(hook.name()))?;
        link(links, program, hook, name, cgroup)
    })
}

/// Links the programs of [`attach_to_cgroup`], which are loaded, to a further cgroup.
///
/// # Errors
/// Then of the further links none stays.
pub(crate) fn attach_to_another(ebpf: &mut Ebpf, cgroup: &File) -> Result<Links, LoadError> {
    let mut links = Links::default();
    for (hook, name) in programs(CGROUP_PREFIX) {
        let program = ebpf.program_mut(&name).ok_or(LoadError::Foreign(hook.name()))?;
        link(&mut links, program, hook, &name, cgroup)?;
    }
    Ok(links)
}

fn link(
    links: &mut Links,
    program: &Program,
    hook: Hook,
    name: &str,
    cgroup: &File,
) -> Result<(), LoadError> {
    attach(hook.name(), program, |fd| links.add_to_cgroup(name, fd, cgroup, bpf_attach_type::BPF_LSM_CGROUP))
}

/// Attaches their twins to the whole host; they act on who is in the cage only.
pub(crate) fn attach_to_host(ebpf: &mut Ebpf, btf: &Btf) -> Result<Links, LoadError> {
    whole(ebpf, HOST_PREFIX, |links, program, hook, name| attach_lsm(links, program, hook, name, btf))
}

/// Attaches the program that keeps signals within a server or unit: in front of the function that asks the
/// security modules, whose answer it may give in their place. For that `bpf` need not be among them.
pub(crate) fn attach_signals(ebpf: &Ebpf, btf: &Btf) -> Result<Links, LoadError> {
    let mut links = Links::default();
    for (hook, name) in SIGNALS {
        let function = btf
            .id_by_type_name_kind(&format!("security_{}", hook.name()), BtfKind::Func)
            .map_err(|error| LoadError::Types(error.to_string()))?;
        let purpose = Purpose {
            kind: bpf_prog_type::BPF_PROG_TYPE_TRACING,
            attach_type: bpf_attach_type::BPF_MODIFY_RETURN,
            function,
        };
        Instructions::of(ebpf)
            .and_then(|object| object.load(name, purpose))
            .and_then(|program| links.add_to_host(name, program.as_fd()))
            .map_err(|source| failed(hook.name())(ProgramError::IOError(source)))?;
    }
    Ok(links)
}

/// Attaches the guard, which keeps everybody in a cage from coming into another cgroup.
pub(crate) fn attach_guard(ebpf: &mut Ebpf, btf: &Btf) -> Result<Links, LoadError> {
    let mut links = Links::default();
    for (hook, name) in GUARD {
        let program = ebpf.program_mut(name).ok_or(LoadError::Foreign(name))?;
        attach_lsm(&mut links, program, hook, name, btf)?;
    }
    Ok(links)
}

fn attach_lsm(
    links: &mut Links,
    program: &mut Program,
    hook: Hook,
    name: &str,
    btf: &Btf,
) -> Result<(), LoadError> {
    let Program::Lsm(lsm) = program else { return Err(LoadError::Foreign(hook.name())) };
    lsm.load(hook.name(), btf).map_err(failed(hook.name()))?;
    attach(hook.name(), program, |fd| links.add_to_host(name, fd))
}

fn whole(
    ebpf: &mut Ebpf,
    prefix: &str,
    add: impl Fn(&mut Links, &mut Program, Hook, &str) -> Result<(), LoadError>,
) -> Result<Links, LoadError> {
    let mut links = Links::default();
    let attached = programs(prefix).try_for_each(|(hook, name)| {
        let program = ebpf.program_mut(&name).ok_or(LoadError::Foreign(hook.name()))?;
        add(&mut links, program, hook, &name)
    });
    if attached.is_err() {
        for (_, name) in programs(prefix) {
            // Those that were never loaded say so, which is what is wanted.
            let _ = match ebpf.program_mut(&name) {
                Some(Program::LsmCgroup(program)) => program.unload(),
                Some(Program::Lsm(program)) => program.unload(),
                _ => Ok(()),
            };
        }
    }
    attached.map(|()| links)
}

/// Makes a cgroup the cage that the host-wide programs and the guard know, and that has doors where it is the
/// slice's.
pub(crate) fn set_cage(ebpf: &mut Ebpf, cage: Cage, cgroup: &File) -> Result<(), LoadError> {
    let map = ebpf.map_mut(CAGES).ok_or(LoadError::Foreign(CAGES))?;
    let mut cages = CgroupArray::try_from(map).map_err(map_failed(CAGES))?;
    cages.set(cage as u32, cgroup.as_raw_fd(), 0).map_err(map_failed(CAGES))?;
    let id = cgroup.metadata().map_err(|error| map_failed(CAGE_IDS)(MapError::IoError(error)))?.ino();
    let map = ebpf.map_mut(CAGE_IDS).ok_or(LoadError::Foreign(CAGE_IDS))?;
    let mut ids: Array<_, u64> = Array::try_from(map).map_err(map_failed(CAGE_IDS))?;
    ids.set(cage as u32, id, 0).map_err(map_failed(CAGE_IDS))
}

/// Lets processes of the slice connect to the listening socket with this cookie.
pub(crate) fn open_door(ebpf: &mut Ebpf, cookie: u64) -> Result<(), LoadError> {
    doors(ebpf)?.insert(cookie, 1, 0).map_err(map_failed(DOORS))
}

/// The end of [`open_door`].
pub(crate) fn close_door(ebpf: &mut Ebpf, cookie: u64) -> Result<(), LoadError> {
    match doors(ebpf)?.remove(&cookie) {
        Err(MapError::KeyNotFound) => Ok(()),
        result => result.map_err(map_failed(DOORS)),
    }
}

fn doors(ebpf: &mut Ebpf) -> Result<HashMap<&mut aya::maps::MapData, u64, u8>, LoadError> {
    let map: &mut Map = ebpf.map_mut(DOORS).ok_or(LoadError::Foreign(DOORS))?;
    HashMap::try_from(map).map_err(map_failed(DOORS))
}
