//! A question of a legacy server in the middle of a call reaches clients of both eras: a server that others
//! wrote, over a pipe.

use airlock_tests::events::Events;
use airlock_tests::http::Request;
use airlock_tests::mcp::{LEGACY, Session, modern, text};
use airlock_tests::{Airlock, Setup, Upstream, skip, start_on, tools};
use serde_json::{Value, json};

/// A server that asks, of both eras; it is spoken to in the older one.
const ASKER: &str = r#"
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from pydantic import BaseModel

class Name(BaseModel):
    name: str

server = MCPServer("asker")

@server.tool()
async def greet(ctx: Context) -> str:
    answer = await ctx.elicit("your name?", Name)
    return f"good morning, {answer.data.name}" if answer.action == "accept" else f"they {answer.action}"

server.run("stdio")
"#;

/// The server behind Airlock. None, and the test is skipped, where it is not installed.
fn asker(io: &str) -> Option<Airlock> {
    let python = match tools::python("python") {
        Ok(python) => python.display().to_string(),
        Err(reason) => {
            skip(&reason);
            return None;
        }
    };
    let upstreams = Upstream::stdio("asker", &[&python, "-c", ASKER]).with("era", "legacy").to_string();
    start_on(io, &Setup { upstreams, ..Setup::default() })
}

fn call(id: u64, more: &Value) -> Request {
    let mut params = json!({"name": "greet", "arguments": {},
        "_meta": {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}});
    for (name, value) in more.as_object().into_iter().flatten() {
        params[name] = value.clone();
    }
    modern("/mcp/asker", id, "tools/call", &params)
}

fn named(name: &str) -> Value {
    json!({"action": "accept", "content": {"name": name}})
}

#[test]
fn a_modern_client_answers_a_legacy_server() {
    for io in ["epoll", "io_uring"] {
        let Some(mut airlock) = asker(io) else { continue };
        let token = airlock.user();
        let asked = airlock.send(&call(1, &Value::Null).bearer(&token)).answer();
        let asked = &asked["result"];
        assert_eq!(asked["resultType"], "input_required", "{asked}\n{}", airlock.log());
        assert_eq!(asked["inputRequests"]["1"]["method"], "elicitation/create", "{asked}");
        let more = json!({"requestState": asked["requestState"], "inputResponses": {"1": named("Åsa")}});
        for thief in airlock.strangers() {
            assert_eq!(airlock.send(&call(2, &more).bearer(&thief)).status, 400);
        }
        // On a connection of its own, so that another worker may get it.
        let done = airlock.send(&call(3, &more).bearer(&token));
        assert_eq!(text(&done.answer()["result"]), "good morning, Åsa", "{}", done.text());
        let again = airlock.send(&call(4, &more).bearer(&token));
        assert_eq!(again.status, 400, "a parked call is taken once: {}", again.text());
        // All records are written before the end.
        assert!(airlock.stop().success(), "{io}: {}", airlock.log());
        let count = |event: &str| airlock.audit().iter().filter(|record| record["event"] == event).count();
        // The call, the retry, and the one that came too late: each intent has its outcome.
        assert_eq!((count("call.intent"), count("call.outcome")), (3, 3), "{io}: {:#?}", airlock.audit());
    }
}

#[test]
fn a_legacy_client_answers_a_legacy_server() {
    for io in ["epoll", "io_uring"] {
        let Some(airlock) = asker(io) else { continue };
        let token = airlock.user();
        let can = json!({"elicitation": {}});
        let session =
            Session::open_as(airlock.address(), "/mcp/asker", &token, LEGACY, &can).expect("a session");
        let body = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call",
            "params": {"name": "greet", "arguments": {}}});
        let mut events = Events::open(airlock.address(), &session.prepare(&body)).expect("a stream");
        let question = events.message().expect("a question");
        assert_eq!(question["method"], "elicitation/create", "{question}\n{}", airlock.log());
        let response = json!({"jsonrpc": "2.0", "id": question["id"], "result": named("Bo")});
        assert_eq!(airlock.send(&session.prepare(&response)).status, 202);
        let answer = events.message().expect("an answer");
        assert_eq!(text(&answer["result"]), "good morning, Bo", "{answer}");
    }
}
