//! The configuration as types: every key, its safe default, and what it means.
//!
//! The doc comments here are the reference of the configuration file.

mod kernel;
mod upstream;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use self::kernel::*;
pub use self::upstream::*;

use super::units::{ByteSize, FileMode, Period, Rate};

/// The whole file.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where Airlock listens and how it runs.
    pub server: Server,
    /// Whose tokens are believed.
    pub auth: Auth,
    /// Who may do what.
    pub policy: Policy,
    /// Virtual roots offered to servers and clients.
    pub roots: Vec<Root>,
    /// Data loss prevention.
    pub dlp: Dlp,
    /// Quotas.
    pub rate_limiting: RateLimiting,
    /// The MCP servers behind this door.
    pub upstreams: Vec<Upstream>,
    /// The audit log.
    pub audit: Audit,
    /// Logs, metrics, traces.
    pub observability: Observability,
    /// The kernel half.
    pub kernel: Kernel,
}

/// `server`: where Airlock listens and how it runs.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// TCP addresses to listen on. Loopback only by default; may be empty beside a unix socket.
    pub listen: Vec<SocketAddr>,
    /// A unix socket to listen on as well, without TLS. The policy sees the user at its other end (`input.client.uid`).
    pub unix_socket: Option<PathBuf>,
    /// Who may connect to the unix socket: its file mode, in octal.
    pub unix_socket_mode: FileMode,
    /// The URL under which clients reach this host, without a path; names the resource in OAuth metadata.
    pub public_url: Option<String>,
    /// Certificate and key of all TCP listeners. Reloaded when the files change.
    pub tls: Option<Tls>,
    /// Proxies that are believed about the address of their clients (CIDR); from anybody else such words are ignored.
    pub trusted_proxies: Vec<String>,
    /// How trusted proxies name their client.
    pub proxy_protocol: ProxyProtocol,
    /// Most client connections open at a time; further ones are closed at once.
    pub max_connections: usize,
    /// The same of one address (IPv6: one /64). Trusted proxies and unix sockets are not counted.
    pub max_connections_per_address: usize,
    /// Values of `Origin` that browsers may send; none by default.
    pub allowed_origins: Vec<String>,
    /// Which kind of socket I/O to use.
    pub io: Io,
    /// Worker threads.
    pub workers: Workers,
    /// Largest request body in bytes.
    pub max_request_bytes: ByteSize,
    /// Largest message an upstream may send, in bytes.
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
    /// Whether clients show a certificate. The policy sees whose it is (`input.client.certificate`); a token is needed
    /// all the same.
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
    /// For a client to answer what a server asks in the middle of a call (elicitation, sampling). The call's own deadline
    /// rests meanwhile.
    pub input: Period,
}

/// `auth`: whose tokens are believed.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// Trusted identity providers.
    pub issuers: Vec<Issuer>,
    /// Groups of which a principal must have at least one; none required when empty.
    pub required_groups: Vec<String>,
    /// Scopes that every token must have, all of them. Challenges and metadata name them, so that clients know what to ask
    /// for; a token without one is answered with 403 and the whole list.
    pub required_scopes: Vec<String>,
    /// An issuer inside the daemon, for development on loopback only.
    pub development_issuer: Option<DevelopmentIssuer>,
}

/// `auth.issuers[]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// The issuer identifier, https (or http to loopback); discovery starts here.
    pub issuer: String,
    /// Accepted values of `aud`; a token must carry one of them. The URL of the merged endpoint (`…/mcp`) also admits tokens
    /// whose audience is the URL of one upstream's endpoint (`…/mcp/docs`): such a token is good at that endpoint alone.
    /// Any other value is good at all endpoints.
    pub audience: Vec<String>,
    /// How long fetched keys are used before they are fetched again.
    #[serde(default = "Issuer::default_ttl")]
    pub jwks_cache_ttl: Period,
    /// Tolerance for `exp` and `nbf`.
    #[serde(default = "Issuer::default_skew")]
    pub clock_skew: Period,
    /// Signature algorithms that are accepted; `RS256`, `ES256` and `EdDSA` when absent.
    #[serde(default = "Issuer::default_algorithms")]
    pub algorithms: Vec<SignatureAlgorithm>,
    /// Which claims carry what.
    #[serde(default)]
    pub claims: ClaimNames,
    /// Its metadata and keys may also be fetched from private addresses (RFC 1918, unique local, shared, loopback); without
    /// it only from public ones. Link-local, multicast and cloud metadata addresses are never connected to.
    #[serde(default)]
    pub allow_private_addresses: bool,
}

/// `auth.issuers[].algorithms[]`: asymmetric signatures only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub enum SignatureAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// Ed25519.
    EdDSA,
}

/// `auth.issuers[].claims`: which claims carry what. A name is first looked for as it stands
/// (`https://example.com/groups`), then as a path into nested objects (`realm_access.roles`).
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClaimNames {
    /// The claim that names the tenant.
    pub tenant: Option<String>,
    /// The claim that lists groups; `groups` when absent.
    pub groups: Option<String>,
}

/// `auth.development_issuer`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DevelopmentIssuer {
    /// A loopback address for its discovery, keys and token endpoint.
    pub listen: SocketAddr,
}

/// `policy`: who may do what.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// A directory of `.rego` and data files (`data.yaml`, `data.json`). It is read again on SIGHUP and when its files change.
    pub path: PathBuf,
    /// Whether a refusal is carried out.
    pub mode: PolicyMode,
    /// How long a decision may be reused for the same question; `null` switches that off. Decisions are kept by tenant and by
    /// everything that the policy can look at, the arguments included where it reads them, and are forgotten with the policy;
    /// a policy that reads the time is always asked.
    pub decision_cache_ttl: Option<Period>,
}

/// `policy.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyMode {
    /// A refusal is a refusal.
    #[default]
    Enforce,
    /// What the policy refuses, or allows under obligations that are not met, is recorded (`policy.shadowed`) and done all the
    /// same, and lists show everything. Authentication, limits and `allow_tools` are enforced as ever, and where no policy is
    /// in force everything is refused as ever.
    Shadow,
}

/// `roots[]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// A unique name.
    pub name: String,
    /// Where the root really is.
    #[serde(rename = "type")]
    pub kind: RootKind,
    /// The URI prefix that clients see.
    pub r#virtual: String,
    /// The path or `s3://` URL behind it.
    pub real: String,
    /// Whether writes are refused.
    #[serde(default = "yes")]
    pub read_only: bool,
    /// Prefixes below which writes are allowed.
    #[serde(default)]
    pub write_prefixes: Vec<String>,
}

/// `roots[].type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RootKind {
    /// A directory of this host.
    Fs,
    /// An S3 bucket.
    S3,
}

/// `dlp`.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dlp {
    /// Detector packs to switch on.
    pub packs: Vec<String>,
    /// Detectors of one's own.
    pub detectors: Vec<Detector>,
}

/// `dlp.detectors[]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Detector {
    /// A unique name.
    pub name: String,
    /// A regular expression.
    pub pattern: String,
    /// What happens to a match.
    pub action: DlpAction,
    /// Which way it looks.
    #[serde(default)]
    pub direction: Direction,
}

/// `dlp.detectors[].action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DlpAction {
    /// Replaced by the detector's name.
    Redact,
    /// All but the last characters are hidden.
    Mask,
    /// Replaced by a keyed digest.
    Hash,
    /// The message is refused.
    Block,
    /// Only recorded.
    Report,
}

/// `dlp.detectors[].direction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// What clients send.
    Request,
    /// What servers send.
    Response,
    /// Both ways.
    #[default]
    Both,
}

/// `rate_limiting`: how much one client may take. Whoever takes more gets 429 with `Retry-After`. Unless configured, only
/// `failed_auth` and `per_principal.streams` are limited.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimiting {
    /// Messages of one principal (issuer, tenant and subject), however many tokens it fetches. Requests, notifications and
    /// responses count, and each message of a batch. No limit by default.
    pub per_token: Option<Rate>,
    /// HTTP requests of one client address, good or bad, counted before the token is looked at; `/live` and `/ready` are not.
    /// An IPv6 address counts with its /64; clients behind one address share it, unless their proxy is in `server.trusted_proxies`. Not for unix sockets.
    /// No limit by default.
    pub per_address: Option<Rate>,
    /// How many requests may come at once after a rest; for `per_token`, `per_address` and `per_tenant.requests`. By default
    /// as many as the rate has in its span: 200 of `200/min`.
    pub burst: Option<u32>,
    /// Quotas of one tenant of an issuer; principals without a tenant are one together. No limit by default.
    pub per_tenant: Option<TenantQuota>,
    /// Quotas of one principal.
    pub per_principal: PrincipalQuota,
    /// Calls of one principal to some tools: `upstream/tool: rate`, where `*` stands for any text and tools have the names that
    /// their servers give them. All tools of an entry share its rate; where several entries match, each counts.
    pub per_tool: BTreeMap<String, Rate>,
    /// Bad tokens of one address, `5/min` by default. When there are more, every token from that address is refused with 429
    /// without being looked at, good ones as well, until the rate allows another guess: nobody learns which guess was right. A
    /// good token between bad ones resets nothing. Requests without a token do not count. `null` for no limit.
    pub failed_auth: Option<Rate>,
    /// When an address is blocked altogether; never by default. Needs `per_address` or `failed_auth`.
    pub kernel_drop: Option<KernelDrop>,
}

/// `rate_limiting.per_tenant`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TenantQuota {
    /// Messages, counted as in `per_token`.
    pub requests: Option<Rate>,
    /// Event streams open at a time, counted as in `per_principal`.
    pub streams: Option<u32>,
}

/// `rate_limiting.per_principal`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrincipalQuota {
    /// Event streams open at a time, 64 by default. A subscription or a standing stream beyond them is refused; a call beyond
    /// them is answered without a stream: what its server says before the result is left out. `null` for no limit.
    pub streams: Option<u32>,
}

/// `rate_limiting.kernel_drop`: an address that goes on where it was told to wait is blocked. The kernel drops its packets
/// where `kernel.xdp.interfaces` has it do so; elsewhere, and where a proxy has named the address, its requests are refused.
/// Never blocked: loopback, unix sockets, `server.trusted_proxies`, `kernel.xdp.allow`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KernelDrop {
    /// Violations that lead to a block: refusals by `per_address` or `failed_auth` within a minute, or within the time of
    /// `for` where that is longer. Those within one second count as one.
    pub after: u32,
    /// How long the first block lasts; each next one lasts twice as long.
    pub r#for: Period,
    /// The longest block. After as long without one, the next lasts for `for` again.
    pub at_most: Period,
}

/// `audit`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// Directory of the log's segments.
    pub dir: PathBuf,
    /// Whether records also go to journald, where there is one.
    pub journald: bool,
    /// How long sealed segments are kept; for ever when absent.
    pub retention: Option<Period>,
    /// Signed checkpoints.
    pub checkpoint: Option<Checkpoint>,
    /// What happens when the store fails.
    pub on_failure: OnAuditFailure,
}

/// `audit.checkpoint`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// How often.
    pub every: Period,
    /// File with the Ed25519 signing key.
    pub key_file: PathBuf,
}

/// `audit.on_failure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnAuditFailure {
    /// Buffer a bounded number of records, then refuse calls.
    #[default]
    Buffer,
    /// Refuse calls at once.
    Refuse,
}

/// `observability`.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Observability {
    /// Unix socket of the admin interface, which `airlock status` asks: an absolute path. For root and the daemon's own user.
    pub admin_listen: Option<PathBuf>,
    /// Address of `/metrics`; not served when absent.
    pub metrics_listen: Option<SocketAddr>,
    /// OTLP collector for traces.
    pub otlp_endpoint: Option<String>,
    /// Logs.
    pub log: Log,
}

/// `observability.log`.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// The least severe level that is logged.
    pub level: LogLevel,
    /// Where and how logs are written.
    pub format: LogFormat,
}

/// `observability.log.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Only errors.
    Error,
    /// And warnings.
    Warn,
    /// And what an operator wants to know.
    #[default]
    Info,
    /// And what a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

/// `observability.log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// journald under systemd, text otherwise.
    #[default]
    Auto,
    /// journald's native protocol.
    Journald,
    /// Text on standard error.
    Text,
    /// JSON lines on standard error.
    Json,
}

fn yes() -> bool {
    true
}

impl Issuer {
    fn default_ttl() -> Period {
        Period::secs(300)
    }

    fn default_skew() -> Period {
        Period::secs(120)
    }

    fn default_algorithms() -> Vec<SignatureAlgorithm> {
        vec![SignatureAlgorithm::RS256, SignatureAlgorithm::ES256, SignatureAlgorithm::EdDSA]
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8080))],
            unix_socket: None,
            unix_socket_mode: FileMode(0o660),
            public_url: None,
            tls: None,
            trusted_proxies: Vec::new(),
            proxy_protocol: ProxyProtocol::Off,
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

impl Default for PrincipalQuota {
    fn default() -> Self {
        Self { streams: Some(64) }
    }
}

impl Default for RateLimiting {
    fn default() -> Self {
        Self {
            per_token: None,
            per_address: None,
            burst: None,
            per_tenant: None,
            per_principal: PrincipalQuota::default(),
            per_tool: BTreeMap::new(),
            failed_auth: Some(Rate::per_minute(5)),
            kernel_drop: None,
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            path: PathBuf::from("/etc/airlock/policies"),
            mode: PolicyMode::Enforce,
            decision_cache_ttl: Some(Period::secs(60)),
        }
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("/var/lib/airlock/audit"),
            journald: true,
            retention: None,
            checkpoint: None,
            on_failure: OnAuditFailure::Buffer,
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
