//! An address that does not stop is blocked for a while, and it is on record.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use airlock_tests::airlock::until;
use airlock_tests::http::{Request, Response};
use airlock_tests::{Setup, skip};
use serde_json::Value;

/// An address of this host that is not loopback.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: the kernel only chooses the address from which it would be.
    socket.connect("203.0.113.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

pub(super) fn setup(limits: &str) -> Setup {
    Setup {
        listen: vec!["0.0.0.0:0".to_owned()],
        upstreams: String::new(),
        more: format!("rate_limiting: {{{limits}}}\n"),
        only_listening: true,
        ..Setup::default()
    }
    .without_tokens()
    .server("public_url", "https://airlock.example.com")
}

fn rule(response: &Response) -> Value {
    response.answer()["error"]["data"]["rule_id"].clone()
}

#[test]
fn who_goes_on_is_blocked_for_a_while() {
    let Some(own) = own_address() else { return skip("this host has no address but loopback") };
    for (limits, first) in [
        ("failed_auth: 1/h, kernel_drop: {after: 2, for: 1s, at_most: 1h}", "rate_limiting.failed_auth"),
        (
            "per_address: 1/h, failed_auth: null, kernel_drop: {after: 2, for: 5s, at_most: 1h}",
            "rate_limiting.per_address",
        ),
    ] {
        let airlock = setup(limits).start();
        let at = |ip: IpAddr| SocketAddr::new(ip, airlock.address().port());
        let guess = || Request::post("/mcp", "{}").bearer("rubbish");
        let send = |ip: IpAddr| guess().send(at(ip)).expect("an answer");
        assert_eq!(send(own).status, 401);
        assert_eq!(rule(&send(own)), first);
        let blocked = until(|| Some(send(own)).filter(|answer| rule(answer) == "rate_limiting.kernel_drop"));
        let blocked = blocked.expect("it is blocked at last");
        assert_eq!((blocked.status, blocked.header("connection")), (429, Some("close")));
        let record = airlock.audited(|r| r["event"] == "address.blocked");
        assert_eq!(
            (&record["client"], &record["decision"]),
            (&own.to_string().into(), &"deny".into()),
            "{record}"
        );
        let record = airlock.audited(|r| r["event"] == "address.unblocked");
        assert_eq!(record["client"], own.to_string(), "{record}");
        assert_eq!(rule(&send(own)), first, "what it used up before is still used up");

        // Loopback goes on as well, and is never blocked.
        let local = IpAddr::from([127, 0, 0, 1]);
        for _ in 0..20 {
            let answer = send(local);
            assert!(answer.status == 401 || rule(&answer) == first, "{}", answer.text());
            std::thread::sleep(std::time::Duration::from_millis(150));
        }
        assert_eq!(rule(&send(local)), first);
    }
}
