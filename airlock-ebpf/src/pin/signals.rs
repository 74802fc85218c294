//! The end of a cage's signals: whoever is in one sends none to a task of another leaf, be it a neighbour of
//! the same user, the daemon or anybody else, also where the two have their process ids in common. Signal 0,
//! which only asks, is one of them.
//!
//! The kernel asks its security modules whenever a process sends a signal, whichever call it used, and never
//! for signals of its own: a fault, a limit, the end of a child, the keys of a terminal. The daemon puts the
//! program in front of the function that does so, where it also stands on hosts without LSM programs; what it
//! is given and answers is the same.
#![allow(unsafe_code)]

use core::ffi::c_void;

use airlock_ebpf::{Cage, Hook, leaf_of, may_signal};
use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::generated::bpf_get_current_task;
use aya_ebpf::macros::{lsm, map};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::LsmContext;

use super::layout::{CGROUP_NODE, NODE_ID, NODE_PARENT, SET_CGROUP, TASK_CGROUPS, Unreadable, known, read};
use super::lsm::is_in;
use super::refusal::record;

/// Where the fourth argument is, the credentials. It is copied as a number: the verifier of Linux 6.12 holds
/// that no argument of this hook is null, and decides a test for it beforehand, and wrongly.
const CRED: u64 = 3 * 8;

#[map]
static CAGE_IDS: Array<u64> = Array::with_max_entries(Cage::COUNT, 0);

/// The directory of a task's cgroup, as the file system of cgroups has it.
#[inline(always)]
fn node_of(task: *const c_void) -> Result<*const c_void, Unreadable> {
    let set: *const c_void = read(task, known(&TASK_CGROUPS)?)?;
    let cgroup: *const c_void = read(set, known(&SET_CGROUP)?)?;
    read(cgroup, known(&CGROUP_NODE)?)
}

/// The leaf of a task in a cage.
#[inline(always)]
fn leaf(task: *const c_void, cage: u64) -> Option<u64> {
    let node = node_of(task).ok()?;
    leaf_of(
        node,
        cage,
        |node| read(node, known(&NODE_ID).ok()?).ok(),
        |node| read(node, known(&NODE_PARENT).ok()?).ok(),
    )
}

/// The cage of the current process.
#[inline(always)]
fn cage() -> Option<Cage> {
    if is_in(Cage::Servers) {
        Some(Cage::Servers)
    } else if is_in(Cage::Unpinned) {
        Some(Cage::Unpinned)
    } else if is_in(Cage::Slice) {
        Some(Cage::Slice)
    } else {
        None
    }
}

#[lsm(hook = "task_kill")]
fn host_task_kill(ctx: LsmContext) -> i32 {
    let Some(cage) = cage() else { return 0 };
    // With the credentials of somebody who is not here the kernel answers a request that was made before, to
    // whoever made it (USB), and the current process is anybody.
    if read(ctx.as_ptr(), CRED).is_ok_and(|cred: u64| cred != 0) {
        return 0;
    }
    // A leaf that cannot be found is nobody's.
    if let Some(id) = CAGE_IDS.get(cage as u32) {
        // SAFETY: the helper takes nothing and only reads.
        let current = unsafe { bpf_get_current_task() } as *const c_void;
        if may_signal(leaf(current, *id), leaf(ctx.arg(0), *id)) {
            return 0;
        }
    }
    record(Hook::TaskKill, 0);
    -1
}
