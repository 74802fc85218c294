//! The words of a server beside its calls are looked through as well: on standing streams, in questions that
//! belong to no call, on subscriptions, and on its standard error. Obligations of the policy reach lists and
//! instructions.

use std::io;
use std::net::TcpStream;
use std::sync::Mutex;

use airlock_tests::airlock::{free_address, until};
use airlock_tests::events::Events;
use airlock_tests::http::Request;
use airlock_tests::little::{Book, Little, Seen, begin_events, wait_for_end, write_json, write_piece};
use airlock_tests::mcp::{LEGACY, Session, modern, modern_call, text};
use airlock_tests::{Airlock, Setup, Upstream, airlock};
use serde_json::{Value, json};

use super::answers_are_looked_through::is_redacted;
use super::arguments_are_looked_through::{SECRET, leaky};

fn call(airlock: &Airlock, token: &str, tool: &str) -> Value {
    airlock.send(&modern_call("/mcp/leaky", 1, tool, &json!({})).bearer(token)).answer()
}

#[test]
fn standing_streams_and_questions_of_no_call_are_looked_through() {
    for method in ["elicitation/create", "sampling/createMessage"] {
        let airlock = leaky("");
        let token = airlock.user();
        let can = json!({"elicitation": {}, "sampling": {}});
        let mut session =
            Session::open_as(airlock.address(), "/mcp/leaky", &token, LEGACY, &can).expect("a session");
        session.notify("notifications/initialized").expect("taken");
        let mut events = Events::open(airlock.address(), &session.listen(None)).expect("a stream");
        session.call("aside", &json!({"method": "notifications/message"})).expect("a result");
        is_redacted("notifications/message", &events.message().expect("a message"));
        session.call("aside", &json!({"method": method})).expect("a result");
        let question = events.message().expect("a question");
        is_redacted(method, &question);
        let result = match method {
            "elicitation/create" => json!({"action": "accept", "content": {"key": SECRET}}),
            _ => json!({"role": "assistant", "model": "m", "content": {"type": "text", "text": SECRET}}),
        };
        let answer = json!({"jsonrpc": "2.0", "id": question["id"], "result": result});
        assert_eq!(airlock.send(&session.prepare(&answer)).status, 202);
        let told = until(|| {
            let told = session.call("told", &json!({})).expect("a result");
            (told["structuredContent"]["answers"] == 1).then_some(told)
        });
        assert_eq!(text(&told.expect("the server has its answer")), "heard nothing of it");
        assert!(!airlock.log().contains(SECRET));
    }
}

/// A modern server that has something to say of a resource.
fn told(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    const ID: &str = "io.modelcontextprotocol/subscriptionId";
    if seen.rpc() == "subscriptions/listen" {
        let said = |method: &str, params: Value| {
            let message = json!({"jsonrpc": "2.0", "method": method, "params": params});
            format!("data: {message}\n\n")
        };
        begin_events(stream)?;
        let granted =
            json!({"notifications": seen.body["params"]["notifications"], "_meta": {ID: seen.body["id"]}});
        write_piece(stream, said("notifications/subscriptions/acknowledged", granted).as_bytes())?;
        let note = format!("so {SECRET} it is, says alice@acme.com");
        let updated = json!({"uri": "docs://open", "_meta": {ID: seen.body["id"], "note": note}});
        write_piece(stream, said("notifications/resources/updated", updated).as_bytes())?;
        return wait_for_end(stream);
    }
    let result = json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "public",
        "supportedVersions": ["2026-07-28"], "capabilities": {"resources": {"subscribe": true}}});
    write_json(stream, &seen.result(&result))
}

#[test]
fn subscriptions_are_looked_through_as_the_policy_obliges_to() {
    let server = Little::start(told);
    for obliged in [false, true] {
        let mut policy = airlock::POLICY.to_owned();
        if obliged {
            policy +=
                "\nobligations := {\"redact\": [\"pii\"]} if input.call.method == \"resources/subscribe\"\n";
        }
        let upstreams = server.entry("told").with("era", "modern").to_string();
        let airlock = Setup { upstreams, policy, ..Setup::default() }.start();
        let filter = json!({"notifications": {"resourceSubscriptions": ["docs://open"]}});
        let request = modern("/mcp/told", 4, "subscriptions/listen", &filter).bearer(&airlock.user());
        let mut events = Events::open(airlock.address(), &request).expect("a stream");
        events.message().expect("an acknowledgement");
        let updated = events.message().expect("a notification");
        is_redacted("notifications/resources/updated", &updated);
        let mail = if obliged { "[redacted:email]" } else { "alice@acme.com" };
        assert_eq!(
            updated["params"]["_meta"]["note"],
            format!("so [redacted:github-token] it is, says {mail}"),
            "{updated}"
        );
    }
}

#[test]
fn obligations_reach_lists_and_instructions() {
    let policy = airlock::POLICY.to_owned()
        + "\nobligations := {\"redact\": [\"pii\"]} if input.call.method == \"tools/list\"\n";
    let server = include_str!("leaky_server.py");
    let upstreams = Upstream::stdio("leaky", &["python3", "-c", server]).with("era", "legacy").to_string();
    for (policy, mail) in [(policy, "[redacted:email]"), (airlock::POLICY.to_owned(), "alice@acme.com")] {
        let airlock = Setup { upstreams: upstreams.clone(), policy, ..Setup::default() }.start();
        let token = airlock.user();
        for path in ["/mcp", "/mcp/leaky"] {
            for method in ["tools/list", "server/discover"] {
                let answer = airlock.send(&modern(path, 2, method, &json!({})).bearer(&token)).answer();
                assert!(
                    answer.to_string().contains(&format!("it is, says {mail}")),
                    "{path} {method}: {answer}"
                );
            }
        }
    }
}

#[test]
fn tasks_are_looked_through_and_keep_their_ids() {
    let airlock = leaky("");
    let token = airlock.user();
    let mut session = Session::open(airlock.address(), "/mcp/leaky", &token).expect("a session");
    let params = json!({"name": "clean", "arguments": {}, "task": {"ttl": 60_000}});
    let begun = session.request("tools/call", &params).expect("an answer").answer();
    is_redacted("tools/call", &begun);
    let id = begun["result"]["task"]["taskId"].as_str().expect("an id").to_owned();
    for method in ["tasks/get", "tasks/result", "tasks/list"] {
        let params = if method == "tasks/list" { json!({}) } else { json!({"taskId": id}) };
        let answer = session.request(method, &params).expect("an answer").answer();
        is_redacted(method, &answer);
        assert!(answer.to_string().contains(&id), "{method}: {answer}");
    }
}

#[test]
fn the_standard_error_of_a_server_tells_no_log() {
    let mut airlock = leaky("");
    let token = airlock.user();
    assert_eq!(text(&call(&airlock, &token, "noisy")["result"]), "said");
    assert!(airlock.logs("leaky: so [redacted:github-token] it is"), "{}", airlock.log());
    assert!(airlock.stop().success());
    assert!(!airlock.log().contains(SECRET), "{}", airlock.log());
}

#[test]
fn findings_are_counted_by_detector_direction_and_action() {
    let address = free_address().expect("a port");
    let server = include_str!("leaky_server.py");
    let airlock = Setup {
        upstreams: Upstream::stdio("leaky", &["python3", "-c", server]).with("era", "legacy").to_string(),
        ..Setup::default()
    }
    .observability("metrics_listen", address)
    .with("dlp", json!({"request": "mask"}))
    .start();
    let token = airlock.user();
    let request = modern_call("/mcp/leaky", 1, "heard", &json!({"a": SECRET, "b": [SECRET]}));
    airlock.send(&request.bearer(&token)).answer();
    airlock.send(&modern("/mcp/leaky", 2, "prompts/list", &json!({})).bearer(&token)).answer();
    let metrics = || Request::get("/metrics").send(address).expect("an answer").text();
    for (direction, action, count) in [("request", "mask", 2), ("response", "redact", 1)] {
        let line = format!(
            "airlock_redactions_total{{detector=\"github-token\",direction=\"{direction}\",action=\"{action}\"}} {count}"
        );
        let found = until(|| metrics().lines().any(|found| found == line).then_some(()));
        assert!(found.is_some(), "{line} in {}", metrics());
    }
}

#[test]
fn a_key_of_ones_own_gives_the_same_digests_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("key");
    std::fs::write(&file, "a key of at least thirty-two bytes, for digests").expect("written");
    let digest = |airlock: &Airlock| {
        let read = modern("/mcp/leaky", 1, "resources/read", &json!({"uri": "leak://one"}));
        let answer = airlock.send(&read.bearer(&airlock.user())).answer();
        answer["result"]["contents"][0]["text"].as_str().expect("a text").to_owned()
    };
    let own = format!(", hash_key_file: {}", file.display());
    let mut airlock = leaky(&format!("dlp: {{response: hash{own}}}\n"));
    let first = digest(&airlock);
    assert!(airlock.stop().success());
    // The same issuer again, with the key and without it: its name is a part of the tenant.
    let text = std::fs::read_to_string(airlock.config()).expect("its configuration");
    let again = |text: &str| {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("airlock.yaml"), text).expect("written");
        let mut airlock = airlock::start_in(dir).expect("started");
        let digest = digest(&airlock);
        assert!(airlock.stop().success());
        digest
    };
    assert!(first.starts_with("so [github-token:") && !first.contains(SECRET), "{first}");
    assert_eq!(first, again(&text));
    assert_ne!(first, again(&text.replace(&own, "")));
}

#[test]
fn pieces_of_a_secret_and_urls_with_data_are_seen() {
    let airlock = leaky("dlp: {binary: refuse}\n");
    let token = airlock.user();
    let pieces = call(&airlock, &token, "pieces");
    let half = SECRET.len() / 2;
    for piece in [&SECRET[4..half], &SECRET[half..]] {
        assert!(!pieces.to_string().contains(piece), "{pieces}");
    }
    let url = call(&airlock, &token, "url");
    let reason = url["error"]["message"].as_str().unwrap_or_default();
    assert!(reason.contains("content that is no text"), "{url}");
    assert_eq!(text(&call(&airlock, &token, "clean")["result"]), "nothing to see é");
}

/// A legacy server over HTTP, without sessions.
fn old(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    let result = match seen.rpc() {
        "initialize" => json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
            "serverInfo": {"name": "old", "version": "1"}}),
        "tools/list" => json!({"tools": [{"name": "heard", "inputSchema": {"type": "object"}}]}),
        "tools/call" => json!({"content": [{"type": "text", "text": format!("so {SECRET} it is")}],
            "structuredContent": {"card": 4_111_111_111_111_111_u64}}),
        _ => json!({}),
    };
    if seen.body["id"].is_null() {
        return airlock_tests::little::write(stream, "202 Accepted", "", "");
    }
    write_json(stream, &seen.result(&result))
}

#[test]
fn a_legacy_server_over_http_is_looked_through_both_ways() {
    let little = Little::start(old);
    let upstreams = little.entry("old").with("era", "legacy").to_string();
    let airlock = Setup { upstreams, ..Setup::default() }.start();
    let token = airlock.user();
    let request = modern_call("/mcp/old", 1, "heard", &json!({"key": SECRET}));
    let answer = airlock.send(&request.bearer(&token)).answer();
    is_redacted("tools/call", &answer);
    assert_eq!(answer["result"]["structuredContent"]["card"], 0, "{answer}");
    let seen = little.asked("tools/call").remove(0);
    assert_eq!(seen.body["params"]["arguments"]["key"], "[redacted:github-token]", "{seen:?}");
    assert!(!seen.raw.contains(SECRET));
}
