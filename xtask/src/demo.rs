//! `cargo xtask demo [--keep]`: builds everything and tells the story of a call.

use std::process::Stdio;

use crate::setup::{Need, ensure};
use crate::shell::{command, run, target};
use crate::{build, build_ebpf};

/// The command.
pub(crate) fn run_command(args: &[String]) -> Result<(), String> {
    if !matches!(args, [] | [_]) || args.iter().any(|arg| arg != "--keep") {
        return Err("usage: cargo xtask demo [--keep]".to_owned());
    }
    ensure(&[Need::Daemon, Need::Ebpf])?;
    build_ebpf::run(&[])?;
    build::debug(&["airlock-daemon", "airlock-tests"])?;
    let mut story = command(target().join("debug/demo-story"), &[]);
    // Enter ends a demo that was kept.
    story.stdin(Stdio::inherit());
    run(story.args(args).env("AIRLOCK_BIN", target().join("debug/airlock")))
}
