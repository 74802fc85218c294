//! Subscriptions to a modern server.

use airlock::upstream::message::notice::{Interest, Notice};
use airlock::upstream::subscription::Subscription;
use serde_json::{Value, json};

use crate::lines::{Lines, error, notification as says, result};
use crate::{ALL, alice, gateway, notification, on_both, silence};

const LISTEN: &str = "subscriptions/listen";
const ID: &str = "io.modelcontextprotocol/subscriptionId";

/// A modern server; a resource of `no:` is not to be watched.
fn modern(message: &Value) -> Vec<Value> {
    match message["method"].as_str() {
        Some("server/discover") => vec![result(
            message,
            &json!({"supportedVersions": ["2026-07-28"], "resultType": "complete", "ttlMs": 0, "cacheScope": "public",
                "capabilities": {"tools": {"listChanged": true}, "resources": {"subscribe": true}}}),
        )],
        Some(LISTEN) => {
            let filter = &message["params"]["notifications"];
            if filter["resourceSubscriptions"].as_array().is_some_and(|uris| uris.contains(&json!("no://"))) {
                return vec![error(message)];
            }
            let params = json!({"_meta": {ID: message["id"]}, "notifications": filter});
            vec![says("notifications/subscriptions/acknowledged", &params)]
        }
        Some("notifications/cancelled") | None => vec![],
        Some(_) => vec![error(message)],
    }
}

fn changed(listen: &Value) -> Value {
    says("notifications/tools/list_changed", &json!({"_meta": {ID: listen["id"]}}))
}

fn updated(listen: &Value, uri: &str) -> Value {
    says("notifications/resources/updated", &json!({"uri": uri, "_meta": {ID: listen["id"]}}))
}

#[test]
fn a_subscription_is_a_request_that_stays_open() {
    on_both(async |backend| {
        let server = Lines::start(modern);
        let (_all, upstream) = gateway(backend, &server.upstream(""), "");
        let mut one = upstream.subscribe(&alice(None), ALL).await.expect("a subscription");
        let mut two = upstream.subscribe(&alice(None), ALL).await.expect("a subscription");
        let listens = server.told(LISTEN);
        let params = &listens[0].message["params"];
        assert_eq!(params["notifications"], json!({"toolsListChanged": true}), "what it offers, no more");
        assert_eq!(params["_meta"]["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
        server.say(&changed(&listens[1].message));
        assert_eq!(notification(&mut two).await, ("notifications/tools/list_changed".into(), "{}".into()));
        silence(&mut one).await;
        // A message that names no subscription is nobody's: several principals share the server.
        server.say(&says("notifications/tools/list_changed", &json!({})));
        server.say(&says("notifications/message", &json!({"level": "info", "data": "x"})));
        silence(&mut two).await;
        drop(one);
        let cancelled = server.until("notifications/cancelled", 1).await;
        assert_eq!(cancelled.message["params"]["requestId"], listens[0].message["id"]);
    });
}

#[test]
fn a_resource_more_opens_the_next_request_before_the_last_is_closed() {
    on_both(async |backend| {
        let server = Lines::start(modern);
        let (_all, upstream) = gateway(backend, &server.upstream(""), "");
        let mut subscription = upstream.subscribe(&alice(None), ALL).await.expect("a subscription");
        subscription.watch("a://b").await.expect("reached").expect("acknowledged");
        let listens = server.told(LISTEN);
        assert_eq!(
            listens[1].message["params"]["notifications"],
            json!({"toolsListChanged": true, "resourceSubscriptions": ["a://b"]})
        );
        let cancelled = server.until("notifications/cancelled", 1).await;
        assert_eq!(cancelled.message["params"]["requestId"], listens[0].message["id"]);
        server.say(&updated(&listens[1].message, "c://"));
        server.say(&updated(&listens[1].message, "a://b"));
        let (_, params) = notification(&mut subscription).await;
        assert_eq!(params, r#"{"uri":"a://b"}"#);

        subscription.watch("no://").await.expect("reached").expect_err("the server refuses");
        server.say(&changed(&listens[1].message));
        notification(&mut subscription).await;
        subscription.unwatch("a://b").await.expect("reached").expect("acknowledged");
        let last = server.until(LISTEN, 4).await;
        assert_eq!(last.message["params"]["notifications"], json!({"toolsListChanged": true}));
    });
}

#[test]
fn what_the_server_ends_is_opened_again() {
    on_both(async |backend| {
        let server = Lines::start(modern);
        let (_all, upstream) = gateway(backend, &server.upstream(""), "");
        let mut subscription = upstream.subscribe(&alice(None), ALL).await.expect("a subscription");
        let first = server.until(LISTEN, 1).await;
        server.say(&result(&first.message, &json!({"resultType": "complete", "_meta": {ID: 1}})));
        let second = server.until(LISTEN, 2).await;
        server.say(&changed(&second.message));
        gap(&mut subscription).await;
        notification(&mut subscription).await;
        server.hang_up();
        let third = server.until(LISTEN, 3).await;
        assert_ne!(third.connection, second.connection);
        server.say(&changed(&third.message));
        gap(&mut subscription).await;
        notification(&mut subscription).await;
    });
}

/// A message while nobody listened is lost, and the subscriber is told so.
async fn gap(subscription: &mut Subscription) {
    let notice = crate::soon(subscription.next()).await;
    assert!(matches!(notice, Some(Notice::Dropped(0))), "{notice:?}");
}

#[test]
fn nothing_is_asked_of_a_server_that_offers_nothing() {
    on_both(async |backend| {
        let server = Lines::start(modern);
        let (all, upstream) = gateway(backend, &server.upstream(""), "");
        let prompts = Interest { prompts: true, ..Interest::default() };
        let mut subscription = upstream.subscribe(&alice(None), prompts).await.expect("a subscription");
        silence(&mut subscription).await;
        assert_eq!(server.told(LISTEN).len(), 0);
        all.end_all(std::time::Duration::from_secs(5)).await;
        assert!(crate::soon(subscription.next()).await.is_none(), "the gateway has shut down");
    });
}
