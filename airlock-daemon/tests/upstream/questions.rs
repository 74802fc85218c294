//! Questions of a legacy server to its client.

use airlock::mcp::client::ClientCapabilities;
use airlock::upstream::message::ask::Ask;
use airlock::upstream::message::notice::Notice;
use airlock::upstream::message::reply::Reply;
use airlock::upstream::pool::Caller;
use airlock::upstream::transport::handle::Pending;
use serde_json::{Value, json};

use crate::lines::{notification, request};
use crate::{ALL, alice, call, called, identity, on_lines, soon, until};

/// The question that comes on a call.
async fn asked(pending: &mut Pending) -> Ask {
    match soon(pending.next()).await {
        Some(Reply::Ask(ask)) => ask,
        other => panic!("{other:?}"),
    }
}

#[test]
fn goes_to_the_newest_call_and_its_answer_comes_back() {
    on_lines("", async |server, _all, upstream| {
        let (link, _) = upstream.link(&alice(None)).await.expect("a link");
        let mut older = call(&link, "hang").await;
        let mut newer = call(&link, "hang").await;
        server.until("tools/call", 2).await;
        server.say(&request(&json!("q1"), "elicitation/create", &json!({"message": "name?"})));
        let ask = asked(&mut newer).await;
        assert_eq!((&*ask.method, &*ask.params), ("elicitation/create", r#"{"message":"name?"}"#));
        ask.answer(Ok(r#"{"action":"decline"}"#.to_owned()));
        assert_eq!(server.answer(&json!("q1")).await["result"], json!({"action": "decline"}));

        server.say(&request(&json!(2), "elicitation/create", &json!({})));
        drop(asked(&mut newer).await);
        assert_eq!(server.answer(&json!(2)).await["error"]["code"], json!(-32_603));

        // Withdrawn by the server: whoever holds it learns of that.
        server.say(&request(&json!(3), "elicitation/create", &json!({})));
        let mut ask = asked(&mut newer).await;
        server.say(&notification("notifications/cancelled", &json!({"requestId": 3})));
        soon(ask.withdrawn()).await;

        drop(newer);
        server.until("notifications/cancelled", 1).await;
        server.say(&request(&json!(4), "elicitation/create", &json!({})));
        asked(&mut older).await.answer(Err(r#"{"code":-1,"message":"no"}"#.to_owned()));
        assert_eq!(server.answer(&json!(4)).await["error"]["code"], json!(-1));
    });
}

#[test]
fn is_not_raised_when_it_was_not_declared() {
    on_lines("", async |server, _all, upstream| {
        let (link, _) = upstream.link(&alice(None)).await.expect("a link");
        let declared = server.until("initialize", 2).await;
        assert_eq!(declared.message["params"]["capabilities"], json!({"elicitation": {"form": {}}}));
        assert_eq!(server.told("initialize")[0].message["params"]["capabilities"], json!({}), "the probe's");
        let _pending = call(&link, "hang").await;
        server.until("tools/call", 1).await;
        for (id, method, params) in [
            (1, "sampling/createMessage", json!({})),
            (2, "elicitation/create", json!({"mode": "url", "url": "https://x"})),
            (3, "vendor/ask", json!({})),
        ] {
            server.say(&request(&json!(id), method, &params));
            assert_eq!(server.answer(&json!(id)).await["error"]["code"], json!(-32_601), "{method}");
        }
        server.say(&request(&json!(4), "roots/list", &Value::Null));
        assert_eq!(server.answer(&json!(4)).await["result"], json!({"roots": []}));
    });
}

#[test]
fn goes_to_a_subscriber_when_no_call_is_in_flight() {
    on_lines("", async |server, _all, upstream| {
        called(&upstream, &alice(None), "quick").await;
        server.say(&request(&json!(1), "elicitation/create", &json!({})));
        assert_eq!(server.answer(&json!(1)).await["error"]["code"], json!(-32_601), "nobody is there");
        let mut subscription = upstream.subscribe(&alice(None), ALL).await.expect("a subscription");
        server.say(&request(&json!(2), "elicitation/create", &json!({})));
        match soon(subscription.next()).await {
            Some(Notice::Ask(ask)) => ask.answer(Ok("{}".to_owned())),
            other => panic!("{other:?}"),
        }
        assert_eq!(server.answer(&json!(2)).await["result"], json!({}));
    });
}

#[test]
fn is_nobodys_when_it_may_be_one_of_severals() {
    on_lines(", isolation: tenant", async |server, _all, upstream| {
        let of = |subject| Caller { identity: identity(subject, Some("acme")), ..alice(None) };
        let (link, _) = upstream.link(&of("alice")).await.expect("a link");
        let mut alices = call(&link, "hang").await;
        server.until("tools/call", 1).await;
        server.say(&request(&json!(1), "elicitation/create", &json!({})));
        asked(&mut alices).await.answer(Ok("{}".to_owned()));
        let (other, _) = upstream.link(&of("bob")).await.expect("a link");
        // Nobody else's call runs any more, and still the question may be about Alice's.
        drop(alices);
        let bobs = call(&other, "hang").await;
        let connection = server.until("tools/call", 2).await.connection;
        assert_eq!(connection, server.told("tools/call")[0].connection, "they share a process");
        server.say(&request(&json!(2), "elicitation/create", &json!({})));
        assert_eq!(server.answer(&json!(2)).await["error"]["code"], json!(-32_601));
        drop(bobs);
    });
}

#[test]
fn makes_processes_differ_by_what_was_declared() {
    on_lines(", isolation: subject", async |server, _all, upstream| {
        called(&upstream, &alice(None), "quick").await;
        let none = Caller { capabilities: ClientCapabilities::default(), ..alice(None) };
        called(&upstream, &none, "quick").await;
        called(&upstream, &alice(None), "quick").await;
        let calls = server.told("tools/call");
        assert_ne!(calls[0].connection, calls[1].connection);
        assert_eq!(calls[0].connection, calls[2].connection);
    });
}

#[test]
fn of_a_server_that_is_gone_is_withdrawn() {
    on_lines("", async |server, _all, upstream| {
        let (link, _) = upstream.link(&alice(None)).await.expect("a link");
        let mut pending = call(&link, "hang").await;
        server.until("tools/call", 1).await;
        server.say(&request(&json!(1), "elicitation/create", &json!({})));
        let mut ask = asked(&mut pending).await;
        server.hang_up();
        soon(ask.withdrawn()).await;
        assert!(soon(pending.next()).await.is_none());
        until(|| (!link.is_alive()).then_some(())).await;
    });
}
