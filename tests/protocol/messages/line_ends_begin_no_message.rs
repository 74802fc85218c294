//! White space is not a way in: a line end inside a message must not become the start of another one, which
//! nobody authorised, on the way to a server that reads lines.

use airlock_tests::Setup;
use airlock_tests::airlock::stdio_upstream;
use airlock_tests::http::Request;
use airlock_tests::mcp::{modern_call, text};
use airlock_tests::tools::built;
use serde_json::json;

#[test]
fn line_ends_between_tokens_make_no_second_message() {
    let echo = built("echo-server").display().to_string();
    let upstreams = stdio_upstream("echo", &[&echo, "--stdio"]);
    let airlock = Setup { upstreams, ..Setup::default() }.start();
    let token = airlock.user();
    for end in ["\n", "\r", "\r\n"] {
        let good = modern_call("/mcp/echo", 1, "echo", &json!({"bytes": 10, "x": "HERE"}));
        let body = String::from_utf8(good.body.clone()).expect("JSON");
        // A whole request of its own, on a line of its own, where a value may stand.
        let hidden = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"echo","arguments":{"bytes":99}}}"#;
        let body = body.replace("\"HERE\"", &format!("{end}{hidden}{end}"));
        assert!(body.contains(hidden));
        let request = Request { body: body.into_bytes(), ..good };
        let response = airlock.send(&request.bearer(&token));
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(text(&response.answer()["result"]).len(), 10, "{}", response.text());
        // The next call gets its own answer, not that of a hidden one.
        let next = airlock.send(&modern_call("/mcp/echo", 2, "echo", &json!({"bytes": 20})).bearer(&token));
        assert_eq!(text(&next.answer()["result"]).len(), 20, "{}", next.text());
    }
}
