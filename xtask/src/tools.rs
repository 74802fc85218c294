//! The servers and clients that the integration tests drive, in target/tools: Node 22, npm packages, a Python
//! environment. Their versions are pinned by the files in xtask/tools; a changed file installs them anew.

use std::fs;
use std::path::{Path, PathBuf};

use crate::setup::is_root;
use crate::shell::{command, root, run_quietly, succeeds, target};

/// Where they are.
pub(crate) fn dir() -> PathBuf {
    target().join("tools")
}

/// Installs what is missing or was pinned differently.
pub(crate) fn ensure() -> Result<(), String> {
    let dir = dir();
    fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    npm(&dir)?;
    python(&dir)?;
    if is_root()? { container(&dir) } else { Ok(()) }
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

fn python(dir: &Path) -> Result<(), String> {
    let environment = dir.join("python");
    let program = environment.join("bin/python");
    let fresh = copy_if_changed("requirements.txt", dir)?;
    if !fresh && succeeds(&mut command(&program, &["-c", "import mcp, mcp_server_time"])) {
        return Ok(());
    }
    let made = environment.display().to_string();
    let done = run_quietly(&mut command(host_python(), &["-m", "venv", "--clear", &made])).and_then(|()| {
        let pip =
            ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"];
        run_quietly(command(&program, &pip).current_dir(dir))
    });
    done.inspect_err(|_| forget("requirements.txt", dir))
}

/// A Debian root with systemd, from the host's own release: the built programs need its libraries.
fn container(dir: &Path) -> Result<(), String> {
    let root = dir.join("container-root");
    let mark = root.join(".complete");
    if mark.exists() {
        return Ok(());
    }
    if root.exists() {
        fs::remove_dir_all(&root).map_err(|error| format!("{}: {error}", root.display()))?;
    }
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = |key: &str| release.lines().find_map(|line| line.strip_prefix(key));
    let suite = if value("ID=") == Some("debian") { value("VERSION_CODENAME=") } else { None };
    let shown = root.display().to_string();
    let args =
        ["--quiet", "--variant=minbase", "--include=systemd,systemd-sysv,dbus", suite.unwrap_or("bookworm")];
    // Without it the tests that need it say why they are skipped; everything else does not depend on it.
    if let Err(error) = run_quietly(command("mmdebstrap", &args).arg(&shown)) {
        println!("going on without a container: {error}");
        return Ok(());
    }
    fs::write(&mark, "").map_err(|error| format!("{}: {error}", mark.display()))
}

/// The host's own Python, so that users other than ours may run what is installed with it; else whatever is on the path.
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
