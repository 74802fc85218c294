//! The official conformance suite against Airlock's other side: Airlock as the client of the suite's own
//! servers. `tests/conformance/client.txt` lists what does not hold yet.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::{Command, Stdio};

use airlock_tests::{skip, tools};
use serde_json::Value;

use super::baseline;

/// Those that a gateway can have part in; the others are about the authorization of clients, or about what a
/// user sees. With the era in which the server is to be spoken to: Airlock's own client is a legacy one, so
/// servers of both eras would be spoken to in that one.
const SCENARIOS: [(&str, &str); 8] = [
    ("request-metadata", "modern"),
    ("http-standard-headers", "modern"),
    ("http-custom-headers", "modern"),
    ("http-invalid-tool-headers", "modern"),
    ("json-schema-ref-no-deref", "auto"),
    ("json-schema-2020-12-preservation", "auto"),
    ("sse-retry", "auto"),
    ("tools_call", "auto"),
];

/// Runs a scenario; adds every check that does not hold. Gives how many there were.
fn run(scenario: &str, era: &str, failed: &mut BTreeMap<String, String>) -> Result<usize, String> {
    let suite = tools::node_script("@modelcontextprotocol/conformance/dist/index.js")?;
    let out = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(tools::node()?);
    command.arg(suite).args(["client", "--scenario", scenario, "--command"]);
    command.arg(tools::built("gateway-client")).arg("-o").arg(out.path());
    command.env("GATEWAY_CLIENT_ERA", era);
    let output = command.stdin(Stdio::null()).output().expect("node runs");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let dir = std::fs::read_dir(out.path()).expect("the suite's output").flatten().next();
    let dir = dir.unwrap_or_else(|| panic!("{scenario} did not run: {text}"));
    let checks = std::fs::read(dir.path().join("checks.json")).expect("a scenario has its checks");
    let checks: Vec<Value> = serde_json::from_slice(&checks).expect("a list of checks");
    let mut count = 0;
    for check in &checks {
        let word = |name: &str| check[name].as_str().unwrap_or_default();
        if ["INFO", "SKIPPED"].contains(&word("status")) {
            continue;
        }
        count += 1;
        if word("status") != "SUCCESS" {
            // Ids stand for many checks here; names tell them apart.
            let told = failed.entry(format!("{scenario} {} {}", word("id"), word("name"))).or_default();
            let _ = writeln!(told, "  {}: {}", word("status"), word("description"));
            let _ = writeln!(told, "  {}\n  {}", word("errorMessage"), check["details"]);
        }
    }
    Ok(count)
}

#[test]
fn airlock_is_a_conforming_client() {
    let mut failed = BTreeMap::new();
    for (scenario, era) in SCENARIOS {
        match run(scenario, era, &mut failed) {
            Ok(0) => panic!("{scenario} checked nothing"),
            Ok(count) => println!("{scenario}: {count} checks"),
            Err(reason) => return skip(&reason),
        }
    }
    baseline::compare("conformance/client.txt", &failed);
}
