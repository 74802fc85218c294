//! `cargo xtask build [--release]`: the kernel programs, then the daemon that embeds them.

use crate::setup::{Need, ensure};
use crate::shell::{cargo, run};

/// Builds in debug, which has the development issuer.
pub(crate) fn debug(packages: &[&str]) -> Result<(), String> {
    with(&["build"], packages)
}

/// Builds a release for measurements: the development issuer, which no other release has, gives their clients
/// tokens.
pub(crate) fn measured(packages: &[&str]) -> Result<(), String> {
    with(&["build", "--release", "--features", "airlock-daemon/development-issuer"], packages)
}

fn with(args: &[&str], packages: &[&str]) -> Result<(), String> {
    let mut build = cargo(args);
    for package in packages {
        build.args(["--package", package]);
    }
    run(&mut build)
}

/// The command.
pub(crate) fn run_command(args: &[String]) -> Result<(), String> {
    let release = match args {
        [] => false,
        [flag] if flag == "--release" => true,
        _ => return Err("usage: cargo xtask build [--release]".to_owned()),
    };
    ensure(&[Need::Daemon, Need::Ebpf])?;
    crate::build_ebpf::run(&[])?;
    let args: &[&str] = if release { &["build", "--release"] } else { &["build"] };
    with(args, &["airlock-daemon"])?;
    let kind = if release { "release" } else { "debug" };
    println!("built {}", crate::shell::target().join(kind).join("airlock").display());
    Ok(())
}
