//! The daemon refuses itself the system calls that only an intruder would make.

use airlock_tests::mcp::modern_call;
use airlock_tests::{Setup, start_on};
use serde_json::json;

#[test]
fn every_thread_of_the_daemon_is_under_its_filter() {
    let Some(airlock) = start_on("epoll", &Setup::default()) else { return };
    let token = airlock.user();
    let call = modern_call("/mcp/docs", 1, "search_docs", &json!({"query": "review"})).bearer(&token);
    assert_eq!(airlock.send(&call).status, 200);
    let tasks = std::fs::read_dir(format!("/proc/{}/task", airlock.pid())).expect("a running daemon");
    let mut threads = 0;
    for task in tasks {
        // A thread may end between the listing and the reading.
        let Ok(status) = std::fs::read_to_string(task.expect("an entry").path().join("status")) else {
            continue;
        };
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), (Some("1"), Some("2")), "{status}");
        threads += 1;
    }
    assert!(threads > 1, "a worker at least besides the first thread");
}
