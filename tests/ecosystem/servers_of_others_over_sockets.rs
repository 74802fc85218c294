//! Servers that others wrote, over HTTP, over HTTP on a unix socket, and over lines on a unix socket.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use airlock_tests::airlock::free_address;
use airlock_tests::mcp::{Session, modern, modern_call, text, tool_names};
use airlock_tests::{Airlock, Running, Setup, echo, skip, start_on, tools};
use serde_json::{Value, json};

use super::serve;

/// Starts server-everything on a port or a socket. None, and the test is skipped, where it is not installed.
fn everything(place: &str) -> Option<Running> {
    let [node, script] = tools::in_node(tools::EVERYTHING).inspect_err(|reason| skip(reason)).ok()?;
    let mut command = Command::new(node);
    Some(serve(command.arg(script).arg("streamableHttp").env("PORT", place), place))
}

/// A client of each era, alone and merged, lists `tool`, calls it and looks at the answer.
fn both_eras(airlock: &Airlock, name: &str, tool: &str, arguments: &Value, expected: &str) {
    let token = airlock.user();
    let path = format!("/mcp/{name}");
    let listed = airlock.send(&modern(&path, 1, "tools/list", &Value::Null).bearer(&token)).answer();
    assert!(tool_names(&listed["result"]).iter().any(|name| name == tool), "{listed}\n{}", airlock.log());
    for _ in 0..3 {
        let called = airlock.send(&modern_call(&path, 2, tool, arguments).bearer(&token)).answer();
        assert!(text(&called["result"]).contains(expected), "{called}\n{}", airlock.log());
    }
    let mut session = Session::open(airlock.address(), "/mcp", &token).expect("a session");
    let called = session.call(&format!("{name}__{tool}"), arguments).expect("a call");
    assert!(text(&called).contains(expected), "{called}");
}

fn everything_over(io: &str, upstream: String) -> Option<Airlock> {
    let airlock = start_on(io, &Setup { upstreams: upstream, ..Setup::default() })?;
    both_eras(&airlock, "everything", "echo", &json!({"message": "good morning"}), "Echo: good morning");
    // Its progress comes on the call's own event stream.
    let token = airlock.user();
    let params = json!({"name": "trigger-long-running-operation", "arguments": {"duration": 0.2, "steps": 2},
        "_meta": {"progressToken": "mine"}});
    let response = airlock.send(&modern("/mcp/everything", 3, "tools/call", &params).bearer(&token));
    let messages = response.messages();
    assert_eq!(messages[0]["params"]["progressToken"], json!("mine"), "{}", response.text());
    assert!(text(&response.answer()["result"]).contains("completed"), "{}", response.text());
    Some(airlock)
}

#[test]
fn server_everything_over_http() {
    let address: SocketAddr = free_address().expect("a free port");
    let Some(_server) = everything(&address.port().to_string()) else { return };
    for io in ["epoll", "io_uring"] {
        let upstream = format!(
            "  - {{name: everything, type: http, url: \"http://localhost:{}/mcp\"}}\n",
            address.port()
        );
        everything_over(io, upstream);
    }
}

#[test]
fn server_everything_over_http_on_a_unix_socket() {
    let dir = tempfile::Builder::new().prefix("airlock-socket-").tempdir().expect("a directory");
    let socket = dir.path().join("x.sock");
    let Some(_server) = everything(&socket.display().to_string()) else { return };
    for (io, framing) in [("epoll", "auto"), ("io_uring", "auto"), ("epoll", "http")] {
        everything_over(io, unix_upstream("everything", &socket, &format!("    framing: {framing}\n")));
    }
}

fn unix_upstream(name: &str, socket: &Path, more: &str) -> String {
    format!("  - name: {name}\n    type: unix\n    socket: {}\n{more}", socket.display())
}

/// Gives each connection to the socket a server process of its own, as socket activation does. Counts them.
fn relay(socket: &Path, command: Vec<String>) -> Arc<AtomicUsize> {
    let listener = UnixListener::bind(socket).expect("a socket");
    let count = Arc::new(AtomicUsize::new(0));
    std::thread::spawn({
        let count = Arc::clone(&count);
        move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::Relaxed);
                let output = stream.try_clone().expect("a descriptor");
                let mut server = Command::new(&command[0]);
                server.args(&command[1..]).stderr(Stdio::null());
                server.stdin(OwnedFd::from(stream)).stdout(OwnedFd::from(output));
                let mut child = server.spawn().expect("the server starts");
                drop(server);
                std::thread::spawn(move || child.wait());
            }
        }
    });
    count
}

#[test]
fn mcp_server_time_over_lines_on_a_unix_socket() {
    let server = match tools::python("mcp-server-time") {
        Ok(server) => server.display().to_string(),
        Err(reason) => return skip(&reason),
    };
    let dir = tempfile::Builder::new().prefix("airlock-socket-").tempdir().expect("a directory");
    let socket = dir.path().join("x.sock");
    let count = relay(&socket, vec![server, "--local-timezone".to_owned(), "UTC".to_owned()]);
    for (io, more) in [
        ("epoll", ""),
        ("io_uring", ""),
        ("io_uring", "    framing: ndjson\n    era: modern\n"),
        ("epoll", "    framing: ndjson\n    era: legacy\n"),
    ] {
        let before = count.load(Ordering::Relaxed);
        let setup = Setup { upstreams: unix_upstream("time", &socket, more), ..Setup::default() };
        let Some(airlock) = start_on(io, &setup) else { continue };
        both_eras(
            &airlock,
            "time",
            "get_current_time",
            &json!({"timezone": "Europe/Berlin"}),
            "Europe/Berlin",
        );
        let connections = count.load(Ordering::Relaxed) - before;
        // `auto` costs one to find out, and one more for each era that the server has: to learn what it has
        // in the legacy one, and for the session. One that is modern for sure serves all on one.
        let wanted = if more.is_empty() { 4 } else { 1 };
        assert!(connections == wanted || more.contains("legacy"), "{connections} connections: {more}");
    }
}

#[test]
fn the_example_server_over_lines_on_a_unix_socket() {
    let dir = tempfile::Builder::new().prefix("airlock-socket-").tempdir().expect("a directory");
    let socket = dir.path().join("x.sock");
    relay(&socket, vec![tools::built("docs-server").display().to_string()]);
    for io in ["epoll", "io_uring"] {
        let setup = Setup { upstreams: unix_upstream("docs", &socket, ""), ..Setup::default() };
        let Some(airlock) = start_on(io, &setup) else { continue };
        both_eras(&airlock, "docs", "search_docs", &json!({"query": "roll back"}), "deployment.md");
    }
}

#[test]
fn a_socket_that_nobody_listens_on_is_told() {
    let dir = tempfile::Builder::new().prefix("airlock-socket-").tempdir().expect("a directory");
    let socket = dir.path().join("x.sock");
    for io in ["epoll", "io_uring"] {
        let setup = Setup { upstreams: unix_upstream("docs", &socket, ""), ..Setup::default() };
        let Some(airlock) = start_on(io, &setup) else { continue };
        let token = airlock.user();
        let response = airlock.send(&modern_call("/mcp/docs", 1, "search_docs", &json!({})).bearer(&token));
        assert_eq!(response.status, 502, "{}", response.text());
        let told = format!("upstream `docs` cannot be reached at {}: No such file", socket.display());
        assert!(airlock.logs(&told), "{}", airlock.log());
    }
}

#[test]
fn answers_of_every_size_arrive_whole_over_http() {
    let mut command = Command::new(tools::built("echo-server"));
    command.args(["--http", "127.0.0.1:0"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut server = Running::start(&mut command);
    let mut line = String::new();
    let out = server.stdout.take().expect("piped");
    BufReader::new(out).read_line(&mut line).expect("its address");
    let url = line.trim().strip_prefix("listening on ").expect("its address").to_owned();
    for io in ["epoll", "io_uring"] {
        let upstreams = format!("  - {{name: echo, type: http, url: \"{url}\"}}\n");
        let Some(airlock) = start_on(io, &Setup { upstreams, ..Setup::default() }) else { continue };
        echo::of_every_size(&airlock);
        echo::many_at_once(&airlock);
    }
}

/// A server of both eras that insists on right headers, on a port or a socket.
const GREETER: &str = r#"
import sys, uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Context

server = MCPServer("greeter")

@server.tool()
async def greet(name: str, ctx: Context) -> str:
    await ctx.report_progress(1, 2, "clearing my throat")
    return f"good morning, {name}"

app = server.streamable_http_app()
place = sys.argv[1]
if place.startswith("/"):
    uvicorn.run(app, uds=place, log_level="warning")
else:
    uvicorn.run(app, host="127.0.0.1", port=int(place), log_level="warning")
"#;

fn greeter(place: &str) -> Option<Running> {
    let python = match (tools::python("python"), tools::python("uvicorn")) {
        (Ok(python), Ok(_)) => python,
        (Err(reason), _) | (_, Err(reason)) => {
            skip(&reason);
            return None;
        }
    };
    Some(serve(Command::new(python).args(["-c", GREETER, place]), place))
}

fn greets(io: &str, upstream: String, more: &str) {
    let setup = Setup { upstreams: upstream + more, ..Setup::default() };
    let Some(airlock) = start_on(io, &setup) else { return };
    both_eras(&airlock, "greeter", "greet", &json!({"name": "Åsa"}), "good morning, Åsa");
    let params = json!({"name": "greet", "arguments": {"name": "Bo"}, "_meta": {"progressToken": "mine"}});
    let call = modern("/mcp/greeter", 3, "tools/call", &params).bearer(&airlock.user());
    let response = airlock.send(&call);
    assert_eq!(response.messages()[0]["params"]["progressToken"], json!("mine"), "{}", response.text());
    assert_eq!(response.messages()[0]["params"]["message"], json!("clearing my throat"));
}

#[test]
fn a_python_server_of_both_eras_over_http() {
    let address: SocketAddr = free_address().expect("a free port");
    let Some(_server) = greeter(&address.port().to_string()) else { return };
    for (io, more) in [("epoll", ""), ("io_uring", "    era: modern\n"), ("io_uring", "    era: legacy\n")] {
        let upstream = format!("  - name: greeter\n    type: http\n    url: \"http://{address}/mcp\"\n");
        greets(io, upstream, more);
    }
}

#[test]
fn a_python_server_of_both_eras_over_http_on_a_unix_socket() {
    let dir = tempfile::Builder::new().prefix("airlock-socket-").tempdir().expect("a directory");
    let socket = dir.path().join("x.sock");
    let Some(_server) = greeter(&socket.display().to_string()) else { return };
    for (io, more) in [("epoll", "    era: legacy\n"), ("io_uring", "")] {
        greets(io, unix_upstream("greeter", &socket, ""), more);
    }
}
