//! An answer that is larger than any may be: its call fails with the key to raise, and nothing else does.

use airlock_tests::mcp::{Session, modern_call, text};
use airlock_tests::{Setup, Upstream, start_on, tools};
use serde_json::json;

#[test]
fn an_answer_that_is_too_large_fails_its_call_and_the_session_lives_on() {
    for io in ["epoll", "io_uring"] {
        let program = tools::built("bad-server").display().to_string();
        let upstreams = Upstream::stdio("bad", &[&program, "--huge"]).with("era", "legacy").to_string();
        let setup = Setup { upstreams, ..Setup::default() };
        let Some(airlock) = start_on(io, &setup) else { continue };
        let told = "the answer is larger than 16MiB (`server.max_response_bytes`)";
        let mut session = Session::open(airlock.address(), "/mcp/bad", &airlock.user()).expect("a session");
        for _ in 0..2 {
            let huge =
                session.request("tools/call", &json!({"name": "break", "arguments": {}})).expect("an answer");
            assert_eq!(huge.status, 502, "{}", huge.text());
            assert!(huge.text().contains(told), "{}", huge.text());
            let small = session.call("break", &json!({"small": true})).expect("the session lives on");
            assert_eq!(text(&small), "xx");
        }
        let huge = modern_call("/mcp/bad", 1, "break", &json!({})).bearer(&airlock.user());
        let huge = airlock.send(&huge);
        assert!(huge.status == 502 && huge.text().contains(told), "{}", huge.text());
        assert!(!airlock.log().contains("ended by itself"), "{}", airlock.log());
    }
}
