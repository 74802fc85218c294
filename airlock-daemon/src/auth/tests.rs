//! The authenticator as a whole, against identity providers over real sockets.

#[cfg(development_issuer)]
mod development;
mod hostile;
mod keys;
mod providers;

use std::time::Duration;

use serde_json::json;

use super::testing::{Provider, Signer, claims, trust};
use super::*;
use crate::config::schema::{Auth, SignatureAlgorithm};

/// The URL of the host that the tokens are for.
const BASE: &str = "https://airlock.example";

/// An hour instead of each time that a test would otherwise have to wait for or race against.
const NEVER: Duration = Duration::from_hours(1);

fn patient() -> Tuning {
    let times = Tuning { floor: NEVER, first_retry: NEVER, last_retry: NEVER, ..Tuning::default() };
    Tuning { round: NEVER, stale_limit: NEVER, ..times }
}

fn eager() -> Tuning {
    Tuning { floor: Duration::ZERO, ..patient() }
}

/// Runs an authenticator and returns when its first round is over, for good or bad.
async fn started(issuers: Vec<schema::Issuer>, tuning: Tuning) -> Arc<Authenticator> {
    let auth = Auth { issuers, ..Auth::default() };
    let authenticator = Authenticator::tuned(&auth, BASE, tuning).expect("a good configuration");
    tokio::spawn(Arc::clone(&authenticator).run());
    for issuer in &authenticator.issuers {
        issuer.round_finished(1).await;
    }
    authenticator
}

#[tokio::test]
async fn tokens_of_all_three_algorithms_are_verified_and_remembered() {
    for signer in [Signer::rsa("k"), Signer::p256("k"), Signer::ed25519("k")] {
        let provider = Provider::with_keys(&[&signer]).await;
        let auth = started(vec![trust(&provider.url)], patient()).await;
        assert_eq!(auth.ready(), Ok(()));
        let token = signer.sign(&claims(&provider.url));
        assert_eq!(auth.cached(&token, None), None);
        let alice = auth.authenticate(&token, None).await.expect("a good token");
        assert_eq!((alice.subject.as_str(), alice.tenant.as_deref()), ("alice", Some("acme")));
        assert_eq!(
            (alice.groups.as_slice(), alice.scopes.as_slice()),
            (&["dev".into()][..], &["read".into()][..])
        );
        let again = auth.cached(&token, None).expect("remembered");
        assert!(Arc::ptr_eq(&alice, &again));
        assert_eq!(provider.asked("/keys"), 1);
    }
}

#[tokio::test]
async fn the_other_algorithms_are_verified_where_they_are_configured() {
    let algorithms = ["RS384", "RS512", "PS256", "PS384", "PS512", "ES384"];
    let configured = algorithms.map(|name| algorithm::of_token(name).expect("an algorithm")).to_vec();
    let rsa = |name: &str| Signer::rsa("k").for_algorithm(name.parse().expect("an algorithm"));
    for name in algorithms {
        let signer = if name == "ES384" { Signer::p384("k") } else { rsa(name) };
        let provider = Provider::with_keys(&[&signer]).await;
        let token = signer.sign(&claims(&provider.url));
        let all = schema::Issuer { algorithms: configured.clone(), ..trust(&provider.url) };
        let auth = started(vec![all], patient()).await;
        auth.authenticate(&token, None).await.expect(name);
        // Configured for its family but not for it, and with the default.
        let mut others = configured.clone();
        others.retain(|one| algorithm::name(*one) != name);
        for algorithms in [others, vec![SignatureAlgorithm::RS256, SignatureAlgorithm::ES256]] {
            let issuer = schema::Issuer { algorithms, ..trust(&provider.url) };
            let error = started(vec![issuer], patient()).await.authenticate(&token, None).await;
            assert!(matches!(error, Err(TokenError::UnsupportedAlgorithm(_))), "{name}: {error:?}");
        }
    }
    // A key that is published for one algorithm is not used for another of its family.
    let (one, mut bound) = (rsa("PS256"), rsa("PS256"));
    bound.jwk["alg"] = json!("RS512");
    for (signer, good) in [(one, true), (bound, false)] {
        let provider = Provider::with_keys(&[&signer]).await;
        let all = schema::Issuer { algorithms: configured.clone(), ..trust(&provider.url) };
        let verdict = started(vec![all], patient())
            .await
            .authenticate(&signer.sign(&claims(&provider.url)), None)
            .await;
        assert_eq!(verdict.is_ok(), good, "{verdict:?}");
    }
}

#[tokio::test]
async fn a_token_for_one_endpoint_is_good_there_alone_also_when_it_is_remembered() {
    let signer = Signer::ed25519("k");
    let provider = Provider::with_keys(&[&signer]).await;
    let merged = format!("{BASE}/mcp");
    let issuer = schema::Issuer { audience: vec![merged.clone(), "airlock".into()], ..trust(&provider.url) };
    let auth = started(vec![issuer], patient()).await;
    let token = |audience: serde_json::Value| {
        let mut claims = claims(&provider.url);
        claims["aud"] = audience;
        signer.sign(&claims)
    };
    let docs = token(json!(format!("{merged}/docs")));
    // First refused, then good, then refused again: whichever came first is not what is remembered.
    for _ in 0..2 {
        for upstream in [None, Some("code"), Some("doc"), Some("docs/x")] {
            let error = auth.authenticate(&docs, upstream).await.expect_err("another endpoint");
            assert!(matches!(error, TokenError::WrongEndpoint { .. }), "{upstream:?}: {error}");
            assert_eq!((error.status().as_u16(), error.error_code()), (401, "invalid_token"));
            assert_eq!(auth.cached(&docs, upstream), None, "{upstream:?}");
        }
        auth.authenticate(&docs, Some("docs")).await.expect("its own endpoint");
        assert!(auth.cached(&docs, Some("docs")).is_some());
    }
    let both = token(json!([format!("{merged}/docs"), "else", format!("{merged}/code")]));
    auth.authenticate(&both, Some("code")).await.expect("the second endpoint");
    auth.authenticate(&both, None).await.expect_err("the merged endpoint is a third");
    for wide in [json!(merged), json!("airlock"), json!(["airlock", format!("{merged}/docs")])] {
        let wide = token(wide);
        for upstream in [None, Some("docs"), Some("code")] {
            auth.authenticate(&wide, upstream).await.expect("all endpoints");
        }
    }
    for foreign in [json!("https://other.example/mcp/docs"), json!(BASE), json!(format!("{merged}/"))] {
        let error = auth.authenticate(&token(foreign), Some("docs")).await.expect_err("another's token");
        assert!(matches!(error, TokenError::WrongAudience { .. }), "{error}");
    }
}

#[tokio::test]
async fn scopes_are_required_with_403_and_named() {
    let signer = Signer::ed25519("k");
    let provider = Provider::with_keys(&[&signer]).await;
    let required = vec!["read".to_owned(), "mcp:use".to_owned()];
    let config =
        Auth { issuers: vec![trust(&provider.url)], required_scopes: required.clone(), ..Auth::default() };
    let auth = Authenticator::tuned(&config, BASE, patient()).expect("a good configuration");
    tokio::spawn(Arc::clone(&auth).run());
    auth.issuers[0].round_finished(1).await;
    let error =
        auth.authenticate(&signer.sign(&claims(&provider.url)), None).await.expect_err("one is missing");
    assert_eq!((error.status().as_u16(), error.error_code()), (403, "insufficient_scope"));
    assert!(
        matches!(&error, TokenError::MissingScope { required: named, .. } if *named == required),
        "{error}"
    );
    let mut more = claims(&provider.url);
    more["scope"] = json!("mcp:use other read");
    auth.authenticate(&signer.sign(&more), None).await.expect("all of them");
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
    auth.authenticate(&nameless(&one, &provider.url), None).await.expect("the only EdDSA key");
    // The only key is replaced: found out although the token does not name the new one.
    provider.set_keys(&[&two]);
    auth.authenticate(&nameless(&two, &provider.url), None).await.expect("the new key");
    provider.set_keys(&[&one, &two]);
    auth.authenticate(&one.sign(&claims(&provider.url)), None).await.expect("the key is named");
    let error = auth.authenticate(&nameless(&one, &provider.url), None).await.expect_err("two keys fit");
    assert!(matches!(error, TokenError::MissingKeyId { .. }), "{error}");
}

#[tokio::test]
async fn algorithms_are_those_of_the_configuration() {
    let (p256, ed) = (Signer::p256("a"), Signer::ed25519("b"));
    let provider = Provider::with_keys(&[&p256, &ed]).await;
    let issuer = schema::Issuer { algorithms: vec![SignatureAlgorithm::ES256], ..trust(&provider.url) };
    let auth = started(vec![issuer], eager()).await;
    auth.authenticate(&p256.sign(&claims(&provider.url)), None).await.expect("listed");
    let error = auth.authenticate(&ed.sign(&claims(&provider.url)), None).await.expect_err("not listed");
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
        ..Auth::default()
    };
    let auth = Authenticator::tuned(&config, BASE, patient()).expect("a good configuration");
    tokio::spawn(Arc::clone(&auth).run());
    auth.issuers[0].round_finished(1).await;
    let error =
        auth.authenticate(&signer.sign(&claims(&provider.url)), None).await.expect_err("not in the group");
    assert_eq!((error.status().as_u16(), error.error_code()), (403, "insufficient_scope"));
    assert_eq!(auth.cache.len(), 0);
    let mut member = claims(&provider.url);
    member["groups"] = json!(["mcp.users"]);
    auth.authenticate(&signer.sign(&member), None).await.expect("in the group");
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let refused = |issuers: Vec<schema::Issuer>| {
        Authenticator::new(&Auth { issuers, ..Auth::default() }, BASE, false)
            .expect_err("refused")
            .to_string()
    };
    let good = || trust("https://idp.example");
    assert!(refused(vec![]).contains("at least one"));
    assert!(refused(vec![good(), good()]).contains("twice"));
    assert!(refused(vec![trust("http://idp.example")]).contains("https"));
    assert!(refused(vec![schema::Issuer { audience: vec![], ..good() }]).contains("`audience`"));
    assert!(refused(vec![schema::Issuer { algorithms: vec![], ..good() }]).contains("`algorithms`"));
}
