//! One offender behind a translator of addresses (NAT64), whose other clients are honest and of the same /64.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use airlock_tests::airlock::until;
use airlock_tests::http::Request;
use airlock_tests::net::{self, Net};
use airlock_tests::{Setup, skip};
use serde_json::json;

/// A guess from that address; the first line of its answer, or what became of it.
fn guess(net: &Net, from: IpAddr, to: SocketAddr) -> std::io::Result<String> {
    net.inside(1, || {
        let mut stream = net::connect(from, to, Duration::from_millis(700))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(&Request::post("/mcp", "{}").bearer("rubbish").bytes(to))?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.lines().next().unwrap_or_default().to_owned())
    })
}

/// The offender is blocked, by name of its IPv4 address; the other client of the translator is served on.
fn only_the_offender_is_blocked(xdp: &str, door: &str, clients: [&str; 2], server: &str) {
    let addresses = clients.map(|client| format!("{client}/96"));
    let net = match Net::create(&[&format!("{door}/96")], &[&addresses[0], &addresses[1]]) {
        Ok(net) => net,
        Err(reason) => return skip(&format!("no network namespaces here: {reason}")),
    };
    let setup = Setup {
        listen: vec![format!("[{door}]:0")],
        upstreams: String::new(),
        server: format!("  public_url: \"https://airlock.example.com\"\n{server}"),
        only_listening: true,
        ..Setup::default()
    }
    .without_tokens()
    .early_drop(&xdp.split_whitespace().collect::<Vec<_>>())
    .with(
        "rate_limiting",
        json!({"failed_auth": "1/h", "kernel_drop": {"after": 2, "for": "1h", "at_most": "1h"}}),
    );
    let airlock = net.inside(0, || setup.start());
    if !xdp.is_empty() && !airlock.log().contains("early drop attached") {
        return skip("this host does not load XDP programs");
    }
    let door = airlock.address();
    let [offender, honest] = clients.map(|client| client.parse::<IpAddr>().expect(client));
    assert!(guess(&net, offender, door).expect("an answer").contains(" 401 "));
    airlock_goes_on(&net, offender, door, || airlock.audit().iter().any(|r| r["event"] == "address.blocked"));
    let record = airlock.audited(|r| r["event"] == "address.blocked");
    assert_eq!(record["client"], "203.0.113.7", "{record}");
    if xdp.is_empty() {
        assert!(guess(&net, offender, door).expect("an answer").contains(" 429 "));
    } else {
        guess(&net, offender, door).expect_err("its packets are dropped");
    }
    // Its own guess counts for itself: neither a block nor a limit of the other's meets it.
    assert!(guess(&net, honest, door).expect("its packets arrive").contains(" 401 "));
}

/// Guesses until something is so.
fn airlock_goes_on(net: &Net, from: IpAddr, to: SocketAddr, is_so: impl Fn() -> bool) {
    let done = until(|| {
        let _ = guess(net, from, to);
        is_so().then_some(())
    });
    assert!(done.is_some(), "it is never blocked");
}

#[test]
fn an_offender_behind_the_well_known_translator_is_blocked_alone_by_the_kernel() {
    let clients = ["64:ff9b::203.0.113.7", "64:ff9b::203.0.113.8"];
    only_the_offender_is_blocked("door", "64:ff9b::192.0.2.1", clients, "");
}

#[test]
fn an_offender_behind_the_well_known_translator_is_blocked_alone_at_admission() {
    let clients = ["64:ff9b::203.0.113.7", "64:ff9b::203.0.113.8"];
    only_the_offender_is_blocked("", "64:ff9b::192.0.2.1", clients, "");
}

#[test]
fn an_offender_behind_a_configured_translator_is_blocked_alone() {
    let clients = ["fd98:64::203.0.113.7", "fd98:64::203.0.113.8"];
    let server = "  nat64_prefixes: [\"fd98:64::/96\"]\n";
    only_the_offender_is_blocked("", "fd98:64::192.0.2.1", clients, server);
}
