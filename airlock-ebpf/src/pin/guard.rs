//! The guard of the cage's own walls: nobody inside opens a file of a cgroup file system for writing, which is how a process
//! with uid 0 would walk out. It is the eleventh hook, and a kernel has ten places for `lsm_cgroup`: so it stands host-wide, and
//! lets everybody pass who is in no cage.
#![allow(unsafe_code)]

use core::ffi::c_void;

use airlock_ebpf::{Hook, may_open};
use aya_ebpf::Global;
use aya_ebpf::helpers::bpf_probe_read_kernel;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use super::lsm::is_caged;
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
    Ok(may_open(magic, mode))
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
