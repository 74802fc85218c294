//! The guard of the cage's own walls: nobody inside opens a file of a cgroup file system for writing, nor has a child that is
//! born in another cgroup, which is how a process with uid 0 would walk out. These are the hooks beyond the ten places that a kernel
//! has for `lsm_cgroup`: so they stand host-wide, and let everybody pass who is in no cage.
#![allow(unsafe_code)]

use core::ffi::c_void;

use airlock_ebpf::{CGROUP2_MAGIC, Cage, Hook, is_own_entrance, may_clone, may_open};
use aya_ebpf::Global;
use aya_ebpf::helpers::bpf_probe_read_kernel;
use aya_ebpf::helpers::generated::bpf_get_current_cgroup_id;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::lsm::{is_caged, is_in};
use super::refusal::record;

// Where to look, in bytes; the daemon reads it from the kernel's own type information.
// SAFETY: these are the only symbols of their names.
#[unsafe(no_mangle)]
static FILE_MODE: Global<u64> = Global::new(0);
// SAFETY: as above.
#[unsafe(no_mangle)]
static FILE_INODE: Global<u64> = Global::new(0);
// SAFETY: as above.
#[unsafe(no_mangle)]
static INODE_SUPER: Global<u64> = Global::new(0);
// SAFETY: as above.
#[unsafe(no_mangle)]
static SUPER_MAGIC: Global<u64> = Global::new(0);
// SAFETY: as above.
#[unsafe(no_mangle)]
static FILE_DENTRY: Global<u64> = Global::new(0);
// SAFETY: as above.
#[unsafe(no_mangle)]
static DENTRY_PARENT: Global<u64> = Global::new(0);
// SAFETY: as above.
#[unsafe(no_mangle)]
static DENTRY_INODE: Global<u64> = Global::new(0);
// SAFETY: as above.
#[unsafe(no_mangle)]
static DENTRY_NAME: Global<u64> = Global::new(0);
// SAFETY: as above.
#[unsafe(no_mangle)]
static INODE_NUMBER: Global<u64> = Global::new(0);

#[inline(always)]
fn field<T>(base: *const c_void, offset: u64) -> Result<T, i32> {
    // SAFETY: the helper reads any address of the kernel, or says that it cannot.
    unsafe { bpf_probe_read_kernel(base.cast::<u8>().wrapping_add(offset as usize).cast::<T>()) }
}

#[inline(always)]
fn allows(file: *const c_void) -> Result<bool, i32> {
    let inode: *const c_void = field(file, FILE_INODE.load())?;
    let superblock: *const c_void = field(inode, INODE_SUPER.load())?;
    let magic: u64 = field(superblock, SUPER_MAGIC.load())?;
    let mode: u32 = field(file, FILE_MODE.load())?;
    Ok(may_open(magic, mode) || magic == CGROUP2_MAGIC && is_in(Cage::Slice) && is_entrance(file)?)
}

/// Whether it is the way into the cgroup of the current process, whose id is the number of its directory.
#[inline(always)]
fn is_entrance(file: *const c_void) -> Result<bool, i32> {
    let offsets =
        [&FILE_DENTRY, &DENTRY_PARENT, &DENTRY_INODE, &DENTRY_NAME, &INODE_NUMBER].map(Global::load);
    if offsets.contains(&0) {
        return Ok(false);
    }
    let [file_dentry, parent, inode, name, number] = offsets;
    let dentry: *const c_void = field(file, file_dentry)?;
    let name: *const c_void = field(dentry, name)?;
    let directory: *const c_void = field(field(dentry, parent)?, inode)?;
    let cgroup: u64 = field(directory, number)?;
    // SAFETY: the helper takes nothing and only reads.
    let own = unsafe { bpf_get_current_cgroup_id() };
    Ok(is_own_entrance(&field(name, 0)?, cgroup, own))
}

#[lsm(hook = "file_open")]
fn host_file_open(ctx: LsmContext) -> i32 {
    if !is_caged() {
        return 0;
    }
    // What cannot be read cannot be judged, and is refused.
    if let Ok(true) = allows(ctx.arg(0)) {
        return 0;
    }
    record(Hook::FileOpen, 0);
    -1
}

#[lsm(hook = "task_alloc")]
fn host_task_alloc(ctx: LsmContext) -> i32 {
    // What everybody does all the time is asked first.
    if may_clone(ctx.arg::<u64>(1)) || !is_caged() {
        return 0;
    }
    record(Hook::TaskAlloc, 0);
    -1
}
