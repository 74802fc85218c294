//! A blocking HTTP/1.1 client that hides nothing: what a test writes is what goes over the wire.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// An answer may take this long; nothing in a healthy run comes near.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);

/// A request that is written as it stands, plus `Host`, `Content-Length` and `Connection: close` where they
/// are missing.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Header fields in order.
    pub headers: Vec<(String, String)>,
    /// The body's bytes.
    pub body: Vec<u8>,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header fields in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body without its transfer coding.
    pub body: Vec<u8>,
}

impl Request {
    /// A GET.
    pub fn get(path: &str) -> Self {
        Self { method: "GET".to_owned(), path: path.to_owned(), ..Self::default() }
    }

    /// A POST of JSON as an MCP client sends it.
    pub fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { method: "POST".to_owned(), path: path.to_owned(), headers: Vec::new(), body: body.into() }
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
    }

    /// The same with one more header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with a bearer token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// The bytes on the wire.
    pub fn bytes(&self, address: SocketAddr) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        let has = |name: &str| self.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
        if !has("host") {
            let _ = write!(head, "Host: {address}\r\n");
        }
        if !has("connection") {
            head.push_str("Connection: close\r\n");
        }
        if !has("content-length") && (!self.body.is_empty() || self.method == "POST") {
            let _ = write!(head, "Content-Length: {}\r\n", self.body.len());
        }
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        [head.as_bytes(), &self.body].concat()
    }

    /// Sends it on a connection of its own and reads the whole answer.
    pub fn send(&self, address: SocketAddr) -> io::Result<Response> {
        let mut stream = connect(address)?;
        // A server may refuse by its head and close before it read a large body: then the answer is still
        // there.
        let written = stream.write_all(&self.bytes(address));
        let response = read_response(&mut stream);
        match (response, written) {
            (Ok(response), _) => Ok(response),
            (Err(_), Err(error)) | (Err(error), Ok(())) => Err(error),
        }
    }
}

/// A connection with a deadline on each read.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, ANSWER_TIMEOUT)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads one answer to its end: its length, its last chunk, or the end of the connection.
pub fn read_response(stream: &mut TcpStream) -> io::Result<Response> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if let Some(response) = parse(&bytes, false)? {
            return Ok(response);
        }
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A reset after a whole answer is the end as well.
            Err(error) => return parse(&bytes, true)?.ok_or(error),
        }
    }
    parse(&bytes, true)?.ok_or_else(|| {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
        io::Error::new(io::ErrorKind::UnexpectedEof, format!("the answer broke off: {shown:?}"))
    })
}

/// The answer in `bytes`, if it is whole.
fn parse(bytes: &[u8], ended: bool) -> io::Result<Option<Response>> {
    let Some(end) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status =
        lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse::<u16>().ok());
    let Some(status) = status else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("no HTTP answer: {head:?}")));
    };
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let header =
        |name: &str| headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str());
    let rest = &bytes[end + 4..];
    if (100..200).contains(&status) {
        return parse(rest, ended);
    }
    let body = if header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        unchunk(rest)
    } else if let Some(length) = header("content-length").and_then(|length| length.parse::<usize>().ok()) {
        rest.get(..length).map(<[u8]>::to_vec)
    } else if status == 204 || status == 304 {
        Some(Vec::new())
    } else {
        ended.then(|| rest.to_vec())
    };
    Ok(body.map(|body| Response { status, headers, body }))
}

/// The content of a chunked body, if its last chunk is there.
fn unchunk(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = find(bytes, b"\r\n")?;
        let size = std::str::from_utf8(&bytes[..line]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        bytes = &bytes[line + 2..];
        if size == 0 {
            return find(bytes, b"\r\n").map(|_| body);
        }
        body.extend_from_slice(bytes.get(..size)?);
        bytes = bytes.get(size + 2..)?;
    }
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

impl Response {
    /// The first field of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Every JSON-RPC message of the answer, whether it came as JSON or as an event stream.
    pub fn messages(&self) -> Vec<Value> {
        let text = self.text();
        if !self.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream")) {
            return serde_json::from_str(&text).into_iter().collect();
        }
        let mut messages = Vec::new();
        for event in text.replace("\r\n", "\n").split("\n\n") {
            let data: Vec<&str> = event
                .lines()
                .filter_map(|line| line.strip_prefix("data:"))
                .map(|data| data.strip_prefix(' ').unwrap_or(data))
                .collect();
            messages.extend(serde_json::from_str::<Value>(&data.join("\n")));
        }
        messages
    }

    /// The JSON-RPC answer: the message that has a result or an error. Null when there is none.
    pub fn answer(&self) -> Value {
        let is_answer = |message: &Value| message.get("result").is_some() || message.get("error").is_some();
        self.messages().into_iter().find(is_answer).unwrap_or(Value::Null)
    }
}
