//! A connection that is given up leaves nothing behind, whatever it was in the middle of.

use std::io::Write as _;

use airlock_tests::airlock::until;
use airlock_tests::mcp::modern_call;
use airlock_tests::proc::{open_file_targets, open_files};
use airlock_tests::{Setup, http, start_on};
use serde_json::json;

/// Connections in all, and at one time: the usual limit of open files is 1,024.
const ALL: usize = 1_000;
const AT_ONCE: usize = 200;

fn abandon(io: &str) {
    let Some(airlock) = start_on(io, &Setup::default()) else { return };
    let token = airlock.user();
    let call = modern_call("/mcp/docs", 1, "search_docs", &json!({"query": "review"})).bearer(&token);
    // Everything that a first call opens, and keeps, is open after this.
    for _ in 0..3 {
        assert_eq!(airlock.send(&call).status, 200);
    }
    let closed = || open_files(airlock.pid()).ok();
    let mut before = closed().expect("a running process");
    // The connections of these calls may still be closing: wait for two equal counts in a row.
    until(|| {
        let now = closed()?;
        let same = now == before;
        before = now;
        same.then_some(())
    })
    .expect("the count settles");

    let whole = call.bytes(airlock.address());
    let head = whole.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    // Nothing; half a head; a head; half a body; a whole request whose answer nobody reads.
    let places = [0, head / 2, head, head + (whole.len() - head) / 2, whole.len()];
    for batch in 0..ALL / AT_ONCE {
        let mut streams = Vec::new();
        for number in 0..AT_ONCE {
            let mut stream = http::connect(airlock.address()).expect("a connection");
            let place = places[(batch + number) % places.len()];
            stream.write_all(&whole[..place]).expect("a fresh connection takes this much");
            streams.push(stream);
        }
        let there = until(|| (open_files(airlock.pid()).ok()? > before).then_some(()));
        assert!(there.is_some(), "the connections never arrived");
        drop(streams);
    }
    let back = until(|| (open_files(airlock.pid()).ok()? <= before).then_some(()));
    assert!(
        back.is_some(),
        "{} descriptors were open before, {:?} are now:\n{}\nlog:\n{}",
        before,
        open_files(airlock.pid()),
        open_file_targets(airlock.pid()).join("\n"),
        airlock.log()
    );
    assert_eq!(airlock.send(&call).status, 200, "and it still serves");
}

#[test]
fn a_thousand_abandoned_connections_on_epoll() {
    abandon("epoll");
}

#[test]
fn a_thousand_abandoned_connections_on_io_uring() {
    abandon("io_uring");
}
