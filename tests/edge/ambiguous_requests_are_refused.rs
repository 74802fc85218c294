//! Requests that a proxy before this door, or a server behind it, would read differently: two in one, or one
//! for another host.

use std::io::{Read as _, Write as _};

use airlock_tests::http::connect;
use airlock_tests::mcp::modern_call;
use airlock_tests::{Airlock, Setup, start_on};
use serde_json::json;

/// Everything that comes back, until the connection ends.
fn exchange(airlock: &Airlock, text: &str) -> String {
    let mut stream = connect(airlock.address()).expect("a connection");
    // It may be closed while we still write.
    let _ = stream.write_all(text.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn what_can_be_read_in_two_ways_is_refused_and_ends_the_connection() {
    for io in ["epoll", "io_uring"] {
        let Some(mut airlock) = start_on(io, &Setup::default()) else { continue };
        let token = airlock.user();
        // A call that would be answered by 200, were it not for one line of its head.
        let call = modern_call("/mcp/docs", 1, "search_docs", &json!({"query": "roll back"}));
        let body = String::from_utf8(call.body.clone()).expect("text");
        let fields: Vec<String> =
            call.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let fields = fields.concat();
        let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        let next = "GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let request = |target: &str, host: &str, lines: &str, body: &str| {
            format!(
                "POST {target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n{fields}{lines}\r\n{body}{next}"
            )
        };
        let whole = format!("Content-Length: {}\r\n", body.len());
        let honest = [
            request("/mcp/docs", "localhost", &whole, &body),
            request("/mcp/docs", "localhost", "Transfer-Encoding: chunked\r\n", &chunks),
        ];
        for honest in &honest {
            let ending =
                honest.replace("HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.0\r\nHost: localhost\r\n\r\n");
            let answer = exchange(&airlock, &ending);
            assert_eq!(answer.matches("HTTP/1.").count(), 2, "{io}: both are answered: {answer}");
            assert!(answer.starts_with("HTTP/1.1 200"), "{io}: {answer}");
        }
        // Lines without carriage returns in a trailer hide no request there, and move no fault to a later
        // one.
        let both = format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", chunks.len());
        let hidden =
            format!("{:x}\r\n{body}\r\n0\r\nX: a\n\nGET / HTTP/1.1\nHost: a\n\n\r\n\r\n", body.len());
        let first = request("/mcp/docs", "localhost", "Transfer-Encoding: chunked\r\n", &hidden);
        let first = first.strip_suffix(next).expect("it comes last");
        let answer =
            exchange(&airlock, &format!("{first}{}", request("/mcp/docs", "localhost", &both, &chunks)));
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("HTTP/1.1 400"), "{io}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 2, "{io}: {answer}");
        for (target, host, lines, body) in [
            ("/mcp/docs", "localhost", both, &chunks),
            (
                "/mcp/docs",
                "localhost",
                format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", chunks.len()),
                &chunks,
            ),
            (
                "/mcp/docs",
                "localhost",
                "content-length: 4\r\ntransfer-encoding: Chunked\r\n".to_owned(),
                &chunks,
            ),
            ("/mcp/docs", "localhost", "Transfer-Encoding: gzip, chunked\r\n".to_owned(), &chunks),
            ("/mcp/docs", "localhost", "Transfer-Encoding: chunked, chunked\r\n".to_owned(), &chunks),
            (
                "/mcp/docs",
                "localhost",
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n".to_owned(),
                &chunks,
            ),
            (
                "/mcp/docs",
                "localhost",
                "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n".to_owned(),
                &chunks,
            ),
            ("/mcp/docs", "me@localhost", whole.clone(), &body),
            ("/mcp/docs", "localhost:1@localhost", whole.clone(), &body),
            ("http://me@localhost/mcp/docs", "me@localhost", whole.clone(), &body),
            ("/mcp/docs#/live", "localhost", whole.clone(), &body),
            ("/mcp/docs?a#b", "localhost", whole.clone(), &body),
            ("ftp://localhost/mcp/docs", "localhost", whole.clone(), &body),
        ] {
            let answer = exchange(&airlock, &request(target, host, &lines, body));
            let shown = format!("{io} {target} {host} {lines:?}: {answer}");
            assert!(answer.starts_with("HTTP/1.1 400"), "{shown}");
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "what follows is not read: {shown}");
        }
        // Records are written behind the answers, and all of them before the end.
        assert!(airlock.stop().success(), "{io}: {}", airlock.log());
        let calls = airlock.audit().iter().filter(|record| record["event"] == "call.intent").count();
        assert_eq!(calls, honest.len() + 1, "{io}: none but the good ones reached a server");
    }
}
