//! The bytes that one principal can have the daemon keep for it: answers whose client has gone, answers that
//! are not read, subscriptions.

use std::io::Write as _;
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::airlock::{stdio_upstream, until};
use crate::events::Events;
use crate::http::connect;
use crate::mcp::{Session, modern_call};
use crate::proc::resident_kib;
use crate::tools::built;
use crate::{Airlock, Setup};

/// Sessions with a process each that one principal may have, with a few to spare.
const SESSIONS: usize = 28;
/// Length of a large answer, in bytes.
const LARGE: usize = 8 * 1024 * 1024;
/// The bytes that one principal may have kept (`limits.memory.per_principal`), and those that the allocator
/// and copies on their way may need besides, in KiB.
const ALLOWED_KIB: u64 = (64 + 96) * 1024;

fn start() -> Airlock {
    let server = "  timeouts: {idle: 1h}\n".to_owned();
    let upstreams = stdio_upstream("loud", &[&built("loud-server").display().to_string()]);
    Setup { server, upstreams, log: "warn".to_owned(), ..Setup::default() }.start()
}

fn resident(airlock: &Airlock) -> Result<u64, String> {
    resident_kib(airlock.pid()).map_err(|error| format!("airlock is gone: {error}"))
}

/// Waits until so many calls have ended.
fn ended(airlock: &Airlock, count: usize) -> Result<(), String> {
    let ended = || airlock.audit().iter().filter(|record| record["event"] == "call.outcome").count();
    until(|| (ended() >= count).then_some(())).ok_or_else(|| format!("not all of {count} calls have ended"))
}

fn told(what: &str, before: u64, after: u64) -> Result<String, String> {
    let grown = after.saturating_sub(before);
    let told = format!(
        "{what}: {before} KiB before, {after} KiB after, {grown} KiB more, {ALLOWED_KIB} KiB allowed"
    );
    if grown <= ALLOWED_KIB { Ok(told) } else { Err(told) }
}

fn call(id: usize, tool: &str, arguments: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
}

/// Has `count` sessions of one principal get a large answer each after their client has gone.
///
/// # Errors
/// The daemon keeps more than it may.
pub fn answers(count: usize) -> Result<String, String> {
    let airlock = start();
    let (token, before) = (airlock.user(), resident(&airlock)?);
    for number in 0..count.min(SESSIONS) {
        let session = Session::open(airlock.address(), "/mcp/loud", &token)?;
        let request = session.prepare(&call(number, "large", &json!({"bytes": LARGE, "speaks": true})));
        let mut events = Events::open(airlock.address(), &request).map_err(|error| error.to_string())?;
        events.message().ok_or("no message before the answer")?;
        drop(events);
        ended(&airlock, number + 1)?;
    }
    told(
        &format!("{} large answers of sessions whose client has gone", count.min(SESSIONS)),
        before,
        resident(&airlock)?,
    )
}

/// Asks for `count` large answers on as many connections and reads none.
///
/// # Errors
/// The daemon keeps more than it may.
pub fn unread(count: usize) -> Result<String, String> {
    let airlock = start();
    let (token, before) = (airlock.user(), resident(&airlock)?);
    let mut open: Vec<TcpStream> = Vec::new();
    for number in 0..count {
        let request = modern_call("/mcp/loud", 1, "large", &json!({"bytes": LARGE})).bearer(&token);
        let mut stream = connect(airlock.address()).map_err(|error| error.to_string())?;
        stream.write_all(&request.bytes(airlock.address())).map_err(|error| error.to_string())?;
        open.push(stream);
        ended(&airlock, number + 1)?;
    }
    told(&format!("{count} large answers that are not read"), before, resident(&airlock)?)
}

/// Subscribes `count` sessions of one principal to as many resources with long names as they may.
///
/// # Errors
/// The daemon keeps more than it may.
pub fn subscriptions(count: usize) -> Result<String, String> {
    let airlock = start();
    let (token, before) = (airlock.user(), resident(&airlock)?);
    let (mut sessions, mut subscribed) = (Vec::new(), 0);
    for _ in 0..count.min(SESSIONS) {
        let mut session = Session::open(airlock.address(), "/mcp/loud", &token)?;
        for number in 0..256 {
            let uri = format!("loud://{number:03}/{}", "u".repeat(8_000));
            let answer = session.request("resources/subscribe", &json!({"uri": uri}))?;
            subscribed += usize::from(answer.answer().get("result").is_some());
        }
        sessions.push(session);
    }
    let what = format!("{subscribed} subscriptions of {} sessions, 8 KiB each", sessions.len());
    told(&what, before, resident(&airlock)?)
}
