//! Map keys and values that the kernel half and the daemon share.
#![cfg_attr(target_arch = "bpf", no_std)]
