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

/// All of them, even if the first finds something.
pub(crate) fn lints() -> Result<(), String> {
    let clippy = ["clippy", "--workspace", "--all-targets"];
    let strict = ["--", "-D", "warnings"];
    let found = [
        run(&mut cargo(&["fmt", "--all", "--check"])),
        run(cargo(&clippy).args(strict)),
        // The daemon as a release has it: without the development issuer.
        run(cargo(&clippy).arg("--no-default-features").args(strict)),
    ];
    let found: Vec<String> = found.into_iter().filter_map(Result::err).collect();
    if found.is_empty() { Ok(()) } else { Err(found.join("; ")) }
}
