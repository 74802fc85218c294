//! `cargo xtask`: everything this workspace can do to itself.
fn main() {}
