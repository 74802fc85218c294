//! A server of lines on a unix socket whose answers a test writes by hand, and which remembers what it was
//! told.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A message as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Which connection it came on, from 0.
    pub(crate) connection: usize,
    pub(crate) message: Value,
}

impl Seen {
    pub(crate) fn method(&self) -> &str {
        self.message["method"].as_str().unwrap_or_default()
    }
}

/// The server's book.
#[derive(Default)]
pub(crate) struct Book {
    pub(crate) seen: Vec<Seen>,
    connections: Vec<UnixStream>,
}

/// The messages with which a server answers one.
pub(crate) type Answer = fn(&Value) -> Vec<Value>;

/// The running server; its threads end with the test's process.
pub(crate) struct Lines {
    dir: TempDir,
    book: Arc<Mutex<Book>>,
}

impl Lines {
    pub(crate) fn start(answer: Answer) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let listener = UnixListener::bind(dir.path().join("s")).expect("a socket");
        let book: Arc<Mutex<Book>> = Arc::default();
        std::thread::spawn({
            let book = Arc::clone(&book);
            move || {
                for (connection, stream) in listener.incoming().flatten().enumerate() {
                    lock(&book).connections.push(stream.try_clone().expect("another handle"));
                    let book = Arc::clone(&book);
                    std::thread::spawn(move || serve(connection, &stream, answer, &book));
                }
            }
        });
        Self { dir, book }
    }

    /// The upstream's YAML.
    pub(crate) fn upstream(&self, more: &str) -> String {
        let socket = self.dir.path().join("s");
        format!("type: unix, socket: \"{}\", framing: ndjson{more}", socket.display())
    }

    /// The entry that `read` finds in the book.
    pub(crate) fn book<T>(&self, read: impl FnOnce(&Book) -> T) -> T {
        read(&lock(&self.book))
    }

    /// The requests and notifications of one method so far.
    pub(crate) fn told(&self, method: &str) -> Vec<Seen> {
        self.book(|book| book.seen.iter().filter(|seen| seen.method() == method).cloned().collect())
    }

    /// Waits until so many messages of the method have come; the last.
    pub(crate) async fn until(&self, method: &str, count: usize) -> Seen {
        crate::until(|| self.told(method).get(count - 1).cloned()).await
    }

    /// Waits for the answer to a request of the server's.
    pub(crate) async fn answer(&self, id: &Value) -> Value {
        let is_it = |seen: &&Seen| seen.method().is_empty() && seen.message["id"] == *id;
        crate::until(|| self.book(|book| book.seen.iter().find(is_it).map(|seen| seen.message.clone()))).await
    }

    /// Says something on the newest connection.
    pub(crate) fn say(&self, message: &Value) {
        self.book(|book| write(book.connections.last().expect("a connection"), message));
    }

    /// Ends all connections.
    pub(crate) fn hang_up(&self) {
        self.book(|book| {
            for connection in &book.connections {
                let _ = connection.shutdown(Shutdown::Both);
            }
        });
    }
}

fn lock(book: &Mutex<Book>) -> std::sync::MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(connection: usize, stream: &UnixStream, answer: Answer, book: &Mutex<Book>) {
    let lines = BufReader::new(stream.try_clone().expect("another handle")).lines();
    for line in lines.map_while(Result::ok) {
        let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
        // Under the lock: what a test says comes behind the answer to what it has seen.
        let mut book = lock(book);
        book.seen.push(Seen { connection, message: message.clone() });
        for one in answer(&message) {
            write(stream, &one);
        }
    }
}

fn write(mut stream: &UnixStream, message: &Value) {
    let _ = stream.write_all(format!("{message}\n").as_bytes());
}

/// The result of a request.
pub(crate) fn result(request: &Value, result: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": request["id"], "result": result})
}

/// The error of a request.
pub(crate) fn error(request: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32_601, "message": "Method not found"}})
}

/// A request of the server's.
pub(crate) fn request(id: &Value, method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

/// A notification.
pub(crate) fn notification(method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": params})
}

/// A legacy server that tells of all changes; a call of `hang` is never answered.
pub(crate) fn legacy(message: &Value) -> Vec<Value> {
    match message["method"].as_str() {
        Some("initialize") => vec![result(
            message,
            &json!({"protocolVersion": "2025-11-25", "serverInfo": {"name": "lines", "version": "1"}, "capabilities":
                {"tools": {"listChanged": true}, "resources": {"listChanged": true, "subscribe": true}, "logging": {}}}),
        )],
        Some("tools/call") if message["params"]["name"] == "hang" => vec![],
        Some("tools/call") => vec![result(message, &json!({"content": []}))],
        Some("resources/subscribe") if message["params"]["uri"] == "no://" => vec![error(message)],
        Some("resources/subscribe" | "resources/unsubscribe" | "logging/setLevel") => {
            vec![result(message, &json!({}))]
        }
        Some(_) if message["id"].is_null() => vec![],
        Some(_) => vec![error(message)],
        None => vec![],
    }
}
