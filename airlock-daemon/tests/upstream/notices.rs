//! Messages of a legacy server outside of calls, and who hears them.

use std::sync::Arc;
use std::time::Duration;

use airlock::upstream::message::notice::{Interest, Notice};
use airlock::upstream::message::reply::Reply;
use airlock::upstream::pool::Caller;
use serde_json::json;

use crate::lines::notification as says;
use crate::{ALL, alice, call, called, identity, notification, on_lines, silence, soon, until};

/// No revision has it, so each counts.
const OTHER: &str = "vendor/event";
const TOOLS: &str = "notifications/tools/list_changed";
const UPDATED: &str = "notifications/resources/updated";

#[test]
fn who_subscribed_before_the_process_was_started_hears_it() {
    on_lines("", async |server, _all, upstream| {
        let [session, other] = [Arc::<str>::from("s1"), Arc::<str>::from("s2")];
        let mut mine = upstream.subscribe(&alice(Some(&session)), ALL).await.expect("a subscription");
        let mut others = upstream.subscribe(&alice(Some(&other)), ALL).await.expect("a subscription");
        assert_eq!(server.told("initialize").len(), 1, "only the probe has started it");
        called(&upstream, &alice(Some(&session)), "quick").await;
        for method in [TOOLS, "notifications/message", "notifications/vendor/x"] {
            server.say(&says(method, &json!({"n": 1})));
            assert_eq!(notification(&mut mine).await, (method.to_owned(), r#"{"n":1}"#.to_owned()));
        }
        silence(&mut others).await;
    });
}

#[test]
fn a_log_message_belongs_to_the_call_in_flight() {
    on_lines("", async |server, _all, upstream| {
        let mut subscription = upstream.subscribe(&alice(None), ALL).await.expect("a subscription");
        let (link, _) = upstream.link(&alice(None)).await.expect("a link");
        let mut pending = call(&link, "hang").await;
        server.until("tools/call", 1).await;
        server.say(&says("notifications/message", &json!({"level": "info", "data": "x"})));
        match soon(pending.next()).await {
            Some(Reply::Notification(method, _)) => assert_eq!(method, "notifications/message"),
            other => panic!("{other:?}"),
        }
        server.say(&says(TOOLS, &json!({})));
        assert_eq!(notification(&mut subscription).await.0, TOOLS);
    });
}

#[test]
fn a_slow_subscriber_is_told_what_it_missed() {
    on_lines("", async |server, _all, upstream| {
        let mut subscription = upstream.subscribe(&alice(None), ALL).await.expect("a subscription");
        called(&upstream, &alice(None), "quick").await;
        for _ in 0..70 {
            server.say(&says(OTHER, &json!({})));
        }
        // Whatever comes after a call's answer was said after it.
        called(&upstream, &alice(None), "quick").await;
        for _ in 0..64 {
            notification(&mut subscription).await;
        }
        server.say(&says(OTHER, &json!({})));
        match soon(subscription.next()).await {
            Some(Notice::Dropped(6)) => {}
            other => panic!("{other:?}"),
        }
        notification(&mut subscription).await;
    });
}

#[test]
fn a_resource_is_subscribed_to_once_and_heard_by_those_who_watch_it() {
    on_lines(", isolation: subject", async |server, _all, upstream| {
        let mut one = upstream.subscribe(&alice(None), ALL).await.expect("a subscription");
        let mut two = upstream.subscribe(&alice(None), ALL).await.expect("a subscription");
        let mut deaf = upstream.subscribe(&alice(None), ALL).await.expect("a subscription");
        assert_eq!(one.watch("a://b").await.expect("reached"), Ok("{}".to_owned()), "it is started for this");
        assert_eq!(two.watch("a://b").await.expect("reached"), Ok("{}".to_owned()));
        assert_eq!(server.told("resources/subscribe").len(), 1);
        one.watch("no://").await.expect("reached").expect_err("the server refuses");
        server.say(&says(UPDATED, &json!({"uri": "a://b/c"})));
        assert_eq!(notification(&mut one).await.0, UPDATED);
        assert_eq!(notification(&mut two).await.0, UPDATED);
        silence(&mut deaf).await;

        // A process that is started again is told again.
        let (old, _) = upstream.link(&alice(None)).await.expect("a link");
        server.hang_up();
        until(|| (!old.is_alive()).then_some(())).await;
        called(&upstream, &alice(None), "quick").await;
        let again = server.until("resources/subscribe", 3).await;
        assert_eq!(again.message["params"]["uri"], "a://b");

        one.unwatch("a://b").await.expect("reached").expect("done");
        assert_eq!(server.told("resources/unsubscribe").len(), 0, "another watches it");
        drop(two);
        server.until("resources/unsubscribe", 1).await;
    });
}

#[test]
fn a_subscription_ends_with_its_session() {
    on_lines("", async |_server, all, upstream| {
        let session: Arc<str> = "s".into();
        let mut subscription = upstream.subscribe(&alice(Some(&session)), ALL).await.expect("a subscription");
        called(&upstream, &alice(Some(&session)), "quick").await;
        all.end_session(&session);
        assert!(soon(subscription.next()).await.is_none());
        subscription.watch("a://b").await.expect("an answer").expect_err("it has ended");
    });
}

#[test]
fn subscriptions_are_bounded() {
    on_lines("", async |_server, _all, upstream| {
        let mut kept = Vec::new();
        let refused = loop {
            match upstream.subscribe(&alice(None), Interest::default()).await {
                Ok(subscription) => kept.push(subscription),
                Err(error) => break error,
            }
        };
        assert_eq!((kept.len(), refused.status().as_u16()), (64, 503));
        let bob = Caller { identity: identity("bob", None), ..alice(None) };
        upstream.subscribe(&bob, Interest::default()).await.expect("there is room for others");
        kept.clear();
        while upstream.subscribe(&alice(None), Interest::default()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}
