//! The traces of a refusal: a count, and an event for the daemon.
#![allow(unsafe_code)]

use airlock_ebpf::{EVENTS_BYTES, Event, Hook, MAX_PACES, Pace};
use aya_ebpf::helpers::{
    bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
    bpf_ktime_get_ns,
};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{LruHashMap, PerCpuArray, RingBuf};

#[map]
static DENIED: PerCpuArray<u64> = PerCpuArray::with_max_entries(Hook::COUNT, 0);
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(EVENTS_BYTES, 0);
#[map]
static PACES: LruHashMap<u64, Pace> = LruHashMap::with_max_entries(MAX_PACES, 0);
#[map]
static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

fn add(counters: &PerCpuArray<u64>, index: u32) {
    if let Some(counter) = counters.get_ptr_mut(index) {
        // SAFETY: the map gave a valid pointer to this CPU's own counter; at worst an interrupt makes it miss
        // one.
        unsafe { *counter += 1 };
    }
}

/// Counts the refusal and tells the daemon of it, unless this cgroup has told too much within a second.
#[inline(always)]
pub(super) fn record(hook: Hook, family: u32) {
    add(&DENIED, hook as u32);
    // SAFETY: the helpers take nothing and only read.
    let (cgroup, now) = unsafe { (bpf_get_current_cgroup_id(), bpf_ktime_get_ns()) };
    let pace = match PACES.get_ptr(&cgroup) {
        // SAFETY: the map gave a valid pointer. A change by another CPU meanwhile can only mix two paces of
        // this cgroup.
        Some(pace) => unsafe { *pace },
        None => Pace::default(),
    };
    let (pace, within) = pace.step(now);
    if !within {
        return add(&LOST, 0);
    }
    // When it cannot be kept, more is told and nothing is missed.
    let _ = PACES.insert(&cgroup, &pace, 0);
    let Some(mut entry) = EVENTS.reserve::<Event>(0) else { return add(&LOST, 0) };
    entry.write(Event {
        cgroup,
        tgid: (bpf_get_current_pid_tgid() >> 32) as u32,
        uid: bpf_get_current_uid_gid() as u32,
        hook: hook as u32,
        family,
        comm: bpf_get_current_comm().unwrap_or_default(),
    });
    entry.submit(0);
}
