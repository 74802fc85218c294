//! Keys over time: rotation, floods, outages, providers that answer wrongly.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::json;

use super::super::testing::{Provider, Signer, claims, trust};
use super::super::*;
use super::{BASE, eager, patient, started};
use crate::auth::keys::fetch::MAX_BODY_BYTES;
use crate::config::schema::Auth;
use crate::config::units::Period;

#[tokio::test]
async fn an_added_key_leaves_verified_tokens_verified() {
    let (one, two) = (Signer::p256("one"), Signer::p256("two"));
    let provider = Provider::with_keys(&[&one]).await;
    let auth = started(vec![trust(&provider.url)], patient()).await;
    let token = one.sign(&claims(&provider.url));
    let first = auth.authenticate(&token, None).await.expect("a good token");
    provider.set_keys(&[&two, &one]);
    auth.authenticate(&two.sign(&claims(&provider.url)), None).await.expect("the new key");
    assert_eq!(auth.issuers[0].keys.load().generation, 2);
    assert!(auth.cached(&token, None).is_some_and(|again| Arc::ptr_eq(&again, &first)));
}

#[tokio::test]
async fn a_flood_of_unknown_keys_causes_one_fetch() {
    let signer = Signer::ed25519("known");
    let provider = Provider::with_keys(&[&signer]).await;
    let auth = started(vec![trust(&provider.url)], patient()).await;
    let forged = |number: u32| {
        let mut header = signer.header();
        header["kid"] = json!(format!("forged-{number}"));
        signer.sign_text(&header.to_string(), &claims(&provider.url).to_string())
    };
    for round in 0..2 {
        let mut flood = JoinSet::new();
        for number in 0..200 {
            let (auth, token) = (Arc::clone(&auth), forged(round * 1000 + number));
            flood.spawn(async move { auth.authenticate(&token, None).await });
        }
        while let Some(result) = flood.join_next().await {
            let error = result.expect("no panic").expect_err("forged");
            assert!(matches!(error, TokenError::UnknownKey { .. }), "{error}");
        }
        // The first fetch and the one that the floor allows, in both rounds.
        assert_eq!(provider.asked("/keys"), 2);
    }
    // A token that would be refused for its claims does not even ask.
    let auth = started(vec![trust(&provider.url)], eager()).await;
    let mut expired = claims(&provider.url);
    expired["exp"] = json!(1);
    let mut header = signer.header();
    header["kid"] = json!("forged");
    let expired = signer.sign_text(&header.to_string(), &expired.to_string());
    auth.authenticate(&expired, None).await.expect_err("forged and expired");
    assert_eq!(provider.asked("/keys"), 3);
    // Once the floor has passed (here: at once), a token with an unknown key is worth a fetch again.
    for expected in 4..7 {
        auth.authenticate(&forged(0), None).await.expect_err("forged");
        assert_eq!(provider.asked("/keys"), expected);
    }
}

#[tokio::test]
async fn keys_outlive_their_issuer() {
    let signer = Signer::ed25519("k");
    let provider = Provider::with_keys(&[&signer]).await;
    // Background refresh and retry without pause: the outage is noticed by itself.
    let issuer = schema::Issuer { jwks_cache_ttl: Period::secs(1), ..trust(&provider.url) };
    let tuning = Tuning { first_retry: Duration::ZERO, last_retry: Duration::ZERO, ..patient() };
    let auth = started(vec![issuer], tuning).await;
    let known = signer.sign(&claims(&provider.url));
    auth.authenticate(&known, None).await.expect("a good token");
    provider.set_status("/.well-known/openid-configuration", StatusCode::BAD_GATEWAY);
    let issuer = &auth.issuers[0];
    while !issuer.is_away() {
        issuer.next_round_finished().await;
    }
    assert_eq!(auth.ready(), Ok(()), "its keys are still good");
    assert!(
        auth.status()[0].error.as_deref().is_some_and(|error| error.contains("502")),
        "{:?}",
        auth.status()
    );
    assert!(auth.cached(&known, None).is_some());
    auth.authenticate(&signer.sign(&claims(&provider.url)), None).await.expect("cached keys work");
    // A new key may exist and not be known: not the bearer's fault.
    let newer = Signer::ed25519("newer");
    let error = auth.authenticate(&newer.sign(&claims(&provider.url)), None).await.expect_err("unknown");
    assert_eq!(error.status(), StatusCode::SERVICE_UNAVAILABLE);
    provider.set_keys(&[&signer, &newer]);
    provider.set_json("/.well-known/openid-configuration", &provider.metadata());
    while issuer.is_away() {
        issuer.next_round_finished().await;
    }
    auth.authenticate(&newer.sign(&claims(&provider.url)), None).await.expect("the issuer is back");
    assert_eq!(auth.status()[0].error, None);
}

#[tokio::test]
async fn keys_that_are_too_old_are_not_used() {
    let signer = Signer::ed25519("k");
    let provider = Provider::with_keys(&[&signer]).await;
    let issuer = schema::Issuer { jwks_cache_ttl: Period::secs(0), ..trust(&provider.url) };
    let auth = started(vec![issuer], Tuning { stale_limit: Duration::ZERO, ..patient() }).await;
    provider.set_status("/keys", StatusCode::INTERNAL_SERVER_ERROR);
    let error = auth.authenticate(&signer.sign(&claims(&provider.url)), None).await.expect_err("too old");
    assert_eq!(error.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(auth.ready().expect_err("too old").contains("500"));
}

#[tokio::test]
async fn an_issuer_that_comes_up_late_is_asked_again() {
    let signer = Signer::ed25519("k");
    let provider = Provider::start().await;
    let auth = started(vec![trust(&provider.url)], eager()).await;
    let token = signer.sign(&claims(&provider.url));
    let problem = auth.ready().expect_err("no keys");
    assert!(problem.contains(&provider.url) && problem.contains("404"), "{problem}");
    let error = auth.authenticate(&token, None).await.expect_err("no keys");
    assert_eq!((error.status().as_u16(), error.error_code()), (503, "temporarily_unavailable"));
    // RFC 8414's place is enough.
    provider.set_json("/.well-known/oauth-authorization-server", &provider.metadata());
    provider.set_keys(&[&signer]);
    auth.authenticate(&token, None).await.expect("fetched for this token");
    assert_eq!(auth.ready(), Ok(()));
}

#[tokio::test]
async fn a_worker_is_not_left_waiting_without_the_control_thread() {
    let signer = Signer::ed25519("k");
    let provider = Provider::start().await;
    let auth =
        Authenticator::tuned(&Auth { issuers: vec![trust(&provider.url)], ..Auth::default() }, BASE, eager())
            .expect("a good configuration");
    let token = signer.sign(&claims(&provider.url));
    let error = auth.authenticate(&token, None).await.expect_err("never run");
    assert!(matches!(error, TokenError::KeysUnavailable { .. }), "{error}");
    assert!(auth.ready().expect_err("never run").contains("not fetched yet"));
    // A listener that accepts and says nothing: the round hangs, a token waits for it, then the control
    // thread ends.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", silent.local_addr().expect("an address"));
    let auth = Authenticator::tuned(&Auth { issuers: vec![trust(&url)], ..Auth::default() }, BASE, eager())
        .expect("a good configuration");
    let running = tokio::spawn(Arc::clone(&auth).run());
    auth.issuers[0].round_started(1).await;
    let (waiting, token) = (Arc::clone(&auth), signer.sign(&claims(&url)));
    let waiter = tokio::spawn(async move { waiting.authenticate(&token, None).await });
    auth.issuers[0].someone_waits().await;
    running.abort();
    let error = waiter.await.expect("no panic").expect_err("no keys");
    assert!(matches!(error, TokenError::KeysUnavailable { .. }), "{error}");
}

/// Makes a provider answer wrongly.
type Arrange = Box<dyn Fn(&Provider)>;

#[tokio::test]
async fn answers_that_are_not_an_issuers_are_refused() {
    let metadata = "/.well-known/openid-configuration";
    let signer = Signer::ed25519("k");
    let cases: Vec<(&str, Arrange, &str)> = vec![
        (
            "another issuer's metadata",
            Box::new(move |p| {
                p.set_json(
                    metadata,
                    &json!({"issuer": "https://evil.example", "jwks_uri": format!("{}/keys", p.url)}),
                );
            }),
            "metadata is that of `https://evil.example`",
        ),
        (
            "keys over plain http elsewhere",
            Box::new(move |p| {
                p.set_json(metadata, &json!({"issuer": p.url, "jwks_uri": "http://192.0.2.1/keys"}));
            }),
            "must be https",
        ),
        (
            "a redirect",
            Box::new(move |p| {
                let mut answer = Response::new(Bytes::new());
                *answer.status_mut() = StatusCode::FOUND;
                answer
                    .headers_mut()
                    .insert("location", format!("{}/elsewhere", p.url).parse().expect("a URL"));
                p.set_json("/elsewhere", &p.metadata());
                p.set(metadata, answer);
            }),
            "redirects are not followed",
        ),
        ("not JSON", Box::new(move |p| p.set(metadata, Response::new("<html>".into()))), "cannot be used"),
        (
            "a huge body",
            Box::new(move |p| {
                p.set("/keys", Response::new(Bytes::from(vec![b' '; MAX_BODY_BYTES + 1])));
            }),
            "reading the answer",
        ),
        ("no keys", Box::new(move |p| p.set_json("/keys", &json!({"keys": []}))), "no usable key"),
        ("keys gone", Box::new(move |p| p.set_status("/keys", StatusCode::GONE)), "410"),
    ];
    for (name, arrange, expected) in cases {
        let provider = Provider::with_keys(&[&signer]).await;
        arrange(&provider);
        let auth = started(vec![trust(&provider.url)], patient()).await;
        let problem = auth.ready().expect_err(name);
        assert!(problem.contains(expected), "{name}: {problem}");
        assert_eq!(provider.asked("/elsewhere"), 0);
    }
}
