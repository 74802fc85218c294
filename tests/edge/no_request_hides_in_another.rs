//! One request is one request: what two readers of HTTP could cut in two ways is refused, and the connection
//! ends with it.

use std::io::{Read as _, Write as _};

use airlock_tests::http::{Request, connect, read_response};
use airlock_tests::mcp::modern_call;
use airlock_tests::{Airlock, Setup, start_on};
use serde_json::json;

/// Everything that comes back, until the connection ends or nothing more comes.
fn exchange(airlock: &Airlock, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(airlock.address()).expect("a connection");
    // It may be closed while we still write.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// The statuses of all answers.
fn statuses(answer: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(answer);
    let lines = text.split("HTTP/1.1 ").skip(1);
    lines.filter_map(|line| line.get(..3)?.parse().ok()).collect()
}

/// A request with these header lines and this body; the token is good.
fn raw(token: &str, lines: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /mcp/docs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\n{lines}\r\n{body}"
    )
    .into_bytes()
}

#[test]
fn no_request_hides_in_another() {
    let setup = Setup::default().server("timeouts", json!({"header": "1s", "body": "1s"}));
    for io in ["epoll", "io_uring"] {
        let Some(mut airlock) = start_on(io, &setup) else { continue };
        let token = airlock.user();
        // The request that each of them would smuggle: to a path that would be answered by 200.
        let hidden = "GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let chunked = format!("0\r\n\r\n{hidden}");
        let length = hidden.len();
        for (lines, body) in [
            // Two lengths, or none that is one.
            (format!("Content-Length: 0\r\nContent-Length: {length}\r\n"), hidden),
            (format!("Content-Length: 0, {length}\r\n"), hidden),
            ("Content-Length: +0\r\n".to_owned(), hidden),
            ("Content-Length: -1\r\n".to_owned(), hidden),
            ("Content-Length: 0x0\r\n".to_owned(), hidden),
            ("Content-Length: 0 0\r\n".to_owned(), hidden),
            ("Content-Length: \r\n".to_owned(), hidden),
            ("Content-Length: 18446744073709551616\r\n".to_owned(), hidden),
            ("Content-Length: 99999999999999999999999999999\r\n".to_owned(), hidden),
            // A coding that is not the only one, not the last one, or not known.
            (format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", chunked.len()), &*chunked),
            (format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", chunked.len()), &chunked),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".to_owned(), &chunked),
            ("Transfer-Encoding: chunked, identity\r\n".to_owned(), &chunked),
            ("Transfer-Encoding: identity\r\n".to_owned(), &chunked),
            ("Transfer-Encoding: xchunked\r\n".to_owned(), &chunked),
            ("Transfer-Encoding: chunkedx\r\n".to_owned(), &chunked),
            ("Transfer-Encoding: \r\n".to_owned(), &chunked),
            ("Transfer-Encoding: \"chunked\"\r\n".to_owned(), &chunked),
            ("Transfer-Encoding: \u{b}chunked\r\n".to_owned(), &chunked),
            // Names that some trim, and lines that some join.
            (format!("Content-Length : {length}\r\n"), hidden),
            (format!("Content-Length\t: {length}\r\n"), hidden),
            (format!(" Content-Length: {length}\r\n"), hidden),
            ("Transfer-Encoding : chunked\r\n".to_owned(), &chunked),
            ("X: a\r\n Transfer-Encoding: chunked\r\n".to_owned(), &chunked),
            ("X: a\r\n\tb: c\r\n".to_owned(), hidden),
            ("X: a\rContent-Length: 0\r\n".to_owned(), hidden),
            ("X: a\0b\r\n".to_owned(), hidden),
            ("Transfer-Encoding: chunked\rX: y\r\n".to_owned(), &chunked),
            (": empty\r\n".to_owned(), hidden),
            ("no colon\r\n".to_owned(), hidden),
        ] {
            let answer = exchange(&airlock, &raw(&token, &lines, body));
            let found = statuses(&answer);
            let shown = String::from_utf8_lossy(&answer);
            // One refusal at most, and the hidden request is never answered.
            assert!(
                found.len() <= 1 && found.iter().all(|status| *status >= 400),
                "{io} {lines:?}: {found:?} {shown}"
            );
        }
        // Chunks that are not chunks.
        let good = String::from_utf8(modern_call("/", 1, "search_docs", &json!({"query": "roll back"})).body)
            .expect("text");
        let size = format!("{:x}", good.len());
        for chunks in [
            format!("{size} \u{b}\r\n{good}\r\n0\r\n\r\n{hidden}"),
            format!("0x{size}\r\n{good}\r\n0\r\n\r\n{hidden}"),
            format!("+{size}\r\n{good}\r\n0\r\n\r\n{hidden}"),
            format!("-1\r\n{good}\r\n0\r\n\r\n{hidden}"),
            format!("{size}\n{good}\n0\n\n{hidden}"),
            format!("{size}\r\n{good}0\r\n\r\n{hidden}"),
            format!("{size}\r\n{good}XX0\r\n\r\n{hidden}"),
            format!("fffffffffffffffff\r\n{good}\r\n0\r\n\r\n{hidden}"),
            format!("{size};a=\"\n\"\r\n{good}\r\n0\r\n\r\n{hidden}"),
            format!("\r\n{good}\r\n0\r\n\r\n{hidden}"),
        ] {
            let answer = exchange(&airlock, &raw(&token, "Transfer-Encoding: chunked\r\n", &chunks));
            let found = statuses(&answer);
            let shown = chunks.chars().take(20).collect::<String>();
            assert!(
                found.len() <= 1 && found.iter().all(|status| *status >= 400),
                "{io} {shown:?}: {found:?}"
            );
        }
        // Heads that are none.
        for head in [
            "GET /live HTTP/1.1\nHost: localhost\n\n\0",
            "GET  /live HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "GET /live HTTP/1.2\r\nHost: localhost\r\n\r\n",
            "GET /live HTTP/2.0\r\nHost: localhost\r\n\r\n",
            "GET /live\r\n\r\n",
            "GET /mcp/docs HTTP/1.1\r\nHost: localhost\r\nHost: other\r\n\r\n",
            "GET https://other/mcp/docs HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "GET /mcp/docs HTTP/1.1\r\n\r\n",
            "GET /li\0ve HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "G(T /live HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ] {
            let found = statuses(&exchange(&airlock, head.as_bytes()));
            let lines_by_lf = head.contains("1.1\n");
            assert!(lines_by_lf || found.iter().all(|status| *status >= 400), "{io} {head:?}: {found:?}");
        }
        assert_eq!(airlock.send(&Request::get("/live")).status, 200, "and it still serves");
        // All records are written before the end.
        assert!(airlock.stop().success(), "{io}: {}", airlock.log());
        let reached = airlock.audit().iter().any(|record| record["event"] == "call.intent");
        assert!(!reached, "one of these reached a server");
    }
}

#[test]
fn chunks_trailers_and_expectations_are_understood() {
    for io in ["epoll", "io_uring"] {
        let Some(airlock) = start_on(io, &Setup::default()) else { continue };
        let token = airlock.user();
        let call = modern_call("/mcp/docs", 1, "search_docs", &json!({"query": "roll back"})).bearer(&token);
        let body = String::from_utf8(call.body.clone()).expect("text");
        let lines = "Connection: close\r\nmcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: search_docs\r\n";
        let (first, second) = body.split_at(40);
        let chunks = format!(
            "{:x};ext=\"1\"\r\n{first}\r\n{:X}\r\n{second}\r\n0\r\nX-Trailer: 1\r\nAuthorization: Bearer x\r\n\r\n",
            first.len(),
            second.len()
        );
        for coding in ["chunked", "Chunked", "CHUNKED"] {
            let head = format!("{lines}Transfer-Encoding: {coding}\r\nTrailer: X-Trailer\r\n");
            let answer = exchange(&airlock, &raw(&token, &head, &chunks));
            assert_eq!(statuses(&answer), [200], "{coding}: {}", String::from_utf8_lossy(&answer));
        }
        // The body is sent once it is asked for.
        let mut stream = connect(airlock.address()).expect("a connection");
        let head = format!("{lines}Expect: 100-continue\r\nContent-Length: {}\r\n", body.len());
        stream.write_all(&raw(&token, &head, "")).expect("sent");
        let mut said = [0; 25];
        stream.read_exact(&mut said).expect("it asks");
        assert_eq!(&said, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(body.as_bytes()).expect("sent");
        assert_eq!(read_response(&mut stream).expect("an answer").status, 200);
        // A refusal needs no body.
        let head = format!("{lines}Expect: 100-continue\r\nContent-Length: {}\r\n", body.len());
        assert_eq!(statuses(&exchange(&airlock, &raw("rubbish", &head, ""))), [401]);
        assert_eq!(airlock.send(&call.clone().header("expect", "the-unexpected")).status, 417);
        // Several requests at once are answered one after the other.
        let keep =
            |request: &Request| request.clone().header("connection", "keep-alive").bytes(airlock.address());
        let both =
            [keep(&call), keep(&Request::get("/live")), Request::get("/nowhere").bytes(airlock.address())]
                .concat();
        assert_eq!(statuses(&exchange(&airlock, &both)), [200, 200, 404]);
    }
}
