//! The eBPF programs; on the host only a stub.
fn main() {}
