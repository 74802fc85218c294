//! The authenticator as a whole, against identity providers over real sockets.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::development::{DevelopmentIssuer, TokenRequest};
use super::testing::{Provider, Signer, b64, claims, trust};
use super::*;
use crate::config::schema::{Auth, SignatureAlgorithm};

/// An hour instead of each time that a test would otherwise have to wait for or race against.
const NEVER: Duration = Duration::from_secs(3600);

fn patient() -> Tuning {
    Tuning { floor: NEVER, first_retry: NEVER, last_retry: NEVER, round: NEVER, stale_limit: NEVER }
}

fn eager() -> Tuning {
    Tuning { floor: Duration::ZERO, ..patient() }
}

/// Runs an authenticator and returns when its first round is over, for good or bad.
async fn started(issuers: Vec<schema::Issuer>, tuning: Tuning) -> Arc<Authenticator> {
    let auth = Auth { issuers, ..Auth::default() };
    let authenticator = Authenticator::tuned(&auth, tuning).expect("a good configuration");
    tokio::spawn(Arc::clone(&authenticator).run());
    for issuer in &authenticator.issuers {
        issuer.round_finished(1).await;
    }
    authenticator
}

async fn start_development()
-> (Arc<DevelopmentIssuer>, tokio::task::JoinHandle<Result<(), development::DevelopmentError>>) {
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
        lifetime: Duration::from_secs(600),
        audience: None,
    }
}

#[tokio::test]
async fn tokens_of_all_three_algorithms_are_verified_and_remembered() {
    for signer in [Signer::rsa("k"), Signer::p256("k"), Signer::ed25519("k")] {
        let provider = Provider::with_keys(&[&signer]).await;
        let auth = started(vec![trust(&provider.url)], patient()).await;
        assert_eq!(auth.ready(), Ok(()));
        let token = signer.sign(&claims(&provider.url));
        assert_eq!(auth.cached(&token), None);
        let alice = auth.authenticate(&token).await.expect("a good token");
        assert_eq!((alice.subject.as_str(), alice.tenant.as_deref()), ("alice", Some("acme")));
        assert_eq!(
            (alice.groups.as_slice(), alice.scopes.as_slice()),
            (&["dev".into()][..], &["read".into()][..])
        );
        let again = auth.cached(&token).expect("remembered");
        assert!(Arc::ptr_eq(&alice, &again));
        assert_eq!(provider.asked("/keys"), 1);
    }
}

#[tokio::test]
async fn hostile_tokens_are_refused_and_never_remembered() {
    let (rsa, p256, ed) = (Signer::rsa("rsa"), Signer::p256("p256"), Signer::ed25519("ed"));
    let provider = Provider::with_keys(&[&rsa, &p256, &ed]).await;
    let auth = started(vec![trust(&provider.url), trust("https://127.0.0.1:1/other")], eager()).await;
    let good = claims(&provider.url);
    let with = |change: Value| {
        let mut claims = good.clone();
        for (name, value) in change.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        claims
    };
    let stranger = Signer::ed25519("ed");
    let other_kid = |signer: &Signer, kid: &str| {
        let mut header = signer.header();
        header["kid"] = kid.into();
        signer.sign_text(&header.to_string(), &good.to_string())
    };
    let with_alg = |signer: &Signer, alg: &str| {
        let mut header = signer.header();
        header["alg"] = alg.into();
        signer.sign_text(&header.to_string(), &good.to_string())
    };
    let token = ed.sign(&good);
    let parts: Vec<&str> = token.split('.').collect();
    let other = ed.sign(&with(json!({"sub": "bob"})));
    let other_parts: Vec<&str> = other.split('.').collect();
    // HMAC keyed with the public key: the classic confusion of algorithms.
    let hmac = {
        let header = json!({"alg": "HS256", "typ": "JWT", "kid": "rsa"}).to_string();
        let signed = format!("{}.{}", b64(header), b64(good.to_string()));
        let secret = jsonwebtoken::EncodingKey::from_secret(rsa.jwk["n"].as_str().expect("n").as_bytes());
        let signature =
            jsonwebtoken::crypto::sign(signed.as_bytes(), &secret, jsonwebtoken::Algorithm::HS256)
                .expect("signed");
        format!("{signed}.{signature}")
    };
    let now = unix_now();
    let duplicate = |claim: &str| {
        let text = good.to_string();
        ed.sign_text(&ed.header().to_string(), &format!("{},{claim}}}", &text[..text.len() - 1]))
    };
    let cases: Vec<(&str, String, &str)> = vec![
        ("alg none", format!("{}.{}.", b64(r#"{"alg":"none"}"#), parts[1]), "malformed"),
        (
            "alg none, some signature",
            format!("{}.{}.{}", b64(r#"{"alg":"none"}"#), parts[1], parts[2]),
            "signature algorithm",
        ),
        ("HS256 with the public key", hmac, "signature algorithm"),
        ("another's key", stranger.sign(&good), "signature does not verify"),
        ("key of another type", other_kid(&ed, "p256"), "issuer"),
        ("key of another name", other_kid(&ed, "rsa"), "issuer"),
        ("RS256 claimed for EdDSA", with_alg(&ed, "RS256"), "issuer"),
        ("ES256 claimed for RSA's key", with_alg(&rsa, "ES256"), "issuer"),
        ("unknown key", other_kid(&ed, "nobody's"), "issuer"),
        (
            "claims swapped",
            format!("{}.{}.{}", parts[0], other_parts[1], parts[2]),
            "signature does not verify",
        ),
        (
            "signature swapped",
            format!("{}.{}.{}", parts[0], parts[1], other_parts[2]),
            "signature does not verify",
        ),
        ("signature cut", token[..token.len() - 6].to_owned(), "signature does not verify"),
        ("signature empty", format!("{}.{}.", parts[0], parts[1]), "malformed"),
        ("signature longer", format!("{token}AAAA"), "signature does not verify"),
        ("four segments", format!("{token}.{}", parts[2]), "malformed"),
        ("60 kB", ed.sign(&with(json!({"x": "x".repeat(60_000)}))), "token of"),
        ("no aud", ed.sign(&with(json!({"aud": null}))), "claim `aud`"),
        ("wrong aud", ed.sign(&with(json!({"aud": ["other"]}))), "audience"),
        ("no exp", ed.sign(&with(json!({"exp": null}))), "claim `exp`"),
        ("exp of u64::MAX", ed.sign(&with(json!({"exp": u64::MAX}))), "claim `exp`"),
        ("expired", ed.sign(&with(json!({"exp": now - 121}))), "token expired"),
        ("nbf ahead", ed.sign(&with(json!({"nbf": now + 600}))), "token is valid only in"),
        ("iat ahead", ed.sign(&with(json!({"iat": now + 600}))), "token is valid only in"),
        ("no sub", ed.sign(&with(json!({"sub": null}))), "claim `sub`"),
        ("no iss", ed.sign(&with(json!({"iss": null}))), "claim `iss`"),
        ("iss an array", ed.sign(&with(json!({"iss": [provider.url]}))), "claim `iss`"),
        ("iss unknown", ed.sign(&with(json!({"iss": "https://evil.example"}))), "issuer \"https://evil"),
        ("iss nearly right", ed.sign(&with(json!({"iss": format!("{}/", provider.url)}))), "issuer \""),
        ("another issuer's", ed.sign(&with(json!({"iss": "https://127.0.0.1:1/other"}))), "keys of"),
        ("tenant twice", duplicate(r#""tenant":"evil""#), "malformed"),
        ("sub twice", duplicate(r#""sub":"root""#), "malformed"),
        ("exp twice", duplicate(r#""exp":9999999999"#), "malformed"),
        ("groups of numbers", ed.sign(&with(json!({"groups": [1]}))), "claim `groups`"),
        (
            "dpop proof",
            ed.sign_text(r#"{"alg":"EdDSA","kid":"ed","typ":"dpop+jwt"}"#, &good.to_string()),
            "header",
        ),
        (
            "crit",
            ed.sign_text(r#"{"alg":"EdDSA","kid":"ed","crit":["x"],"x":1}"#, &good.to_string()),
            "header",
        ),
        ("b64", ed.sign_text(r#"{"alg":"EdDSA","kid":"ed","b64":false}"#, &good.to_string()), "header"),
        (
            "its own key",
            stranger.sign_text(
                &json!({"alg": "EdDSA", "kid": "ed", "jwk": stranger.jwk}).to_string(),
                &good.to_string(),
            ),
            "header",
        ),
        (
            "alg twice",
            ed.sign_text(r#"{"alg":"none","alg":"EdDSA","kid":"ed"}"#, &good.to_string()),
            "malformed",
        ),
    ];
    for (name, token, expected) in &cases {
        let error = auth.authenticate(token).await.expect_err(name);
        assert!(error.to_string().starts_with(expected), "{name}: {error}");
        assert_eq!(auth.cached(token), None, "{name}");
        assert!(!error.reason().contains("alice"), "{name}");
    }
    assert_eq!(auth.cache.len(), 0);
    // And the token they were made from is good.
    auth.authenticate(&token).await.expect("a good token");
}

#[tokio::test]
async fn a_token_may_leave_out_its_key_only_where_one_fits() {
    let (one, two, other) = (Signer::ed25519("one"), Signer::ed25519("two"), Signer::p256("other"));
    let nameless = |signer: &Signer, url: &str| {
        let header = json!({"alg": format!("{:?}", signer.algorithm)});
        signer.sign_text(&header.to_string(), &claims(url).to_string())
    };
    let provider = Provider::with_keys(&[&one, &other]).await;
    let auth = started(vec![trust(&provider.url)], eager()).await;
    auth.authenticate(&nameless(&one, &provider.url)).await.expect("the only EdDSA key");
    // The only key is replaced: found out although the token does not name the new one.
    provider.set_keys(&[&two]);
    auth.authenticate(&nameless(&two, &provider.url)).await.expect("the new key");
    provider.set_keys(&[&one, &two]);
    auth.authenticate(&one.sign(&claims(&provider.url))).await.expect("the key is named");
    let error = auth.authenticate(&nameless(&one, &provider.url)).await.expect_err("two keys fit");
    assert!(matches!(error, TokenError::MissingKeyId { .. }), "{error}");
}

#[tokio::test]
async fn algorithms_are_those_of_the_configuration() {
    let (p256, ed) = (Signer::p256("a"), Signer::ed25519("b"));
    let provider = Provider::with_keys(&[&p256, &ed]).await;
    let issuer = schema::Issuer { algorithms: vec![SignatureAlgorithm::ES256], ..trust(&provider.url) };
    let auth = started(vec![issuer], eager()).await;
    auth.authenticate(&p256.sign(&claims(&provider.url))).await.expect("listed");
    let error = auth.authenticate(&ed.sign(&claims(&provider.url))).await.expect_err("not listed");
    assert!(matches!(error, TokenError::UnsupportedAlgorithm(_)), "{error}");
    assert_eq!(auth.status()[0].keys, 1);
}

#[tokio::test]
async fn groups_are_required_with_403() {
    let signer = Signer::ed25519("k");
    let provider = Provider::with_keys(&[&signer]).await;
    let config = Auth {
        issuers: vec![trust(&provider.url)],
        required_groups: vec!["mcp.users".into()],
        development_issuer: None,
    };
    let auth = Authenticator::tuned(&config, patient()).expect("a good configuration");
    tokio::spawn(Arc::clone(&auth).run());
    auth.issuers[0].round_finished(1).await;
    let error = auth.authenticate(&signer.sign(&claims(&provider.url))).await.expect_err("not in the group");
    assert_eq!((error.status().as_u16(), error.error_code()), (403, "insufficient_scope"));
    assert_eq!(auth.cache.len(), 0);
    let mut member = claims(&provider.url);
    member["groups"] = json!(["mcp.users"]);
    auth.authenticate(&signer.sign(&member)).await.expect("in the group");
}

#[tokio::test]
async fn a_rotated_key_is_honoured_at_once_and_the_old_one_no_longer() {
    let (issuer, _task) = start_development().await;
    let auth = started(vec![issuer.issuer()], patient()).await;
    let old = issuer.token(&alice()).expect("a token");
    let before = auth.authenticate(&old).await.expect("a good token");
    assert_eq!(before.scopes, ["read"]);
    issuer.rotate().expect("a new key");
    // Nobody has noticed yet.
    assert!(auth.cached(&old).is_some());
    let new = issuer.token(&alice()).expect("a token");
    auth.authenticate(&new).await.expect("the new key is fetched for it");
    assert_eq!(issuer.keys_served(), 2);
    assert_eq!(auth.cached(&old), None, "remembered tokens of the old key are forgotten");
    let error = auth.authenticate(&old).await.expect_err("the old key is gone");
    assert!(matches!(error, TokenError::UnknownKey { .. }), "{error}");
    assert!(auth.cached(&new).is_some());
}

#[tokio::test]
async fn an_added_key_leaves_verified_tokens_verified() {
    let (one, two) = (Signer::p256("one"), Signer::p256("two"));
    let provider = Provider::with_keys(&[&one]).await;
    let auth = started(vec![trust(&provider.url)], patient()).await;
    let token = one.sign(&claims(&provider.url));
    let first = auth.authenticate(&token).await.expect("a good token");
    provider.set_keys(&[&two, &one]);
    auth.authenticate(&two.sign(&claims(&provider.url))).await.expect("the new key");
    assert_eq!(auth.issuers[0].keys.load().generation, 2);
    assert!(auth.cached(&token).is_some_and(|again| Arc::ptr_eq(&again, &first)));
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
            flood.spawn(async move { auth.authenticate(&token).await });
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
    auth.authenticate(&expired).await.expect_err("forged and expired");
    assert_eq!(provider.asked("/keys"), 3);
    // Once the floor has passed (here: at once), a token with an unknown key is worth a fetch again.
    for expected in 4..7 {
        auth.authenticate(&forged(0)).await.expect_err("forged");
        assert_eq!(provider.asked("/keys"), expected);
    }
}

#[tokio::test]
async fn keys_outlive_their_issuer() {
    let signer = Signer::ed25519("k");
    let provider = Provider::with_keys(&[&signer]).await;
    // Background refresh and retry without pause: the outage is noticed by itself.
    let issuer =
        schema::Issuer { jwks_cache_ttl: crate::config::units::Period::secs(1), ..trust(&provider.url) };
    let tuning = Tuning { first_retry: Duration::ZERO, last_retry: Duration::ZERO, ..patient() };
    let auth = started(vec![issuer], tuning).await;
    let known = signer.sign(&claims(&provider.url));
    auth.authenticate(&known).await.expect("a good token");
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
    assert!(auth.cached(&known).is_some());
    auth.authenticate(&signer.sign(&claims(&provider.url))).await.expect("cached keys work");
    // Whether a new key exists cannot be known: not the bearer's fault.
    let newer = Signer::ed25519("newer");
    let error = auth.authenticate(&newer.sign(&claims(&provider.url))).await.expect_err("unknown");
    assert_eq!(error.status(), StatusCode::SERVICE_UNAVAILABLE);
    provider.set_keys(&[&signer, &newer]);
    provider.set_json("/.well-known/openid-configuration", &provider.metadata());
    while issuer.is_away() {
        issuer.next_round_finished().await;
    }
    auth.authenticate(&newer.sign(&claims(&provider.url))).await.expect("the issuer is back");
    assert_eq!(auth.status()[0].error, None);
}

#[tokio::test]
async fn keys_that_are_too_old_are_not_used() {
    let signer = Signer::ed25519("k");
    let provider = Provider::with_keys(&[&signer]).await;
    let issuer =
        schema::Issuer { jwks_cache_ttl: crate::config::units::Period::secs(0), ..trust(&provider.url) };
    let auth = started(vec![issuer], Tuning { stale_limit: Duration::ZERO, ..patient() }).await;
    provider.set_status("/keys", StatusCode::INTERNAL_SERVER_ERROR);
    let error = auth.authenticate(&signer.sign(&claims(&provider.url))).await.expect_err("too old");
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
    let error = auth.authenticate(&token).await.expect_err("no keys");
    assert_eq!((error.status().as_u16(), error.error_code()), (503, "temporarily_unavailable"));
    // RFC 8414's place is enough.
    provider.set_json("/.well-known/oauth-authorization-server", &provider.metadata());
    provider.set_keys(&[&signer]);
    auth.authenticate(&token).await.expect("fetched for this token");
    assert_eq!(auth.ready(), Ok(()));
}

#[tokio::test]
async fn a_worker_is_not_left_waiting_without_the_control_thread() {
    let signer = Signer::ed25519("k");
    let provider = Provider::start().await;
    let auth =
        Authenticator::tuned(&Auth { issuers: vec![trust(&provider.url)], ..Auth::default() }, eager())
            .expect("a good configuration");
    let token = signer.sign(&claims(&provider.url));
    let error = auth.authenticate(&token).await.expect_err("never run");
    assert!(matches!(error, TokenError::KeysUnavailable { .. }), "{error}");
    assert!(auth.ready().expect_err("never run").contains("not fetched yet"));
    // A listener that accepts and says nothing: the round hangs, a token waits for it, then the control thread ends.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", silent.local_addr().expect("an address"));
    let auth = Authenticator::tuned(&Auth { issuers: vec![trust(&url)], ..Auth::default() }, eager())
        .expect("a good configuration");
    let running = tokio::spawn(Arc::clone(&auth).run());
    auth.issuers[0].round_started(1).await;
    let (waiting, token) = (Arc::clone(&auth), signer.sign(&claims(&url)));
    let waiter = tokio::spawn(async move { waiting.authenticate(&token).await });
    auth.issuers[0].someone_waits().await;
    running.abort();
    let error = waiter.await.expect("no panic").expect_err("no keys");
    assert!(matches!(error, TokenError::KeysUnavailable { .. }), "{error}");
}

#[tokio::test]
async fn answers_that_are_not_an_issuers_are_refused() {
    let metadata = "/.well-known/openid-configuration";
    let signer = Signer::ed25519("k");
    let cases: Vec<(&str, Box<dyn Fn(&Provider)>, &str)> = vec![
        (
            "another issuer's metadata",
            Box::new(move |p| {
                p.set_json(
                    metadata,
                    &json!({"issuer": "https://evil.example", "jwks_uri": format!("{}/keys", p.url)}),
                )
            }),
            "metadata is that of `https://evil.example`",
        ),
        (
            "keys over plain http elsewhere",
            Box::new(move |p| {
                p.set_json(metadata, &json!({"issuer": p.url, "jwks_uri": "http://192.0.2.1/keys"}))
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
                p.set("/keys", Response::new(Bytes::from(vec![b' '; fetch::MAX_BODY_BYTES + 1])))
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

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let refused = |issuers: Vec<schema::Issuer>| {
        Authenticator::new(&Auth { issuers, ..Auth::default() }).expect_err("refused").to_string()
    };
    let good = || trust("https://idp.example");
    assert!(refused(vec![]).contains("at least one"));
    assert!(refused(vec![good(), good()]).contains("twice"));
    assert!(refused(vec![trust("http://idp.example")]).contains("https"));
    assert!(refused(vec![schema::Issuer { audience: vec![], ..good() }]).contains("`audience`"));
    assert!(refused(vec![schema::Issuer { algorithms: vec![], ..good() }]).contains("`algorithms`"));
}

#[tokio::test]
async fn the_development_issuer_stays_on_this_host() {
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let config = schema::DevelopmentIssuer { listen: listen.parse().expect("an address") };
        let error = DevelopmentIssuer::start(&config, "a".into()).expect_err(listen);
        assert!(matches!(error, development::DevelopmentError::NotLoopback(_)), "{error}");
    }
    let (first, _task) = start_development().await;
    let taken = schema::DevelopmentIssuer { listen: first.address() };
    let error = DevelopmentIssuer::start(&taken, "a".into()).expect_err("taken").to_string();
    assert!(error.contains("choose another port"), "{error}");
}

#[tokio::test]
async fn the_development_issuer_answers_as_an_issuer_does() {
    let (issuer, _task) = start_development().await;
    let auth = started(vec![issuer.issuer()], patient()).await;
    let fetcher = Fetcher::new();
    let url = |path: &str| format!("{}{path}", issuer.url()).parse::<http::Uri>().expect("a URL");
    let form = "subject=bob&tenant=acme&groups=ops&groups=dev&scope=read&lifetime=10m";
    let (status, body) = fetcher.post_form(&url("/token"), form.into()).await.expect("an answer");
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(
        (status, &body["token_type"], &body["expires_in"]),
        (StatusCode::OK, &json!("Bearer"), &json!(600))
    );
    let bob = auth.authenticate(body["access_token"].as_str().expect("a token")).await.expect("a good token");
    assert_eq!((bob.subject.as_str(), bob.groups.len()), ("bob", 2));
    for (path, form, expected) in [
        ("/token", "tenant=acme".to_owned(), StatusCode::BAD_REQUEST),
        ("/token", "subject=a&lifetime=400d".to_owned(), StatusCode::BAD_REQUEST),
        ("/token", format!("subject={}", "a".repeat(20_000)), StatusCode::PAYLOAD_TOO_LARGE),
        ("/nowhere", String::new(), StatusCode::NOT_FOUND),
        ("/rotate", String::new(), StatusCode::OK),
    ] {
        let (status, _) = fetcher.post_form(&url(path), form).await.expect("an answer");
        assert_eq!(status, expected, "{path}");
    }
    // The last one has rotated the key.
    auth.authenticate(&issuer.token(&alice()).expect("a token")).await.expect("the new key");
    // Another audience is another audience.
    let elsewhere =
        issuer.token(&TokenRequest { audience: Some("other".into()), ..alice() }).expect("a token");
    let error = auth.authenticate(&elsewhere).await.expect_err("another audience");
    assert!(matches!(error, TokenError::WrongAudience { .. }), "{error}");
}
