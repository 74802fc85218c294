//! `cargo xtask check`: formatting and lints, both without mercy.

use crate::setup::{Need, ensure};
use crate::shell::{cargo, run};

/// The command.
pub(crate) fn run_command(args: &[String]) -> Result<(), String> {
    if !args.is_empty() {
        return Err("usage: cargo xtask check".to_owned());
    }
    ensure(&[Need::Daemon])?;
    lints()
}

/// Both, even if the first finds something.
pub(crate) fn lints() -> Result<(), String> {
    let format = run(&mut cargo(&["fmt", "--all", "--check"]));
    let clippy = run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]));
    match (format, clippy) {
        (Err(one), Err(two)) => Err(format!("{one}; {two}")),
        (one, two) => one.and(two),
    }
}
