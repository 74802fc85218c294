//! The eBPF programs of the cage: loaded, linked to cgroups and to the host, kept by bpffs pins, and heard
//! of.

mod btf;
pub(super) mod diagnostics;
pub(super) mod events;
mod instructions;
pub(super) mod links;
pub(super) mod loader;
pub(super) mod pinning;
pub(super) mod pins;
pub(super) mod refused;
pub(super) mod sealed;
pub(super) mod unix_hooks;
