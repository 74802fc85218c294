//! Messages of servers over HTTP outside of calls, and on the stream of a call.

use std::io;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use airlock::upstream::message::notice::Notice;
use airlock::upstream::message::reply::Reply;
use serde_json::{Value, json};

use crate::little::{Book, Little, Seen, begin_events, write, write_json};
use crate::{ALL, alice, call, called, gateway, notification, on_both, soon, until};

fn upstream(server: &Little) -> String {
    format!("type: http, url: \"{}\"", server.url("/mcp"))
}

/// Waits until the request of that number for which `wanted` holds is answered.
async fn asked(server: &Little, count: usize, wanted: impl Fn(&Seen) -> bool) -> Seen {
    let is_it = |seen: &&Seen| seen.answered && wanted(seen);
    until(|| server.book(|book| book.seen.iter().filter(is_it).nth(count - 1).cloned())).await
}

async fn answered(server: &Little, id: Value) -> Value {
    asked(server, 1, |seen| seen.rpc().is_empty() && seen.body["id"] == id).await.body
}

/// Waits until the client has closed the connection of a request.
async fn closed(server: &Little, on: &Seen) {
    until(|| server.book(|book| book.closed.contains(&on.connection).then_some(()))).await;
}

fn say(server: &Little, on: &Seen, message: &Value) {
    server.say(on, &format!("id: 7\ndata: {message}\n\n")).expect("written");
}

fn is_get(seen: &Seen) -> bool {
    seen.method == "GET"
}

/// A legacy server with sessions and a stream for what belongs to no call.
fn legacy(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    match seen.rpc() {
        _ if is_get(seen) => begin_events(stream),
        "initialize" => {
            let result = json!({"protocolVersion": "2025-11-25", "serverInfo": {"name": "x", "version": "1"},
                "capabilities": {"tools": {"listChanged": true}, "resources": {"subscribe": true}}});
            let head = "Content-Type: application/json\r\nMcp-Session-Id: s1\r\n";
            write(stream, "200 OK", head, &seen.result(&result))
        }
        "tools/call" if seen.body["params"]["name"] == "stream" => begin_events(stream),
        "server/discover" => write(stream, "400 Bad Request", "", ""),
        rpc if seen.body["id"].is_null() || rpc.is_empty() => write(stream, "202 Accepted", "", ""),
        _ => write_json(stream, &seen.result(&json!({}))),
    }
}

/// The same without that stream.
fn without_stream(seen: &Seen, stream: &mut TcpStream, book: &Mutex<Book>) -> io::Result<()> {
    if is_get(seen) { write(stream, "405 Method Not Allowed", "", "") } else { legacy(seen, stream, book) }
}

fn modern(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    if seen.rpc() != "server/discover" {
        return begin_events(stream);
    }
    let result =
        json!({"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {"listChanged": true}}});
    write_json(stream, &seen.result(&result))
}

fn says(method: &str) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": {}})
}

#[test]
fn a_stream_is_opened_for_who_subscribes_and_taken_up_again() {
    on_both(async |backend| {
        let server = Little::start(legacy);
        let (_all, upstream) = gateway(backend, &upstream(&server), "");
        called(&upstream, &alice(None), "quick").await;
        let mut subscription = upstream.subscribe(&alice(None), ALL).await.expect("a subscription");
        let get = asked(&server, 1, is_get).await;
        assert_eq!((get.header("mcp-session-id"), get.header("last-event-id")), (Some("s1"), None));
        let tools = "notifications/tools/list_changed";
        say(&server, &get, &says(tools));
        assert_eq!(notification(&mut subscription).await.0, tools);
        let question = json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": {}});
        say(&server, &get, &question);
        match soon(subscription.next()).await {
            Some(Notice::Ask(ask)) => ask.answer(Ok(r#"{"action":"cancel"}"#.to_owned())),
            other => panic!("{other:?}"),
        }
        assert_eq!(answered(&server, json!("q")).await["result"], json!({"action": "cancel"}));

        server.hang_up(&get).expect("an open connection");
        let again = asked(&server, 2, is_get).await;
        assert_eq!(again.header("last-event-id"), Some("7"));
        say(&server, &again, &says(tools));
        notification(&mut subscription).await;
        drop(subscription);
        closed(&server, &again).await;
    });
}

#[test]
fn a_server_without_a_stream_is_not_asked_twice() {
    on_both(async |backend| {
        let server = Little::start(without_stream);
        let (_all, upstream) = gateway(backend, &upstream(&server), "");
        let _first = upstream.subscribe(&alice(None), ALL).await.expect("a subscription");
        called(&upstream, &alice(None), "quick").await;
        asked(&server, 1, is_get).await;
        let _second = upstream.subscribe(&alice(None), ALL).await.expect("a subscription");
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        assert_eq!(server.book(|book| book.seen.iter().filter(|seen| is_get(seen)).count()), 1);
    });
}

#[test]
fn what_comes_on_a_calls_stream_is_the_calls() {
    on_both(async |backend| {
        let server = Little::start(legacy);
        let (_all, upstream) = gateway(backend, &upstream(&server), "");
        let mut subscription = upstream.subscribe(&alice(None), ALL).await.expect("a subscription");
        let (link, _) = upstream.link(&alice(None)).await.expect("a link");
        let mut first = call(&link, "stream").await;
        let on = asked(&server, 1, |seen| seen.body["method"] == "tools/call").await;
        let _newer = call(&link, "stream").await;
        asked(&server, 2, |seen| seen.body["method"] == "tools/call").await;
        let question = json!({"jsonrpc": "2.0", "id": 1, "method": "elicitation/create", "params": {}});
        say(&server, &on, &question);
        match soon(first.next()).await {
            Some(Reply::Ask(ask)) => ask.answer(Ok("{}".to_owned())),
            other => panic!("{other:?}"),
        }
        assert_eq!(answered(&server, json!(1)).await["result"], json!({}));
        for method in ["notifications/message", "notifications/vendor"] {
            say(&server, &on, &says(method));
            match soon(first.next()).await {
                Some(Reply::Notification(heard, _)) => assert_eq!(heard, method),
                other => panic!("{other:?}"),
            }
        }
        say(&server, &on, &says("notifications/tools/list_changed"));
        assert_eq!(notification(&mut subscription).await.0, "notifications/tools/list_changed");
        say(&server, &on, &serde_json::from_str(&on.result(&json!({"x": 1}))).expect("JSON"));
        assert!(matches!(soon(first.next()).await, Some(Reply::Result(result)) if result == r#"{"x":1}"#));
    });
}

#[test]
fn a_modern_subscription_is_a_response_that_stays_open() {
    on_both(async |backend| {
        let server = Little::start(modern);
        let (_all, upstream) = gateway(backend, &upstream(&server), "");
        let subscribing = tokio::task::spawn_local({
            let upstream = Arc::clone(&upstream);
            async move { upstream.subscribe(&alice(None), ALL).await }
        });
        let listens = |seen: &Seen| seen.body["method"] == "subscriptions/listen";
        let listen = asked(&server, 1, listens).await;
        assert_eq!(listen.header("mcp-method"), Some("subscriptions/listen"));
        let meta = json!({"io.modelcontextprotocol/subscriptionId": listen.body["id"]});
        let with_id = |method: &str| json!({"jsonrpc": "2.0", "method": method, "params": {"_meta": meta, "notifications": {}}});
        say(&server, &listen, &with_id("notifications/subscriptions/acknowledged"));
        let mut subscription = soon(subscribing).await.expect("a task").expect("a subscription");
        say(&server, &listen, &with_id("notifications/tools/list_changed"));
        let (method, params) = notification(&mut subscription).await;
        assert_eq!((&*method, &*params), ("notifications/tools/list_changed", r#"{"notifications":{}}"#));
        drop(subscription);
        closed(&server, &listen).await;
    });
}
