//! `cargo xtask check`: formatting, lints, and the rules for dependencies, all without mercy.

use crate::deny;
use crate::setup::{Need, ensure};
use crate::shell::{cargo, run};

/// The command.
pub(crate) fn run_command(args: &[String]) -> Result<(), String> {
    if !args.is_empty() {
        return Err("usage: cargo xtask check".to_owned());
    }
    ensure(&[Need::Daemon])?;
    let mut skips = Vec::new();
    let found = lints(&mut skips);
    for skip in &skips {
        println!("skipped: {skip}");
    }
    found
}

/// All of them, even if the first finds something. A check that cannot be made here goes to `skips`, with its
/// reason.
pub(crate) fn lints(skips: &mut Vec<String>) -> Result<(), String> {
    let clippy = ["clippy", "--workspace", "--all-targets"];
    let strict = ["--", "-D", "warnings"];
    let found = [
        run(&mut cargo(&["fmt", "--all", "--check"])),
        run(cargo(&clippy).args(strict)),
        // The daemon as a release has it: without the development issuer.
        run(cargo(&clippy).arg("--no-default-features").args(strict)),
        deny::check(skips),
    ];
    let found: Vec<String> = found.into_iter().filter_map(Result::err).collect();
    if found.is_empty() { Ok(()) } else { Err(found.join("; ")) }
}
