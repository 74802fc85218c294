//! An MCP server that goes for its host: each tool does one thing that a program of strangers might do, and
//! says how far it came.

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::process::{Resource, getrlimit};
use serde_json::{Value, json};

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let Ok(message) = serde_json::from_str::<Value>(&line?) else { continue };
        let Some(id) = message.get("id") else { continue };
        let mut answer = match message["method"].as_str() {
            Some("initialize") => {
                json!({"result": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                    "serverInfo": {"name": "wild-server", "version": "1"}}})
            }
            Some("ping") => json!({"result": {}}),
            Some("tools/list") => {
                let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
                let tools = ["nest", "fill", "look", "run"].map(tool);
                json!({"result": {"tools": tools}})
            }
            Some("tools/call") => {
                let said =
                    act(&message["params"]).unwrap_or_else(|error| json!({"error": error.to_string()}));
                json!({"result": {"content": [{"type": "text", "text": said.to_string()}]}})
            }
            _ => json!({"error": {"code": -32601, "message": "Method not found"}}),
        };
        answer["jsonrpc"] = json!("2.0");
        answer["id"] = id.clone();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn act(params: &Value) -> io::Result<Value> {
    let arguments = &params["arguments"];
    let number = |name: &str| arguments[name].as_u64().unwrap_or(0);
    let own = std::env::var("TMPDIR").unwrap_or_default();
    let dir = arguments["dir"].as_str().unwrap_or(&own);
    match params["name"].as_str() {
        Some("nest") => nest(Path::new(dir), number("depth")),
        Some("fill") => Ok(fill(&Path::new(dir).join("filled"), number("kib"))),
        Some("look") => look(&own),
        Some("run") => run(&arguments["words"]),
        _ => Err(io::Error::other("no such tool")),
    }
}

/// Directories in directories; no path is as long as the way to the last.
fn nest(dir: &Path, depth: u64) -> io::Result<Value> {
    let open = |at: &OwnedFd| openat(at, c"d", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let mut at = openat(CWD, dir, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    for made in 0..depth {
        let next = mkdirat(&at, c"d", Mode::RWXU).and_then(|()| open(&at));
        match next {
            Ok(next) => at = next,
            Err(error) => return Ok(json!({"made": made, "errno": error.raw_os_error()})),
        }
    }
    Ok(json!({"made": depth, "errno": 0}))
}

/// Writes until it is told, or as much as it was told to.
fn fill(path: &Path, kib: u64) -> Value {
    let mut written = 0;
    let mut write = || {
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        while written < kib {
            file.write_all(&[7; 1024])?;
            written += 1;
        }
        Ok::<_, io::Error>(())
    };
    let errno = write().err().map_or(0, |error| error.raw_os_error().unwrap_or(-1));
    json!({"kib": written, "errno": errno})
}

/// Runs a program to its end.
fn run(words: &Value) -> io::Result<Value> {
    let mut words = words.as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut command = Command::new(words.next().unwrap_or_default());
    let output = command.args(words).stdin(Stdio::null()).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(json!({"code": output.status.code(), "out": text(&output.stdout), "err": text(&output.stderr)}))
}

fn look(own: &str) -> io::Result<Value> {
    let names = |dir: &str| {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    let status = fs::read_to_string("/proc/self/status")?;
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    Ok(json!({
        "tmpdir": own, "uid": uid.split_whitespace().next(),
        "tmp": names("/tmp"), "var_tmp": names("/var/tmp"), "shm": names("/dev/shm"),
        "file_size": getrlimit(Resource::Fsize).maximum, "core": getrlimit(Resource::Core).maximum,
    }))
}
