//! A block ends what is open over TLS as well, whichever version of HTTP is spoken inside, and of nobody
//! else.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use airlock_tests::authority::Authority;
use airlock_tests::http::Request;
use airlock_tests::net::Net;
use airlock_tests::{Running, Setup};
use serde_json::json;

use super::operators_get_back_in::{Drill, ME, OTHER};

/// Nothing in a healthy run waits so long.
const READ_TIMEOUT: Duration = Duration::from_mins(1);

/// The protocol inside of TLS, as ALPN calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Http {
    One,
    Two,
}

impl Http {
    fn alpn(self) -> &'static str {
        match self {
            Self::One => "http/1.1",
            Self::Two => "h2",
        }
    }
}

/// `openssl s_client`, which passes on what it is given and ends with its connection.
struct Client {
    _child: Running,
    input: ChildStdin,
    /// The bytes out of TLS, in pieces; the other side hangs up at the end of the connection.
    pieces: Receiver<Vec<u8>>,
    unread: Vec<u8>,
    http: Http,
    /// The next stream of HTTP/2.
    stream: u32,
    door: SocketAddr,
}

impl Client {
    /// A connection from an address whose handshake is over and over which a request was answered.
    fn open(net: &Net, from: &str, door: SocketAddr, authority: &Authority, http: Http) -> Self {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-quiet", "-verify_return_error", "-servername", "localhost"]);
        command.args(["-connect", &door.to_string(), "-bind", &format!("{from}:0"), "-alpn", http.alpn()]);
        command.arg("-CAfile").arg(authority.file("ca.pem"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = net.inside(1, || Running::start(&mut command));
        let input = child.stdin.take().expect("its input");
        let mut output = child.stdout.take().expect("its output");
        let (sender, pieces) = mpsc::channel();
        // It ends with openssl, which ends with this value.
        std::thread::spawn(move || {
            let mut buffer = [0; 4_096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        let mut client = Self { _child: child, input, pieces, unread: Vec::new(), http, stream: 1, door };
        if http == Http::Two {
            client.say(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
            client.say(&frame(SETTINGS, 0, 0, &[]));
        }
        client.is_answered();
        client
    }

    fn say(&mut self, bytes: &[u8]) {
        self.input.write_all(bytes).and_then(|()| self.input.flush()).expect("openssl listens");
    }

    /// So many bytes of what came.
    fn take(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            let piece = self.pieces.recv_timeout(READ_TIMEOUT);
            self.unread.extend(piece.unwrap_or_else(|error| panic!("{:?}: {error}", self.http)));
        }
        self.unread.drain(..count).collect()
    }

    /// Reads frames up to one of that kind and stream; its payload.
    fn frame(&mut self, kind: u8, stream: u32) -> Vec<u8> {
        loop {
            let head = self.take(9);
            let payload =
                self.take(usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]));
            if head[3] == kind && head[5..] == stream.to_be_bytes() {
                return payload;
            }
        }
    }

    /// It is open: a request over it is answered.
    fn is_answered(&mut self) {
        match self.http {
            Http::One => {
                let live = Request::get("/live").header("connection", "keep-alive");
                self.say(&live.bytes(self.door));
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.extend(self.take(1));
                }
                let head = String::from_utf8(head).expect("text").to_lowercase();
                assert!(head.starts_with("http/1.1 200 "), "{head}");
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                self.take(length.map_or(0, |length| length.parse().expect("a number")));
            }
            Http::Two => {
                let (stream, head) = self.head(END_HEADERS | END_STREAM, GET, "/live");
                self.say(&head);
                let told = self.frame(HEADERS, stream);
                assert!(told.contains(&STATUS_200), "{told:?}");
            }
        }
    }

    /// Begins a request whose body does not come, and waits until the other side has read all of that.
    fn begin_a_request(&mut self) {
        assert_eq!(self.http, Http::Two, "HTTP/1.1 gives no sign");
        let (_, head) = self.head(END_HEADERS, POST, "/mcp");
        self.say(&head);
        self.say(&frame(PING, 0, 0, b"are you?"));
        assert_eq!(self.frame(PING, 0), b"are you?");
    }

    /// A frame that begins a request, and its stream.
    fn head(&mut self, flags: u8, method: u8, path: &str) -> (u32, Vec<u8>) {
        let authority = self.door.to_string();
        let mut block = vec![method, SCHEME_HTTPS];
        for (name, value) in [(NAME_AUTHORITY, &*authority), (NAME_PATH, path)] {
            block.extend([name, u8::try_from(value.len()).expect("short")]);
            block.extend(value.as_bytes());
        }
        let stream = self.stream;
        self.stream += 2;
        (stream, frame(HEADERS, flags, stream, &block))
    }

    /// It ends without a further byte of an answer, though it says nothing itself.
    fn ends(&mut self) {
        loop {
            match self.pieces.recv_timeout(READ_TIMEOUT) {
                // Windows and settings that were on their way.
                Ok(piece) => self.unread.extend(piece),
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("{:?}: it is still open", self.http),
            }
        }
    }
}

/// Kinds and flags of frames (RFC 9113, sections 6.2, 6.5 and 6.7).
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Whole fields of HPACK's static table (RFC 7541, appendix A), and literals that take only their names from
/// it.
const GET: u8 = 0x82;
const POST: u8 = 0x83;
const SCHEME_HTTPS: u8 = 0x87;
const STATUS_200: u8 = 0x88;
const NAME_AUTHORITY: u8 = 0x01;
const NAME_PATH: u8 = 0x04;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn a_block_ends_both_versions_of_http(xdp: &str, io: &str) {
    let authority = Authority::create();
    // So that nothing but the block can end what is idle.
    let timeouts = json!({"idle": "10m", "header": "10m", "body": "10m"});
    let patient = |setup: Setup| setup.server("tls", authority.tls()).server("timeouts", &timeouts);
    let Some(drill) = Drill::with(xdp, io, patient) else { return };
    let open = |from, http| Client::open(&drill.net, from, drill.door, &authority, http);
    let mut mine = [open(ME, Http::One), open(ME, Http::Two), open(ME, Http::Two)];
    let mut others = [open(OTHER, Http::One), open(OTHER, Http::Two)];
    mine[2].begin_a_request();
    drill.add("1h");
    mine.iter_mut().for_each(Client::ends);
    others.iter_mut().for_each(Client::is_answered);
    assert!(drill.block(&["remove", ME]).0);
    for http in [Http::One, Http::Two] {
        open(ME, http).is_answered();
    }
}

#[test]
fn a_block_ends_what_is_open_over_tls_and_nobody_elses() {
    for io in ["epoll", "auto"] {
        a_block_ends_both_versions_of_http("", io);
    }
}

#[test]
fn the_early_drop_leaves_nothing_open_over_tls_and_nobody_else_without() {
    a_block_ends_both_versions_of_http("door", "auto");
}
