//! Many who come at once, before anything is known of the server.

use airlock_tests::airlock::stdio_upstream;
use airlock_tests::mcp::modern_call;
use airlock_tests::tools::built;
use airlock_tests::{Airlock, Setup};
use serde_json::json;

/// Calls that come at once.
const CROWD: usize = 32;

/// The statuses of a crowd's calls.
fn crowd(airlock: &Airlock, path: &str) -> [u16; CROWD] {
    let (token, address) = (airlock.user(), airlock.address());
    let callers = std::array::from_fn::<_, CROWD, _>(|_| {
        let call = modern_call(path, 1, "echo", &json!({"bytes": 10})).bearer(&token);
        std::thread::spawn(move || call.send(address).expect("an answer").status)
    });
    callers.map(|caller| caller.join().expect("no panic"))
}

#[test]
fn start_one_server_that_serves_all() {
    let echo = built("echo-server").display().to_string();
    let slow = format!("sleep 1; exec {echo} --stdio");
    let upstreams = stdio_upstream("slow", &["/bin/sh", "-c", &slow]);
    let mut airlock = Setup { upstreams, only_listening: true, ..Setup::default() }.start();
    assert_eq!(crowd(&airlock, "/mcp/slow"), [200; CROWD], "{}", airlock.log());
    // All lines are written before the end.
    assert!(airlock.stop().success(), "{}", airlock.log());
    let started = airlock.log().matches("a server process has started").count();
    assert_eq!(started, 1, "{}", airlock.log());
}

#[test]
fn share_the_verdict_on_a_server_that_cannot_start() {
    let upstreams = stdio_upstream("broken", &["/bin/sh", "-c", "sleep 1; exit 3"]);
    let mut airlock = Setup { upstreams, only_listening: true, ..Setup::default() }.start();
    assert_eq!(crowd(&airlock, "/mcp/broken"), [502; CROWD], "{}", airlock.log());
    // All lines are written before the end.
    assert!(airlock.stop().success(), "{}", airlock.log());
    // Each attempt is two: a server that exits on the probe is started again in the other era.
    let started = airlock.log().matches("a server process has started").count();
    assert!(started <= 6, "{started} starts for {CROWD} calls:\n{}", airlock.log());
}
