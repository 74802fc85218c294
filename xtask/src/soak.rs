//! `cargo xtask soak`: a thousand abandoned sessions and what they leave, five thousand idle ones and
//! what they cost, and what one principal can have kept: large answers, unread ones, subscriptions.

use crate::setup::{self, Need};
use crate::shell::{command, run, target};
use crate::{build, build_ebpf};

/// The command.
pub(crate) fn run_command(args: &[String]) -> Result<(), String> {
    if !args.is_empty() {
        return Err("usage: cargo xtask soak".to_owned());
    }
    setup::ensure(&[Need::Daemon, Need::Ebpf])?;
    build_ebpf::run(&[])?;
    build::measured(&["airlock-daemon", "airlock-tests"])?;
    let mut rows = command(target().join("release/soak-rows"), &[]);
    run(rows.env("AIRLOCK_BIN", target().join("release/airlock")))
}
