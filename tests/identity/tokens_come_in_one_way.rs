//! A client at the door is asked for a token in one way only, and told of it in every way that a client
//! understands.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};

use airlock_tests::Setup;
use airlock_tests::http::{self, Request};
use airlock_tests::mcp::modern;
use serde_json::{Value, json};

#[test]
fn a_token_in_the_query_string_is_refused_however_it_is_spelled() {
    let mut airlock = Setup::default().start();
    let token = airlock.user();
    for query in [
        format!("access_token={token}"),
        format!("a=b&access_token={token}"),
        format!("access%5Ftoken={token}"),
        format!("%61ccess%5ftoken={token}&a=b"),
        format!("a=b;access_token={token}"),
        format!("Access_Token={token}"),
        "access_token".to_owned(),
    ] {
        let bare = modern(&format!("/mcp/docs?{query}"), 1, "tools/list", &Value::Null);
        // With a good token in the header as well: whoever writes one into URLs is to notice.
        for request in [bare.clone(), bare.bearer(&token)] {
            let refused = airlock.send(&request);
            assert_eq!(refused.status, 401, "{query}: {}", refused.text());
            let challenge = refused.header("www-authenticate").expect("a challenge");
            assert!(challenge.contains("invalid_request") && !challenge.contains(&token), "{challenge}");
        }
    }
    let good = modern("/mcp/docs?q=access_token", 1, "tools/list", &Value::Null).bearer(&token);
    assert_eq!(airlock.send(&good).status, 200);
    // All lines are written before the end.
    assert!(airlock.stop().success(), "{}", airlock.log());
    assert!(!airlock.log().contains(&token), "the log has the token");
}

#[test]
fn oversized_tokens_are_refused_before_they_cost_anything() {
    let airlock = Setup::default().start();
    let token = airlock.user();
    for length in [20_000, 60_000, 4 * 1024 * 1024] {
        let parts: Vec<&str> = token.split('.').collect();
        let long = format!("{}.{}.{}", parts[0], "A".repeat(length), parts[2]);
        // A server may hang up on a head that is too large before it was written to its end.
        let answer = modern("/mcp/docs", 1, "tools/list", &Value::Null).bearer(&long).send(airlock.address());
        if let Ok(refused) = answer {
            assert!([400, 401, 431].contains(&refused.status), "{length}: {}", refused.text());
        }
    }
    assert_eq!(airlock.send(&Request::get("/live")).status, 200);
    let good = modern("/mcp/docs", 1, "tools/list", &Value::Null).bearer(&token);
    assert_eq!(airlock.send(&good).status, 200);
}

#[test]
fn the_development_issuers_tokens_are_bound_to_endpoints_as_well() {
    let airlock = Setup::default().start();
    let resource = format!("http://{}/mcp/docs", airlock.address());
    let (good, token, error) = airlock_tests::airlock::run(&[
        "token",
        "--config",
        &airlock.config().display().to_string(),
        "--subject",
        "alice",
        "--group",
        "mcp.users",
        "--audience",
        &resource,
    ]);
    assert!(good, "{error}");
    let at =
        |path: &str| airlock.send(&modern(path, 1, "tools/list", &Value::Null).bearer(token.trim())).status;
    assert_eq!((at("/mcp/docs"), at("/mcp")), (200, 401));
}

#[test]
fn an_issuer_inside_the_private_network_is_not_fetched_from() {
    let mut cases = vec![
        ("https://10.255.255.1".to_owned(), "is a private address: set `allow_private_addresses: true`"),
        ("https://169.254.169.254".to_owned(), "is link-local"),
    ];
    // A name that the system's own resolver leads inside: that of this host.
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .expect("the name of this host")
        .trim()
        .to_owned();
    let inside = |address: SocketAddr| match address.ip() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    };
    if own != "localhost" && (own.as_str(), 443).to_socket_addrs().is_ok_and(|mut found| found.all(inside)) {
        cases.push((format!("https://{own}"), "set `allow_private_addresses: true`"));
    } else {
        eprintln!("not tried: {own} does not lead inside");
    }
    for (issuer, problem) in cases {
        let setup = Setup { only_listening: true, ..Setup::default() };
        let setup = setup.issuers(json!([{"issuer": issuer, "audience": ["x"]}]));
        let airlock = setup.start();
        let told =
            airlock_tests::airlock::until(|| airlock.log().contains("cannot fetch the issuer").then_some(()));
        assert!(told.is_some() && airlock.logs(problem), "{issuer}: {}", airlock.log());
        assert_eq!(airlock.send(&Request::get("/ready")).status, 503);
    }
}

/// Clients try without a token first, and many write head and body one after the other.
#[test]
fn a_refused_request_does_not_cost_the_connection() {
    let airlock = Setup::default().start();
    let token = airlock.user();
    let bare = modern("/mcp/docs", 1, "tools/list", &Value::Null).header("connection", "keep-alive");
    let parts = |request: &Request| {
        let bytes = request.bytes(airlock.address());
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        (bytes[..head].to_vec(), bytes[head..].to_vec())
    };
    let mut stream = http::connect(airlock.address()).expect("a connection");
    stream.set_nodelay(true).expect("a socket");
    for _ in 0..200 {
        for (request, status) in [(bare.clone(), 401), (bare.clone().bearer(&token), 200)] {
            let (head, body) = parts(&request);
            stream.write_all(&head).expect("still open");
            // Airlock has read the head by now, more often than not.
            std::thread::yield_now();
            stream.write_all(&body).expect("still open");
            let answer = http::read_response(&mut stream).expect("an answer");
            assert_eq!(answer.status, status, "{}", answer.text());
            assert_ne!(answer.header("connection"), Some("close"));
        }
    }
    // Where the body does not come, or comes without end, the answer says that the connection is of no more
    // use.
    let (head, _) = parts(&bare);
    stream.write_all(&head).expect("still open");
    let answer = http::read_response(&mut stream).expect("an answer");
    assert_eq!((answer.status, answer.header("connection")), (401, Some("close")));
    let huge = Request { body: vec![b' '; 200 * 1024], ..bare };
    let mut stream = http::connect(airlock.address()).expect("a connection");
    stream.write_all(&parts(&huge).0).expect("open");
    let answer = http::read_response(&mut stream).expect("an answer");
    assert_eq!((answer.status, answer.header("connection")), (401, Some("close")));
}
