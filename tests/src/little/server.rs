//! A little HTTP server whose answers a test writes by hand, and which remembers what it was asked. It needs
//! nothing else of this crate: tests of the daemon's library include the file.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde_json::{Value, json};

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Which connection it came on, from 0.
    pub connection: usize,
    /// `GET`, `POST`, …
    pub method: String,
    target: String,
    headers: Vec<(String, String)>,
    /// Its body as JSON; null when it has none.
    pub body: Value,
    /// Its body as it came.
    pub raw: String,
    /// When it had come.
    pub at: SystemTime,
    /// Its answer is written, or the beginning of an event stream.
    pub answered: bool,
}

impl Seen {
    /// The only field of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(given, _)| given == name);
        let first = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} is repeated: {self:?}");
        first
    }

    /// The error for a method that the server does not have.
    pub fn no_such_method(&self) -> String {
        json!({"jsonrpc": "2.0", "id": self.body["id"], "error": {"code": -32_601, "message": "no"}})
            .to_string()
    }

    /// The path that was asked for.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The JSON-RPC method; empty for an answer.
    pub fn rpc(&self) -> &str {
        self.body["method"].as_str().unwrap_or_default()
    }

    /// The result of this request, as a message.
    pub fn result(&self, result: &Value) -> String {
        json!({"jsonrpc": "2.0", "id": self.body["id"], "result": result}).to_string()
    }
}

/// The server's book.
#[derive(Debug, Default)]
pub struct Book {
    /// Every request, in order.
    pub seen: Vec<Seen>,
    /// Its end of each connection that is open.
    pub open: BTreeMap<usize, TcpStream>,
    /// Connections that the client has closed.
    pub closed: Vec<usize>,
    /// Bytes of bodies without end that the client took.
    pub flood: usize,
}

/// Writes the answer to a request onto its connection.
pub type Answer = fn(&Seen, &mut TcpStream, &Mutex<Book>) -> io::Result<()>;

/// The running server; its threads end with the test's process.
pub struct Little {
    address: SocketAddr,
    book: Arc<Mutex<Book>>,
}

impl Little {
    /// Listens on a free port of the loopback.
    pub fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let book: Arc<Mutex<Book>> = Arc::default();
        std::thread::spawn({
            let book = Arc::clone(&book);
            move || {
                for (connection, stream) in listener.incoming().flatten().enumerate() {
                    lock(&book).open.insert(connection, stream.try_clone().expect("another handle"));
                    let book = Arc::clone(&book);
                    std::thread::spawn(move || {
                        let _ = serve(connection, stream, answer, &book);
                        let mut book = lock(&book);
                        book.open.remove(&connection);
                        book.closed.push(connection);
                    });
                }
            }
        });
        Self { address, book }
    }

    /// A URL of it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The entry that `read` finds in the book.
    pub fn book<T>(&self, read: impl FnOnce(&Book) -> T) -> T {
        read(&lock(&self.book))
    }

    /// The requests of one JSON-RPC method so far.
    pub fn asked(&self, rpc: &str) -> Vec<Seen> {
        self.book(|book| book.seen.iter().filter(|seen| seen.rpc() == rpc).cloned().collect())
    }

    /// Writes a piece on the event stream that answers a request.
    pub fn say(&self, on: &Seen, piece: &str) -> io::Result<()> {
        self.book(|book| write_piece(&mut &book.open[&on.connection], piece.as_bytes()))
    }

    /// Ends the connection of a request.
    pub fn hang_up(&self, on: &Seen) -> io::Result<()> {
        self.book(|book| book.open[&on.connection].shutdown(Shutdown::Both))
    }
}

fn lock(book: &Mutex<Book>) -> std::sync::MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(connection: usize, mut stream: TcpStream, answer: Answer, book: &Mutex<Book>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = Vec::new();
    loop {
        let Some(seen) = read(connection, &mut stream, &mut bytes)? else { return Ok(()) };
        let place = {
            let mut book = lock(book);
            book.seen.push(seen.clone());
            book.seen.len() - 1
        };
        answer(&seen, &mut stream, book)?;
        lock(book).seen[place].answered = true;
    }
}

/// The next request; none at the end of the connection.
pub fn read(connection: usize, stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<Option<Seen>> {
    let mut buffer = [0; 16 * 1024];
    loop {
        if let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
            let mut lines = text.split("\r\n");
            let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
            let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let headers: Vec<(String, String)> = lines
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect();
            let length = headers.iter().find(|(name, _)| name == "content-length");
            let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0_usize);
            if let Some(body) = bytes.get(head + 4..head + 4 + length) {
                let raw = String::from_utf8_lossy(body).into_owned();
                let body = serde_json::from_slice(body).unwrap_or(Value::Null);
                bytes.drain(..head + 4 + length);
                return Ok(Some(Seen {
                    connection,
                    method,
                    target,
                    headers,
                    body,
                    raw,
                    at: SystemTime::now(),
                    answered: false,
                }));
            }
        }
        match stream.read(&mut buffer)? {
            0 => return Ok(None),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

/// Writes a whole answer.
pub fn write(stream: &mut TcpStream, status: &str, headers: &str, body: &str) -> io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    stream.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice())
}

/// Writes a JSON answer.
pub fn write_json(stream: &mut TcpStream, body: &str) -> io::Result<()> {
    write(stream, "200 OK", "Content-Type: application/json\r\n", body)
}

/// Begins an event stream.
pub fn begin_events(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    )
}

/// Writes one piece of a stream.
pub fn write_piece(stream: &mut impl Write, piece: &[u8]) -> io::Result<()> {
    stream.write_all([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat().as_slice())
}

/// Ends a stream.
pub fn end_events(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"0\r\n\r\n")
}
