//! The development issuer, from outside.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::super::development::{DevelopmentError, DevelopmentIssuer, TokenRequest};
use super::super::*;
use super::{patient, started};
use crate::auth::keys::fetch::Fetcher;
use crate::auth::keys::guard::Zone;

fn start_development() -> (Arc<DevelopmentIssuer>, JoinHandle<Result<(), DevelopmentError>>) {
    let config = schema::DevelopmentIssuer { listen: "127.0.0.1:0".parse().expect("an address") };
    let issuer = DevelopmentIssuer::start(&config, "airlock".into()).expect("a free port");
    let task = tokio::spawn(Arc::clone(&issuer).run());
    (issuer, task)
}

fn alice() -> TokenRequest {
    TokenRequest {
        subject: "alice".into(),
        tenant: Some("acme".into()),
        groups: vec!["dev".into()],
        scopes: vec!["read".into()],
        lifetime: Duration::from_mins(10),
        audience: None,
    }
}

#[tokio::test]
async fn a_rotated_key_is_honoured_at_once_and_the_old_one_no_longer() {
    let (issuer, _task) = start_development();
    let auth = started(vec![issuer.issuer()], patient()).await;
    let old = issuer.token(&alice()).expect("a token");
    let before = auth.authenticate(&old, None).await.expect("a good token");
    assert_eq!(before.scopes, ["read"]);
    issuer.rotate().expect("a new key");
    // Nobody has noticed yet.
    assert!(auth.cached(&old, None).is_some());
    let new = issuer.token(&alice()).expect("a token");
    auth.authenticate(&new, None).await.expect("the new key is fetched for it");
    assert_eq!(issuer.keys_served(), 2);
    assert_eq!(auth.cached(&old, None), None, "remembered tokens of the old key are forgotten");
    let error = auth.authenticate(&old, None).await.expect_err("the old key is gone");
    assert!(matches!(error, TokenError::UnknownKey { .. }), "{error}");
    assert!(auth.cached(&new, None).is_some());
}

#[tokio::test]
async fn the_development_issuer_stays_on_this_host() {
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let config = schema::DevelopmentIssuer { listen: listen.parse().expect("an address") };
        let error = DevelopmentIssuer::start(&config, "a".into()).expect_err(listen);
        assert!(matches!(error, DevelopmentError::NotLoopback(_)), "{error}");
    }
    let (first, _task) = start_development();
    let taken = schema::DevelopmentIssuer { listen: first.address() };
    let error = DevelopmentIssuer::start(&taken, "a".into()).expect_err("taken").to_string();
    assert!(error.contains("choose another port"), "{error}");
}

#[tokio::test]
async fn the_development_issuer_answers_as_an_issuer_does() {
    let (issuer, _task) = start_development();
    let auth = started(vec![issuer.issuer()], patient()).await;
    let fetcher = Fetcher::new(Zone::Loopback);
    let url = |path: &str| format!("{}{path}", issuer.url()).parse::<http::Uri>().expect("a URL");
    let form = "subject=bob&tenant=acme&groups=ops&groups=dev&scope=read&lifetime=10m";
    let (status, body) = fetcher.post_form(&url("/token"), form.into(), None).await.expect("an answer");
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(
        (status, &body["token_type"], &body["expires_in"]),
        (StatusCode::OK, &json!("Bearer"), &json!(600))
    );
    let bob =
        auth.authenticate(body["access_token"].as_str().expect("a token"), None).await.expect("a good token");
    assert_eq!((bob.subject.as_str(), bob.groups.len()), ("bob", 2));
    for (path, form, expected) in [
        ("/token", "tenant=acme".to_owned(), StatusCode::BAD_REQUEST),
        ("/token", "subject=a&lifetime=400d".to_owned(), StatusCode::BAD_REQUEST),
        ("/token", format!("subject={}", "a".repeat(20_000)), StatusCode::PAYLOAD_TOO_LARGE),
        ("/nowhere", String::new(), StatusCode::NOT_FOUND),
        ("/rotate", String::new(), StatusCode::OK),
    ] {
        let (status, _) = fetcher.post_form(&url(path), form, None).await.expect("an answer");
        assert_eq!(status, expected, "{path}");
    }
    // The last one has rotated the key.
    auth.authenticate(&issuer.token(&alice()).expect("a token"), None).await.expect("the new key");
    // Another audience is another audience.
    let elsewhere =
        issuer.token(&TokenRequest { audience: Some("other".into()), ..alice() }).expect("a token");
    let error = auth.authenticate(&elsewhere, None).await.expect_err("another audience");
    assert!(matches!(error, TokenError::WrongAudience { .. }), "{error}");
}

#[tokio::test]
async fn web_pages_are_not_answered() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (issuer, _task) = start_development();
    let host = issuer.address().to_string();
    let form = "content-type: application/x-www-form-urlencoded\r\ncontent-length: 9\r\n";
    for (head, expected) in [
        (format!("POST /token HTTP/1.1\r\nhost: {host}\r\n{form}"), "200"),
        (format!("POST /token HTTP/1.1\r\nhost: evil.example:{}\r\n{form}", issuer.address().port()), "403"),
        (format!("POST /token HTTP/1.1\r\nhost: {host}\r\norigin: https://evil.example\r\n{form}"), "403"),
        (format!("POST /token HTTP/1.1\r\n{form}"), "400"),
        (
            format!(
                "POST /token HTTP/1.1\r\nhost: {host}\r\ncontent-type: text/plain\r\ncontent-length: 9\r\n"
            ),
            "415",
        ),
        (format!("DELETE /token HTTP/1.1\r\nhost: {host}\r\ncontent-length: 9\r\n"), "405"),
        (format!("GET /token HTTP/1.1\r\nhost: {host}\r\ncontent-length: 9\r\n"), "404"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(issuer.address()).await.expect("a connection");
        stream.write_all(format!("{head}connection: close\r\n\r\nsubject=a").as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert_eq!(answer.split(' ').nth(1), Some(expected), "{head}\n{answer}");
        assert_eq!(answer.contains("access_token"), expected == "200", "{answer}");
    }
}
