//! Where the servers and clients that nobody here wrote are: `cargo xtask test` installs them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// The script of the everything server, in npm.
pub const EVERYTHING: &str = "@modelcontextprotocol/server-everything/dist/index.js";

/// A program of this workspace, built beside the running test.
pub fn built(name: &str) -> PathBuf {
    target_dir().join(name)
}

/// The directory of the built programs: two levels up from a test (`deps/`), one from a program.
pub fn target_dir() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let dir = own.parent().unwrap_or(Path::new("."));
    if dir.ends_with("deps") { dir.parent().unwrap_or(dir).to_owned() } else { dir.to_owned() }
}

/// The `airlock` program: `AIRLOCK_BIN`, or the one built beside the test.
pub fn airlock() -> PathBuf {
    std::env::var_os("AIRLOCK_BIN").map_or_else(|| built("airlock"), PathBuf::from)
}

/// A file below the tools directory, or why it is not there.
fn tool(path: &str) -> Result<PathBuf, String> {
    let dir = std::env::var_os("AIRLOCK_TOOLS")
        .map_or_else(|| target_dir().parent().unwrap_or(Path::new(".")).join("tools"), PathBuf::from);
    let file = dir.join(path);
    if file.exists() { Ok(file) } else { Err(format!("{path} is not installed: `cargo xtask test` does it")) }
}

/// Node 22.
pub fn node() -> Result<PathBuf, String> {
    tool("node_modules/node/bin/node")
}

/// A Chromium without a window, where the host has one.
pub fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found =
        |name: &str| std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file());
    found("chromium-headless-shell")
}

/// The script of an npm package, such as [`EVERYTHING`].
pub fn node_script(path: &str) -> Result<PathBuf, String> {
    tool(&format!("node_modules/{path}"))
}

/// Node and the script of an npm package, with which its command begins.
pub fn in_node(path: &str) -> Result<[String; 2], String> {
    Ok([node()?, node_script(path)?].map(|word| word.display().to_string()))
}

/// Runs a client to its end, which has to be a good one; the line of JSON that it tells.
pub fn told(client: &mut Command) -> Value {
    let output = client.stdin(Stdio::null()).output().expect("an installed program");
    let [said, complaint] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{}: {said}\n{complaint}", output.status);
    serde_json::from_str(said.trim()).unwrap_or_else(|error| panic!("{error}: {said}\n{complaint}"))
}

/// A program of the Python environment, such as `python` or `mcp-server-time`.
pub fn python(name: &str) -> Result<PathBuf, String> {
    tool(&format!("python/bin/{name}"))
}

/// A program of the Python environment for servers of the first SDK.
pub fn python_legacy(name: &str) -> Result<PathBuf, String> {
    tool(&format!("python-legacy/bin/{name}"))
}

/// The directory of the everything server that the conformance suite is made for.
pub fn everything_server() -> Result<PathBuf, String> {
    tool("everything-server/mcp_everything_server")
        .map(|package| package.parent().unwrap_or(Path::new("/")).to_owned())
}

/// The effective user is root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A Debian root with systemd, to be copied.
pub fn container_root() -> Result<PathBuf, String> {
    tool("container-root/.complete").map(|mark| mark.parent().unwrap_or(Path::new("/")).to_owned())
}
