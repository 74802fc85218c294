//! A blocking reader of one event stream, event by event.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::http::{Request, connect};

/// One event, or a comment between events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Its id.
    pub id: Option<String>,
    /// Milliseconds to wait before coming back.
    pub retry: Option<u64>,
    /// Its data; none in a comment.
    pub data: Option<String>,
    /// The comments before it.
    pub comment: Option<String>,
}

/// An open stream.
#[derive(Debug)]
pub struct Events {
    stream: TcpStream,
    /// The status of the answer.
    pub status: u16,
    /// The head of the answer, in lower case.
    pub head: String,
    raw: Vec<u8>,
    text: Vec<u8>,
    ended: bool,
}

impl Events {
    /// Sends a request and reads the head of its answer.
    pub fn open(address: SocketAddr, request: &Request) -> io::Result<Self> {
        let mut stream = connect(address)?;
        stream.write_all(&request.bytes(address))?;
        let mut raw = Vec::new();
        let end = loop {
            if let Some(end) = find(&raw, b"\r\n\r\n") {
                break end;
            }
            if read(&mut stream, &mut raw)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let head = String::from_utf8_lossy(&raw[..end]).to_ascii_lowercase();
        raw.drain(..end + 4);
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Ok(Self { stream, status, head, raw, text: Vec::new(), ended: false })
    }

    /// The next event or comment; none at the end of the stream.
    pub fn next_event(&mut self) -> io::Result<Option<Said>> {
        loop {
            if let Some(end) = find(&self.text, b"\n\n") {
                let block: Vec<u8> = self.text.drain(..end + 2).collect();
                return Ok(Some(parse(&String::from_utf8_lossy(&block))));
            }
            if self.ended {
                return Ok(None);
            }
            self.more()?;
        }
    }

    /// The next JSON-RPC message; none at the end of the stream.
    pub fn message(&mut self) -> Option<Value> {
        self.identified().map(|(_, message)| message)
    }

    /// The next JSON-RPC message and the id of its event; none at the end of the stream.
    pub fn identified(&mut self) -> Option<(Option<String>, Value)> {
        while let Ok(Some(said)) = self.next_event() {
            if let Some(message) = said.data.as_deref().and_then(|data| serde_json::from_str(data).ok()) {
                return Some((said.id, message));
            }
        }
        None
    }

    /// True where nothing but comments comes for so long, and the stream stays open.
    pub fn is_silent_for(&mut self, time: Duration) -> bool {
        let _ = self.stream.set_read_timeout(Some(time));
        let silent = match self.next_event() {
            Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
            Ok(_) => false,
        };
        let _ = self.stream.set_read_timeout(Some(Duration::from_mins(1)));
        silent
    }

    /// Takes one more chunk in.
    fn more(&mut self) -> io::Result<()> {
        if let Some(line) = find(&self.raw, b"\r\n") {
            let size = String::from_utf8_lossy(&self.raw[..line]).into_owned();
            let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16)
                .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            if size == 0 {
                self.ended = true;
                return Ok(());
            }
            if self.raw.len() >= line + 2 + size + 2 {
                self.text.extend_from_slice(&self.raw[line + 2..line + 2 + size]);
                self.raw.drain(..line + 2 + size + 2);
                return Ok(());
            }
        }
        if read(&mut self.stream, &mut self.raw)? == 0 {
            self.ended = true;
        }
        Ok(())
    }
}

fn read(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = [0; 16 * 1024];
    let count = stream.read(&mut buffer)?;
    bytes.extend_from_slice(&buffer[..count]);
    Ok(count)
}

fn parse(block: &str) -> Said {
    let mut said = Said::default();
    for line in block.lines() {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match name {
            "" if !line.is_empty() => said.comment = Some(value),
            "id" => said.id = Some(value),
            "retry" => said.retry = value.parse().ok(),
            "data" => {
                said.data = Some(said.data.map_or(value.clone(), |before| format!("{before}\n{value}")));
            }
            _ => {}
        }
    }
    said
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}
