//! The official conformance suite through Airlock: every check that the server passes on its own, it passes
//! behind the door, over each transport and in both eras. `tests/conformance/REVISION.txt` lists the
//! exceptions.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use airlock_tests::airlock::{free_address, stdio_upstream};
use airlock_tests::{Running, Setup, skip, tools};
use serde_json::Value;

use super::{POLICY, baseline, serve, source};

/// The suite's directories end with the time: `-2026-11-22T20-33-32-667Z`.
const TIMESTAMP: usize = 25;

/// The programs that are needed besides Airlock.
struct Parts {
    node: PathBuf,
    suite: PathBuf,
    python: PathBuf,
    server: PathBuf,
}

/// The worst outcome of each check, and what to show of it.
type Checks = BTreeMap<(String, String), (bool, String)>;

impl Parts {
    fn find() -> Result<Self, String> {
        Ok(Self {
            node: tools::node()?,
            suite: tools::node_script("@modelcontextprotocol/conformance/dist/index.js")?,
            python: tools::python("python")?,
            server: tools::everything_server()?,
        })
    }

    fn words<'a>(&'a self, script: &'a Path, place: &'a str) -> [&'a str; 4] {
        let text = |path: &'a Path| path.to_str().expect("a path in UTF-8");
        [text(&self.python), text(script), text(&self.server), place]
    }

    /// The everything server on a port or a socket.
    fn serve(&self, place: &str) -> Running {
        let script = source("conformance/everything.py");
        let words = self.words(&script, place);
        serve(Command::new(words[0]).args(&words[1..]), place)
    }

    /// Runs the suite against a server; a token makes it one that asks for it.
    fn run(&self, url: &str, revision: &str, token: Option<&str>) -> Checks {
        let out = tempfile::tempdir().expect("a directory");
        let mut command = Command::new(&self.node);
        command.arg("--import").arg(source("conformance/bearer.mjs")).arg(&self.suite);
        command.args(["server", "--url", url, "--requirements", revision, "-o"]).arg(out.path());
        if let Some(token) = token {
            command.env("AIRLOCK_TEST_TOKEN", token);
        }
        let output = command.stdin(Stdio::null()).output().expect("node runs");
        let checks = read(out.path());
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(checks.len() > 20, "the suite did not run: {told}");
        checks
    }
}

/// Every `checks.json` below the suite's output.
fn read(out: &Path) -> Checks {
    let mut checks = Checks::new();
    for entry in std::fs::read_dir(out).expect("the suite's output").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(scenario) =
            name.strip_prefix("server-").and_then(|name| name.get(..name.len().checked_sub(TIMESTAMP)?))
        else {
            continue;
        };
        let text = std::fs::read(entry.path().join("checks.json")).expect("a scenario has its checks");
        let list: Vec<Value> = serde_json::from_slice(&text).expect("a list of checks");
        for check in list {
            let passed = match check["status"].as_str() {
                Some("SUCCESS") => true,
                // A remark, or something that this server does not have: neither good nor bad.
                Some("INFO" | "SKIPPED") => continue,
                _ => false,
            };
            let key = (scenario.to_owned(), check["id"].as_str().unwrap_or("?").to_owned());
            let (all, told) = checks.entry(key).or_insert((true, String::new()));
            *all &= passed;
            if !passed {
                let mut details = check["details"].to_string();
                details.truncate(details.floor_char_boundary(1_500));
                let word = |name: &str| check[name].as_str().unwrap_or_default();
                let (status, description, error) =
                    (word("status"), word("description"), word("errorMessage"));
                let _ = writeln!(told, "  {status}: {description}\n  {error}\n  {details}");
            }
        }
    }
    checks
}

/// Adds what passes directly and not here.
fn lost(transport: &str, direct: &Checks, through: &Checks, failed: &mut BTreeMap<String, String>) {
    for ((scenario, check), _) in direct.iter().filter(|(_, (passed, _))| *passed) {
        let told = match through.get(&(scenario.clone(), check.clone())) {
            Some((true, _)) => continue,
            Some((false, told)) => told.clone(),
            None => "  the check was not reached".to_owned(),
        };
        failed.insert(format!("{transport} {scenario} {check}"), told);
    }
}

fn conforms(revision: &str) {
    let parts = match Parts::find() {
        Ok(parts) => parts,
        Err(reason) => return skip(&reason),
    };
    let port = || free_address().expect("a free port").port().to_string();
    let direct = {
        let port = port();
        let _server = parts.serve(&port);
        parts.run(&format!("http://localhost:{port}/mcp"), revision, None)
    };
    let good = direct.values().filter(|(passed, _)| *passed).count();
    assert!(good > 50, "the server alone passes only {good} checks");

    let dir = tempfile::Builder::new().prefix("airlock-socket-").tempdir().expect("a directory");
    let socket = dir.path().join("x.sock").display().to_string();
    let mut failed = BTreeMap::new();
    for transport in ["stdio", "http", "unix"] {
        let server_port = port();
        let script = source("conformance/everything.py");
        let (_server, upstreams) = match transport {
            "stdio" => (None, stdio_upstream("everything", &parts.words(&script, "stdio"))),
            "http" => (
                Some(parts.serve(&server_port)),
                format!(
                    "  - {{name: everything, type: http, url: \"http://localhost:{server_port}/mcp\"}}\n"
                ),
            ),
            _ => (
                Some(parts.serve(&socket)),
                format!("  - {{name: everything, type: unix, socket: \"{socket}\", framing: http}}\n"),
            ),
        };
        let address = free_address().expect("a free port");
        // The suite's test of DNS rebinding wants a URL of localhost, and an Origin of it to be let in.
        let origin = format!("http://localhost:{}", address.port());
        let setup = Setup {
            listen: vec![address.to_string()],
            upstreams,
            policy: POLICY.to_owned(),
            server: format!("  allowed_origins: [\"{origin}\"]\n"),
            ..Setup::default()
        };
        let airlock = setup.start();
        let through = parts.run(&format!("{origin}/mcp/everything"), revision, Some(&airlock.user()));
        lost(transport, &direct, &through, &mut failed);
    }
    println!(
        "{revision}: {good} checks pass directly; through Airlock {} of 3 x {good} do not",
        failed.len()
    );
    baseline::compare(&format!("conformance/{revision}.txt"), &failed);
}

#[test]
fn revision_2026_07_28_over_every_transport() {
    conforms("2026-07-28");
}

#[test]
fn revision_2025_11_25_over_every_transport() {
    conforms("2025-11-25");
}
