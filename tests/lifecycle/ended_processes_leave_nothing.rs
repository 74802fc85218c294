//! A server whose process ends: its calls fail at once, and nothing of it stays, whoever still holds its
//! pipes.

use airlock_tests::airlock::until;
use airlock_tests::mcp::Session;
use airlock_tests::{Setup, Upstream, start_on, tools};
use serde_json::json;

#[test]
fn a_process_that_ends_ends_its_calls_though_a_helper_holds_its_pipe() {
    for (io, kernel) in [("epoll", "preferred"), ("io_uring", "preferred"), ("epoll", "\"off\"")] {
        // By its length this sleep is told from all others on the host.
        let time = format!("300.{}", std::process::id());
        let program = tools::built("bad-server").display().to_string();
        let upstreams =
            Upstream::stdio("bad", &[&program, "--orphan", &time]).with("era", "legacy").to_string();
        let setup = Setup { upstreams, kernel: kernel.to_owned(), ..Setup::default() };
        let Some(airlock) = start_on(io, &setup) else { continue };
        let mut session = Session::open(airlock.address(), "/mcp/bad", &airlock.user()).expect("a session");
        session.result("tools/list", &json!({})).expect("a list");
        let call =
            session.request("tools/call", &json!({"name": "break", "arguments": {}})).expect("an answer");
        assert_eq!(call.status, 502, "not the deadline's 504: {}", call.text());
        for words in ["exit status: 7", "its last words: the database is on fire"] {
            assert!(airlock.logs(words), "{words} is not in the log:\n{}", airlock.log());
        }
        let told = session.request("tools/list", &json!({})).expect("an answer");
        assert_eq!(told.status, 404, "the session is over, and is told: {}", told.text());
        assert!(until(|| (!runs(&time)).then_some(())).is_some(), "the helper is left");
    }
}

/// True while a `sleep` runs that has this as its last argument.
fn runs(argument: &str) -> bool {
    let end = format!("\0{argument}\0");
    let commands = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    commands
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .any(|command| command.starts_with(b"sleep") && command.ends_with(end.as_bytes()))
}
