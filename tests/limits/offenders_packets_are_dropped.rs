//! Where an interface has the early drop, an offender's packets do not even arrive: two network namespaces
//! and a veth pair.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use airlock_tests::airlock::until;
use airlock_tests::http::Request;
use airlock_tests::{net, skip};

use super::offenders_are_blocked;

/// One guess from that address; the status line of its answer, or what became of it.
pub(super) fn guess(from: &str, to: SocketAddr) -> io::Result<String> {
    let mut stream = connect(from, to)?;
    stream.write_all(&Request::post("/mcp", "{}").bearer("rubbish").bytes(to))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

/// A connection from that address, or none where its packets do not arrive.
pub(super) fn connect(from: &str, to: SocketAddr) -> io::Result<TcpStream> {
    let from = from.parse().map_err(io::Error::other)?;
    let stream = airlock_tests::net::connect(from, to, Duration::from_millis(700))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(stream)
}

#[test]
fn an_offenders_packets_do_not_arrive_for_a_while() {
    let net = match net::create() {
        Ok(net) => net,
        Err(reason) => return skip(&format!("no network namespaces here: {reason}")),
    };
    let limits = "failed_auth: 1/h, kernel_drop: {after: 2, for: 4s, at_most: 1h}";
    // By its address a scraper is let in, wherever it comes from.
    let metrics = SocketAddr::from(([10, 98, 0, 1], 9464));
    let setup = offenders_are_blocked::setup(limits)
        .early_drop(&["door"])
        .observability("metrics_listen", metrics.to_string());
    let airlock = net.inside(0, || setup.start());
    if !airlock.log().contains("early drop attached") {
        return skip("this host does not load XDP programs");
    }
    let door = SocketAddr::from(([10, 98, 0, 1], airlock.address().port()));
    net.inside(1, || {
        assert!(guess("10.98.0.2", door).expect("an answer").contains(" 401 "));
        let dropped = until(|| guess("10.98.0.2", door).is_err().then_some(()));
        assert!(dropped.is_some(), "its packets still arrive:\n{}", airlock.log());
        let scraped = Request::get("/metrics").send(metrics).expect("an answer").text();
        let line = "airlock_early_drop_packets_total{verdict=\"dropped\"} ";
        let packets = scraped.lines().find_map(|found| found.strip_prefix(line)?.parse::<u64>().ok());
        assert!(packets.is_some_and(|packets| packets > 0), "{scraped}");
        assert!(guess("10.98.0.3", door).expect("another's packets arrive").contains(" 401 "));
    });
    let record = airlock.audited(|r| r["event"] == "address.blocked");
    assert_eq!(record["client"], "10.98.0.2", "{record}");
    let reason = record["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("its packets are dropped by the kernel for 4s"), "{reason}");
    airlock.audited(|r| r["event"] == "address.unblocked" && r["client"] == "10.98.0.2");
    let again = net.inside(1, || guess("10.98.0.2", door)).expect("they arrive again");
    assert!(again.contains(" 429 "), "{again}");
}
