//! Servers that others wrote work behind the door, for clients of both eras.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use airlock_tests::airlock::stdio_upstream;
use airlock_tests::events::Events;
use airlock_tests::mcp::{LEGACY, Session, modern, modern_call, text, tool_names};
use airlock_tests::{Setup, skip, tools};
use serde_json::{Value, json};

/// The script of the server of files, in npm.
const FILESYSTEM: &str = "@modelcontextprotocol/server-filesystem/dist/index.js";

/// Starts Airlock in front of one server; a client of each era lists `tool`, calls it and looks at the
/// answer.
fn both_eras(name: &str, command: &[&str], tool: &str, arguments: &Value, expected: &str) {
    let airlock = Setup { upstreams: stdio_upstream(name, command), ..Setup::default() }.start();
    let token = airlock.user();
    let path = format!("/mcp/{name}");

    let listed = airlock.send(&modern(&path, 1, "tools/list", &Value::Null).bearer(&token)).answer();
    let names = tool_names(&listed["result"]);
    assert!(names.iter().any(|name| name == tool), "modern: {listed}\nlog:\n{}", airlock.log());
    let called = airlock.send(&modern_call(&path, 2, tool, arguments).bearer(&token)).answer();
    assert!(text(&called["result"]).contains(expected), "modern: {called}\nlog:\n{}", airlock.log());
    assert_eq!(called["result"]["resultType"], json!("complete"));

    let opened = Session::open(airlock.address(), &path, &token);
    let mut session = opened.unwrap_or_else(|error| panic!("legacy: {error}\nlog:\n{}", airlock.log()));
    let listed = session.result("tools/list", &Value::Null).expect("tools/list");
    assert_eq!(tool_names(&listed), names, "one server, one list, whoever asks");
    let called = session.call(tool, arguments).expect("tools/call");
    assert!(text(&called).contains(expected), "legacy: {called}");

    let merged = airlock.send(&modern("/mcp", 3, "tools/list", &Value::Null).bearer(&token)).answer();
    assert!(tool_names(&merged["result"]).contains(&format!("{name}__{tool}")), "{merged}");
}

#[test]
fn server_everything_over_npm() {
    let [node, script] = match tools::in_node(tools::EVERYTHING) {
        Ok(words) => words,
        Err(reason) => return skip(&reason),
    };
    let command = [&*node, &script, "stdio"];
    both_eras("everything", &command, "echo", &json!({"message": "good morning"}), "Echo: good morning");
}

#[test]
fn server_filesystem_over_npm_reads_and_the_policy_keeps_it_from_writing() {
    let [node, script] = match tools::in_node(FILESYSTEM) {
        Ok(words) => words,
        Err(reason) => return skip(&reason),
    };
    let dir = airlock_tests::shown_dir("airlock-files-").expect("a directory");
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("ours");
    let file = dir.path().join("notes.txt");
    std::fs::write(&file, "the harvest was good\n").expect("ours");
    let root = dir.path().display().to_string();
    let file = file.display().to_string();
    let command = [&*node, &script, &root];
    both_eras("files", &command, "read_text_file", &json!({"path": file}), "the harvest was good");

    let airlock = Setup { upstreams: stdio_upstream("files", &command), ..Setup::default() }.start();
    let token = airlock.user();
    let arguments = json!({"path": file, "content": "changed"});
    let refused = airlock.send(&modern_call("/mcp/files", 1, "write_file", &arguments).bearer(&token));
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert_eq!(std::fs::read_to_string(&file).expect("there"), "the harvest was good\n");
}

/// This server takes the folders that a client names in place of those of its command line, where it can ask
/// for them.
#[test]
fn a_client_cannot_widen_the_folders_of_server_filesystem() {
    let [node, script] = match tools::in_node(FILESYSTEM) {
        Ok(words) => words,
        Err(reason) => return skip(&reason),
    };
    let folder = || {
        let dir = airlock_tests::shown_dir("airlock-files-").expect("a directory");
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("ours");
        std::fs::write(dir.path().join("notes.txt"), "the harvest was good\n").expect("ours");
        dir
    };
    let (given, other) = (folder(), folder());
    let root = given.path().display().to_string();
    let command = [&*node, &script, &root];
    let airlock = Setup { upstreams: stdio_upstream("files", &command), ..Setup::default() }.start();
    let token = airlock.user();

    // A client of sessions declares that it has folders, and listens for whoever asks for them.
    let can = json!({"roots": {"listChanged": true}});
    let session = Session::open_as(airlock.address(), "/mcp/files", &token, LEGACY, &can);
    let mut session = session.unwrap_or_else(|error| panic!("{error}\nlog:\n{}", airlock.log()));
    let mut events = Events::open(airlock.address(), &session.listen(None)).expect("a stream");
    assert_eq!(session.notify("notifications/roots/list_changed").expect("sent").status, 202);
    let allowed = session.call("list_allowed_directories", &json!({})).expect("a result");
    assert!(text(&allowed).contains(&root), "{allowed}");
    assert!(!text(&allowed).contains(&other.path().display().to_string()), "{allowed}");
    let outside = json!({"path": other.path().join("notes.txt")});
    let refused = session.call("read_text_file", &outside).expect("a result");
    assert_eq!(refused["isError"], json!(true), "{refused}");

    // One of the modern era answers what nobody asked.
    let roots = json!({"roots": [{"uri": format!("file://{}", other.path().display())}]});
    let params = json!({"name": "read_text_file", "arguments": outside, "inputResponses": {"roots": roots}});
    let refused = airlock.send(&modern("/mcp/files", 4, "tools/call", &params).bearer(&token)).answer();
    assert_eq!(refused["result"]["isError"], json!(true), "{refused}");

    // Ending the session ends the stream: nobody was asked for folders until then.
    let mut end = session.listen(None);
    "DELETE".clone_into(&mut end.method);
    assert_eq!(airlock.send(&end).status, 204);
    let heard: Vec<Value> = std::iter::from_fn(|| events.message()).collect();
    assert!(heard.iter().all(|message| message["method"] != "roots/list"), "{heard:?}");
}

#[test]
fn mcp_server_time_over_pypi() {
    let server = match tools::python("mcp-server-time") {
        Ok(server) => server.display().to_string(),
        Err(reason) => return skip(&reason),
    };
    let command = [server.as_str(), "--local-timezone", "UTC"];
    both_eras("time", &command, "get_current_time", &json!({"timezone": "Europe/Berlin"}), "Europe/Berlin");
}
