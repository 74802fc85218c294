//! `server`: where Airlock listens and how it runs.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::units::{ByteSize, FileMode, Period};

/// `server`: where Airlock listens and how it runs.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// TCP addresses to listen on. Loopback only by default; may be empty beside a unix socket. `0.0.0.0`
    /// stands for all of IPv4, `[::]` for all of IPv6 and for no IPv4.
    pub listen: Vec<SocketAddr>,
    /// A unix socket to listen on as well, without TLS. The policy sees the user at its other end
    /// (`input.client.uid`).
    pub unix_socket: Option<PathBuf>,
    /// The file mode of the unix socket, in octal: it says who may connect.
    pub unix_socket_mode: FileMode,
    /// The URL under which clients reach this host, without a path; names the resource in OAuth metadata.
    pub public_url: Option<String>,
    /// Names in `Host` under which clients may reach this host besides that of `public_url`, `localhost` and
    /// addresses, such as one inside the site; none by default. Tokens are for `public_url`, by whichever
    /// name a client comes.
    pub hosts: Vec<String>,
    /// Certificate and key of all TCP listeners. Reloaded when the files change.
    pub tls: Option<Tls>,
    /// Proxies that are believed about the address of their clients (CIDR); from anybody else such words are
    /// ignored.
    pub trusted_proxies: Vec<String>,
    /// How trusted proxies name their client.
    pub proxy_protocol: ProxyProtocol,
    /// Prefixes of address translators (NAT64, SIIT) beside `64:ff9b::/96`, with a length of 32, 40, 48, 56,
    /// 64 or 96 bits (RFC 6052). A client behind one is limited and blocked by its IPv4 address; otherwise
    /// all that share the translator's /64 are one.
    pub nat64_prefixes: Vec<String>,
    /// Most client connections open at a time; further ones are closed at once.
    pub max_connections: usize,
    /// The same of one address (IPv6: one /64). Trusted proxies and unix sockets are not counted.
    pub max_connections_per_address: usize,
    /// Web pages that may call from a browser, by their origin (`https://app.example.com`); none by default.
    /// Browsers are told so by CORS: such a page may send and read what any client may, a page of anybody
    /// else nothing but the OAuth metadata.
    pub allowed_origins: Vec<String>,
    /// Which kind of socket I/O to use.
    pub io: Io,
    /// Worker threads.
    pub workers: Workers,
    /// Largest request body in bytes.
    pub max_request_bytes: ByteSize,
    /// Largest message an upstream may send, in bytes. A call whose answer is larger fails; the server goes
    /// on.
    pub max_response_bytes: ByteSize,
    /// How long things may take.
    pub timeouts: Timeouts,
}

/// `server.tls`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the certificate chain.
    pub cert_file: PathBuf,
    /// PEM file with the private key, not encrypted.
    pub key_file: PathBuf,
    /// PEM file with the authorities that sign the certificates of clients.
    #[serde(default)]
    pub client_ca_file: Option<PathBuf>,
    /// The part of client certificates: none, wished for or needed. The policy sees whose it is
    /// (`input.client.certificate`); a token is needed all the same.
    #[serde(default)]
    pub client_auth: ClientAuth,
}

/// `server.tls.client_auth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// Clients are not asked for one.
    #[default]
    None,
    /// One that is shown must be good; none is good as well.
    Optional,
    /// Without a good one there is no connection.
    Required,
}

/// `server.proxy_protocol`: how trusted proxies name their client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyProtocol {
    /// By `X-Forwarded-For` in each request.
    #[default]
    Off,
    /// By a PROXY header (version 1 or 2) in front of each connection; `X-Forwarded-For` is ignored.
    Required,
}

/// `server.io`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Io {
    /// `io_uring` where a probe succeeds, otherwise epoll; the log says which and why.
    #[default]
    Auto,
    /// `io_uring`, or refuse to start.
    IoUring,
    /// epoll.
    Epoll,
}

/// `server.workers`: `auto` (one a core) or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Workers {
    /// One a core.
    #[default]
    Auto,
    /// Exactly this many, at least 1.
    Count(usize),
}

/// `server.timeouts`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// To connect to an upstream.
    pub connect: Period,
    /// For one call to an upstream.
    pub upstream: Period,
    /// A session or connection without traffic ends after this.
    pub idle: Period,
    /// For a client to send its request head; also for a PROXY header and for the TLS handshake.
    pub header: Period,
    /// For a client to send the body of its request, all of it.
    pub body: Period,
    /// For calls in flight to finish at shutdown.
    pub drain: Period,
    /// For a client to answer what a server asks in the middle of a call (elicitation, sampling). The call's
    /// own deadline rests meanwhile.
    pub input: Period,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8080))],
            unix_socket: None,
            unix_socket_mode: FileMode(0o660),
            public_url: None,
            hosts: Vec::new(),
            tls: None,
            trusted_proxies: Vec::new(),
            proxy_protocol: ProxyProtocol::Off,
            nat64_prefixes: Vec::new(),
            max_connections: 10_000,
            max_connections_per_address: 1_000,
            allowed_origins: Vec::new(),
            io: Io::Auto,
            workers: Workers::Auto,
            max_request_bytes: ByteSize::kib(256),
            max_response_bytes: ByteSize::kib(16 * 1024),
            timeouts: Timeouts::default(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Period::secs(2),
            upstream: Period::secs(30),
            idle: Period::secs(120),
            header: Period::secs(5),
            body: Period::secs(30),
            drain: Period::secs(30),
            input: Period::secs(300),
        }
    }
}

impl<'de> Deserialize<'de> for Workers {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Text {
            Number(u16),
            Word(String),
        }
        match Text::deserialize(deserializer) {
            Ok(Text::Number(count)) if count > 0 => Ok(Self::Count(count.into())),
            Ok(Text::Word(word)) if word == "auto" => Ok(Self::Auto),
            _ => Err(serde::de::Error::custom("expected `auto` or a number of at least 1")),
        }
    }
}

impl Serialize for Workers {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Count(count) => serializer.collect_str(count),
        }
    }
}
