//! Messages of servers over HTTP outside of calls, and on the stream of a call.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use airlock::upstream::message::notice::Notice;
use airlock::upstream::message::reply::Reply;
use serde_json::{Value, json};

use crate::{ALL, alice, call, called, gateway, notification, on_both, soon, until};

#[derive(Debug, Clone)]
struct Seen {
    connection: usize,
    /// The head's first line and its fields, in lower case.
    head: String,
    body: Value,
}

impl Seen {
    fn is_get(&self) -> bool {
        self.head.starts_with("get ")
    }

    fn result(&self, result: &Value) -> String {
        json!({"jsonrpc": "2.0", "id": self.body["id"], "result": result}).to_string()
    }
}

#[derive(Default)]
struct Book {
    seen: Vec<Seen>,
    streams: Vec<TcpStream>,
    closed: Vec<usize>,
}

/// The answer to a request; `None` closes the connection.
type Answer = fn(&Seen) -> String;

struct Server {
    address: SocketAddr,
    book: Arc<Mutex<Book>>,
}

impl Server {
    fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let book: Arc<Mutex<Book>> = Arc::default();
        std::thread::spawn({
            let book = Arc::clone(&book);
            move || {
                for (connection, stream) in listener.incoming().flatten().enumerate() {
                    lock(&book).streams.push(stream.try_clone().expect("another handle"));
                    let book = Arc::clone(&book);
                    std::thread::spawn(move || {
                        serve(connection, stream, answer, &book);
                        lock(&book).closed.push(connection);
                    });
                }
            }
        });
        Self { address, book }
    }

    fn upstream(&self) -> String {
        format!("type: http, url: \"http://{}/mcp\"", self.address)
    }

    /// Waits for the request of that number for which `wanted` holds.
    async fn until(&self, count: usize, wanted: impl Fn(&Seen) -> bool) -> Seen {
        until(|| lock(&self.book).seen.iter().filter(|seen| wanted(seen)).nth(count - 1).cloned()).await
    }

    async fn answer(&self, id: Value) -> Value {
        self.until(1, |seen| seen.body["method"].is_null() && seen.body["id"] == id).await.body
    }

    /// Writes an event on the stream of a request.
    fn say(&self, on: &Seen, event: &str) {
        let book = lock(&self.book);
        let mut stream = &book.streams[on.connection];
        stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).expect("written");
    }

    /// Ends the connection of a request.
    fn hang_up(&self, on: &Seen) {
        let _ = lock(&self.book).streams[on.connection].shutdown(std::net::Shutdown::Both);
    }
}

fn lock(book: &Mutex<Book>) -> std::sync::MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(connection: usize, mut stream: TcpStream, answer: Answer, book: &Mutex<Book>) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        if let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
            let length = text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
            let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
            if let Some(body) = bytes.get(head + 4..head + 4 + length) {
                let body = serde_json::from_slice(body).unwrap_or(Value::Null);
                bytes.drain(..head + 4 + length);
                let seen = Seen { connection, head: text, body };
                let mut book = lock(book);
                book.seen.push(seen.clone());
                let answer = answer(&seen);
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
                continue;
            }
        }
        match stream.read(&mut buffer) {
            Ok(count @ 1..) => bytes.extend_from_slice(&buffer[..count]),
            _ => return,
        }
    }
}

const EVENTS: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

fn json_answer(more: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{more}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn event(message: &Value) -> String {
    format!("id: 7\ndata: {message}\n\n")
}

/// A legacy server with sessions and a stream for what belongs to no call.
fn legacy(seen: &Seen) -> String {
    match seen.body["method"].as_str() {
        _ if seen.is_get() => EVENTS.to_owned(),
        Some("initialize") => json_answer(
            "Mcp-Session-Id: s1\r\n",
            &seen.result(
                &json!({"protocolVersion": "2025-11-25", "serverInfo": {"name": "x", "version": "1"},
                "capabilities": {"tools": {"listChanged": true}, "resources": {"subscribe": true}}}),
            ),
        ),
        Some("tools/call") if seen.body["params"]["name"] == "stream" => EVENTS.to_owned(),
        Some("server/discover") => "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_owned(),
        _ if seen.body["id"].is_null() || seen.body["method"].is_null() => {
            "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n".to_owned()
        }
        _ => json_answer("", &seen.result(&json!({}))),
    }
}

/// The same without that stream.
fn without_stream(seen: &Seen) -> String {
    if seen.is_get() {
        return "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n".to_owned();
    }
    legacy(seen)
}

fn modern(seen: &Seen) -> String {
    match seen.body["method"].as_str() {
        Some("server/discover") => json_answer(
            "",
            &seen.result(&json!({"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {"listChanged": true}}})),
        ),
        _ => EVENTS.to_owned(),
    }
}

fn says(method: &str) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": {}})
}

#[test]
fn a_stream_is_opened_for_who_subscribes_and_taken_up_again() {
    on_both(|backend| async move {
        let server = Server::start(legacy);
        let (_all, upstream) = gateway(backend, &server.upstream(), "");
        called(&upstream, &alice(None), "quick").await;
        let mut subscription = upstream.subscribe(&alice(None), ALL).await.expect("a subscription");
        let get = server.until(1, Seen::is_get).await;
        assert!(
            get.head.contains("mcp-session-id: s1") && !get.head.contains("last-event-id"),
            "{}",
            get.head
        );
        let tools = "notifications/tools/list_changed";
        server.say(&get, &event(&says(tools)));
        assert_eq!(notification(&mut subscription).await.0, tools);
        let question = json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": {}});
        server.say(&get, &event(&question));
        match soon(subscription.next()).await {
            Some(Notice::Ask(ask)) => ask.answer(Ok(r#"{"action":"cancel"}"#.to_owned())),
            other => panic!("{other:?}"),
        }
        assert_eq!(server.answer(json!("q")).await["result"], json!({"action": "cancel"}));

        server.hang_up(&get);
        let again = server.until(2, Seen::is_get).await;
        assert!(again.head.contains("last-event-id: 7"), "{}", again.head);
        server.say(&again, &event(&says(tools)));
        notification(&mut subscription).await;
        drop(subscription);
        until(|| lock(&server.book).closed.contains(&again.connection).then_some(())).await;
    });
}

#[test]
fn a_server_without_a_stream_is_not_asked_twice() {
    on_both(|backend| async move {
        let server = Server::start(without_stream);
        let (_all, upstream) = gateway(backend, &server.upstream(), "");
        let _first = upstream.subscribe(&alice(None), ALL).await.expect("a subscription");
        called(&upstream, &alice(None), "quick").await;
        server.until(1, Seen::is_get).await;
        let _second = upstream.subscribe(&alice(None), ALL).await.expect("a subscription");
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        assert_eq!(lock(&server.book).seen.iter().filter(|seen| seen.is_get()).count(), 1);
    });
}

#[test]
fn what_comes_on_a_calls_stream_is_the_calls() {
    on_both(|backend| async move {
        let server = Server::start(legacy);
        let (_all, upstream) = gateway(backend, &server.upstream(), "");
        let mut subscription = upstream.subscribe(&alice(None), ALL).await.expect("a subscription");
        let (link, _) = upstream.link(&alice(None)).await.expect("a link");
        let mut first = call(&link, "stream").await;
        let on = server.until(1, |seen| seen.body["method"] == "tools/call").await;
        let _newer = call(&link, "stream").await;
        server.until(2, |seen| seen.body["method"] == "tools/call").await;
        let question = json!({"jsonrpc": "2.0", "id": 1, "method": "elicitation/create", "params": {}});
        server.say(&on, &event(&question));
        match soon(first.next()).await {
            Some(Reply::Ask(ask)) => ask.answer(Ok("{}".to_owned())),
            other => panic!("{other:?}"),
        }
        assert_eq!(server.answer(json!(1)).await["result"], json!({}));
        for method in ["notifications/message", "notifications/vendor"] {
            server.say(&on, &event(&says(method)));
            match soon(first.next()).await {
                Some(Reply::Notification(heard, _)) => assert_eq!(heard, method),
                other => panic!("{other:?}"),
            }
        }
        server.say(&on, &event(&says("notifications/tools/list_changed")));
        assert_eq!(notification(&mut subscription).await.0, "notifications/tools/list_changed");
        server.say(&on, &event(&serde_json::from_str(&on.result(&json!({"x": 1}))).expect("JSON")));
        assert!(matches!(soon(first.next()).await, Some(Reply::Result(result)) if result == r#"{"x":1}"#));
    });
}

#[test]
fn a_modern_subscription_is_a_response_that_stays_open() {
    on_both(|backend| async move {
        let server = Server::start(modern);
        let (_all, upstream) = gateway(backend, &server.upstream(), "");
        let subscribing = tokio::task::spawn_local({
            let upstream = Arc::clone(&upstream);
            async move { upstream.subscribe(&alice(None), ALL).await }
        });
        let listens = |seen: &Seen| seen.body["method"] == "subscriptions/listen";
        let listen = server.until(1, listens).await;
        assert!(listen.head.contains("mcp-method: subscriptions/listen"), "{}", listen.head);
        let meta = json!({"io.modelcontextprotocol/subscriptionId": listen.body["id"]});
        let with_id = |method: &str| {
            event(
                &json!({"jsonrpc": "2.0", "method": method, "params": {"_meta": meta, "notifications": {}}}),
            )
        };
        server.say(&listen, &with_id("notifications/subscriptions/acknowledged"));
        let mut subscription = soon(subscribing).await.expect("a task").expect("a subscription");
        server.say(&listen, &with_id("notifications/tools/list_changed"));
        let (method, params) = notification(&mut subscription).await;
        assert_eq!((&*method, &*params), ("notifications/tools/list_changed", r#"{"notifications":{}}"#));
        drop(subscription);
        until(|| lock(&server.book).closed.contains(&listen.connection).then_some(())).await;
    });
}
