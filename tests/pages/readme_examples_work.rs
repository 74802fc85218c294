//! The examples of the README work as they are shown.

use std::fmt::Write as _;
use std::net::{IpAddr, TcpListener, TcpStream};
use std::path::Path;

use airlock_tests::Setup;
use airlock_tests::airlock::{self, free_address, run};
use airlock_tests::authority::Authority;
use airlock_tests::mcp::{modern, modern_call, tool_names};
use serde_json::{Value, json};

const README: &str = include_str!("../../README.md");

/// The first block of code of a kind.
fn block(kind: &str) -> &'static str {
    let fence = format!("```{kind}\n");
    let start = README.find(&fence).expect("a block") + fence.len();
    let length = README[start..].find("```").expect("its end");
    &README[start..start + length]
}

#[test]
fn the_first_policy_does_what_it_says() {
    let airlock = Setup { policy: block("rego").to_owned(), ..Setup::default() }.start();
    let token = airlock.user();
    let call = |tool: &str, arguments: Value| {
        airlock.send(&modern_call("/mcp/docs", 1, tool, &arguments).bearer(&token)).status
    };
    assert_eq!(call("search_docs", json!({"query": "roll back"})), 200);
    assert_eq!(call("read_file", json!({"path": "/public/guide.md"})), 200);
    assert_eq!(call("read_file", json!({"path": "/secret/key"})), 403);
    assert_eq!(call("phone_home", json!({"address": "127.0.0.1:1"})), 403);
    let list = airlock.send(&modern("/mcp/docs", 1, "tools/list", &Value::Null).bearer(&token)).answer();
    assert_eq!(tool_names(&list["result"]), ["read_file", "search_docs"], "{list}");
}

/// The blocks of YAML of all pages, with the page and the line where each begins.
fn blocks() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let docs =
        std::fs::read_dir(root.join("docs")).expect("the pages").map(|page| page.expect("a page").path());
    let pages =
        docs.chain([root.join("README.md")]).filter(|page| page.extension().is_some_and(|kind| kind == "md"));
    let mut found = Vec::new();
    for page in pages {
        let text = std::fs::read_to_string(&page).expect("a page");
        let name = page.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut rest = text.as_str();
        while let Some((_, after)) = rest.split_once("```yaml\n") {
            let (block, after) = after.split_once("```").expect("its end");
            let line = text.len() - after.len();
            found.push((format!("{name}, at byte {line}"), block.to_owned()));
            rest = after;
        }
    }
    found
}

/// Whole configurations of a block: what it does not say is added, and files that it names are there.
fn completed(block: &str, authority: &Authority, dir: &Path) -> Vec<String> {
    // A pack is a file of its own, which a configuration switches on.
    if block.starts_with("pack:") {
        let packs = dir.join("packs");
        std::fs::create_dir_all(&packs).expect("a directory");
        std::fs::write(packs.join("acme.yaml"), block).expect("the pack");
        let directory = packs.display();
        let dlp = format!("dlp: {{directory: \"{directory}\", packs: [secrets, acme]}}\n");
        return completed(&dlp, authority, dir);
    }
    // A page that shows several of one key has a configuration for each.
    if block.starts_with("credential:") {
        let with = |credential: &str| {
            let lines: Vec<String> = credential.lines().map(|line| format!("    {line}\n")).collect();
            let upstream =
                "upstreams:\n  - name: docs\n    type: http\n    url: https://docs.example.com/mcp\n";
            completed(&format!("{upstream}{}", lines.concat()), authority, dir)
        };
        return block
            .split("credential:")
            .skip(1)
            .flat_map(|one| with(&format!("credential:{one}")))
            .collect();
    }
    let pem = |name: &str| authority.file(name).display().to_string();
    let mut text = block
        .replace("/etc/airlock/policies", &dir.display().to_string())
        .replace("/etc/airlock/tls/cert.pem", &pem("host.pem"))
        .replace("/etc/airlock/tls/key.pem", &pem("host.key"))
        .replace("/etc/airlock/tls/clients.pem", &pem("ca.pem"))
        .replace("/run/airlock/airlock.sock", &dir.join("airlock.sock").display().to_string());
    let says = |text: &str, key: &str| text.lines().any(|line| line.starts_with(key));
    if !says(&text, "auth:") {
        text += "auth:\n  issuers: [{issuer: \"http://127.0.0.1:9\", audience: [nobody]}]\n";
    }
    if !says(&text, "policy:") {
        let _ = writeln!(text, "policy: {{path: {}}}", dir.display());
    }
    vec![text]
}

/// Ways to write what is not to be read, and one to leave it out.
fn spellings() -> Vec<Value> {
    let paths = [
        json!("/secret/key"),
        json!("//secret/key"),
        json!("/./secret/key"),
        json!("/public/../secret/key"),
        json!(["/secret/key"]),
        json!({"path": "/secret/key"}),
        json!("/SECRET/key"),
        json!("/secret/key\u{0}.md"),
        json!("/public\\..\\secret"),
        json!("/public/%2e%2e/secret/key"),
        json!("/public/guide.md\n/secret/key"),
        json!("/public/./guide.md"),
        json!(7),
        Value::Null,
    ];
    paths
        .into_iter()
        .map(|path| json!({ "path": path }))
        .chain([json!({}), json!({"file": "/secret/key"})])
        .collect()
}

#[test]
fn the_first_policy_stands_every_spelling() {
    let airlock = Setup { policy: block("rego").to_owned(), ..Setup::default() }.start();
    let token = airlock.user();
    for arguments in spellings() {
        let answer = airlock.send(&modern_call("/mcp/docs", 1, "read_file", &arguments).bearer(&token));
        assert_eq!(answer.status, 403, "{arguments}: {}", answer.answer());
    }
}

#[test]
fn the_shipped_policy_stands_every_spelling() {
    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let dir = tempfile::tempdir().expect("a directory");
    let input = dir.path().join("input.json");
    // A call without a path asks for no file; what the server makes of it is the server's to say.
    for arguments in spellings().into_iter().filter(|arguments| arguments.get("path").is_some()) {
        let asked = json!({
            "subject": {"id": "alice", "tenant": "acme", "groups": ["mcp.users"]},
            "call": {"method": "tools/call", "upstream": "docs", "tool": "read_file", "arguments": arguments},
        });
        std::fs::write(&input, asked.to_string()).expect("the input");
        let output = std::process::Command::new(airlock_tests::tools::airlock())
            .args(["policy", "explain", "--path"])
            .arg(&shipped)
            .arg("--input")
            .arg(&input)
            .output()
            .expect("airlock policy explain");
        assert_eq!(output.status.code(), Some(1), "{arguments}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn every_configuration_that_is_shown_is_accepted() {
    let authority = Authority::create();
    authority.tls();
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("authz.rego"), block("rego")).expect("the policy");
    let blocks = blocks();
    assert!(blocks.len() >= 5, "{blocks:?}");
    for (place, block) in blocks {
        for text in completed(&block, &authority, dir.path()) {
            let file = dir.path().join("airlock.yaml");
            std::fs::write(&file, &text).expect("the configuration");
            let (accepted, _, errors) = run(&["check", "--config", &file.display().to_string()]);
            assert!(accepted, "{place}:\n{text}\n{errors}");
        }
    }
}

/// Both families of the first example, on one port.
#[test]
fn the_listeners_that_are_shown_listen() {
    let authority = Authority::create();
    authority.tls();
    let shown = blocks().into_iter().find(|(_, block)| block.contains("0.0.0.0:443")).expect("the example").1;
    let dir = Setup::default().write().expect("a directory");
    std::fs::create_dir_all(dir.path().join("policies")).expect("a directory");
    let port = free_address().expect("a port").port();
    let text = completed(&shown, &authority, &dir.path().join("policies"))
        .remove(0)
        .replace(":443\"", &format!(":{port}\""))
        + &format!(
            "audit: {{dir: {}/audit, journald: false}}\nkernel: {{mode: preferred}}\n",
            dir.path().display()
        );
    std::fs::write(dir.path().join("airlock.yaml"), &text).expect("written");
    let airlock = airlock::start_in(dir).unwrap_or_else(|failed| panic!("{text}\n{}", failed.log));
    for address in ["127.0.0.1", "::1"] {
        let address: IpAddr = address.parse().expect(address);
        if TcpListener::bind((address, 0)).is_err() {
            // A host without IPv6 cannot have started it either.
            continue;
        }
        TcpStream::connect((address, port))
            .unwrap_or_else(|error| panic!("{address}: {error}\n{}", airlock.log()));
    }
}
