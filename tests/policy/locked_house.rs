//! A server whose offers change, and a daemon with tool locks before it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::TcpStream;
use std::sync::{Mutex, PoisonError};

use airlock_tests::airlock::{run, start_in};
use airlock_tests::http::Request;
use airlock_tests::little::{Book, Little, Seen, write_json};
use airlock_tests::mcp::{modern, modern_call, tool_names};
use airlock_tests::{Airlock, Setup};
use serde_json::{Value, json};

/// The offers of each server, by its port: its tools, and what it has of prompts and templates.
static OFFERS: Mutex<BTreeMap<u16, [String; 2]>> = Mutex::new(BTreeMap::new());

fn port(little: &Little) -> u16 {
    little.url("").rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}

pub(super) fn offer(little: &Little, tools: &str) {
    let mut offers = OFFERS.lock().unwrap_or_else(PoisonError::into_inner);
    tools.clone_into(&mut offers.entry(port(little)).or_default()[0]);
}

pub(super) fn offer_others(little: &Little, entries: &str) {
    let mut offers = OFFERS.lock().unwrap_or_else(PoisonError::into_inner);
    entries.clone_into(&mut offers.entry(port(little)).or_default()[1]);
}

pub(super) fn answer(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    let offers =
        r#""capabilities":{"tools":{"listChanged":true},"prompts":{},"resources":{},"completions":{}}"#;
    let cache = r#""resultType":"complete","ttlMs":0,"cacheScope":"public""#;
    let port = stream.local_addr()?.port();
    let offered = OFFERS.lock().unwrap_or_else(PoisonError::into_inner).get(&port).cloned();
    let [tools, others] = offered.unwrap_or_default();
    let result = match seen.rpc() {
        "initialize" => format!(
            r#"{{"protocolVersion":"2025-11-25",{offers},"serverInfo":{{"name":"little","version":"1"}}}}"#
        ),
        "server/discover" => format!(r#"{{{cache},"supportedVersions":["2026-07-28"],{offers}}}"#),
        "tools/list" => format!(r#"{{{cache},"tools":[{tools}]}}"#),
        "prompts/list" => format!(r#"{{{cache},"prompts":[{others}]}}"#),
        "resources/templates/list" => {
            let templates = others.replace(r#""name":"read"#, r#""name":"n","uriTemplate":"read/{x}"#);
            format!(r#"{{{cache},"resourceTemplates":[{templates}]}}"#)
        }
        "completion/complete" => format!(r#"{{{cache},"completion":{{"values":["done"]}}}}"#),
        "tools/call" | "prompts/get" => {
            format!(r#"{{{cache},"messages":[],"content":[{{"type":"text","text":"done"}}]}}"#)
        }
        _ => return write_json(stream, &seen.no_such_method()),
    };
    write_json(stream, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, seen.body["id"]))
}

pub(super) const READ: &str = r#"{"name":"read","description":"Reads a file.","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object"}}"#;
pub(super) const FIND: &str =
    r#"{"name":"find","description":"Finds files.","inputSchema":{"type":"object"}}"#;

/// A server with its tools, and a daemon before it.
pub(super) struct House {
    pub(super) little: Little,
    pub(super) airlock: Airlock,
    pub(super) token: String,
    pub(super) socket: String,
    _folder: tempfile::TempDir,
}

impl House {
    pub(super) fn new(tools: &str, more: &str) -> Self {
        let little = Little::start(answer);
        offer(&little, tools);
        let setup =
            Setup { upstreams: little.entry("docs").to_string(), more: more.to_owned(), ..Setup::default() };
        Self::with(little, setup, None)
    }

    /// The same, or one that finds this lock file at its start.
    pub(super) fn with(little: Little, setup: Setup, lock: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("admin.sock").display().to_string();
        let observability = format!("  admin_listen: {socket}\n");
        let own = setup.more.contains("tool_lock:").then(|| setup.more.clone());
        let more = own.unwrap_or_else(|| "tool_lock: {mode: trust_first_use}\n".to_owned());
        let dir = Setup { observability, more, ..setup }.write().expect("a directory");
        if let Some(lock) = lock {
            fs::write(dir.path().join("tools.lock"), lock).expect("written");
        }
        let airlock = start_in(dir).unwrap_or_else(|failed| panic!("{}", failed.log));
        let token = airlock.user();
        Self { little, airlock, token, socket, _folder: folder }
    }

    pub(super) fn listed(&self) -> Vec<String> {
        let answer = self.send(&modern("/mcp/docs", 1, "tools/list", &Value::Null));
        let mut merged = self.send(&modern("/mcp", 1, "tools/list", &Value::Null));
        let own = tool_names(&answer["result"]);
        let prefixed: Vec<_> = own.iter().map(|name| format!("docs__{name}")).collect();
        assert_eq!(tool_names(&merged["result"].take()), prefixed, "both endpoints show the same");
        own
    }

    pub(super) fn send(&self, request: &Request) -> Value {
        self.airlock.send(&request.clone().bearer(&self.token)).answer()
    }

    /// The names of its prompts and of its templates.
    pub(super) fn others(&self) -> (Vec<String>, Vec<String>) {
        let names = |method: &str, entries: &str, name: &str| -> Vec<String> {
            let answer = self.send(&modern("/mcp/docs", 1, method, &Value::Null));
            let list = answer["result"][entries].as_array().unwrap_or_else(|| panic!("{answer}")).clone();
            list.iter().filter_map(|entry| Some(entry[name].as_str()?.to_owned())).collect()
        };
        let templates = names("resources/templates/list", "resourceTemplates", "uriTemplate");
        (names("prompts/list", "prompts", "name"), templates)
    }

    /// The status of a call, and the rule that refused it.
    pub(super) fn call(&self, tool: &str) -> (u16, Option<String>) {
        let response = self.airlock.send(&modern_call("/mcp/docs", 1, tool, &json!({})).bearer(&self.token));
        let rule = response.answer()["error"]["data"]["rule_id"].as_str().map(str::to_owned);
        (response.status, rule)
    }

    pub(super) fn lock(&self) -> String {
        fs::read_to_string(self.airlock.dir().join("tools.lock")).expect("a lock file")
    }

    /// Runs `airlock tools`.
    pub(super) fn tools(&self, words: &[&str]) -> (bool, String) {
        let (well, out, errors) = run(&[&["tools"], words, &["--socket", &self.socket]].concat());
        (well, out + &errors)
    }

    pub(super) fn status(&self) -> Value {
        let (_, status, errors) = run(&["status", "--json", "--socket", &self.socket]);
        serde_json::from_str(&status).unwrap_or_else(|error| panic!("{error}: {errors}"))
    }
}

/// The refusal of what is held back.
pub(super) fn held() -> (u16, Option<String>) {
    (403, Some("tool_lock".to_owned()))
}
