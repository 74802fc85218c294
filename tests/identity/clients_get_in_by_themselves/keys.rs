//! Keys over time: rotation, outages, several issuers.

use airlock_tests::Airlock;
use airlock_tests::airlock::until;
use airlock_tests::http::Request;
use serde_json::{Value, json};

use super::provider::Site;
use super::{assert_refused, list, resource, site, trusting, trusting_also};

fn is_ready(airlock: &Airlock) -> bool {
    airlock.send(&Request::get("/ready")).status == 200
}

#[test]
fn a_new_key_is_in_use_and_the_old_one_out_of_it_at_once() {
    let Some(site) = site() else { return };
    let provider = site.start(&["one"]);
    // Nothing but a token of the new key can make it look again.
    let airlock = trusting_also(&site, "1h", &[]).start();
    let docs = resource(&airlock, "/mcp/docs");
    let (old, unseen) = (provider.token(&docs, "mcp:use"), provider.token(&docs, "mcp:use"));
    assert_eq!(list(&airlock, "/mcp/docs", &old).status, 200);
    provider.kill();
    let provider = site.start(&["two"]);
    assert_eq!(list(&airlock, "/mcp/docs", &old).status, 200, "nobody has noticed yet");
    let new = provider.token(&docs, "mcp:use");
    assert_eq!(list(&airlock, "/mcp/docs", &new).status, 200, "{}", airlock.log());
    assert_refused(&list(&airlock, "/mcp/docs", &old), 401, &["invalid_token"]);
    assert_refused(&list(&airlock, "/mcp/docs", &unseen), 401, &["invalid_token"]);
    assert_eq!(list(&airlock, "/mcp/docs", &new).status, 200);
}

#[test]
fn a_key_that_is_withdrawn_is_noticed_without_anybody_asking() {
    let Some(site) = site() else { return };
    let provider = site.start(&["one"]);
    let airlock = trusting_also(&site, "1s", &[]).start();
    let docs = resource(&airlock, "/mcp/docs");
    let old = provider.token(&docs, "mcp:use");
    assert_eq!(list(&airlock, "/mcp/docs", &old).status, 200);
    provider.kill();
    // Both keys for a while, as providers do it: the old one still counts.
    let both = site.start(&["two", "one"]);
    let new = both.token(&docs, "mcp:use");
    assert!(until(|| (list(&airlock, "/mcp/docs", &new).status == 200).then_some(())).is_some());
    assert_eq!(list(&airlock, "/mcp/docs", &old).status, 200);
    both.kill();
    let _last = site.start(&["two"]);
    assert!(until(|| (list(&airlock, "/mcp/docs", &old).status == 401).then_some(())).is_some());
    assert_eq!(list(&airlock, "/mcp/docs", &new).status, 200);
}

#[test]
fn an_outage_of_the_provider_passes() {
    let Some(site) = site() else { return };
    // Signed by a key that Airlock will not have seen when the provider goes.
    let provider = site.start(&["later"]);
    let airlock = trusting_also(&site, "1h", &[]);
    let docs = format!("http://{}/mcp/docs", airlock.listen[0]);
    let later = provider.token(&docs, "mcp:use");
    provider.kill();
    let provider = site.start(&["one"]);
    let airlock = airlock.start();
    let (seen, unseen) = (provider.token(&docs, "mcp:use"), provider.token(&docs, "mcp:use"));
    assert_eq!(list(&airlock, "/mcp/docs", &seen).status, 200);
    provider.kill();
    for token in [&seen, &unseen, &seen] {
        assert_eq!(list(&airlock, "/mcp/docs", token).status, 200, "{}", airlock.log());
    }
    // Such a key may exist and cannot be looked for now: not the bearer's fault.
    let refused = list(&airlock, "/mcp/docs", &later);
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.header("retry-after").is_some() && refused.header("www-authenticate").is_none());
    assert!(!refused.text().contains("127.0.0.1"), "it tells of the inside: {}", refused.text());
    assert!(is_ready(&airlock), "the keys that are there are still good");
    assert_eq!(list(&airlock, "/mcp/docs", &seen).status, 200);
    let _back = site.start(&["later", "one"]);
    assert!(until(|| (list(&airlock, "/mcp/docs", &later).status == 200).then_some(())).is_some());
    assert_eq!(list(&airlock, "/mcp/docs", &seen).status, 200);
}

#[test]
fn a_provider_that_comes_up_late_makes_it_ready() {
    let Some(site) = site() else { return };
    let airlock = airlock_tests::Setup { only_listening: true, ..trusting(&site) }.start();
    let told = airlock.send(&Request::get("/ready"));
    assert_eq!(told.status, 503, "{}", told.text());
    let provider = site.start(&["one"]);
    assert!(until(|| is_ready(&airlock).then_some(())).is_some(), "{}", airlock.log());
    let token = provider.token(&resource(&airlock, "/mcp/docs"), "mcp:use");
    assert_eq!(list(&airlock, "/mcp/docs", &token).status, 200);
}

#[test]
fn several_issuers_are_trusted_at_once_and_none_speaks_for_another() {
    let (Some(site), Some(mock)) = (site(), site()) else { return };
    let provider = site.start(&["one"]);
    for algorithm in ["ES384", "PS512"] {
        let other = mock.start_mock(algorithm);
        let airlock = trusting_also(&site, "5m", &[second(&mock, algorithm)]).start();
        let docs = resource(&airlock, "/mcp/docs");
        let claims =
            |aud: &str| json!({"aud": aud, "tenant": "x", "groups": ["mcp.users"], "scope": "mcp:use"});
        let good = other.mock_token(&claims("mock"));
        assert_eq!(list(&airlock, "/mcp", &good).status, 200, "{algorithm}: {}", airlock.log());
        assert_eq!(list(&airlock, "/mcp/docs", &provider.token(&docs, "mcp:use")).status, 200);
        // Each has audiences of its own, and a name of its own.
        let foreign = other.mock_token(&claims(&docs));
        assert_refused(&list(&airlock, "/mcp/docs", &foreign), 401, &["another audience"]);
        let mut liar = claims(&docs);
        liar["iss"] = json!(site.issuer());
        assert_refused(&list(&airlock, "/mcp/docs", &other.mock_token(&liar)), 401, &["invalid_token"]);
        liar["aud"] = json!("mock");
        assert_refused(&list(&airlock, "/mcp/docs", &other.mock_token(&liar)), 401, &["invalid_token"]);
    }
}

#[test]
fn an_algorithm_that_is_not_configured_is_not_learnt_from_the_provider() {
    let (Some(site), Some(mock)) = (site(), site()) else { return };
    let provider = site.start(&["one"]);
    let other = mock.start_mock("RS512");
    let trusting_both = trusting_also(&site, "5m", &[second(&mock, "RS256")]);
    let airlock = airlock_tests::Setup { only_listening: true, ..trusting_both }.start();
    let docs = resource(&airlock, "/mcp/docs");
    // Once this one is taken, the first round of both is over, or nearly.
    let good = provider.token(&docs, "mcp:use");
    assert!(until(|| (list(&airlock, "/mcp/docs", &good).status == 200).then_some(())).is_some());
    let token = other.mock_token(&json!({"aud": "mock", "groups": ["mcp.users"], "scope": "mcp:use"}));
    assert_refused(&list(&airlock, "/mcp/docs", &token), 401, &["invalid_token", "algorithm"]);
    assert!(!is_ready(&airlock), "an issuer without usable keys");
}

/// The entry of `auth.issuers` for the mock.
fn second(mock: &Site, algorithm: &str) -> Value {
    json!({"issuer": mock.issuer(), "audience": ["mock"], "algorithms": [algorithm], "claims": {"tenant": "tenant"}})
}
