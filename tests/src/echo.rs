//! Calls of the echo server, whose answers are as long as they were asked to be.

use serde_json::json;

use crate::Airlock;
use crate::mcp::{modern_call, text};

/// Answers of every size arrive whole. The server is `echo`.
pub fn of_every_size(airlock: &Airlock) {
    let token = airlock.user();
    for bytes in [0, 1, 300, 4_095, 4_096, 65_535, 65_536, 262_144, 3_000_000] {
        let call = modern_call("/mcp/echo", 1, "echo", &json!({"bytes": bytes})).bearer(&token);
        let answer = airlock.send(&call).answer();
        let text = text(&answer["result"]);
        assert_eq!(text.len(), bytes);
        assert!(bytes < 300 || text.starts_with("000000 order shipped to warehouse 0"));
    }
}

/// Each of many calls at once gets its own answer.
pub fn many_at_once(airlock: &Airlock) {
    let token = &airlock.user();
    std::thread::scope(|scope| {
        for thread in 0..16_u64 {
            scope.spawn(move || {
                for round in 0..20 {
                    let bytes = 1 + thread * 1_000 + round;
                    let call =
                        modern_call("/mcp/echo", bytes, "echo", &json!({"bytes": bytes})).bearer(token);
                    let answer = airlock.send(&call).answer();
                    assert_eq!(answer["id"], json!(bytes));
                    assert_eq!(text(&answer["result"]).len() as u64, bytes);
                }
            });
        }
    });
}
