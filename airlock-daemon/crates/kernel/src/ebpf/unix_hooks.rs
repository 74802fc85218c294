//! The two programs that the loader library has no attach type for: `connect_unix` and `sendmsg_unix` (Linux
//! 6.7).
//!
//! They refuse every connection and every addressed datagram of unix sockets that were born in the cgroup.
//! Their instructions come from the same object as all others, and are loaded and linked by `bpf(2)` itself.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;

use airlock_ebpf::Hook;
use aya::Ebpf;
use aya_obj::generated::{bpf_attach_type, bpf_prog_type};

use super::instructions::{Instructions, Purpose};
use super::links::Links;

/// The hooks, and how the kernel calls their places.
const PLACES: [(Hook, bpf_attach_type); 2] = [
    (Hook::ConnectUnix, bpf_attach_type::BPF_CGROUP_UNIX_CONNECT),
    (Hook::SendmsgUnix, bpf_attach_type::BPF_CGROUP_UNIX_SENDMSG),
];

/// Which of the two was refused.
#[derive(Debug, thiserror::Error)]
#[error("{hook}: {source}")]
pub(crate) struct UnixHookError {
    hook: &'static str,
    pub(crate) source: io::Error,
}

/// Loads both programs and links them to the cgroup whose directory is open as `cgroup`. They use the maps of
/// `ebpf`.
pub(crate) fn attach(ebpf: &Ebpf, cgroup: &File) -> Result<Links, UnixHookError> {
    let failed = |hook: Hook| move |source| UnixHookError { hook: hook.name(), source };
    let object = Instructions::of(ebpf).map_err(failed(Hook::ConnectUnix))?;
    let mut links = Links::default();
    for (hook, attach_type) in PLACES {
        let kind = bpf_prog_type::BPF_PROG_TYPE_CGROUP_SOCK_ADDR;
        object
            .load(hook.name(), Purpose { kind, attach_type, function: 0 })
            .and_then(|program| links.add_to_cgroup(hook.name(), program.as_fd(), cgroup, attach_type))
            .map_err(failed(hook))?;
    }
    Ok(links)
}
