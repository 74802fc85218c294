//! Foreign text in the log.

use airlock_tests::airlock::stdio_upstream;
use airlock_tests::mcp::{Session, modern};
use airlock_tests::{Setup, tools};
use serde_json::{Value, json};

use super::told;

/// Characters that turn the direction of writing or steer a terminal, a line end among them, and what would
/// be another line.
const BAD: &str = "x\r\n2026-11-29T00:00:00.000000Z ERROR airlock: forged\u{0}\u{1b}[2J\u{9b}\u{61c}\u{202e}\u{2066}\u{2028}";

fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[test]
fn nothing_foreign_steers_the_log() {
    let docs = tools::built("docs-server").display().to_string();
    // The server says something bad on standard error before it serves.
    let script =
        format!("printf 'from the server\\rforged\\033[2J\\342\\200\\256\\330\\234\\r\\n' >&2; exec {docs}");
    let upstreams = stdio_upstream("docs", &["/bin/sh", "-c", &script]);
    for format in ["text", "json"] {
        // The rest of the line, which says `text`, becomes a comment.
        let log = format!("debug, format: {format}}}\n  #");
        let airlock = Setup { upstreams: upstreams.clone(), log, ..Setup::default() }.start();
        let token = airlock.user();
        // A legacy client's method is in no header, so it may be anything.
        let mut session = Session::open(airlock.address(), "/mcp/docs", &token).expect("a session");
        session.request(BAD, &json!({"name": BAD})).expect("an answer");
        session.request("tools/call", &json!({"name": BAD, "arguments": {}})).expect("an answer");
        airlock.send(&modern("/mcp/docs", 3, "tools/list", &Value::Null).bearer(&token));
        // The server's words, and the method, which is in the log because it is not served.
        told(&airlock, "from the server");
        let log = told(&airlock, "ERROR airlock: forged");
        for line in log.lines() {
            assert!(!line.contains(steers), "{format}: {line:?}");
            assert!(!line.starts_with("2026-11-29T00:00:00.000000Z"), "{format}: a forged line: {line}");
        }
    }
}
