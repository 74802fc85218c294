//! Many who come at once, before anything is known of the server.

use airlock_tests::Setup;
use airlock_tests::airlock::stdio_upstream;
use airlock_tests::mcp::modern_call;
use airlock_tests::tools::built;
use serde_json::json;

#[test]
fn start_one_server_that_serves_all() {
    let echo = built("echo-server").display().to_string();
    let slow = format!("sleep 1; exec {echo} --stdio");
    let upstreams = stdio_upstream("slow", &["/bin/sh", "-c", &slow]);
    let mut airlock = Setup { upstreams, only_listening: true, ..Setup::default() }.start();
    let token = airlock.user();
    let address = airlock.address();
    let callers: Vec<_> = (0..32)
        .map(|id| {
            let call = modern_call("/mcp/slow", id, "echo", &json!({"bytes": 10})).bearer(&token);
            std::thread::spawn(move || call.send(address).expect("an answer").status)
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.join().expect("no panic"), 200, "{}", airlock.log());
    }
    // All lines are written before the end.
    assert!(airlock.stop().success(), "{}", airlock.log());
    let started = airlock.log().matches("a server process has started").count();
    assert_eq!(started, 1, "{}", airlock.log());
}

#[test]
fn share_the_verdict_on_a_server_that_cannot_start() {
    let upstreams = stdio_upstream("broken", &["/bin/sh", "-c", "sleep 1; exit 3"]);
    let mut airlock = Setup { upstreams, only_listening: true, ..Setup::default() }.start();
    let token = airlock.user();
    let address = airlock.address();
    let callers: Vec<_> = (0..32)
        .map(|id| {
            let call = modern_call("/mcp/broken", id, "echo", &json!({})).bearer(&token);
            std::thread::spawn(move || call.send(address).expect("an answer").status)
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.join().expect("no panic"), 502, "{}", airlock.log());
    }
    // All lines are written before the end.
    assert!(airlock.stop().success(), "{}", airlock.log());
    // Each attempt is two: a server that exits on the probe is started again in the other era.
    let started = airlock.log().matches("a server process has started").count();
    assert!(started <= 6, "{started} starts for 32 calls:\n{}", airlock.log());
}
