//! A path means what its writer meant, or says at once that it does not.

use airlock_tests::Setup;
use airlock_tests::http::Request;
use airlock_tests::mcp::{Session, modern, modern_call, text};
use serde_json::{Value, json};

const METADATA: &str = "/.well-known/oauth-protected-resource";

#[test]
fn a_slash_at_the_end_makes_no_difference() {
    let airlock = Setup::default().start();
    let token = airlock.user();
    for (path, tool) in [("/mcp/", "docs__search_docs"), ("/mcp/docs/", "search_docs")] {
        let arguments = json!({"query": "roll back"});
        let called = airlock.send(&modern_call(path, 1, tool, &arguments).bearer(&token));
        assert_eq!(called.status, 200, "{path}: {}", called.text());
        assert!(text(&called.answer()["result"]).contains("deployment.md"), "{path}");

        // The challenge names the document under its one name, and so does the document.
        let bare = path.trim_end_matches('/');
        let refused = airlock.send(&modern(path, 1, "tools/list", &Value::Null));
        let challenge = refused.header("www-authenticate").unwrap_or_default().to_owned();
        let url = format!("http://{}{METADATA}{bare}", airlock.address());
        assert!(refused.status == 401 && challenge.contains(&format!("\"{url}\"")), "{challenge}");
        for document in [format!("{METADATA}{path}"), format!("{METADATA}{bare}")] {
            let metadata: Value =
                serde_json::from_slice(&airlock.send(&Request::get(&document)).body).expect("JSON");
            assert_eq!(metadata["resource"], format!("http://{}{bare}", airlock.address()), "{document}");
        }

        // It is one endpoint: a session that is opened under the one name goes on under the other.
        let mut session = Session::open(airlock.address(), path, &token).expect("a session");
        assert!(text(&session.call(tool, &arguments).expect("a call")).contains("deployment.md"), "{path}");
        let ping = session.prepare(&json!({"jsonrpc": "2.0", "id": 9, "method": "ping"}));
        assert_eq!(airlock.send(&Request { path: bare.to_owned(), ..ping }).status, 200, "{path}");
    }
    assert_eq!(airlock.send(&Request::get(&format!("{METADATA}/"))).status, 200);
}

#[test]
fn a_mistyped_server_is_not_found_whoever_asks() {
    let airlock = Setup::default().start();
    let token = airlock.user();
    let list = |path: &str| modern(path, 1, "tools/list", &Value::Null);
    for path in ["/mcp/dcos", "/mcp/dcos/"] {
        let listen = Request::get(path).header("accept", "text/event-stream");
        for request in [list(path), list(path).bearer(&token), list(path).bearer("rubbish"), listen] {
            let refused = airlock.send(&request);
            assert_eq!(refused.status, 404, "{path}: {}", refused.text());
            assert_eq!(refused.header("www-authenticate"), None, "a login would not help: {path}");
            let answer = refused.answer();
            let message = answer["error"]["message"].as_str().unwrap_or_default();
            assert!(message.starts_with("Not Found: there is no server `dcos` here"), "{message}");
            assert!(
                !refused.text().contains("docs"),
                "which servers there are is not for everybody: {answer}"
            );
        }
        let metadata = airlock.send(&Request::get(&format!("{METADATA}{path}")));
        assert_eq!(metadata.status, 404);
        assert!(metadata.text().contains("no server `dcos` here"), "{}", metadata.text());
    }
    for path in ["/mcp/docs/x", "/mcp//docs", "/MCP", "/sse"] {
        for request in [list(path), list(path).bearer(&token), Request::get(&format!("{METADATA}{path}"))] {
            let refused = airlock.send(&request);
            assert_eq!(refused.status, 404, "{path}");
            let message = refused.answer()["error"]["message"].to_string();
            assert!(message.contains("`/mcp/NAME` is one server"), "{path}: {message}");
        }
    }
    // A name that means no good is shown as what it is, and not whole.
    let odd = format!("/mcp/%1b{}", "x".repeat(300));
    let answer = airlock.send(&list(&odd)).answer();
    assert!(
        answer["error"]["message"].as_str().is_some_and(|message| message.chars().count() < 300),
        "{answer}"
    );
}
