//! The owner of a whole network with more addresses than there are places, who wants nobody else to be held
//! to account.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use airlock_tests::Setup;
use airlock_tests::airlock::until;
use airlock_tests::http::Request;
use serde_json::json;

/// More than the 16,384 customers that are watched, in one /48.
const NETWORKS: u32 = 18_000;
/// Connections that carry them.
const LANES: u32 = 4;

/// Each of the networks goes on once after its only guess, so that it is watched; then another offender
/// comes.
#[test]
fn the_owner_of_a_network_cannot_take_all_places() {
    let setup =
        Setup { upstreams: String::new(), log: "warn".to_owned(), only_listening: true, ..Setup::default() }
            .without_tokens()
            .server("trusted_proxies", json!(["127.0.0.0/8"]))
            .with(
                "rate_limiting",
                json!({"failed_auth": "1/h", "kernel_drop": {"after": 2, "for": "1h", "at_most": "1h"}}),
            );
    let airlock = setup.start();
    let flood = |lane: u32| {
        let mut stream = TcpStream::connect(airlock.address()).expect("a connection");
        let networks: Vec<u32> = (0..NETWORKS).filter(|network| network % LANES == lane).collect();
        let wanted = 2 * networks.len();
        let reading = BufReader::new(stream.try_clone().expect("a descriptor"));
        let reader = std::thread::spawn(move || {
            // A body has no line end: the next answer begins behind it.
            let answers = reading.split(b'\n').map_while(Result::ok).filter_map(|line| {
                let line = String::from_utf8_lossy(&line).into_owned();
                Some(line.split_once("HTTP/1.1 ")?.1.chars().take(3).collect::<String>())
            });
            answers.take(wanted).filter(|status| status == "429").count()
        });
        for network in networks {
            let guess = format!(
                "POST /mcp HTTP/1.1\r\nhost: localhost\r\nx-forwarded-for: 2001:db8:7:{network:x}::1\r\n\
                 authorization: Bearer x\r\ncontent-length: 0\r\n\r\n"
            );
            stream.write_all(guess.repeat(2).as_bytes()).expect("sent");
        }
        (wanted / 2, reader.join().expect("no panic"))
    };
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|lane| scope.spawn(move || flood(lane))).collect();
        for lane in lanes {
            let (networks, limited) = lane.join().expect("no panic");
            // Those who share one bucket are limited by the first guess already.
            assert!(limited >= networks, "{limited} of {networks}");
        }
    });
    let guess = Request::post("/mcp", "{}").bearer("rubbish").header("x-forwarded-for", "203.0.113.7");
    let blocked = until(|| {
        airlock.send(&guess);
        airlock.audit().into_iter().find(|r| r["event"] == "address.blocked" && r["client"] == "203.0.113.7")
    });
    assert!(blocked.is_some(), "an offender from elsewhere is never blocked");
}
