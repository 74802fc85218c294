//! The authenticator as a whole, against identity providers over real sockets.

mod development;
mod hostile;
mod keys;

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;

use super::development::{DevelopmentError, DevelopmentIssuer, TokenRequest};
use super::testing::{Provider, Signer, claims, trust};
use super::*;
use crate::config::schema::{Auth, SignatureAlgorithm};

/// An hour instead of each time that a test would otherwise have to wait for or race against.
const NEVER: Duration = Duration::from_hours(1);

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
