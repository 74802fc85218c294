//! The guard of the cage's own walls: nobody inside opens a file of a cgroup file system for writing, nor has
//! a child that is born in another cgroup, which is how a process with uid 0 would walk out. These are the
//! hooks beyond the ten places that a kernel has for `lsm_cgroup`: so they stand host-wide, and let everybody
//! pass who is in no cage.
#![allow(unsafe_code)]

use core::ffi::c_void;

use airlock_ebpf::{CGROUP2_MAGIC, Cage, Hook, is_own_entrance, may_clone, may_open};
use aya_ebpf::helpers::generated::bpf_get_current_cgroup_id;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::layout::{
    DENTRY_INODE, DENTRY_NAME, DENTRY_PARENT, FILE_DENTRY, FILE_INODE, FILE_MODE, INODE_NUMBER, INODE_SUPER,
    SUPER_MAGIC, Unreadable, known, read,
};
use super::lsm::{is_caged, is_in};
use super::refusal::record;

#[inline(always)]
fn allows(file: *const c_void) -> Result<bool, Unreadable> {
    let inode: *const c_void = read(file, FILE_INODE.load())?;
    let superblock: *const c_void = read(inode, INODE_SUPER.load())?;
    let magic: u64 = read(superblock, SUPER_MAGIC.load())?;
    let mode: u32 = read(file, FILE_MODE.load())?;
    Ok(may_open(magic, mode) || magic == CGROUP2_MAGIC && is_in(Cage::Slice) && is_entrance(file)?)
}

/// True where it is the way into the cgroup of the current process, whose id is the number of its directory.
#[inline(always)]
fn is_entrance(file: *const c_void) -> Result<bool, Unreadable> {
    let dentry: *const c_void = read(file, known(&FILE_DENTRY)?)?;
    let name: *const c_void = read(dentry, known(&DENTRY_NAME)?)?;
    let parent: *const c_void = read(dentry, known(&DENTRY_PARENT)?)?;
    let directory: *const c_void = read(parent, known(&DENTRY_INODE)?)?;
    let cgroup: u64 = read(directory, known(&INODE_NUMBER)?)?;
    // SAFETY: the helper takes nothing and only reads.
    let own = unsafe { bpf_get_current_cgroup_id() };
    Ok(is_own_entrance(&read(name, 0)?, cgroup, own))
}

#[lsm(hook = "file_open")]
fn host_file_open(ctx: LsmContext) -> i32 {
    if !is_caged() {
        return 0;
    }
    // A name that cannot be read cannot be judged, and is refused.
    if let Ok(true) = allows(ctx.arg(0)) {
        return 0;
    }
    record(Hook::FileOpen, 0);
    -1
}

#[lsm(hook = "task_alloc")]
fn host_task_alloc(ctx: LsmContext) -> i32 {
    // The common case is asked first.
    if may_clone(ctx.arg::<u64>(1)) || !is_caged() {
        return 0;
    }
    record(Hook::TaskAlloc, 0);
    -1
}
