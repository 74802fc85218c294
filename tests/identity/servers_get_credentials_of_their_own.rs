//! The credential for a server: never the client's own token. The token endpoint is a few lines here, since
//! no provider in the registries exchanges tokens (RFC 8693); client credentials are tried on a real one
//! elsewhere.

use std::io;
use std::net::TcpStream;
use std::sync::Mutex;

use airlock_tests::little::{Book, Little, Seen, write, write_json};
use airlock_tests::mcp::{Session, modern_call, text};
use airlock_tests::{Airlock, Setup, Upstream, start_on};
use serde_json::{Value, json};

/// A modern server that tells what it was shown, and lets in only who shows something.
fn shown(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    let Some(authorization) = seen.header("authorization").or_else(|| seen.header("x-api-key")) else {
        return write(stream, "401 Unauthorized", "WWW-Authenticate: Bearer\r\n", "");
    };
    if authorization.ends_with("not-wanted") {
        return write(stream, "401 Unauthorized", "WWW-Authenticate: Bearer\r\n", "");
    }
    let result = match seen.rpc() {
        "server/discover" => json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "public",
            "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}),
        "tools/list" => json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "public", "tools": []}),
        _ => json!({"resultType": "complete", "content": [{"type": "text", "text": authorization}]}),
    };
    write_json(stream, &seen.result(&result))
}

/// A legacy one.
fn shown_legacy(seen: &Seen, stream: &mut TcpStream, book: &Mutex<Book>) -> io::Result<()> {
    match seen.rpc() {
        "initialize" if seen.header("authorization").is_some() => {
            let result = seen.result(&json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                "serverInfo": {"name": "little", "version": "1"}}));
            write(stream, "200 OK", "Content-Type: application/json\r\nMcp-Session-Id: s\r\n", &result)
        }
        "" => write(stream, "405 Method Not Allowed", "", ""),
        _ if seen.body["id"].is_null() => write(stream, "202 Accepted", "", ""),
        "server/discover" => write(stream, "400 Bad Request", "", ""),
        _ => shown(seen, stream, book),
    }
}

/// A token endpoint: numbers its tokens, and names whose token it was given.
fn grant(seen: &Seen, stream: &mut TcpStream, book: &Mutex<Book>) -> io::Result<()> {
    let number = book.lock().expect("not poisoned").seen.len();
    let field = |name: &str| {
        let mut pairs = seen.raw.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(given, _)| *given == name).map(|(_, value)| value.to_owned())
    };
    // `gateway` and `s3cret&` as RFC 6749, section 2.3.1 wants them.
    if seen.header("authorization") != Some("Basic Z2F0ZXdheTpzM2NyZXQlMjY=") {
        return write(
            stream,
            "401 Unauthorized",
            "Content-Type: application/json\r\n",
            r#"{"error":"invalid_client"}"#,
        );
    }
    let name = match field("subject_token") {
        None => format!("own-{number}-{}", field("scope").unwrap_or_default()),
        Some(token) => {
            let claims = token.split('.').nth(1).expect("a token").to_owned();
            let claims = decode(&claims);
            if claims["sub"] == "mallory" {
                return write(
                    stream,
                    "400 Bad Request",
                    "Content-Type: application/json\r\n",
                    r#"{"error":"invalid_grant"}"#,
                );
            }
            format!(
                "for-{}-{}",
                claims["sub"].as_str().unwrap_or_default(),
                claims["groups"].as_array().map_or(0, Vec::len)
            )
        }
    };
    write_json(stream, &json!({"access_token": name, "token_type": "Bearer", "expires_in": 2}).to_string())
}

/// The payload of a token: base64url by hand, six bits a character.
fn decode(text: &str) -> Value {
    let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::new());
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            _ => 63,
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from((bits >> held) & 0xff).expect("one byte"));
        }
    }
    serde_json::from_slice(&bytes).expect("claims")
}

fn start(io: &str, upstream: &Upstream) -> Option<Airlock> {
    start_on(io, &Setup { upstreams: upstream.to_string(), ..Setup::default() }.server("workers", 1))
}

/// The credential that the server says it was shown for a call of this token's bearer.
fn call(airlock: &Airlock, token: &str) -> Value {
    let answer = airlock.send(&modern_call("/mcp/little", 7, "any", &json!({})).bearer(token)).answer();
    answer["result"]["content"][0]["text"].clone()
}

fn never_saw(little: &Little, token: &str) {
    little.book(|book| {
        for seen in &book.seen {
            assert!(!format!("{seen:?}").contains(token), "the client's token went to the server: {seen:?}");
        }
    });
}

#[test]
fn a_secret_from_a_file_is_shown_and_read_again_when_it_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    for io in ["epoll", "io_uring"] {
        for (little, era) in [(Little::start(shown), "modern"), (Little::start(shown_legacy), "legacy")] {
            std::fs::write(&file, "first\n").expect("written");
            let entry =
                little.entry("little").with("era", era).with("credential", json!({"bearer_file": file}));
            let Some(mut airlock) = start(io, &entry) else { continue };
            let token = airlock.user();
            assert_eq!(call(&airlock, &token), "Bearer first", "{io} {era}");
            let mut session = Session::open(airlock.address(), "/mcp/little", &token).expect("a session");
            std::fs::write(&file, "second").expect("written");
            assert_eq!(call(&airlock, &token), "Bearer second");
            assert_eq!(text(&session.call("any", &json!({})).expect("a call")), "Bearer second");
            never_saw(&little, &token);
            // All lines are written before the end.
            assert!(airlock.stop().success(), "{io} {era}: {}", airlock.log());
            assert!(
                !airlock.log().contains("first") && !airlock.log().contains("second"),
                "{}",
                airlock.log()
            );
        }
    }
}

#[test]
fn a_header_of_another_name_carries_the_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key");
    std::fs::write(&file, "k-123").expect("written");
    let little = Little::start(shown);
    let credential = json!({"header": {"name": "X-Api-Key", "value_file": file}});
    let airlock =
        start("epoll", &little.entry("little").with("credential", credential)).expect("epoll is everywhere");
    assert_eq!(call(&airlock, &airlock.user()), "k-123");
}

#[test]
fn without_a_good_credential_the_operator_is_told_and_the_client_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "not-wanted").expect("written");
    for (file, told) in [
        (json!(null), "set `credential`"),
        (json!(file), "it answers 401 to what `credential` gives"),
        (json!("/nonexistent/token"), "cannot be read"),
        (json!("of_systemd"), "LoadCredential="),
    ] {
        let little = Little::start(shown);
        let plain = little.entry("little");
        let upstreams = match file {
            Value::Null => plain.to_string(),
            file => plain.with("credential", json!({"bearer_file": file})).to_string(),
        };
        let airlock = Setup { upstreams, only_listening: true, ..Setup::default() }.start();
        let answer = airlock.send(&modern_call("/mcp/little", 7, "any", &json!({})).bearer(&airlock.user()));
        assert_eq!(answer.status, 502, "{told}");
        let body = answer.text();
        assert!(body.contains("does not accept this gateway's credential"), "{body}");
        for secret in ["nonexistent", "not-wanted", "401", "LoadCredential"] {
            assert!(!body.contains(secret), "{body}");
        }
        assert!(airlock.logs(told), "{told}: {}", airlock.log());
        assert!(!airlock.log().contains("not-wanted"), "{told}: {}", airlock.log());
    }
}

/// The server as an upstream for which Airlock gets tokens in this way.
fn oauth(little: &Little, kind: &str, endpoint: &Little, secret: &std::path::Path) -> Upstream {
    let client = json!({"token_endpoint": endpoint.url("/mcp"), "client_id": "gateway", "client_secret_file": secret,
        "scopes": ["tools"], "resource": "https://little.example"});
    little.entry("little").with("credential", json!({kind: client}))
}

#[test]
fn airlock_gets_a_token_of_its_own_and_gets_it_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "s3cret&\n").expect("written");
    for io in ["epoll", "io_uring"] {
        let (little, endpoint) = (Little::start(shown), Little::start(grant));
        let entry = oauth(&little, "client_credentials", &endpoint, &secret);
        let Some(airlock) = start(io, &entry) else { continue };
        let token = airlock.user();
        let first = call(&airlock, &token);
        assert!(first.as_str().is_some_and(|shown| shown.starts_with("Bearer own-")), "{first}");
        assert!(first.as_str().is_some_and(|shown| shown.ends_with("-tools")), "{first}");
        endpoint.book(|book| {
            assert!(book.seen[0].raw.contains("grant_type=client_credentials"), "{:?}", book.seen);
            assert!(book.seen[0].raw.contains("resource=https%3A%2F%2Flittle.example"), "{:?}", book.seen);
            assert!(!book.seen[0].raw.contains("s3cret"), "{:?}", book.seen);
        });
        let other =
            airlock_tests::airlock::until(|| Some(call(&airlock, &token)).filter(|shown| *shown != first));
        assert!(other.is_some(), "the token is fetched anew when it has expired");
        never_saw(&little, &token);
        endpoint.book(|book| assert!(!format!("{book:?}").contains(&token), "nobody's token was exchanged"));
        assert!(!airlock.log().contains("own-"), "{}", airlock.log());
    }
}

#[test]
fn each_principal_gets_a_token_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "s3cret&").expect("written");
    for (io, era) in [("epoll", "modern"), ("io_uring", "modern"), ("epoll", "legacy")] {
        let little = Little::start(if era == "modern" { shown } else { shown_legacy });
        let endpoint = Little::start(grant);
        let entry = oauth(&little, "token_exchange", &endpoint, &secret).with("era", era);
        let Some(airlock) = start(io, &entry) else { continue };
        assert_eq!(little.asked("server/discover").len(), 0, "nobody is there to be asked for");
        let alice = airlock.token("alice", "acme", &["mcp.users"]);
        let more = airlock.token("alice", "acme", &["mcp.users", "more"]);
        let bob = airlock.token("bob", "acme", &["mcp.users"]);
        let mallory = airlock.token("mallory", "acme", &["mcp.users"]);
        for _ in 0..2 {
            assert_eq!(call(&airlock, &alice), "Bearer for-alice-1", "{io} {era}");
            assert_eq!(call(&airlock, &bob), "Bearer for-bob-1");
            // A token with other claims is exchanged for another.
            assert_eq!(call(&airlock, &more), "Bearer for-alice-2");
            assert_eq!(call(&airlock, &alice), "Bearer for-alice-1");
            let refused = airlock.send(&modern_call("/mcp/little", 7, "any", &json!({})).bearer(&mallory));
            assert_eq!(refused.status, 502, "{}", refused.text());
        }
        for token in [&alice, &more, &bob, &mallory] {
            never_saw(&little, token);
        }
        assert!(airlock.logs("invalid_grant"), "{}", airlock.log());
        endpoint.book(|book| {
            let raw = &book.seen[0].raw;
            assert!(
                raw.contains("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange"),
                "{raw}"
            );
            assert!(
                raw.contains("subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token"),
                "{raw}"
            );
        });
    }
}

#[test]
fn a_program_is_given_its_secrets_as_variables() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key");
    std::fs::write(&file, "k-123\n").expect("written");
    let script = r#"import os,sys,json
for line in sys.stdin:
    m = json.loads(line)
    if "id" not in m: continue
    if m["method"] == "initialize":
        r = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "x", "version": "1"}}
    else:
        r = {"content": [{"type": "text", "text": os.environ["API_KEY"]}]}
    print(json.dumps({"jsonrpc": "2.0", "id": m["id"], "result": r}), flush=True)
"#;
    let upstreams = Upstream::stdio("little", &["/usr/bin/env", "python3", "-c", script])
        .with("era", "legacy")
        .with("env_from", json!({"API_KEY": file}))
        .to_string();
    let airlock = Setup { upstreams, ..Setup::default() }.start();
    assert_eq!(call(&airlock, &airlock.user()), "k-123");
    assert!(!airlock.log().contains("k-123"), "{}", airlock.log());
}
