//! `cargo xtask bench [--quick]`: the same call directly, through nginx and through airlock, from one run.
//! `cargo xtask bench --flood [--quick]`: an honest client beside a flood that is refused, and beside one
//! that is dropped. `cargo xtask bench --neighbours [--quick]`: an honest client beside servers that flood
//! the worker which serves it.

use crate::setup::{self, Need};
use crate::shell::{command, run, target};
use crate::{build, build_ebpf};

/// The command.
pub(crate) fn run_command(args: &[String]) -> Result<(), String> {
    let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
    let scene = match args.first() {
        Some(&"--flood") => Scene::Flood,
        Some(&"--neighbours") => Scene::Neighbours,
        _ => Scene::Proxies,
    };
    if !matches!(scene, Scene::Proxies) {
        args.remove(0);
    }
    if !matches!(args.as_slice(), [] | ["--quick"]) {
        return Err("usage: cargo xtask bench [--flood | --neighbours] [--quick]".to_owned());
    }
    setup::ensure(&[Need::Daemon, Need::Ebpf])?;
    let mut rows = command(target().join("release").join(scene.program()), &args);
    match scene {
        Scene::Proxies => {
            rows.env("AIRLOCK_NGINX", setup::nginx()?);
        }
        Scene::Flood => setup::ensure(&[Need::Namespaces])?,
        Scene::Neighbours => {}
    }
    build_ebpf::run(&[])?;
    build::measured(&["airlock-daemon", "airlock-tests"])?;
    run(rows.env("AIRLOCK_BIN", target().join("release/airlock")))
}

/// The scene that is measured.
enum Scene {
    /// The same call along different ways.
    Proxies,
    /// A client that is refused, or dropped.
    Flood,
    /// Servers that flood.
    Neighbours,
}

impl Scene {
    /// The program that measures it.
    fn program(&self) -> &'static str {
        match self {
            Self::Proxies => "bench-rows",
            Self::Flood => "flood-rows",
            Self::Neighbours => "neighbour-rows",
        }
    }
}
