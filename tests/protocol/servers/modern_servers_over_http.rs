//! A modern server over HTTP: headers, streams, kept connections, cancellation, and every way to fail.

use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

use airlock_tests::http::Request;
use airlock_tests::little::{
    Book, Little, Seen, begin_events, end_events, wait_for_end, write, write_json, write_piece,
};
use airlock_tests::mcp::{Session, modern, modern_call, text};
use airlock_tests::{Setup, Upstream, start_on};
use serde_json::{Value, json};

fn complete(text: &str) -> Value {
    json!({"resultType": "complete", "content": [{"type": "text", "text": text}]})
}

/// A modern server with a tool for every kind of answer.
fn answer(seen: &Seen, stream: &mut TcpStream, book: &Mutex<Book>) -> io::Result<()> {
    let tool = seen.body["params"]["name"].as_str().unwrap_or_default();
    match (seen.rpc(), tool) {
        ("server/discover", _) => {
            let result = json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "public",
                "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}});
            write_json(stream, &seen.result(&result))
        }
        ("tools/list", _) => {
            let result = json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "public", "tools": []});
            write_json(stream, &seen.result(&result))
        }
        ("tools/call", "stream") => {
            let token = &seen.body["params"]["_meta"]["progressToken"];
            let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress",
                "params": {"progressToken": token, "progress": 1, "message": "halfway"}});
            let events = format!(
                ": good morning\r\n\r\nevent: message\r\nid: 1\r\ndata: {progress}\r\n\r\ndata: {}\n\n",
                seen.result(&complete("streamed ü"))
            );
            begin_events(stream)?;
            for byte in events.as_bytes() {
                write_piece(stream, &[*byte])?;
            }
            end_events(stream)
        }
        ("tools/call", "hang") => wait_for_end(stream),
        ("tools/call", "hang_in_stream") => {
            begin_events(stream)?;
            write_piece(stream, b": still here\n\n")?;
            wait_for_end(stream)
        }
        ("tools/call", "page") => {
            write(stream, "500 Internal Server Error", "Content-Type: text/html\r\n", "<h1>oops</h1>")
        }
        ("tools/call", "page_200") => write(stream, "200 OK", "Content-Type: text/html\r\n", "<h1>hi</h1>"),
        ("tools/call", "elsewhere") => {
            write(stream, "307 Temporary Redirect", "Location: http://127.0.0.1:1/\r\n", "")
        }
        ("tools/call", "hang_up") => {
            write_json(stream, &seen.result(&complete("good-bye")))?;
            Err(io::ErrorKind::ConnectionAborted.into())
        }
        ("tools/call", "refused") => {
            let error =
                json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32_602, "message": "not so"}});
            write(stream, "400 Bad Request", "Content-Type: application/json\r\n", &error.to_string())
        }
        ("tools/call", "other_id") => {
            let other = json!({"jsonrpc": "2.0", "id": 999_999, "result": complete("not yours")});
            write_json(stream, &other.to_string())
        }
        ("tools/call", "cut") => {
            stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"json",
            )?;
            Err(io::ErrorKind::ConnectionAborted.into())
        }
        ("tools/call", "cut_stream") => {
            begin_events(stream)?;
            write_piece(stream, b"id: 5\ndata: {\"jsonrpc\":")?;
            end_events(stream)
        }
        ("tools/call", "no_http") => {
            stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n")?;
            wait_for_end(stream)
        }
        ("tools/call", "declared") => {
            stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n",
            )?;
            flood(stream, book, false)
        }
        ("tools/call", "endless") => {
            stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
            )?;
            flood(stream, book, true)
        }
        ("tools/call", "endless_stream") => {
            begin_events(stream)?;
            write_piece(stream, b"data: ")?;
            flood(stream, book, true)
        }
        ("tools/call", name) => write_json(stream, &seen.result(&complete(&format!("this is {name}")))),
        // Asked once, for the sake of legacy clients: it has no other era.
        ("initialize", _) => {
            let error = json!({"code": -32_601, "message": "Method not found"});
            let refused = json!({"jsonrpc": "2.0", "id": seen.body["id"], "error": error});
            write_json(stream, &refused.to_string())
        }
        (other, _) => panic!("an unexpected request: {other}: {seen:?}"),
    }
}

/// Writes until the client has had enough, and counts what it took.
fn flood(stream: &mut TcpStream, book: &Mutex<Book>, chunked: bool) -> io::Result<()> {
    let piece = [b'x'; 16 * 1024];
    loop {
        if chunked {
            write_piece(stream, &piece)?;
        } else {
            stream.write_all(&piece)?;
        }
        book.lock().expect("not poisoned").flood += piece.len();
    }
}

fn behind(upstream: &Upstream) -> Setup {
    Setup { upstreams: upstream.to_string(), ..Setup::default() }
}

fn calls_and_headers(io: &str) {
    let little = Little::start(answer);
    let Some(airlock) = start_on(io, &behind(&little.entry("little")).server("workers", 1)) else { return };
    let token = airlock.user();
    for (path, tool) in [("/mcp/little", "plain"), ("/mcp", "little__plain")] {
        for _ in 0..10 {
            let call = modern_call(path, 1, tool, &json!({})).bearer(&token).header("cookie", "a=b");
            let answer = airlock.send(&call).answer();
            assert_eq!(text(&answer["result"]), "this is plain", "{answer}");
        }
    }
    let mut session = Session::open(airlock.address(), "/mcp", &token).expect("a session");
    let result = session.call("little__grüße", &json!({})).expect("a call");
    assert_eq!(text(&result), "this is grüße");

    let calls = little.asked("tools/call");
    assert_eq!(calls.len(), 21);
    for call in &calls {
        assert_eq!(call.connection, calls[0].connection, "one caller after the other needs one connection");
        assert_eq!(call.header("mcp-protocol-version"), Some("2026-07-28"));
        assert_eq!(call.header("mcp-method"), Some("tools/call"));
        assert_eq!(call.header("content-type"), Some("application/json"));
        assert_eq!(call.header("accept"), Some("application/json, text/event-stream"));
        for absent in ["authorization", "cookie", "mcp-session-id"] {
            assert_eq!(call.header(absent), None);
        }
        assert_eq!(call.body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
    }
    assert!(calls[..20].iter().all(|call| call.header("mcp-name") == Some("plain")), "{:?}", calls[19]);
    assert_eq!(calls[20].header("mcp-name"), Some("=?base64?Z3LDvMOfZQ==?="));
    assert_eq!(calls[20].body["params"]["name"], json!("grüße"));
    assert_eq!(little.asked("server/discover").len(), 1, "the era is remembered");
}

#[test]
fn modern_headers_agree_with_the_body_and_connections_are_kept_on_epoll() {
    calls_and_headers("epoll");
}

#[test]
fn modern_headers_agree_with_the_body_and_connections_are_kept_on_io_uring() {
    calls_and_headers("io_uring");
}

#[test]
fn an_event_stream_is_read_byte_by_byte() {
    for io in ["epoll", "io_uring"] {
        let little = Little::start(answer);
        let Some(airlock) = start_on(io, &behind(&little.entry("little")).server("workers", 1)) else {
            continue;
        };
        let token = airlock.user();
        for _ in 0..3 {
            let params = json!({"name": "stream", "arguments": {}, "_meta": {"progressToken": "mine"}});
            let response = airlock.send(&modern("/mcp/little", 7, "tools/call", &params).bearer(&token));
            let messages = response.messages();
            assert_eq!(messages[0]["params"]["progressToken"], json!("mine"), "{messages:?}");
            assert_eq!(messages[0]["params"]["message"], json!("halfway"));
            assert_eq!(text(&response.answer()["result"]), "streamed ü");
            assert_eq!(response.answer()["id"], json!(7));
        }
        let calls = little.asked("tools/call");
        assert!(calls.iter().all(|call| call.connection == calls[0].connection), "kept after a stream, too");
    }
}

#[test]
fn a_server_that_answers_wrongly_is_told_apart_from_one_that_says_no() {
    for io in ["epoll", "io_uring"] {
        let little = Little::start(answer);
        let Some(airlock) =
            start_on(io, &behind(&little.entry("little")).server("max_response_bytes", "100KiB"))
        else {
            continue;
        };
        let token = airlock.user();
        let call = |tool: &str| airlock.send(&modern_call("/mcp/little", 1, tool, &json!({})).bearer(&token));
        for (tool, told) in [
            ("page", "HTTP status 500"),
            ("page_200", "text/html instead of JSON"),
            ("elsewhere", "redirects are not followed"),
            ("other_id", "its answer is to another request"),
            ("cut", "broke off its answer"),
            ("cut_stream", "ended its answer before the result"),
            ("no_http", "not HTTP"),
            ("declared", "server.max_response_bytes"),
            ("endless", "server.max_response_bytes"),
            ("endless_stream", "server.max_response_bytes"),
        ] {
            let before = little.book(|book| book.flood);
            let response = call(tool);
            assert_eq!(response.status, 502, "{tool} on {io}: {}", response.text());
            assert!(airlock.logs(told), "{tool}: {}", airlock.log());
            // Sockets hold some of what was written; the rest would be what Airlock took.
            let bytes = little.book(|book| book.flood) - before;
            assert!(bytes < 16 << 20, "{tool}: {bytes} bytes");
        }
        let refused = call("refused");
        assert_eq!((refused.status, &refused.answer()["error"]["message"]), (200, &json!("not so")));
        assert_eq!(text(&call("plain").answer()["result"]), "this is plain", "it goes on working");
    }
}

#[test]
fn nobody_waits_for_ever_and_the_server_is_told() {
    for io in ["epoll", "io_uring"] {
        let little = Little::start(answer);
        let Some(airlock) = start_on(io, &behind(&little.entry("little").with("timeout", "300ms"))) else {
            continue;
        };
        let token = airlock.user();
        for tool in ["hang", "hang_in_stream"] {
            let response = airlock.send(&modern_call("/mcp/little", 1, tool, &json!({})).bearer(&token));
            assert_eq!(response.status, 504, "{tool} on {io}: {}", response.text());
            let calls = little.asked("tools/call");
            let connection = calls.last().expect("the call").connection;
            little.until(|book| book.closed.contains(&connection).then_some(()));
        }
    }
}

#[test]
fn a_server_that_is_away_costs_its_own_calls_until_it_is_back() {
    for io in ["epoll", "io_uring"] {
        let address = airlock_tests::airlock::free_address().expect("a free port");
        let upstreams = Upstream::http("away", &format!("http://{address}/mcp")).to_string();
        let Some(airlock) = start_on(io, &Setup { upstreams, ..Setup::default() }) else { continue };
        let token = airlock.user();
        let call = || airlock.send(&modern_call("/mcp/away", 1, "plain", &json!({})).bearer(&token));
        assert_eq!(call().status, 502);
        let told = format!("upstream `away` cannot be reached at http://{address}/mcp: Connection refused");
        assert!(airlock.logs(&told), "{}", airlock.log());
        let listener = TcpListener::bind(address).expect("still free");
        // It serves as long as the test runs.
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let (book, mut bytes) = (Mutex::default(), Vec::new());
                    while let Ok(Some(seen)) = airlock_tests::little::read(0, &mut stream, &mut bytes) {
                        answer(&seen, &mut stream, &book).expect("writable");
                    }
                });
            }
        });
        // For a moment all callers share the verdict that it is away.
        let back = airlock_tests::airlock::until(|| Some(call()).filter(|response| response.status == 200));
        let response = back.expect("it is back");
        assert_eq!(text(&response.answer()["result"]), "this is plain", "{}", response.text());
    }
}

#[test]
fn a_kept_connection_that_the_server_closed_is_replaced() {
    for io in ["epoll", "io_uring"] {
        let little = Little::start(answer);
        let Some(airlock) = start_on(io, &behind(&little.entry("little")).server("workers", 1)) else {
            continue;
        };
        let token = airlock.user();
        for _ in 0..5 {
            let answer = airlock.send(&modern_call("/mcp/little", 1, "hang_up", &json!({})).bearer(&token));
            assert_eq!(text(&answer.answer()["result"]), "good-bye", "{}\n{}", answer.text(), airlock.log());
            let connection = little.asked("tools/call").last().expect("the call").connection;
            little.until(|book| book.closed.contains(&connection).then_some(()));
            // One turn of the only worker's loop, in which it sees the end.
            assert_eq!(airlock.send(&Request::get("/live")).status, 200);
        }
    }
}

#[test]
fn a_server_that_says_nothing_at_all_is_not_waited_for() {
    for io in ["epoll", "io_uring"] {
        let little = Little::start(|_, stream, _| wait_for_end(stream));
        let Some(airlock) = start_on(io, &behind(&little.entry("little").with("timeout", "300ms"))) else {
            continue;
        };
        let token = airlock.user();
        let response = airlock.send(&modern_call("/mcp/little", 1, "plain", &json!({})).bearer(&token));
        assert_eq!(response.status, 504, "{}", response.text());
        assert!(airlock.logs("upstream `little` did not answer"), "{}", airlock.log());
    }
}

#[test]
fn a_connection_that_is_never_made_is_given_up() {
    // Nobody accepts, and the queue for one is full: the kernel drops what asks for another connection.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    rustix::net::listen(&listener, 0).expect("a shorter queue");
    let address = listener.local_addr().expect("an address");
    let mut fillers = Vec::new();
    while let Ok(filler) = TcpStream::connect_timeout(&address, Duration::from_millis(500)) {
        fillers.push(filler);
    }
    for io in ["epoll", "io_uring"] {
        let upstreams = format!("  - {{name: full, type: http, url: \"http://{address}/mcp\"}}\n");
        let Some(airlock) = start_on(
            io,
            &Setup { upstreams, ..Setup::default() }.server("timeouts", json!({"connect": "300ms"})),
        ) else {
            continue;
        };
        let token = airlock.user();
        let response = airlock.send(&modern_call("/mcp/full", 1, "plain", &json!({})).bearer(&token));
        assert_eq!(response.status, 504, "{}", response.text());
        let told =
            format!("upstream `full` did not answer a connection to http://{address}/mcp within 300ms");
        assert!(airlock.logs(&told), "{}", airlock.log());
    }
}
