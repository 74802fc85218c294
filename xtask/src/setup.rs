//! The needs of the commands: Debian packages and three cargo tools.
//!
//! Missing packages are installed when we are root; otherwise the one command to run is printed and we stop.

use crate::pins;
use crate::shell::{cargo, command, on_path, output, run, run_quietly, succeeds};

/// A need of a command.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// To build the daemon.
    Daemon,
    /// To build the kernel programs.
    Ebpf,
    /// To install the servers and clients of the integration tests.
    TestTools,
    /// To boot systemd in a container; of use to root only.
    Container,
    /// To lay out networks.
    Namespaces,
    /// To build the fuzz targets.
    Fuzz,
    /// To boot Debian's kernels in an emulator.
    Guests,
    /// To read coverage profiles.
    Coverage,
}

/// One thing that Debian packages.
struct Thing {
    package: &'static str,
    need: Need,
    /// Tells that it is not needed although the package is not installed.
    otherwise: fn() -> bool,
}

/// Only the package will do.
fn never() -> bool {
    false
}

const THINGS: [Thing; 28] = [
    Thing { package: "gcc", need: Need::Daemon, otherwise: || on_path("cc").is_some() },
    Thing { package: "libc6-dev", need: Need::Daemon, otherwise: never },
    Thing { package: "libsystemd-dev", need: Need::Daemon, otherwise: never },
    Thing { package: "pkg-config", need: Need::Daemon, otherwise: || on_path("pkg-config").is_some() },
    Thing { package: "rustc-web", need: Need::Ebpf, otherwise: nightly_with_source },
    Thing { package: "rust-web-src", need: Need::Ebpf, otherwise: nightly_with_source },
    Thing { package: "llvm-22-dev", need: Need::Ebpf, otherwise: has_bpf_linker },
    Thing { package: "libpolly-22-dev", need: Need::Ebpf, otherwise: has_bpf_linker },
    Thing { package: "zlib1g-dev", need: Need::Ebpf, otherwise: has_bpf_linker },
    Thing { package: "libzstd-dev", need: Need::Ebpf, otherwise: has_bpf_linker },
    Thing { package: "g++", need: Need::Ebpf, otherwise: || on_path("c++").is_some() },
    Thing { package: "npm", need: Need::TestTools, otherwise: || on_path("npm").is_some() },
    Thing { package: "python3-venv", need: Need::TestTools, otherwise: python_makes_environments },
    Thing { package: "iproute2", need: Need::TestTools, otherwise: || on_path("ip").is_some() },
    Thing { package: "iproute2", need: Need::Namespaces, otherwise: || on_path("ip").is_some() },
    Thing { package: "curl", need: Need::TestTools, otherwise: || on_path("curl").is_some() },
    Thing { package: "haproxy", need: Need::TestTools, otherwise: || on_path("haproxy").is_some() },
    Thing {
        package: "chromium-headless-shell",
        need: Need::TestTools,
        otherwise: || on_path("chromium-headless-shell").is_some(),
    },
    Thing {
        package: "systemd-container",
        need: Need::Container,
        otherwise: || on_path("systemd-nspawn").is_some(),
    },
    Thing { package: "mmdebstrap", need: Need::Container, otherwise: || on_path("mmdebstrap").is_some() },
    Thing { package: "debian-archive-keyring", need: Need::Container, otherwise: never },
    Thing { package: "g++", need: Need::Fuzz, otherwise: || on_path("c++").is_some() },
    Thing {
        package: "qemu-system-x86",
        need: Need::Guests,
        otherwise: || on_path("qemu-system-x86_64").is_some(),
    },
    Thing { package: "busybox-static", need: Need::Guests, otherwise: never },
    Thing { package: "binutils", need: Need::Guests, otherwise: || on_path("strip").is_some() },
    Thing { package: "iproute2", need: Need::Guests, otherwise: || on_path("ip").is_some() },
    Thing { package: "xz-utils", need: Need::Guests, otherwise: || on_path("xz").is_some() },
    Thing { package: "llvm-22", need: Need::Coverage, otherwise: never },
];

/// Makes sure that everything the given needs ask for is there.
pub(crate) fn ensure(needs: &[Need]) -> Result<(), String> {
    let root = is_root()?;
    let mut missing: Vec<&str> = THINGS
        .iter()
        .filter(|thing| needs.contains(&thing.need) && (root || thing.need != Need::Container))
        .filter(|thing| !installed(thing.package) && !(thing.otherwise)())
        .map(|thing| thing.package)
        .collect();
    missing.sort_unstable();
    missing.dedup();
    install(&missing, root)?;
    if needs.contains(&Need::Ebpf) && !has_bpf_linker() {
        println!("bpf-linker {} is built once; it takes some minutes", pins::BPF_LINKER);
        let feature = format!("llvm-{}", pins::LLVM);
        let args =
            ["install", "bpf-linker", "--locked", "--version", pins::BPF_LINKER, "--no-default-features"];
        let mut build = cargo(&args);
        build.args(["--features", &feature]).env("LLVM_PREFIX", format!("/usr/lib/llvm-{}", pins::LLVM));
        // Its build has nothing to do with ours.
        build.env_remove("CARGO_TARGET_DIR");
        run_quietly(&mut build)?;
    }
    Ok(())
}

/// True where nextest works: it is built where it is missing. The reason why not is printed.
pub(crate) fn nextest() -> bool {
    if succeeds(&mut cargo(&["nextest", "--version"])) {
        return true;
    }
    println!("cargo-nextest {} is built once; it takes some minutes", pins::NEXTEST);
    let mut build = cargo(&["install", "cargo-nextest", "--locked", "--version", pins::NEXTEST]);
    match run_quietly(build.env_remove("CARGO_TARGET_DIR")) {
        Ok(()) => true,
        Err(error) => {
            println!("without cargo-nextest ({error}): the tests run by plain `cargo test`");
            false
        }
    }
}

/// Builds cargo-mutants where it is missing or is another version.
pub(crate) fn cargo_mutants() -> Result<(), String> {
    let version = cargo(&["mutants", "--version"]).output().ok();
    if version.is_some_and(|version| String::from_utf8_lossy(&version.stdout).contains(pins::MUTANTS)) {
        return Ok(());
    }
    println!("cargo-mutants {} is built once; it takes some minutes", pins::MUTANTS);
    let mut build = cargo(&["install", "cargo-mutants", "--locked", "--version", pins::MUTANTS]);
    run_quietly(build.env_remove("CARGO_TARGET_DIR"))
}

/// The effective user is root.
pub(crate) fn is_root() -> Result<bool, String> {
    Ok(output(&mut command("id", &["-u"]))?.trim() == "0")
}

fn install(missing: &[&str], root: bool) -> Result<(), String> {
    if missing.is_empty() {
        return Ok(());
    }
    let line = format!("apt-get install -y --no-install-recommends {}", missing.join(" "));
    if on_path("apt-get").is_none() {
        return Err(format!("this host lacks what Debian packages as: {}", missing.join(" ")));
    }
    if !root {
        return Err(format!("some packages are missing; please run:\n\n    sudo {line}\n"));
    }
    println!("installing {}", missing.join(" "));
    let apt = |args: &[&str]| {
        let mut apt = command("apt-get", args);
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        apt
    };
    // A source that does not answer must not stop us: the install tells whether what matters was found.
    if let Err(error) = run_quietly(&mut apt(&["update", "-qq"])) {
        println!("going on: {error}");
    }
    let args: Vec<&str> = line.split(' ').skip(1).collect();
    run_quietly(apt(&args).arg("-qq"))
}

/// True where dpkg has the package installed.
fn installed(package: &str) -> bool {
    let mut query = command("dpkg-query", &["-W", "-f", "${db:Status-Status}\n", package]);
    query.stderr(std::process::Stdio::null());
    query.output().is_ok_and(|output| {
        output.status.success()
            && String::from_utf8_lossy(&output.stdout).lines().any(|line| line == "installed")
    })
}

fn has_bpf_linker() -> bool {
    succeeds(&mut command("bpf-linker", &["--version"]))
}

/// A nightly toolchain of rustup builds the kernel programs as well, if it carries the library's source and
/// its LLVM is not newer than the linker's.
fn nightly_with_source() -> bool {
    let ask = |args: &[&str]| {
        // Asking must not make rustup install what is asked for.
        let mut query = command("rustc", &["+nightly"]);
        query.args(args).env("RUSTUP_AUTO_INSTALL", "0").stderr(std::process::Stdio::null());
        let found = query.output().ok().filter(|found| found.status.success())?;
        Some(String::from_utf8_lossy(&found.stdout).trim().to_owned())
    };
    let Some((sysroot, facts)) = ask(&["--print", "sysroot"]).zip(ask(&["-vV"])) else { return false };
    let llvm =
        facts.lines().find_map(|line| line.strip_prefix("LLVM version: ")?.split('.').next()?.parse().ok());
    let newest = pins::LLVM.parse::<u32>().unwrap_or(0);
    let source = std::path::Path::new(&sysroot).join("lib/rustlib/src/rust/library/core");
    source.is_dir() && llvm.is_some_and(|llvm: u32| llvm <= newest)
}

fn python_makes_environments() -> bool {
    succeeds(&mut command("python3", &["-c", "import ensurepip, venv"]))
}

/// nginx: the host's own, or Debian's package unpacked below target/tools: installing it would start a web
/// server.
pub(crate) fn nginx() -> Result<std::path::PathBuf, String> {
    if let Some(found) = on_path("nginx") {
        return Ok(found);
    }
    let dir = crate::tools::dir().join("nginx");
    let program = dir.join("usr/sbin/nginx");
    if !program.is_file() {
        std::fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        if is_root()? {
            run_quietly(&mut command("apt-get", &["update", "-qq"]))
                .unwrap_or_else(|error| println!("{error}"));
        }
        run(command("apt-get", &["download", "-qq", "nginx"]).current_dir(&dir))?;
        run(command("sh", &["-c", "dpkg -x nginx_*.deb ."]).current_dir(&dir))?;
    }
    Ok(program)
}
