//! Tokens of sessions that have ended, in the memory of the daemon.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;

use airlock_tests::airlock::until;
use airlock_tests::http::connect;
use airlock_tests::mcp::Session;
use airlock_tests::{Airlock, Setup, skip, start_on};
use serde_json::json;

use super::issuer::Issuer;

/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

/// How often `text` stands in the memory that the process can write to.
fn copies(airlock: &Airlock, text: &str) -> io::Result<usize> {
    let pid = airlock.pid();
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let mut count = 0;
    for line in maps.lines() {
        let mut words = line.split(' ');
        let (Some(range), Some(rights)) = (words.next(), words.next()) else { continue };
        let ends = range
            .split_once('-')
            .map(|(start, end)| (u64::from_str_radix(start, 16), u64::from_str_radix(end, 16)));
        let Some((Ok(start), Ok(end))) = ends else { continue };
        if !rights.starts_with("rw") {
            continue;
        }
        let mut at = start;
        let mut piece = vec![0; PIECE];
        let mut kept: Vec<u8> = Vec::new();
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
            // A mapping may go while it is read, or be one that cannot be.
            let Ok(read) = memory.read_at(&mut piece[..wanted], at) else { break };
            if read == 0 {
                break;
            }
            kept.extend_from_slice(&piece[..read]);
            count += found(&kept, text.as_bytes());
            // A token that lies across two pieces is found with the second one.
            kept.drain(..kept.len().saturating_sub(text.len() - 1));
            at += read as u64;
        }
    }
    Ok(count)
}

fn found(bytes: &[u8], text: &[u8]) -> usize {
    let first = text[0];
    let mut count = 0;
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == first) {
        rest = &rest[at..];
        count += usize::from(rest.starts_with(text));
        rest = &rest[1..];
    }
    count
}

#[test]
fn an_ended_session_leaves_no_token_in_memory() {
    for io in ["epoll", "io_uring"] {
        let issuer = Issuer::start();
        let setup = Setup::default().issuers(issuer.issuers()).server("workers", 2);
        let Some(airlock) = start_on(io, &setup) else { continue };
        let token = issuer.token(&json!({"sub": "a-session-that-ends"}));
        let (_, signature) = token.rsplit_once('.').expect("a signature");
        if let Err(error) = copies(&airlock, signature) {
            return skip(&format!("the memory of another process cannot be read here: {error}"));
        }
        let mut session = Session::open(airlock.address(), "/mcp/docs", &token).expect("a session");
        session.call("search_docs", &json!({"query": "roll back"})).expect("an answer");
        // A request that is not at its end: its token is there, and this test would see it.
        let mut stream = connect(airlock.address()).expect("a connection");
        let head = format!(
            "POST /mcp/docs HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n",
            airlock.address()
        );
        stream.write_all(head.as_bytes()).expect("it is open");
        let seen = until(|| copies(&airlock, signature).ok().filter(|count| *count > 0));
        assert!(seen.is_some(), "{io}: the token of an open request is in memory");
        drop(stream);
        let mut delete = session.listen(None);
        delete.method = "DELETE".to_owned();
        let ended = airlock.send(&delete);
        assert!(ended.status < 300, "{}", ended.text());
        drop(session);
        let gone = until(|| copies(&airlock, signature).ok().filter(|count| *count == 0));
        let left = copies(&airlock, signature);
        assert!(gone.is_some(), "{io}: {left:?} copies are left");
    }
}
