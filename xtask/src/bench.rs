//! `cargo xtask bench [--quick]`: the same call directly, through nginx and through airlock, from one run.
//! `cargo xtask bench --flood [--quick]`: an honest client beside a flood that is refused, and beside one that is dropped.

use crate::setup::{self, Need};
use crate::shell::{command, run, target};
use crate::{build, build_ebpf};

/// The command.
pub(crate) fn run_command(args: &[String]) -> Result<(), String> {
    let (flood, others): (Vec<&str>, Vec<&str>) =
        args.iter().map(String::as_str).partition(|arg| *arg == "--flood");
    if flood.len() > 1 || !matches!(others.as_slice(), [] | ["--quick"]) {
        return Err("usage: cargo xtask bench [--flood] [--quick]".to_owned());
    }
    setup::ensure(&[Need::Daemon, Need::Ebpf])?;
    let mut rows = if flood.is_empty() {
        let mut rows = command(target().join("release/bench-rows"), &others);
        rows.env("AIRLOCK_NGINX", setup::nginx()?);
        rows
    } else {
        setup::ensure(&[Need::Namespaces])?;
        command(target().join("release/flood-rows"), &others)
    };
    build_ebpf::run(&[])?;
    build::run_with(true, &["airlock-daemon", "airlock-tests"])?;
    run(rows.env("AIRLOCK_BIN", target().join("release/airlock")))
}
