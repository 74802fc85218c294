//! The kernel half: cgroups, eBPF programs, probes.
