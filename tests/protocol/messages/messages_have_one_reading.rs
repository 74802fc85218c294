//! The authorised bytes are the forwarded ones: a message that two readers could read in two ways reaches no
//! server, and of one that does nothing is lost or rewritten on its way.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};

use airlock_tests::http::Request;
use airlock_tests::little::{Book, Little, Seen, write_json};
use airlock_tests::mcp::{MODERN, Session, text};
use airlock_tests::{Airlock, Setup};
use serde_json::{Value, json};

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

/// Odd, and valid: spaces, escapes that need not be, numbers that lose their form in a model, members nobody
/// knows.
const ODD: &str = r#"{ "x" : 1.50,"content":[ {"type":"text","text":"\u0068i\/", "later":[1 ,2]} ],"big":123456789012345678901234567890,"resultType":"complete", "e":1E+2 }"#;

/// The answers of a modern server to a request; of its own accord it says odd things.
fn says(method: &str) -> &'static str {
    match method {
        "server/discover" => {
            r#"{"resultType":"complete","ttlMs":0,"cacheScope":"public","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}"#
        }
        "tools/list" => {
            r#"{"resultType":"complete","ttlMs":0,"cacheScope":"public","tools":[{"name":"plain","inputSchema":{"type":"object","properties":{"r":{"type":"string","x-mcp-header":"Region"}}}}]}"#
        }
        _ => ODD,
    }
}

fn answer(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    let body = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{}}}"#, seen.body["id"], says(seen.rpc()));
    write_json(stream, &body)
}

fn start() -> (Little, Airlock, String) {
    let little = Little::start(answer);
    let airlock = Setup { upstreams: little.entry("little").to_string(), ..Setup::default() }.start();
    let token = airlock.user();
    (little, airlock, token)
}

/// A call of `plain` whose head says what an honest one says.
fn honest(body: impl Into<Vec<u8>>) -> Request {
    Request::post("/mcp/little", body)
        .header("mcp-protocol-version", MODERN)
        .header("mcp-method", "tools/call")
        .header("mcp-name", "plain")
}

fn body(id: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{{params},{META}}}}}"#)
}

fn refused(airlock: &Airlock, request: &Request, token: &str, status: u16, code: i64) {
    let response = airlock.send(&request.clone().bearer(token));
    let shown = String::from_utf8_lossy(&request.body).chars().take(300).collect::<String>();
    assert_eq!(response.status, status, "{shown} {:?}: {}", request.headers, response.text());
    assert_eq!(
        response.answer()["error"]["code"],
        code,
        "{shown} {:?}: {}",
        request.headers,
        response.text()
    );
}

#[test]
fn a_body_that_can_be_read_in_two_ways_reaches_no_server() {
    let (little, airlock, token) = start();
    let good = r#""name":"plain","arguments":{}"#;
    let deep = format!(r#""name":"plain","arguments":{{"a":{}1{}}}"#, "[".repeat(70), "]".repeat(70));
    let (parse, request, params) = (-32_700, -32_600, -32_602);
    let cases: Vec<(String, i64)> = vec![
        // The same member twice, spelled out or not, at every depth.
        (body("1", &format!(r#""name":"other",{good}"#)), parse),
        (body("1", &format!(r#""n\u0061me":"other",{good}"#)), parse),
        (body("1", r#""name":"plain","arguments":{"a":1,"\u0061":2}"#), parse),
        (body("1", &format!("{good},{META}")), parse),
        (body("1", good).replacen(r#""method""#, r#""method":"ping","method""#, 1), parse),
        (body("1", good).replacen(r#""params""#, r#""p\u0061rams":{},"params""#, 1), parse),
        // Another letter case, which some parsers take for the same.
        (body("1", good).replacen(r#""method""#, r#""Method":"ping","method""#, 1), request),
        (body("1", good).replacen(r#""params""#, r#""PARAMS":{},"params""#, 1), request),
        (body("1", good).replacen(r#""params""#, r#""paramſ":{},"params""#, 1), request),
        (body("1", &format!(r#""Name":"other",{good}"#)), params),
        (body("1", &format!(r#""\u004eame":"other",{good}"#)), params),
        (body("1", &format!(r#""Arguments":{{"a":1}},{good}"#)), params),
        (body("1", &format!(r#""Task":{{}},{good}"#)), params),
        (
            body("1", good).replacen(
                r#""_meta":{"#,
                r#""_meta":{"IO.modelcontextprotocol/related-task":{},"#,
                1,
            ),
            params,
        ),
        // Ids that are one for some readers and another for others.
        (body("1.0", good), request),
        (body("1e0", good), request),
        (body("-0.0", good), request),
        (body("18446744073709551617", good), request),
        (body("null", good), request),
        (body("true", good), request),
        (body(r#"{"a":1}"#, good), request),
        // More than one message.
        (format!("[{}]", body("1", good)), request),
        (format!(r#"[{{"jsonrpc":"2.0","id":1,"method":"tools/list"}},{}]"#, body("2", good)), request),
        (body("1", good) + &body("2", good), parse),
        (format!("{}\n{}", body("1", good), body("2", good)), parse),
        (body("1", good).replacen(r#""params""#, r#""result":{},"params""#, 1), request),
        // A text that is no JSON to all.
        ("\u{feff}".to_owned() + &body("1", good), parse),
        (body("1", r#""name":"plain","arguments":{"a":"\ud800"}"#), parse),
        (body("1", "\"name\":\"plain\",\"arguments\":{\"a\":\"\u{0}\"}"), parse),
        (body("1", r#""name":"plain","arguments":{"a":1e999}"#), parse),
        (body("1", r#""name":"plain","arguments":{"a":01}"#), parse),
        (body("1", r#""name":"plain","arguments":{},"#), parse),
        (body("1", &deep), parse),
        (body("1", r#""name":"plain","arguments":[1]"#), params),
        (body("1", r#""name":{"a":1},"arguments":{}"#), -32_020),
    ];
    for (body, code) in cases {
        refused(&airlock, &honest(body), &token, 400, code);
    }
    assert!(little.asked("tools/call").is_empty(), "{:#?}", little.asked("tools/call"));
    for id in ["1", "\"1\"", "-1", "9223372036854775807"] {
        let response = airlock.send(&honest(body(id, good)).bearer(&token));
        assert_eq!((response.status, response.answer()["id"].to_string()), (200, id.to_owned()));
    }
    assert_eq!(little.asked("tools/call").len(), 4);
}

#[test]
fn a_head_that_says_something_else_reaches_no_server() {
    let (little, airlock, token) = start();
    let good = body("1", r#""name":"plain","arguments":{}"#);
    let headed = |headers: &[(&str, &str)]| {
        headers.iter().fold(Request::post("/mcp/little", good.as_str()), |request, (name, value)| {
            request.header(name, value)
        })
    };
    let (version, method, name) =
        (("mcp-protocol-version", MODERN), ("mcp-method", "tools/call"), ("mcp-name", "plain"));
    for headers in [
        // Missing, repeated, or another.
        vec![version, name],
        vec![version, method],
        vec![version, method, method, name],
        vec![version, method, ("Mcp-Method", "tools/list"), name],
        vec![version, ("mcp-method", "tools/list"), name],
        vec![version, ("mcp-method", "Tools/Call"), name],
        vec![version, ("mcp-method", "tools/call, tools/list"), name],
        vec![version, ("mcp-method", "=?base64?dG9vbHMvbGlzdA==?="), name],
        vec![version, method, name, name],
        vec![version, method, name, ("MCP-NAME", "other")],
        vec![version, method, ("mcp-name", "Plain")],
        vec![version, method, ("mcp-name", "")],
        vec![version, version, method, name],
        vec![version, ("MCP-Protocol-Version", "2025-11-25"), method, name],
        vec![("mcp-protocol-version", "2025-11-25"), method, name],
        // Encodings that some would let pass.
        vec![version, method, ("mcp-name", "=?base64?b3RoZXI=?=")],
        vec![version, method, ("mcp-name", "=?BASE64?cGxhaW4=?=")],
        vec![version, method, ("mcp-name", "=?base64?cGxhaW4?=")],
        vec![version, method, ("mcp-name", "=?base64?cGxh!aW4=?=")],
        vec![version, method, ("mcp-name", "=?base64?cGxhaW4===?=")],
        vec![version, method, ("mcp-name", "=?base64?cGxhaW5=?=")],
        vec![version, method, ("mcp-name", "pl\u{e4}in")],
        // A line end makes another header of it.
        vec![version, method, ("mcp-name", "plain\r\nMcp-Name: other")],
        vec![version, ("mcp-method", "tools/call\r\nmcp-method: tools/list"), name],
        // Arguments in the head.
        vec![version, method, name, ("mcp-param-region", "eu")],
        vec![version, method, name, ("mcp-param-x", "1"), ("Mcp-Param-X", "1")],
        vec![version, method, name, ("mcp-param-x", "pl\u{e4}in")],
        vec![version, method, name, ("mcp-param-x", "1\r\nMcp-Param-X: 2")],
    ] {
        refused(&airlock, &headed(&headers), &token, 400, -32_020);
    }
    // Refused before anything of the protocol is read.
    for raw in ["plain\r\n other", "plain\nmcp-name: other", "plain\u{0}"] {
        let response = airlock.send(&headed(&[version, method, ("mcp-name", raw)]).bearer(&token));
        assert_eq!(response.status, 400, "{raw:?}: {}", response.text());
    }
    assert!(little.asked("tools/call").is_empty(), "{:#?}", little.asked("tools/call"));
    let encoded = headed(&[version, method, ("mcp-name", "=?base64?cGxhaW4=?=")]);
    assert_eq!(airlock.send(&encoded.bearer(&token)).status, 200);
    assert_eq!(little.asked("tools/call")[0].header("mcp-name"), Some("plain"));
}

#[test]
fn a_session_takes_one_message_of_one_meaning_at_a_time() {
    let mut airlock = Setup::default().start();
    let token = airlock.user();
    let session = Session::open(airlock.address(), "/mcp/docs", &token).expect("a session");
    let dir = airlock_tests::shown_dir("airlock-held-").expect("a directory");
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("ours");
    let held = dir.path().join("held");
    std::fs::write(&held, "").expect("ours");
    std::fs::set_permissions(&held, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("ours");
    let call = |id: Value, tool: &str, arguments: Value| {
        session.prepare(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": {"name": tool, "arguments": arguments}}))
    };
    let search = || json!({"query": "roll back"});
    std::thread::scope(|scope| {
        let first = scope.spawn(|| airlock.send(&call(json!(5), "wait", json!({"while_exists": held}))));
        airlock.audited(|record| record["event"] == "call.intent");
        let second = airlock.send(&call(json!(5), "search_docs", search()));
        assert_eq!(
            (second.status, &second.answer()["error"]["code"]),
            (400, &json!(-32_600)),
            "{}",
            second.text()
        );
        // A text is not a number: an id of its own.
        let other = airlock.send(&call(json!("5"), "search_docs", search()));
        assert!(text(&other.answer()["result"]).contains("deployment.md"), "{}", other.text());
        assert_eq!(other.answer()["id"], "5");
        std::fs::remove_file(&held).expect("ours");
        let first = first.join().expect("an answer");
        assert_eq!((first.status, &first.answer()["id"]), (200, &json!(5)), "{}", first.text());
    });
    // The id is free again.
    assert_eq!(airlock.send(&call(json!(5), "search_docs", search())).status, 200);
    let hidden = json!([{"jsonrpc": "2.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "search_docs", "arguments": search()}}]);
    let id = session.id.clone().expect("an id");
    for (request, code) in [
        (session.prepare(&hidden), -32_600),
        (call(json!(7), "search_docs", search()).header("mcp-session-id", &id), -32_600),
        (call(json!(7), "search_docs", search()).header("MCP-Protocol-Version", "2025-06-18"), -32_020),
    ] {
        // A repeated revision is refused by whoever reads it first.
        let response = airlock.send(&request);
        assert_eq!(
            (response.status, &response.answer()["error"]["code"]),
            (400, &json!(code)),
            "{}",
            response.text()
        );
    }
    // All records are written before the end: of the first call, of that with another id, and of that with
    // the free one.
    assert!(airlock.stop().success(), "{}", airlock.log());
    let intents = airlock.audit().iter().filter(|record| record["event"] == "call.intent").count();
    assert_eq!(intents, 3, "a call with an id in use, or of two meanings, was let through");
}

/// A client's message, oddly written: nothing of it has to change on its way but `_meta`.
const SENT: &str = r#""name":"plain","arguments":{ "a" : 1.0e0,"s":"\/\u0041", "n":{"x":[ ]} },"future":[1 ,2,{"y" :null},123456789012345678901234567890]"#;

fn came_through(sent: &str, received: &str) {
    assert!(sent.contains(SENT), "{sent}");
    let result = format!("\"result\":{ODD}");
    assert!(received.contains(&result), "{received}");
}

#[test]
fn what_need_not_change_does_not_over_http() {
    let (little, airlock, token) = start();
    let response = airlock.send(&honest(body("1", SENT)).bearer(&token));
    assert_eq!(response.status, 200, "{}", response.text());
    came_through(&little.asked("tools/call")[0].raw, &response.text());
}

#[test]
fn what_need_not_change_does_not_on_a_pipe() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("little.sock");
    let lines = listen(&socket);
    let upstreams =
        format!("  - name: little\n    type: unix\n    socket: {}\n    framing: ndjson\n", socket.display());
    let airlock = Setup { upstreams, ..Setup::default() }.start();
    let response = airlock.send(&honest(body("1", SENT)).bearer(&airlock.user()));
    assert_eq!(response.status, 200, "{}", response.text());
    let lines = lines.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let sent = lines.iter().find(|line| line.contains("tools/call")).expect("the call");
    came_through(sent, &response.text());
}

/// A server of lines behind a socket: what it was sent, as it came.
fn listen(socket: &std::path::Path) -> Arc<Mutex<Vec<String>>> {
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let listener = UnixListener::bind(socket).expect("a socket");
    let book = Arc::clone(&lines);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let book = Arc::clone(&book);
            std::thread::spawn(move || serve(stream, &book));
        }
    });
    lines
}

fn serve(mut stream: UnixStream, book: &Mutex<Vec<String>>) -> io::Result<()> {
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?;
        let message: Value = serde_json::from_str(&line).unwrap_or_default();
        book.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        if message["id"].is_number() {
            let said = says(message["method"].as_str().unwrap_or_default());
            writeln!(stream, r#"{{"jsonrpc":"2.0","id":{},"result":{said}}}"#, message["id"])?;
        }
    }
    Ok(())
}
