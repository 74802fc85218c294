//! Additions of the merged endpoint to its servers: their instructions under their names, and advice to the
//! operator.

use std::io;
use std::net::TcpStream;
use std::sync::Mutex;

use airlock_tests::Setup;
use airlock_tests::airlock::run;
use airlock_tests::mcp::{Session, modern, tool_names};
use serde_json::{Value, json};

use crate::transports::little::{Book, Little, Seen, write_json};

fn answer(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
    let mut result = match seen.rpc() {
        "server/discover" => json!({"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}},
            "instructions": "Ask \"first\".\n"}),
        "tools/list" => json!({"tools": [tool("good"), tool("a.b"), tool(&"x".repeat(60))]}),
        other => panic!("an unexpected request: {other}"),
    };
    result["resultType"] = json!("complete");
    result["ttlMs"] = json!(0);
    result["cacheScope"] = json!("public");
    write_json(stream, &seen.result(&result))
}

#[test]
fn instructions_are_joined_and_names_that_do_not_fit_are_told() {
    let little = Little::start(answer);
    let upstreams = little.upstream("one", "") + &little.upstream("two", "    allow_tools: [good, gone]\n");
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("admin.sock").display().to_string();
    let observability = format!("  admin_listen: {socket}\n");
    let airlock = Setup { upstreams, observability, ..Setup::default() }.start();
    let token = airlock.user();
    let wanted = "# one\n\n> Ask \"first\".\n\n# two\n\n> Ask \"first\".";
    let discovered =
        airlock.send(&modern("/mcp", 1, "server/discover", &Value::Null).bearer(&token)).answer();
    assert_eq!(discovered["result"]["instructions"], wanted, "{discovered}");
    let session = Session::open(airlock.address(), "/mcp", &token).expect("a session");
    assert_eq!(session.initialized["instructions"], wanted);

    let listed = airlock.send(&modern("/mcp", 1, "tools/list", &Value::Null).bearer(&token)).answer();
    assert_eq!(tool_names(&listed["result"]).len(), 4, "{listed}");
    let (_, status, errors) = run(&["status", "--json", "--socket", &socket]);
    let status: Value = serde_json::from_str(&status).unwrap_or_else(|error| panic!("{error}: {errors}"));
    let warnings = status["warnings"].to_string();
    assert!(
        warnings.contains("upstream one: APIs of models refuse the names of 2 of its tools"),
        "{warnings}"
    );
    assert!(warnings.contains("`a.b`, `xxxx"), "{warnings}");
    assert!(
        warnings.contains("upstream two: 1 of its `allow_tools` are no tools that it lists"),
        "{warnings}"
    );
    assert!(warnings.contains("`gone`") && !warnings.contains("`good`"), "{warnings}");
}
