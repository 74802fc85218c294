//! Capabilities of the daemon: which are kept by whom, and how the rest is given up for good.
//!
//! Becoming another user is for the process that starts servers ([`crate::spawner`]) alone. The
//! daemon keeps what it still has a use for, first while it starts, then while it serves. All of it is done
//! by the calling thread, and the threads that it starts from then on inherit what it is left with.

use std::io;

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

/// Files of others. The service has neither; root is used to both, and its configuration may name such files.
const FILES: CapabilitySet = CapabilitySet::DAC_OVERRIDE.union(CapabilitySet::DAC_READ_SEARCH);

/// The daemon's while it starts: programs for the kernel, ports below 1024, sockets that are given to a
/// group, limits.
const START: CapabilitySet = FILES
    .union(CapabilitySet::BPF)
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::SYS_RESOURCE);

/// Those of the process that starts servers. Where the daemon is not root it has two of them, for the
/// server's user and groups; the others make mounts and namespaces, reach what the configuration gives a
/// server, and end it.
const SPAWNER: CapabilitySet = FILES
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SYS_ADMIN)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::SYS_RESOURCE)
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::KILL);

/// The work that the kernel half still has when everything is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Uses {
    /// Maps of loaded programs: kernels before 5.19 let nobody else at them once programs of strangers are
    /// forbidden.
    pub(crate) maps: bool,
    /// Interfaces that may come back, and have the early drop attached again.
    pub(crate) interfaces: bool,
}

/// Gives up what the daemon does not need to start. Call before the first thread is started.
///
/// # Errors
/// When the kernel refuses that.
pub fn keep_for_start() -> io::Result<()> {
    keep(START)
}

/// Gives up what the daemon does not need to serve, in this thread.
pub(crate) fn keep_for_service(uses: Uses) -> io::Result<()> {
    keep(for_service(uses))
}

fn for_service(uses: Uses) -> CapabilitySet {
    let mut kept = FILES;
    kept.set(CapabilitySet::BPF, uses.maps);
    kept.set(CapabilitySet::NET_ADMIN, uses.interfaces);
    kept
}

/// Gives up what starting servers does not need.
pub(crate) fn keep_for_spawner() -> io::Result<()> {
    keep(SPAWNER)
}

/// Gives up everything, in this thread.
///
/// # Errors
/// When the kernel refuses that.
pub fn keep_nothing() -> io::Result<()> {
    keep(CapabilitySet::empty())
}

/// Gives up every capability but these. Nothing is inherited by programs.
fn keep(kept: CapabilitySet) -> io::Result<()> {
    let own = capabilities(None)?;
    if own.effective.contains(CapabilitySet::SETPCAP) {
        bound(kept)?;
    }
    clear_ambient_capability_set()?;
    let sets = CapabilitySets {
        effective: own.effective & kept,
        permitted: own.permitted & kept,
        inheritable: CapabilitySet::empty(),
    };
    Ok(set_capabilities(None, sets)?)
}

/// Takes all others away from programs that are executed as root or have capabilities of their own. A
/// process that may not do that has given up new privileges, or is no root.
fn bound(kept: CapabilitySet) -> io::Result<()> {
    for bit in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        match capability_is_in_bounding_set(one) {
            Ok(true) if !kept.contains(one) => remove_capability_from_bounding_set(one)?,
            Ok(_) => {}
            // The kernel knows no more than those before.
            Err(Errno::INVAL) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_who_faces_the_network_becomes_another_user() {
        let others = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::SYS_ADMIN;
        let all = Uses { maps: true, interfaces: true };
        for kept in [START, for_service(all)] {
            assert!(
                !kept.intersects(others | CapabilitySet::SETPCAP | CapabilitySet::SYS_PTRACE),
                "{kept:?}"
            );
        }
        assert!(START.contains(for_service(all)), "nothing comes back");
        assert!(!SPAWNER.intersects(CapabilitySet::BPF | CapabilitySet::NET_ADMIN));
        assert_eq!(for_service(Uses { maps: false, interfaces: false }), FILES);
    }

    #[test]
    fn what_is_given_up_is_gone_from_every_set_of_the_thread() {
        let left = std::thread::spawn(|| {
            keep_nothing().expect("always allowed");
            let bounded = capability_is_in_bounding_set(CapabilitySet::SETUID).expect("known");
            (capabilities(None).expect("known"), bounded)
        });
        let had_them = capabilities(None).expect("known").effective.contains(CapabilitySet::SETPCAP);
        let (sets, bounded) = left.join().expect("a thread");
        let none = CapabilitySet::empty();
        assert_eq!(sets, CapabilitySets { effective: none, permitted: none, inheritable: none });
        assert!(!had_them || !bounded);
    }
}
