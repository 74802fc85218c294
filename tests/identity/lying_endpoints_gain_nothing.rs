//! Token endpoints that fail slowly, or give back what they were given, and neighbours whose tokens have
//! expired.

use std::io;
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::Duration;

use airlock_tests::http::Response;
use airlock_tests::little::{Book, Little, Seen, write, write_json};
use airlock_tests::mcp::{modern, modern_call};
use airlock_tests::{Airlock, Setup};
use serde_json::{Value, json};

use super::issuer::Issuer;
use super::{told, trusting};

const SECRET: &str = "s3cret-of-the-gateway&";

/// A token endpoint that takes its time, and then quotes all that it was sent.
fn slow(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    std::thread::sleep(Duration::from_secs(2));
    let authorization = seen.header("authorization").unwrap_or_default();
    let said = format!("no such client {SECRET} {authorization} {}", seen.raw);
    let body = json!({"error": "invalid_client", "error_description": said}).to_string();
    write(stream, "400 Bad Request", "Content-Type: application/json\r\n", &body)
}

/// One that gives back what it was given.
fn echo(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    let given = seen.raw.split('&').find_map(|pair| pair.strip_prefix("subject_token=")).unwrap_or_default();
    write_json(stream, &json!({"access_token": given, "token_type": "Bearer"}).to_string())
}

/// A server that no request should reach.
fn server(_: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    write(stream, "404 Not Found", "", "")
}

/// Airlock before a server that is presented tokens of this endpoint.
fn exchanging(server: &Little, endpoint: &Little, secret: &std::path::Path) -> Airlock {
    let exchange =
        json!({"token_endpoint": endpoint.url("/mcp"), "client_id": "gateway", "client_secret_file": secret});
    let upstreams =
        server.entry("little").with("credential", json!({"token_exchange": exchange})).to_string();
    Setup { upstreams, only_listening: true, ..Setup::default() }.server("workers", 1).start()
}

fn secret() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    std::fs::write(&file, SECRET).expect("written");
    (folder, file)
}

#[test]
fn a_token_endpoint_that_fails_slowly_is_asked_once_for_all_who_wait() {
    let (_folder, file) = secret();
    let (server, endpoint) = (Little::start(server), Little::start(slow));
    let mut airlock = exchanging(&server, &endpoint, &file);
    let token = airlock.user();
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                let call = modern_call("/mcp/little", 7, "any", &json!({}));
                assert_eq!(airlock.send(&call.bearer(&token)).status, 502);
            });
        }
    });
    // One after another they would be ten. Under load the last of them may come when the verdict is old.
    let asked = endpoint.book(|book| book.seen.len());
    assert!((1..=3).contains(&asked), "it was asked {asked} times");
    server.book(|book| assert!(book.seen.is_empty(), "{:?}", book.seen));
    // The endpoint's words are told, without what it was sent.
    told(&airlock, "invalid_client no such client");
    // All lines and records are written before the end.
    assert!(airlock.stop().success(), "{}", airlock.log());
    let log = airlock.log();
    let encoded = "Z2F0ZXdheTpzM2NyZXQt";
    for sent in [&token, &token[..24], SECRET, &SECRET[..10], "s3cret", encoded] {
        assert!(!log.contains(sent), "{sent} is in the log: {log}");
    }
    for record in airlock.audit() {
        assert!(
            !record.to_string().contains(&token[..24]) && !record.to_string().contains("s3cret"),
            "{record}"
        );
    }
}

#[test]
fn a_token_endpoint_that_gives_the_clients_token_back_is_not_believed() {
    let (_folder, file) = secret();
    let (server, endpoint) = (Little::start(server), Little::start(echo));
    let airlock = exchanging(&server, &endpoint, &file);
    let token = airlock.user();
    let call = modern_call("/mcp/little", 7, "any", &json!({}));
    assert_eq!(airlock.send(&call.bearer(&token)).status, 502);
    server.book(|book| assert!(book.seen.is_empty(), "{:?}", book.seen));
    told(&airlock, "gives back what it was sent");
}

fn list(airlock: &Airlock, token: &str) -> Response {
    airlock.send(&modern("/mcp/docs", 1, "tools/list", &Value::Null).bearer(token))
}

#[test]
fn a_neighbour_with_an_expired_token_locks_nobody_out() {
    let issuer = Issuer::start();
    let airlock = trusting(&issuer, &json!("5/h"));
    let early = issuer.token(&json!({"sub": "alice"}));
    assert_eq!(list(&airlock, &early).status, 200);
    // Genuine tokens that are refused, more than one address may guess: expired, for somebody else, not yet
    // good.
    for change in [json!({"exp": 1_700_000_000}), json!({"aud": "other"}), json!({"nbf": 32_000_000_000_u64})]
    {
        let genuine = issuer.token(&change);
        for _ in 0..6 {
            assert_eq!(list(&airlock, &genuine).status, 401, "{change}");
        }
    }
    let fresh = issuer.token(&json!({"sub": "alice"}));
    assert_eq!(list(&airlock, &fresh).status, 200, "the owner's fresh token is looked at");
    // Forged ones count; then no token is looked at that is not known to be good, and those that are still
    // pass.
    let forged = Issuer::start().signed(&issuer.claims(&json!({})));
    let statuses: Vec<u16> = (0..7).map(|_| list(&airlock, &forged).status).collect();
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429]);
    assert_eq!(list(&airlock, &issuer.token(&json!({"sub": "bob"}))).status, 429);
    for verified in [&early, &fresh] {
        assert_eq!(list(&airlock, verified).status, 200, "a neighbour's session goes on");
    }
}
