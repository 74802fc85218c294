//! A web page that has the browsers of its visitors send requests here: the visitors are not to be blocked
//! for it.

use airlock_tests::airlock::until;
use airlock_tests::http::Request;
use airlock_tests::mcp::modern;
use airlock_tests::{Airlock, Setup};
use serde_json::{Value, json};

/// A door that believes its proxy, this host, about who a client is.
fn start(limits: &str) -> Airlock {
    let setup = Setup {
        upstreams: String::new(),
        more: format!("rate_limiting: {{{limits}}}\n"),
        only_listening: true,
        ..Setup::default()
    }
    .without_tokens()
    .server("trusted_proxies", json!(["127.0.0.0/8"]));
    setup.start()
}

fn from(request: Request, client: &str) -> Request {
    request.header("x-forwarded-for", client)
}

/// The requests that a page can have a browser send: an image, a form, a script, a link.
fn lured() -> Vec<Request> {
    let image = |path: &str| Request::get(path).header("sec-fetch-site", "cross-site");
    let form = Request {
        headers: vec![("content-type".into(), "text/plain".into())],
        ..Request::post("/mcp", "{}")
    };
    vec![
        image("/mcp"),
        image("/mcp/docs?access_token=guess"),
        image("/nothing/here"),
        image("/info"),
        // Every page may read it.
        image("/.well-known/oauth-protected-resource/mcp"),
        image("/mcp").header("authorization", "Basic Z3Vlc3M6Z3Vlc3M="),
        form.clone().header("origin", "https://evil.example").header("sec-fetch-site", "cross-site"),
        form.clone().header("origin", "null"),
        form.header("origin", "http://localhost.evil.example"),
        modern("/mcp", 1, "tools/list", &Value::Null)
            .header("origin", "https://evil.example")
            .bearer("guess"),
    ]
}

/// The visitor's browser sends as much as an offender does, who is blocked for it.
#[test]
fn a_page_cannot_have_its_visitors_blocked() {
    let mut airlock =
        start("per_address: 1/h, burst: 1, failed_auth: 1/h, kernel_drop: {after: 3, for: 1h, at_most: 1h}");
    let (visitor, offender) = ("203.0.113.7", "203.0.113.8");
    let blocked = || {
        for request in lured() {
            let answer = airlock.send(&from(request, visitor));
            assert!([200, 403, 404, 429].contains(&answer.status), "{}", answer.text());
            let rule = answer.answer()["error"]["data"]["rule_id"].clone();
            assert_ne!(rule, "rate_limiting.kernel_drop", "the visitor is blocked");
        }
        airlock.send(&from(Request::get("/nothing/here"), offender));
        airlock.audit().into_iter().find(|record| record["event"] == "address.blocked")
    };
    // The requests that a page had its visitor send were limited all the while.
    let record = until(blocked).expect("the offender is blocked");
    assert_eq!(record["client"], offender, "{record}");
    let limited = airlock.send(&from(lured().remove(0), visitor)).answer();
    assert_eq!(limited["error"]["data"]["rule_id"], "rate_limiting.per_address", "{limited}");
    // All records are written before the end.
    assert!(airlock.stop().success(), "{}", airlock.log());
    assert!(airlock.audit().iter().all(|r| r["event"] != "address.blocked" || r["client"] == offender));
}

/// Nor can it use up the guesses of an address, so that the honest tokens of its user are not looked at.
#[test]
fn a_page_cannot_use_up_the_guesses_of_its_visitors() {
    let airlock = start("failed_auth: 1/h");
    let visitor = "203.0.113.7";
    for _ in 0..3 {
        for request in lured() {
            let answer = airlock.send(&from(request, visitor));
            assert!([200, 403, 404].contains(&answer.status), "{}", answer.text());
        }
    }
    let guess = from(Request::post("/mcp", "{}").bearer("rubbish"), visitor);
    assert_eq!(airlock.send(&guess).status, 401, "the first guess of its own is looked at");
    assert_eq!(airlock.send(&guess).status, 429);
}
