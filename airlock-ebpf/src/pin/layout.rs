//! Where the running kernel has what is looked at, and how it is read. The daemon knows the offsets from the
//! kernel's own type information; programs in Rust have no relocations for them.
#![allow(unsafe_code)]

use core::ffi::c_void;

use aya_ebpf::Global;
use aya_ebpf::helpers::bpf_probe_read_kernel;

/// A value that cannot be read. Whoever asks refuses then.
pub(super) struct Unreadable;

macro_rules! offsets {
    ($($name:ident)*) => {$(
        // SAFETY: the only symbol of its name.
        #[unsafe(no_mangle)]
        pub(super) static $name: Global<u64> = Global::new(0);
    )*};
}

// In the order of `airlock_ebpf::OFFSETS`.
offsets! {
    FILE_MODE FILE_INODE INODE_SUPER SUPER_MAGIC
    FILE_DENTRY DENTRY_PARENT DENTRY_INODE DENTRY_NAME INODE_NUMBER
    UNIX_PEER
    TASK_CGROUPS SET_CGROUP CGROUP_NODE NODE_PARENT NODE_ID
}

/// Reads what lies at an offset of a structure.
#[inline(always)]
pub(super) fn read<T>(base: *const c_void, offset: u64) -> Result<T, Unreadable> {
    // SAFETY: the helper reads any address of the kernel, or says that it cannot.
    let read = unsafe { bpf_probe_read_kernel(base.cast::<u8>().wrapping_add(offset as usize).cast::<T>()) };
    read.map_err(|_| Unreadable)
}

/// An offset that not every kernel tells.
#[inline(always)]
pub(super) fn known(offset: &Global<u64>) -> Result<u64, Unreadable> {
    match offset.load() {
        0 => Err(Unreadable),
        offset => Ok(offset),
    }
}
