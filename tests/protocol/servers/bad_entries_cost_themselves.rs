//! Lists of servers: one bad entry costs that entry and nothing else, and pages that lead in a circle come to
//! an end.

use std::io;
use std::net::TcpStream;
use std::sync::Mutex;

use airlock_tests::airlock::{free_address, run, stdio_upstream};
use airlock_tests::http::Request;
use airlock_tests::little::{Book, Little, Seen, write_json};
use airlock_tests::mcp::{Session, modern, modern_call, text, tool_names};
use airlock_tests::{Airlock, Setup, Upstream, tools};
use serde_json::{Value, json};

/// The members of a result that a modern server adds to a list.
const CACHE: &str = r#""resultType":"complete","ttlMs":0,"cacheScope":"public""#;

/// A list in which each kind of fault stands once, between two good entries.
fn odd_list(entries: &str, name: &str) -> String {
    let deep = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let header =
        r#""inputSchema":{"type":"object","properties":{"r":{"type":"string","x-mcp-header":"Region"}}}"#;
    let all = [
        format!(r#"{{"{name}":"a:one",{header}}}"#),
        format!(r#"{{"{name}":"a:half","description":"\ud83d cut"}}"#),
        format!(
            r#"{{"{name}":"a:twice","inputSchema":{{"type":"object","properties":{{"p":{{}},"p":{{}}}}}}}}"#
        ),
        r#"{"description":"it has no name"}"#.to_owned(),
        "null".to_owned(),
        format!(r#"{{"{name}":"a:huge","x":1e400}}"#),
        format!(r#"{{"{name}":"a:deep","x":{}}}"#, deep(70)),
        format!(r#"{{"{name}":"a:deeper","x":{}}}"#, deep(300)),
        format!(r#"{{"{name}":"a:one","description":"another of that name"}}"#),
        format!(r#"{{"{name}":"a:two","inputSchema":{{"type":"object"}}}}"#),
    ];
    format!(r#"{{{CACHE},"{entries}":[{}]}}"#, all.join(","))
}

const LISTS: [(&str, &str, &str); 4] = [
    ("tools/list", "tools", "name"),
    ("prompts/list", "prompts", "name"),
    ("resources/list", "resources", "uri"),
    ("resources/templates/list", "resourceTemplates", "uriTemplate"),
];

fn legacy(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    let offers = r#""capabilities":{"tools":{},"prompts":{},"resources":{}}"#;
    let result = match seen.rpc() {
        "initialize" => format!(
            r#"{{"protocolVersion":"2025-11-25",{offers},"serverInfo":{{"name":"little","version":"1"}}}}"#
        ),
        "server/discover" => format!(r#"{{{CACHE},"supportedVersions":["2026-07-28"],{offers}}}"#),
        "tools/call" => r#"{"resultType":"complete","content":[{"type":"text","text":"done"}]}"#.to_owned(),
        rpc => match LISTS.iter().find(|(method, ..)| *method == rpc) {
            Some((_, entries, name)) => odd_list(entries, name),
            None => return write_json(stream, ""),
        },
    };
    write_json(stream, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, seen.body["id"]))
}

/// The same server, in both eras.
fn upstreams(little: &Little) -> String {
    little.entry("new").with("era", "modern").to_string()
        + &little.entry("old").with("era", "legacy").to_string()
}

fn names(answer: &Value, entries: &str, name: &str) -> Vec<String> {
    let list = answer["result"][entries].as_array().unwrap_or_else(|| panic!("no list: {answer}"));
    list.iter().map(|entry| entry[name].as_str().unwrap_or("?").to_owned()).collect()
}

#[test]
fn one_bad_entry_costs_itself_and_the_operator_is_told_of_it() {
    let little = Little::start(legacy);
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("admin.sock").display().to_string();
    let metrics = free_address().expect("a port");
    let mut airlock = Setup { upstreams: upstreams(&little), ..Setup::default() }
        .observability("admin_listen", &socket)
        .observability("metrics_listen", metrics)
        .start();
    let token = airlock.user();
    for _ in 0..2 {
        for (method, entries, name) in LISTS {
            for (path, prefixes) in [("/mcp/new", &[""][..]), ("/mcp/old", &[""]), ("/mcp", &["new", "old"])]
            {
                let answer = airlock.send(&modern(path, 1, method, &Value::Null).bearer(&token)).answer();
                let wanted: Vec<_> = prefixes
                    .iter()
                    .flat_map(|prefix| ["a:one", "a:two"].map(|own| (*prefix, own)))
                    .map(|(prefix, own)| match (prefix, name) {
                        ("", _) => own.to_owned(),
                        (prefix, "name") => format!("{prefix}__{own}"),
                        (prefix, _) => format!("airlock+{prefix}+{own}"),
                    })
                    .collect();
                assert_eq!(names(&answer, entries, name), wanted, "{path} {method}: {answer}");
                assert!(answer["result"]["_meta"]["airlock/unavailable"].is_null(), "{answer}");
            }
        }
    }
    let mut session = Session::open(airlock.address(), "/mcp/old", &token).expect("a session");
    assert_eq!(tool_names(&session.result("tools/list", &json!({})).expect("a list")), ["a:one", "a:two"]);

    let (_, status, errors) = run(&["status", "--json", "--socket", &socket]);
    let status: Value = serde_json::from_str(&status).unwrap_or_else(|error| panic!("{error}: {errors}"));
    let warnings = status["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let warnings: Vec<_> = warnings.filter(|warning| warning.contains("is left out of")).collect();
    assert_eq!(warnings.len(), 64, "{status:#}");
    let twice = "upstream old: `a:twice` is left out of prompts/list: duplicate member `p`";
    assert!(warnings.iter().any(|warning| warning.starts_with(twice)), "{warnings:#?}");
    let (well, text, _) = run(&["status", "--socket", &socket]);
    assert!(well && text.contains("  WARN   upstream new: `a:half` is left out of tools/list"), "{text}");
    let scraped = Request::get("/metrics").send(metrics).expect("an answer").text();
    assert!(scraped.contains("airlock_upstream_entries_left_out{upstream=\"new\"} 32\n"), "{scraped}");
    // All lines are written before the end.
    assert!(airlock.stop().success(), "{}", airlock.log());
    // Four lists of two servers, eight entries of each: once each.
    let log = airlock.log();
    let told = log.lines().filter(|line| line.contains("an entry is left out of a list")).count();
    assert_eq!(told, 64, "{log}");
    assert!(log.contains("entry 5"), "{log}");
}

#[test]
fn what_a_call_needs_is_learned_from_the_good_entries() {
    let little = Little::start(legacy);
    let airlock = Setup { upstreams: upstreams(&little), ..Setup::default() }.start();
    let call = |tool: &str, said: &str| {
        let request = modern_call("/mcp/new", 1, tool, &json!({"r": "eu"}));
        airlock.send(&request.header("Mcp-Param-Region", said).bearer(&airlock.user())).answer()
    };
    assert_eq!(call("a:one", "us")["error"]["code"], -32_020, "the annotation is known");
    let answer = call("a:one", "eu");
    assert_eq!(text(&answer["result"]), "done", "{answer}");
    assert_eq!(little.asked("tools/list").len(), 1, "the list was usable");
}

#[test]
fn a_server_on_a_pipe_is_treated_as_one_on_http() {
    let bad = tools::built("bad-server").display().to_string();
    let upstreams = stdio_upstream("bad", &[&bad, "--odd-list"]);
    let airlock = Setup { upstreams, ..Setup::default() }.start();
    let token = airlock.user();
    for (path, wanted) in [("/mcp/bad", "break"), ("/mcp", "bad__break")] {
        let answer = airlock.send(&modern(path, 1, "tools/list", &Value::Null).bearer(&token)).answer();
        assert_eq!(tool_names(&answer["result"]), [wanted], "{answer}");
    }
}

/// A modern server whose every page is the same but for where it leads: the tool names say how.
fn circling(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    let cursor = seen.body["params"]["cursor"].as_str();
    let next = match (seen.path(), cursor) {
        ("/same", _) => "same",
        ("/turns", Some("left")) => "right",
        ("/turns", _) => "left",
        ("/empty", _) => "",
        (path, _) => panic!("an unexpected path: {path}"),
    };
    let result = match seen.rpc() {
        "server/discover" => {
            format!(r#"{{{CACHE},"supportedVersions":["2026-07-28"],"capabilities":{{"tools":{{}}}}}}"#)
        }
        "tools/list" => format!(
            r#"{{{CACHE},"tools":[{{"name":"a"}},{{"name":"b"}},{{"name":"c"}}],"nextCursor":"{next}"}}"#
        ),
        "tools/call" => r#"{"resultType":"complete","content":[{"type":"text","text":"done"}]}"#.to_owned(),
        other => panic!("an unexpected request: {other}"),
    };
    write_json(stream, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, seen.body["id"]))
}

fn start_circling(path: &str) -> (Little, Airlock, String) {
    let little = Little::start(circling);
    let upstreams = Upstream::http("little", &little.url(path)).to_string();
    let airlock = Setup { upstreams, ..Setup::default() }.start();
    let token = airlock.user();
    (little, airlock, token)
}

#[test]
fn pages_that_lead_in_a_circle_come_to_an_end() {
    for (path, pages) in [("/same", 2), ("/turns", 3), ("/empty", 2)] {
        let (little, airlock, token) = start_circling(path);
        // Before a call, where it is asked for what the call's headers must say.
        let answer = airlock.send(&modern_call("/mcp/little", 1, "a", &json!({})).bearer(&token)).answer();
        assert_eq!(text(&answer["result"]), "done", "{answer}");
        assert_eq!(little.asked("tools/list").len(), pages, "{path}");
        let answer = airlock.send(&modern("/mcp", 1, "tools/list", &Value::Null).bearer(&token)).answer();
        assert_eq!(tool_names(&answer["result"]), ["little__a", "little__b", "little__c"], "{path}");
        assert_eq!(little.asked("tools/list").len(), 2 * pages, "{path}");
        assert!(airlock.logs("it was read before: the pages have no end"), "{}", airlock.log());
        // A client that walks by itself comes to the end as well.
        let mut cursor = Value::Null;
        for page in 1..=pages {
            let params = if cursor.is_null() { json!({}) } else { json!({"cursor": cursor}) };
            let answer =
                airlock.send(&modern("/mcp/little", 1, "tools/list", &params).bearer(&token)).answer();
            assert_eq!(tool_names(&answer["result"]), ["a", "b", "c"], "{path}: {answer}");
            cursor = answer["result"]["nextCursor"].clone();
            assert_eq!(cursor.is_string(), page < pages, "{path}, page {page}: {answer}");
        }
    }
}
