//! `cargo xtask bench [--quick]`: the same call directly, through nginx and through airlock, from one run.

use crate::setup::{self, Need};
use crate::shell::{command, run, target};
use crate::{build, build_ebpf};

/// The command.
pub(crate) fn run_command(args: &[String]) -> Result<(), String> {
    if !matches!(args, [] | [_]) || args.iter().any(|arg| arg != "--quick") {
        return Err("usage: cargo xtask bench [--quick]".to_owned());
    }
    setup::ensure(&[Need::Daemon, Need::Ebpf])?;
    let nginx = setup::nginx()?;
    build_ebpf::run(&[])?;
    build::run_with(true, &["airlock-daemon", "airlock-tests"])?;
    let mut rows = command(target().join("release/bench-rows"), &[]);
    rows.args(args).env("AIRLOCK_NGINX", nginx).env("AIRLOCK_BIN", target().join("release/airlock"));
    run(&mut rows)
}
