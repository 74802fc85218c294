//! A server that ends, or does not start: its clients are told what it means for them, and the host is left
//! in peace.

use airlock_tests::airlock::until;
use airlock_tests::mcp::{Session, modern_call, text};
use airlock_tests::proc::{descendants, servers};
use airlock_tests::{Airlock, Setup, Upstream, start_on};
use serde_json::json;

fn bad(mode: &str) -> Upstream {
    let program = airlock_tests::tools::built("bad-server").display().to_string();
    Upstream::stdio("bad", &[&program, mode]).with("era", "legacy")
}

fn start(io: &str, mode: &str) -> Option<Airlock> {
    let setup = Setup { upstreams: bad(mode).to_string(), only_listening: true, ..Setup::default() };
    start_on(io, &setup)
}

#[test]
fn a_session_whose_server_died_is_told_once() {
    for io in ["epoll", "io_uring"] {
        let Some(airlock) = start(io, "--crash-on-call") else { continue };
        let mut session = Session::open(airlock.address(), "/mcp/bad", &airlock.user()).expect("a session");
        session.result("tools/list", &json!({})).expect("a list");
        let call =
            session.request("tools/call", &json!({"name": "break", "arguments": {}})).expect("an answer");
        assert_eq!(call.status, 502, "the call's own error: {}", call.text());
        let told = session.request("tools/list", &json!({})).expect("an answer");
        assert_eq!(told.status, 404, "{}", told.text());
        assert!(told.text().contains("initialize"), "it says what to do: {}", told.text());
        let mut session = Session::open(airlock.address(), "/mcp/bad", &airlock.user()).expect("a session");
        session.result("tools/list", &json!({})).expect("a new session has a new process");
    }
}

#[test]
fn a_server_that_fails_to_start_is_left_alone_for_a_while() {
    for io in ["epoll", "io_uring"] {
        let Some(airlock) = start(io, "--exit") else { continue };
        let token = airlock.user();
        let call = modern_call("/mcp/bad", 1, "break", &json!({})).bearer(&token);
        let refused = until(|| Some(airlock.send(&call)).filter(|response| response.status == 503));
        let refused = refused.unwrap_or_else(|| panic!("it is tried for ever:\n{}", airlock.log()));
        let seconds = refused.header("retry-after").and_then(|value| value.parse::<u64>().ok());
        assert!(seconds.is_some_and(|seconds| seconds >= 1), "{:?}", refused.headers);
        assert!(refused.text().contains("several times in a row"), "{}", refused.text());
        assert!(airlock.logs("its circuit is open"), "{}", airlock.log());
        let gone = until(|| descendants(airlock.pid()).is_empty().then_some(()));
        assert!(gone.is_some(), "something is left of the attempts");
    }
}

#[test]
fn a_flood_on_standard_error_does_not_drown_the_log() {
    for io in ["epoll", "io_uring"] {
        let Some(mut airlock) = start(io, "--chatty") else { continue };
        let token = airlock.user();
        // Each call is a thousand lines, of which the next that is shown says how many were left out.
        let mut calls = 0;
        let told = until(|| {
            calls += 1;
            let call = modern_call("/mcp/bad", calls, "break", &json!({})).bearer(&token);
            let answer = airlock.send(&call).answer();
            assert_eq!(text(&answer["result"]), "xx", "{answer}");
            airlock.log().contains("left_out=").then_some(())
        });
        assert!(told.is_some(), "{}", airlock.log());
        // All lines are written before the end.
        assert!(airlock.stop().success(), "{io}: {}", airlock.log());
        let shown = airlock.log().lines().filter(|line| line.contains("chatter ")).count();
        let lines = usize::try_from(calls).expect("a number") * 1_000;
        assert!((50..lines / 5).contains(&shown), "{io}: {shown} of {lines}");
    }
}

#[test]
fn a_subjects_sessions_share_a_process_where_that_is_configured() {
    for io in ["epoll", "io_uring"] {
        let setup = Setup {
            upstreams: bad("--stranger").with("isolation", "subject").to_string(),
            ..Setup::default()
        };
        let Some(airlock) = start_on(io, &setup) else { continue };
        let mut sessions = Vec::new();
        for _ in 0..3 {
            let mut session =
                Session::open(airlock.address(), "/mcp/bad", &airlock.user()).expect("a session");
            session.call("break", &json!({})).expect("a call");
            sessions.push(session);
        }
        // The process that was asked first ends by itself.
        assert!(until(|| (servers(airlock.pid()).len() == 1).then_some(())).is_some());
    }
}
