//! With identity providers that others wrote, clients get in by themselves, keys are rotated, and outages
//! pass.

mod keys;
mod provider;

use std::path::Path;
use std::process::Command;

use airlock_tests::airlock::{POLICY, free_address};
use airlock_tests::http::Response;
use airlock_tests::mcp::{modern, modern_call};
use airlock_tests::{Airlock, Setup, Upstream, skip, tools};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use provider::Site;

/// A provider that can be started; none, and the test is skipped, where it is not installed.
fn site() -> Option<Site> {
    Site::new().map_err(|reason| skip(&reason)).ok()
}

/// Airlock with two upstreams, `docs` and `code`, that trusts a provider for its own endpoints.
fn trusting(site: &Site) -> Setup {
    trusting_also(site, "5m", &[])
}

/// The same where keys are kept for a time, and others are trusted besides.
fn trusting_also(site: &Site, jwks_cache_ttl: &str, others: &[Value]) -> Setup {
    let listen = free_address().expect("a free port").to_string();
    let own = json!({"issuer": site.issuer(), "audience": [format!("http://{listen}/mcp")],
        "claims": {"tenant": "realm.tenant", "groups": "realm.groups"}, "jwks_cache_ttl": jwks_cache_ttl});
    let issuers = [&[own], others].concat();
    let code = Upstream::stdio("code", &[&tools::built("docs-server").display().to_string()]);
    // More tokens are refused here than one address may send in a minute.
    Setup { listen: vec![listen], ..Setup::default() }
        .upstreams(&[Upstream::docs(), code])
        .auth(json!({"required_scopes": ["mcp:use"], "issuers": issuers}))
        .with("rate_limiting", json!({"failed_auth": null}))
}

fn resource(airlock: &Airlock, path: &str) -> String {
    format!("http://{}{path}", airlock.address())
}

fn list(airlock: &Airlock, path: &str, token: &str) -> Response {
    airlock.send(&modern(path, 1, "tools/list", &Value::Null).bearer(token))
}

/// The payload of a token.
fn payload(token: &str) -> Value {
    let text = token.split('.').nth(1).expect("three segments");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).expect("base64url")).expect("JSON")
}

fn assert_refused(refused: &Response, status: u16, words: &[&str]) {
    assert_eq!(refused.status, status, "{}", refused.text());
    let challenge = refused.header("www-authenticate").expect("a challenge");
    for word in words {
        assert!(challenge.contains(word), "{word} is not in {challenge}");
    }
}

/// Runs the client, which knows nothing but the URL; what it tells.
fn visit(python: &Path, url: &str, user: &str, tool: &str) -> Value {
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("identity/clients_get_in_by_themselves/client.py");
    let mut command = Command::new(python);
    let told = tools::told(command.arg(script).args([url, user, tool, r#"{"query": "roll back"}"#]));
    assert!(told["text"].as_str().is_some_and(|text| text.contains("deployment.md")), "{told}");
    assert_eq!(told["is_error"], json!(false));
    told
}

/// The scopes that it asked for.
fn asked(told: &Value) -> Vec<&str> {
    told["asked"]["scope"].as_str().unwrap_or_default().split(' ').collect()
}

#[test]
fn a_client_that_knows_only_the_url_gets_in() {
    let (site, python) = match (Site::new(), tools::python("python")) {
        (Ok(site), Ok(python)) => (site, python),
        (Err(reason), _) | (_, Err(reason)) => return skip(&reason),
    };
    let _provider = site.start(&["one"]);
    let airlock = trusting(&site).start();
    for (endpoint, tool) in [("/mcp/docs", "search_docs"), ("/mcp", "docs__search_docs")] {
        let url = resource(&airlock, endpoint);
        let told = visit(&python, &url, "alice", tool);
        // It was told by Airlock what to ask for: this endpoint, and the scope of the challenge; with PKCE.
        assert_eq!(told["asked"]["resource"], json!(url), "{told}");
        assert!(asked(&told).contains(&"mcp:use") && !asked(&told).contains(&"mcp:admin"), "{told}");
        assert_eq!(told["asked"]["code_challenge_method"], json!("S256"), "{told}");
        assert_eq!(told["asked"]["client_id"], told["registered"]);
        let token = told["token"].as_str().expect("a token");
        let claims = payload(token);
        assert_eq!((&claims["aud"], &claims["sub"]), (&json!(url), &json!("alice")), "{claims}");
        // The record names who logged in there.
        let record =
            airlock.audited(|record| record["method"] == "tools/call" && record["subject"] == "alice");
        assert_eq!(record["tenant"], json!("acme"), "{record}");
        let other = list(&airlock, "/mcp/code", token);
        if endpoint == "/mcp" {
            assert_eq!(other.status, 200, "{}", other.text());
        } else {
            assert_refused(&other, 401, &["invalid_token"]);
        }
    }
}

#[test]
fn a_client_that_needs_more_scopes_asks_for_all_of_them() {
    let (site, python) = match (Site::new(), tools::python("python")) {
        (Ok(site), Ok(python)) => (site, python),
        (Err(reason), _) | (_, Err(reason)) => return skip(&reason),
    };
    let provider = site.start(&["one"]);
    let policy = format!(
        "{POLICY}\nobligations := {{\"scopes\": [\"mcp:admin\"]}} if {{\n    input.call.tool == \"search_docs\"\n    \
         is_object(input.call.arguments)\n}}\n"
    );
    let airlock = Setup { policy, ..trusting(&site) }.start();
    for (endpoint, tool) in [("/mcp/docs", "search_docs"), ("/mcp", "docs__search_docs")] {
        let url = resource(&airlock, endpoint);
        let poor = provider.token(&url, "mcp:use");
        let refused = airlock.send(&modern_call(endpoint, 1, tool, &json!({"query": "x"})).bearer(&poor));
        let metadata = resource(&airlock, &format!("/.well-known/oauth-protected-resource{endpoint}\""));
        assert_refused(&refused, 403, &["insufficient_scope", "scope=\"mcp:use mcp:admin\"", &metadata]);
        // The client finds its way by itself: from the 401 to a token, from the 403 to a better one.
        let told = visit(&python, &url, "alice", tool);
        assert!(asked(&told).contains(&"mcp:use") && asked(&told).contains(&"mcp:admin"), "{told}");
        assert_eq!(payload(told["token"].as_str().expect("a token"))["aud"], json!(url));
    }
}

#[test]
fn a_token_is_good_at_the_endpoint_that_it_was_issued_for() {
    let Some(site) = site() else { return };
    let provider = site.start(&["one"]);
    let airlock = trusting(&site).start();
    let docs = provider.token(&resource(&airlock, "/mcp/docs"), "mcp:use");
    // Twice: the second time the token is remembered.
    for _ in 0..2 {
        assert_eq!(list(&airlock, "/mcp/docs", &docs).status, 200);
        for (path, metadata) in [("/mcp/code", "/mcp/code"), ("/mcp", "/mcp")] {
            let refused = list(&airlock, path, &docs);
            let metadata = resource(&airlock, &format!("/.well-known/oauth-protected-resource{metadata}\""));
            assert_refused(&refused, 401, &["invalid_token", "scope=\"mcp:use\"", &metadata]);
            assert!(refused.text().contains("another endpoint"), "{}", refused.text());
            assert!(!refused.text().contains("docs"), "it says where the token is good: {}", refused.text());
        }
        // There is nothing, and whose token it is does not matter.
        assert_eq!(list(&airlock, "/mcp/nothing", &docs).status, 404);
    }
    let merged = provider.token(&resource(&airlock, "/mcp"), "mcp:use");
    for path in ["/mcp", "/mcp/docs", "/mcp/code"] {
        assert_eq!(list(&airlock, path, &merged).status, 200, "{path}");
    }
    for foreign in ["https://other.example/mcp/docs", &resource(&airlock, "/mcp/"), &resource(&airlock, "")] {
        let refused = list(&airlock, "/mcp/docs", &provider.token(foreign, "mcp:use"));
        assert_refused(&refused, 401, &["invalid_token", "another audience"]);
    }
}

#[test]
fn a_scope_that_is_missing_is_named() {
    let Some(site) = site() else { return };
    let provider = site.start(&["one"]);
    let airlock = trusting(&site).start();
    let path = "/mcp/docs";
    let poor = provider.token(&resource(&airlock, path), "mcp:admin");
    let refused = list(&airlock, path, &poor);
    assert_refused(
        &refused,
        403,
        &["error=\"insufficient_scope\"", "scope=\"mcp:use\"", "resource_metadata="],
    );
    assert_eq!(refused.answer()["error"]["data"]["rule_id"], json!("auth.required_scopes"));
    let good = provider.token(&resource(&airlock, path), "mcp:use mcp:admin");
    let called =
        airlock.send(&modern_call(path, 2, "search_docs", &json!({"query": "roll back"})).bearer(&good));
    assert_eq!(called.status, 200, "{}", called.text());
    let metadata =
        airlock.send(&airlock_tests::http::Request::get("/.well-known/oauth-protected-resource/mcp/docs"));
    let metadata: Value = serde_json::from_slice(&metadata.body).expect("JSON");
    assert_eq!(metadata["scopes_supported"], json!(["mcp:use"]));
    assert_eq!(metadata["authorization_servers"], json!([site.issuer()]));
}

#[test]
fn a_token_that_a_provider_has_bound_to_a_key_needs_the_key() {
    let Some(site) = site() else { return };
    let _provider = site.start(&["one"]);
    let airlock = trusting(&site).start();
    let told = site.visit("dpop.mjs", &resource(&airlock, "/mcp/docs"));
    assert_eq!((&told["type"], &told["bound"]), (&json!("DPoP"), &json!(true)), "{told}");
    for (attempt, status, error) in [
        ("bearer", 401, json!("invalid_token")),
        ("first", 401, json!("use_dpop_nonce")),
        ("good", 200, Value::Null),
        ("replayed", 401, json!("invalid_dpop_proof")),
        ("thief", 401, json!("invalid_dpop_proof")),
    ] {
        assert_eq!((&told[attempt]["status"], &told[attempt]["error"]), (&json!(status), &error), "{told}");
        assert_eq!(told[attempt]["nonce"].is_string(), status == 401, "{told}");
    }
    // Where the client has asked, the record knows whose it was.
    airlock.audited(|record| record["event"] == "list" && record["subject"] == "robot");
}

#[test]
fn airlock_gets_a_token_of_its_own_for_a_server_that_wants_one() {
    let Some(site) = site() else { return };
    let _provider = site.start(&["one"]);
    // The server is another Airlock, which takes the provider's tokens and no others.
    let server = trusting(&site).start();
    let url = resource(&server, "/mcp/docs");
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "a secret of the tests\n").expect("written");
    for client_auth in ["basic", "post"] {
        let credentials = json!({"token_endpoint": format!("{}/token", site.issuer()), "client_id": "robot",
            "client_secret_file": secret, "client_auth": client_auth, "scopes": ["mcp:use"], "resource": url});
        let far = Upstream::http("far", &url).with("credential", json!({"client_credentials": credentials}));
        let airlock = Setup::default().upstreams(&[far]).start();
        let call = modern_call("/mcp/far", 1, "search_docs", &json!({"query": "roll back"}));
        let answer = airlock.send(&call.bearer(&airlock.user()));
        assert_eq!(answer.status, 200, "{client_auth}: {}\n{}", answer.text(), airlock.log());
        let by = server.audited(|record| record["event"] == "call.intent" && record["subject"] == "robot");
        assert_eq!(by["target"], "search_docs", "{by}");
        // The client of the one is nobody to the other.
        let direct =
            modern_call("/mcp/docs", 1, "search_docs", &json!({"query": "x"})).bearer(&airlock.user());
        assert_eq!(server.send(&direct).status, 401);
    }
}
