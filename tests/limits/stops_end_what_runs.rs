//! A stop ends what runs: calls at their server, their streams, and the streams on which clients listen. All
//! else runs on.

use std::io;
use std::net::TcpStream;
use std::sync::Mutex;
use std::thread;

use airlock_tests::Setup;
use airlock_tests::airlock::docs_upstream;
use airlock_tests::events::Events;
use airlock_tests::http::Request;
use airlock_tests::little::{Book, Little, Seen, begin_events, wait_for_end, write, write_json, write_piece};
use airlock_tests::mcp::{Session, modern, modern_call};
use airlock_tests::proc::{descendants, open_file_targets};
use serde_json::{Value, json};

use crate::protocol::owners::handles_stay_with_their_owner::tasks_modern::request;

use super::stops_hold_at_once::{Switch, more_docs, outcome, refused};

/// A server of either era. Its tool `slow` never answers, but says how far it is where it is asked to,
/// `later` becomes a task, and `ask` asks the client. A list of its prompts is never answered.
fn answer(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    let said = |message: &Value| format!("data: {message}\n\n");
    let cache = json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "public"});
    let offers = json!({"tools": {"listChanged": true}, "prompts": {}, "extensions": {"io.modelcontextprotocol/tasks": {}},
        "tasks": {"cancel": {}, "requests": {"tools": {"call": {}}}}});
    let mut result = match seen.rpc() {
        "initialize" => json!({"protocolVersion": "2025-11-25", "capabilities": offers,
            "serverInfo": {"name": "little", "version": "1"}}),
        "server/discover" => json!({"supportedVersions": ["2026-07-28"], "capabilities": offers}),
        "tools/list" => json!({"tools": [{"name": "slow", "inputSchema": {"type": "object"}}]}),
        "subscriptions/listen" => {
            let acknowledged = json!({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
                "params": {"notifications": seen.body["params"]["notifications"],
                    "_meta": {"io.modelcontextprotocol/subscriptionId": seen.body["id"]}}});
            begin_events(stream)?;
            write_piece(stream, said(&acknowledged).as_bytes())?;
            return wait_for_end(stream);
        }
        "tools/call" if seen.body["params"]["name"] == "later" => {
            let task = json!({"taskId": "t 1", "status": "working", "createdAt": "2026-08-01T00:00:00Z",
                "lastUpdatedAt": "2026-08-01T00:00:00Z", "ttl": 60_000, "ttlMs": 60_000});
            let is_legacy = !seen.body["params"]["task"].is_null();
            let mut result = if is_legacy { json!({ "task": task }) } else { task };
            if !is_legacy {
                result["resultType"] = json!("task");
            }
            return write_json(stream, &seen.result(&result));
        }
        "tools/call" if seen.body["params"]["name"] == "ask" => {
            let question = json!({"jsonrpc": "2.0", "id": 9, "method": "elicitation/create",
                "params": {"message": "?", "requestedSchema": {"type": "object", "properties": {}}}});
            begin_events(stream)?;
            write_piece(stream, said(&question).as_bytes())?;
            return wait_for_end(stream);
        }
        "prompts/list" => return wait_for_end(stream),
        "tasks/cancel" => json!({"taskId": seen.body["params"]["taskId"], "status": "cancelled"}),
        "tools/call" => {
            let token = &seen.body["params"]["_meta"]["progressToken"];
            if !token.is_null() {
                let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress",
                    "params": {"progressToken": token, "progress": 1}});
                begin_events(stream)?;
                write_piece(stream, said(&progress).as_bytes())?;
            }
            return wait_for_end(stream);
        }
        _ if seen.method == "GET" => return write(stream, "405 Method Not Allowed", "", ""),
        _ => return write(stream, "202 Accepted", "", ""),
    };
    if seen.header("mcp-protocol-version") == Some("2026-07-28") {
        result.as_object_mut().expect("an object").extend(cache.as_object().cloned().unwrap_or_default());
    }
    write_json(stream, &seen.result(&result))
}

fn house(era: &str) -> (Little, Switch) {
    let little = Little::start(answer);
    let upstreams = little.entry("little").with("era", era).to_string() + &docs_upstream();
    let switch = Switch::with(Setup { upstreams, ..Setup::default() });
    (little, switch)
}

/// The call that the server has.
fn reached(little: &Little) -> Seen {
    little.until(|book| book.seen.iter().rev().find(|seen| seen.rpc() == "tools/call").cloned())
}

/// Waits until the server knows that nobody waits for this call any more.
fn is_cancelled(little: &Little, era: &str, call: &Seen) {
    little.until(|book| {
        let in_words = |seen: &&Seen| {
            seen.rpc() == "notifications/cancelled" && seen.body["params"]["requestId"] == call.body["id"]
        };
        let told = era == "legacy" && book.seen.iter().any(|seen| in_words(&seen));
        (told || book.closed.contains(&call.connection)).then_some(())
    });
}

fn legacy_call(session: &Session, meta: &Value) -> Request {
    let params = json!({"name": "slow", "arguments": {}, "_meta": meta});
    session.prepare(&json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}))
}

#[test]
fn a_call_is_cancelled_at_its_server_and_its_client_is_told_why() {
    for (era, what, expected) in [
        ("modern", &["--all"][..], refused(503, "everything here")),
        ("modern", &["--principal", "alice"], refused(403, "this account")),
        ("legacy", &["--upstream", "little"], refused(503, "this server")),
        ("legacy", &["--tool", "little/slow"], refused(503, "this tool")),
    ] {
        let (little, switch) = house(era);
        let token = switch.airlock.user();
        let session = Session::open(switch.airlock.address(), "/mcp/little", &token).expect("a session");
        let calls = [
            modern_call("/mcp/little", 1, "slow", &json!({})).bearer(&token),
            legacy_call(&session, &json!({})),
        ];
        for call in calls {
            let before = little.asked("tools/call").len();
            let answered = thread::scope(|scope| {
                let running = scope.spawn(|| switch.airlock.send(&call));
                little.until(|book| {
                    let calls = book.seen.iter().filter(|seen| seen.rpc() == "tools/call").count();
                    (calls > before).then_some(())
                });
                switch.stop(what);
                running.join().expect("an answer")
            });
            assert_eq!(outcome(&answered), expected, "{era} {what:?}: {}", answered.text());
            assert!(!answered.answer()["id"].is_null(), "{}", answered.text());
            is_cancelled(&little, era, &reached(&little));
            let id = answered.answer()["error"]["data"]["correlation_id"].clone();
            for event in ["call.intent", "refusal"] {
                switch.airlock.audited(|r| r["event"] == event && r["correlation_id"] == id);
            }
            let ended = |r: &Value| r["event"] == "call.outcome" && r["correlation_id"] == id;
            assert_eq!(switch.airlock.audited(ended)["reason"], "cancelled");
            switch.resume(what);
        }
    }
}

#[test]
fn a_call_that_speaks_ends_with_the_reason_on_its_stream() {
    let (little, switch) = house("modern");
    let token = switch.airlock.user();
    let session = Session::open(switch.airlock.address(), "/mcp/little", &token).expect("a session");
    let meta = json!({"progressToken": "p"});
    let params = json!({"name": "slow", "arguments": {}, "_meta": meta});
    let calls =
        [modern("/mcp/little", 7, "tools/call", &params).bearer(&token), legacy_call(&session, &meta)];
    for call in calls {
        let mut events = Events::open(switch.airlock.address(), &call).expect("a stream");
        assert_eq!(events.message().expect("a message")["params"]["progressToken"], "p");
        switch.stop(&["--tenant", "acme"]);
        let last = events.message().expect("the last message");
        assert_eq!(
            (&last["id"], &last["error"]["data"]["rule_id"]),
            (&json!(7), &json!("stopped")),
            "{last}"
        );
        assert_eq!(last["error"]["message"], "Forbidden: the operator has stopped this tenant: a leak");
        assert!(events.message().is_none(), "the stream has ended");
        is_cancelled(&little, "modern", &reached(&little));
        switch.resume(&["--tenant", "acme"]);
    }
}

#[test]
fn a_list_that_is_waited_for_ends() {
    let (little, switch) = house("modern");
    let token = switch.airlock.user();
    for path in ["/mcp/little", "/mcp"] {
        let before = little.asked("prompts/list").len();
        let list = modern(path, 1, "prompts/list", &Value::Null).bearer(&token);
        let answered = thread::scope(|scope| {
            let running = scope.spawn(|| switch.airlock.send(&list));
            let asked = || little.asked("prompts/list").len() > before;
            airlock_tests::airlock::until(|| asked().then_some(())).expect("its server has it");
            switch.stop(&["--principal", "alice"]);
            running.join().expect("an answer")
        });
        assert_eq!(outcome(&answered), refused(403, "this account"), "{path}: {}", answered.text());
        switch.resume(&["--principal", "alice"]);
    }
}

#[test]
fn a_call_that_waits_for_its_client_ends() {
    let (little, switch) = house("legacy");
    let token = switch.airlock.user();
    let params = json!({"name": "ask", "arguments": {},
        "_meta": {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}});
    let asked = switch.airlock.send(&modern("/mcp/little", 1, "tools/call", &params).bearer(&token));
    assert_eq!(asked.answer()["result"]["resultType"], "input_required", "{}", asked.text());
    switch.stop(&["--principal", "alice"]);
    is_cancelled(&little, "legacy", &reached(&little));
}

#[test]
fn a_task_is_cancelled_at_its_server() {
    for (era, path) in [("modern", "/mcp/little"), ("modern", "/mcp"), ("legacy", "/mcp/little")] {
        let (little, switch) = house(era);
        let token = switch.airlock.user();
        let name = if path == "/mcp" { "little__later" } else { "later" };
        let params = json!({"name": name, "arguments": {}});
        if era == "modern" {
            let begun = switch.airlock.send(&request(path, "tools/call", &params).bearer(&token)).answer();
            assert_eq!(begun["result"]["resultType"], "task", "{begun}");
        } else {
            let mut session = Session::open(switch.airlock.address(), path, &token).expect("a session");
            let params = json!({"name": name, "arguments": {}, "task": {}});
            let begun = session.result("tools/call", &params).expect("a task");
            assert_eq!(begun["task"]["status"], "working", "{begun}");
        }
        switch.stop(&["--tenant", "globex"]);
        switch.stop(&["--tool", "little/later"]);
        let cancelled =
            little.until(|book| book.seen.iter().find(|seen| seen.rpc() == "tasks/cancel").cloned());
        assert_eq!(cancelled.body["params"]["taskId"], "t 1", "{cancelled:?}");
        let told = |r: &Value| r["event"] == "request" && r["method"] == "tasks/cancel";
        assert_eq!(switch.airlock.audited(told)["subject"], "alice");
    }
}

/// Waits for the end of a stream; its last message, where that is not one that a list has changed.
fn last_of(events: &mut Events) -> Option<Value> {
    let mut last = None;
    while let Some(said) = events.message() {
        let is_of_list = said["method"].as_str().is_some_and(|method| method.ends_with("/list_changed"));
        last = (!is_of_list).then_some(said);
    }
    last
}

#[test]
fn streams_on_which_clients_listen_end() {
    let (_little, switch) = house("modern");
    let token = switch.airlock.user();
    let [_, elsewhere] = switch.airlock.strangers();
    let filter = json!({"notifications": {"toolsListChanged": true}});
    let listen = |path: &str, token: &str| {
        let request = modern(path, 41, "subscriptions/listen", &filter).bearer(token);
        let mut events = Events::open(switch.airlock.address(), &request).expect("a stream");
        let acknowledged = events.message().expect("an acknowledgement");
        assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged", "{acknowledged}");
        events
    };
    for what in [&["--principal", "alice", "--tenant", "acme"][..], &["--upstream", "little"]] {
        let is_upstream = what[0] == "--upstream";
        let mut session = Session::open(switch.airlock.address(), "/mcp/little", &token).expect("a session");
        session.result("tools/list", &json!({})).expect("a list");
        let mut standing = Events::open(switch.airlock.address(), &session.listen(None)).expect("a stream");
        let (mut own, mut merged) = (listen("/mcp/little", &token), listen("/mcp", &elsewhere));
        switch.stop(what);
        let last = last_of(&mut own).expect("a result");
        assert_eq!(last["result"]["resultType"], "complete", "{last}");
        let last = last_of(&mut standing);
        assert!(last.is_none(), "it has ended, without {last:?}");
        switch.resume(what);
        if is_upstream {
            continue;
        }
        // Somebody else's stream is still there: it ends with its own stop.
        let theirs = &["--principal", "alice", "--tenant", "globex"];
        switch.stop(theirs);
        assert!(last_of(&mut merged).is_some(), "it ended in good order");
        switch.resume(theirs);
    }
}

#[test]
fn calls_of_others_run_on() {
    let switch = Switch::new(docs_upstream());
    let token = switch.airlock.user();
    let [_, elsewhere] = switch.airlock.strangers();
    let folder = airlock_tests::shown_dir("airlock-stop-").expect("a directory");
    let (mine, theirs) = (folder.path().join("mine"), folder.path().join("theirs"));
    let call = |file: &std::path::Path, token: &str| {
        std::fs::write(file, "").expect("a file");
        modern_call("/mcp/docs", 1, "wait", &json!({"while_exists": file})).bearer(token)
    };
    let calls = [call(&mine, &token), call(&theirs, &elsewhere)];
    let [stopped, served] = thread::scope(|scope| {
        let running = calls.each_ref().map(|call| scope.spawn(|| switch.airlock.send(call)));
        for file in [&mine, &theirs] {
            let shown = file.display().to_string();
            let has_it = |pid: u32| open_file_targets(pid).contains(&shown);
            let pid = switch.airlock.pid();
            airlock_tests::airlock::until(|| descendants(pid).into_iter().any(has_it).then_some(()))
                .expect("the call has reached its server");
        }
        switch.stop(&["--tenant", "acme"]);
        let [mine, others] = running;
        let stopped = mine.join().expect("an answer");
        std::fs::remove_file(&theirs).expect("ours");
        [stopped, others.join().expect("an answer")]
    });
    assert_eq!(outcome(&stopped), refused(403, "this tenant"));
    assert_eq!(served.status, 200, "{}", served.text());
    std::fs::remove_file(&mine).expect("ours");
}

#[test]
fn what_is_stopped_is_in_no_list_and_clients_are_told_that_lists_have_changed() {
    let switch = Switch::new(docs_upstream() + &more_docs());
    let token = switch.airlock.user();
    let listed = |path: &str, method: &str, entries: &str| {
        let answer = switch.airlock.send(&modern(path, 1, method, &Value::Null).bearer(&token)).answer();
        let list = answer["result"][entries].as_array().unwrap_or_else(|| panic!("{answer}")).clone();
        list.iter().filter_map(|entry| Some(entry["name"].as_str()?.to_owned())).collect::<Vec<_>>()
    };
    let tools = |path: &str| listed(path, "tools/list", "tools");
    let (own, merged) = (tools("/mcp/docs"), tools("/mcp"));
    assert!(own.contains(&"read_file".to_owned()) && merged.contains(&"docs__read_file".to_owned()));
    let filter = json!({"notifications": {"toolsListChanged": true}});
    let request = modern("/mcp", 41, "subscriptions/listen", &filter).bearer(&token);
    let mut events = Events::open(switch.airlock.address(), &request).expect("a stream");
    let mut session = Session::open(switch.airlock.address(), "/mcp/docs", &token).expect("a session");
    session.result("tools/list", &json!({})).expect("a list");
    let mut standing = Events::open(switch.airlock.address(), &session.listen(None)).expect("a stream");
    events.message().expect("an acknowledgement");
    let mut told = |standing: Option<&mut Events>| {
        for events in [Some(&mut events), standing].into_iter().flatten() {
            let is_it = |said: &Value| said["method"] == "notifications/tools/list_changed";
            while !is_it(&events.message().expect("a message")) {}
        }
    };
    for what in [["--tool", "docs/read_file"], ["--upstream", "docs"]] {
        let is_tool = what[0] == "--tool";
        let gone =
            |name: &String| if is_tool { name == "docs__read_file" } else { name.starts_with("docs__") };
        switch.stop(&what);
        // That of a server ends with it.
        told(is_tool.then_some(&mut standing));
        let left: Vec<_> = merged.iter().filter(|name| !gone(name)).cloned().collect();
        assert!(left.len() < merged.len() && left.iter().any(|name| name.starts_with("more__")), "{left:?}");
        assert_eq!(tools("/mcp"), left, "{what:?}");
        if is_tool {
            let left: Vec<_> = own.iter().filter(|name| *name != "read_file").cloned().collect();
            assert_eq!(tools("/mcp/docs"), left);
        }
        switch.resume(&what);
        told(is_tool.then_some(&mut standing));
        assert_eq!((tools("/mcp/docs"), tools("/mcp")), (own.clone(), merged.clone()));
    }
    // The principal's own stop leaves nothing to list.
    switch.stop(&["--principal", "alice"]);
    assert_eq!(switch.call(&token, "/mcp", "docs__read_file"), refused(403, "this account"));
}
