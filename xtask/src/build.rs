//! `cargo xtask build [--release]`: the kernel programs, then the daemon that embeds them.

use crate::setup::{Need, ensure};
use crate::shell::{cargo, run};

pub(crate) fn run_with(release: bool, packages: &[&str]) -> Result<(), String> {
    let mut build = cargo(&["build"]);
    if release {
        build.arg("--release");
    }
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
    run_with(release, &["airlock-daemon"])?;
    let kind = if release { "release" } else { "debug" };
    println!("built {}", crate::shell::target().join(kind).join("airlock").display());
    Ok(())
}
