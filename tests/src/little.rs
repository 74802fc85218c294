//! The little HTTP server as an upstream, and answers that several tests share.

mod server;

use std::io::{self, Read as _};
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::json;

pub use server::{
    Answer, Book, Little, Seen, begin_events, end_events, read, write, write_json, write_piece,
};

use crate::Upstream;

impl Little {
    /// It as an upstream.
    pub fn entry(&self, name: &str) -> Upstream {
        Upstream::http(name, &self.url("/mcp"))
    }

    /// Waits until something is in the book.
    pub fn until<T>(&self, read: impl Fn(&Book) -> Option<T>) -> T {
        crate::airlock::until(|| self.book(&read))
            .unwrap_or_else(|| panic!("not in the book: {:#?}", self.book(|book| format!("{book:#?}"))))
    }
}

/// Waits until the client hangs up; it sends nothing else meanwhile.
pub fn wait_for_end(stream: &mut TcpStream) -> io::Result<()> {
    match stream.read(&mut [0; 64])? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Err(io::Error::other("a second request on a busy connection")),
    }
}

/// A modern server whose only tool is asked and says nothing.
pub fn silent(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    match seen.rpc() {
        "server/discover" => {
            let result = json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "public",
                "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}});
            write_json(stream, &seen.result(&result))
        }
        "tools/list" => {
            let tools = json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "public",
                "tools": [{"name": "wait", "inputSchema": {"type": "object"}}]});
            write_json(stream, &seen.result(&tools))
        }
        _ => wait_for_end(stream),
    }
}

/// A modern server that speaks before it answers.
pub fn chatty(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    let complete =
        |text: &str| json!({"resultType": "complete", "content": [{"type": "text", "text": text}]});
    match seen.rpc() {
        "server/discover" => {
            let result = json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "public",
                "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}, "prompts": {}}});
            write_json(stream, &seen.result(&result))
        }
        "tools/list" => {
            let tools = json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "public",
                "tools": [{"name": "count", "inputSchema": {"type": "object"}}]});
            write_json(stream, &seen.result(&tools))
        }
        "tools/call" => {
            let token = &seen.body["params"]["_meta"]["progressToken"];
            begin_events(stream)?;
            for number in 1..=5 {
                let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress",
                    "params": {"progressToken": token, "progress": number}});
                write_piece(stream, format!("data: {progress}\n\n").as_bytes())?;
                std::thread::sleep(Duration::from_millis(100));
            }
            write_piece(stream, format!("data: {}\n\n", seen.result(&complete("counted"))).as_bytes())?;
            end_events(stream)
        }
        other => panic!("an unexpected request: {other}"),
    }
}
