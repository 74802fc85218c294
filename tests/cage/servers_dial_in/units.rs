//! Two servers of one user are told apart by the units that their processes belong to.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use airlock_tests::mcp::{modern_call, text};
use airlock_tests::{Setup, skip, tools};
use serde_json::json;

use super::{House, own_user};

/// Where the cgroups of version 2 are mounted.
fn mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    line.split(' ').nth(4).map(PathBuf::from)
}

/// A cgroup that lies where systemd makes that of a unit; it is removed with this value, when nobody is in
/// it.
struct Unit {
    name: String,
    dir: PathBuf,
}

impl Unit {
    fn make(label: &str) -> Option<Self> {
        let name = format!("airlock-{label}-{}.service", std::process::id());
        let first = fs::read_to_string("/proc/1/cgroup").ok()?;
        let place = first.lines().find_map(|line| line.strip_prefix("0::/"))?.to_owned();
        let manager = mount()?.join(place.trim_end_matches("init.scope"));
        let dir = manager.join(&name);
        fs::create_dir(&dir).ok()?;
        Some(Self { name, dir })
    }

    /// Runs a script in it that dials in and says what the end of the connection was, with the server on it
    /// where there is one.
    fn dial(&self, socket: &Path, server: &[&str]) -> Child {
        let enter = r#"echo 0 > "$1/cgroup.procs" && shift && exec python3 -c "$@""#;
        let mut shell = Command::new("sh");
        shell.args(["-c", enter, "sh"]).arg(&self.dir).arg(DIAL).arg(socket).args(server);
        shell.stdin(Stdio::null()).spawn().expect("a shell")
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        let removed = fs::remove_dir(&self.dir);
        if let Err(error) = removed {
            let _ = writeln!(std::io::stderr(), "{} is left: {error}", self.dir.display());
        }
    }
}

/// Connects, and becomes the server; without one it waits until the connection is closed.
const DIAL: &str = "import os, socket, sys
wire = socket.socket(socket.AF_UNIX)
wire.connect(sys.argv[1])
if sys.argv[2:]:
    os.dup2(wire.fileno(), 0)
    os.dup2(wire.fileno(), 1)
    os.execvp(sys.argv[2], sys.argv[2:])
while wire.recv(4096):
    pass
";

#[test]
fn a_process_of_another_unit_serves_nobody() {
    let (Some(own), Some(other)) = (Unit::make("own"), Unit::make("other")) else {
        return skip("cgroups of version 2 cannot be made here");
    };
    let setup = Setup { kernel: "off".into(), ..Setup::default() };
    let house = House::start(&own_user(), &json!({"era": "modern", "unit": own.name}), setup);
    let reason_of = |pid: u32| {
        let of = format!("pid {pid} ");
        let refused = house.airlock.audited(|record| {
            let client = record["client"].as_str().unwrap_or_default();
            record["rule_id"] == "dial_in" && client.starts_with(&of)
        });
        refused["reason"].as_str().unwrap_or_default().to_owned()
    };
    // The user is the right one, and the unit is not.
    let mut stranger = other.dial(&house.socket(), &[]);
    let reason = reason_of(stranger.id());
    assert!(reason.contains(&format!("it belongs to {}, not to {}", other.name, own.name)), "{reason}");
    assert!(stranger.wait().expect("its connection is closed").success());
    assert!(house.is_absent(), "{}", house.ready());

    let server = tools::built("docs-server").display().to_string();
    let mut member = own.dial(&house.socket(), &[&server]);
    house.until_ready();
    let call = modern_call("/mcp/far", 1, "search_docs", &json!({"query": "roll back"}));
    let answer = house.airlock.send(&call.bearer(&house.airlock.user())).answer();
    assert!(text(&answer["result"]).contains("deployment.md"), "{answer}\n{}", house.airlock.log());
    drop(house);
    member.wait().expect("it ends with the daemon");
}
