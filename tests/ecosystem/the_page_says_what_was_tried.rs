//! The page that says what was tried: `docs/compatibility.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::every_pair_of_others_works::{CLIENTS, Outcome, STEPS, Target};
use super::{baseline, source};

/// Where it lies.
pub(crate) const PAGE: &str = "../docs/compatibility.md";

/// Longest line of prose.
const WIDTH: usize = 110;

/// Ways to a server.
const TRANSPORTS: [&str; 3] = ["http", "stdio", "unix"];

/// The exceptions to the conformance suite, by heading and file.
const SUITES: [(&str, &str); 3] = [
    ("A server of 2025-11-25", "conformance/2025-11-25.txt"),
    ("A server of 2026-07-28", "conformance/2026-07-28.txt"),
    ("Airlock as a client", "conformance/client.txt"),
];

/// The version of a package as the lists of tools pin it.
fn version(package: &str) -> String {
    let npm = std::fs::read_to_string(source("../xtask/tools/package.json")).unwrap_or_default();
    let npm: Value = serde_json::from_str(&npm).unwrap_or_default();
    if let Some(version) = npm["dependencies"][package].as_str() {
        return version.to_owned();
    }
    let lists = ["requirements.txt", "requirements-legacy.txt"];
    let text: String = lists
        .iter()
        .filter_map(|list| std::fs::read_to_string(source(&format!("../xtask/tools/{list}"))).ok())
        .collect();
    let pinned = text.lines().find_map(|line| line.strip_prefix(package)?.strip_prefix("=="));
    pinned.unwrap_or_else(|| panic!("{package} is not pinned")).to_owned()
}

/// The whole page.
pub(crate) fn page(targets: &[Target], seen: &BTreeMap<(usize, usize), Outcome>) -> String {
    let mut page = "# Clients and servers that were tried\n\n\
        Written by the test `clients_and_servers_in_every_pair` from what it has seen, each server as an upstream of\n\
        one Airlock. Each client lists the server's tools, calls one of them, and reads a resource where the server\n\
        has some. `cargo xtask test` fails when this page is not what it sees; `AIRLOCK_BLESS=1` writes it.\n\n\
        | client | version | eras | agreed on |\n|---|---|---|---|\n"
        .to_owned();
    for (at, client) in CLIENTS.iter().enumerate() {
        let mut revisions: Vec<&str> =
            (0..targets.len()).filter_map(|target| seen.get(&(at, target))?.revision.as_deref()).collect();
        revisions.sort_unstable();
        revisions.dedup();
        let agreed = if revisions.is_empty() { "not told".to_owned() } else { revisions.join(", ") };
        let _ =
            writeln!(page, "| {} | {} | {} | {agreed} |", client.name, version(client.package), client.mode);
    }
    page += "\n| server | package | version |";
    for client in &CLIENTS {
        let _ = write!(page, " {} ({}) |", client.name, client.mode);
    }
    page += "\n|---|---|---|";
    page += &"---|".repeat(CLIENTS.len());
    for (at, target) in targets.iter().enumerate() {
        let _ = write!(page, "\n| {} | `{}` | {} |", target.name, target.package, version(target.package));
        for client in 0..CLIENTS.len() {
            let Some(outcome) = seen.get(&(client, at)) else { continue };
            let steps = STEPS.iter().filter(|step| **step != "read" || target.uri.is_some());
            let cell: Vec<String> = steps
                .map(|step| match outcome.steps.get(step) {
                    Some(how) if how == "ok" => (*step).to_owned(),
                    _ => format!("**no {step}**"),
                })
                .collect();
            let _ = write!(page, " {} |", cell.join(", "));
        }
    }
    page += "\n\n\
        Every server is a program that Airlock starts and confines, but `fetch`: its work is on the network, so it\n\
        runs beside Airlock on a unix socket.\n";
    page + &conformance()
}

/// The exceptions of the conformance suite with their reasons, as their files have them.
fn conformance() -> String {
    let mut section = "\n## Conformance\n\n\
        The official suite asks the everything server of the Python SDK alone and behind Airlock, and Airlock as a\n\
        client. Each check that passes alone and not with Airlock stands here below its reason. The tests hold this\n\
        list to the truth in both directions.\n"
        .to_owned();
    for (heading, file) in SUITES {
        let _ = write!(section, "\n### {heading}\n\n");
        let groups = baseline::groups(file);
        if groups.is_empty() {
            section += "There is no exception.\n";
        }
        for group in groups {
            section += &filled("- ", &group.reason);
            // Many entries differ in the transport alone, which is their first word.
            let mut checks: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for entry in &group.entries {
                let has_transport = entry.split_once(' ').filter(|(first, _)| TRANSPORTS.contains(first));
                let (transport, check) = has_transport.unwrap_or(("", entry));
                checks.entry(check.trim()).or_default().push(transport);
            }
            for (check, mut transports) in checks {
                transports.sort_unstable();
                let over = format!(" over {}", transports.join(", "));
                section +=
                    &filled("  - ", &format!("`{check}`{}", if over == " over " { "" } else { &over }));
            }
        }
    }
    section
}

/// An item of a list in lines of the usual length.
fn filled(bullet: &str, text: &str) -> String {
    let (mut filled, mut line) = (String::new(), bullet.trim_end().to_owned());
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(filled, "{line}");
            line = " ".repeat(bullet.len() - 1);
        }
        let _ = write!(line, " {word}");
    }
    filled + &line + "\n"
}

#[test]
fn the_page_has_every_exception_of_the_conformance_suite() {
    let written = std::fs::read_to_string(source(PAGE)).expect("a page");
    let wanted = conformance();
    assert!(written.ends_with(&wanted), "docs/compatibility.md is to end with:\n{wanted}");
}
