//! `upstreams`: the servers, how they are reached, what they are given, and how they are confined.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::units::{ByteSize, CpuShare, Period};

/// `upstreams[]`: one MCP server.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// A unique name, `[a-z0-9-]{1,32}`; the path segment of its endpoint and the prefix of its tools.
    pub name: String,
    /// How it is reached.
    #[serde(rename = "type")]
    pub kind: UpstreamKind,
    /// `stdio`: the program and its arguments; the program is an absolute path or is looked up in
    /// `/usr/local/bin:/usr/bin:/bin`.
    #[serde(default)]
    pub command: Vec<String>,
    /// `stdio`: the server's whole environment, besides `PATH`.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// `stdio`: variables whose values are secrets, read when a process is started.
    #[serde(default)]
    pub env_from: BTreeMap<String, SecretFile>,
    /// `stdio`: its working directory, `/` by default.
    #[serde(default)]
    pub working_dir: Option<PathBuf>,
    /// `stdio`: the user it runs as; when absent `airlock-mcp`, or Airlock's own where that does not exist or
    /// cannot be become. `dial_in`: the user whose processes may dial in.
    #[serde(default)]
    pub user: Option<String>,
    /// `dial_in`: the systemd unit whose processes may dial in, by its whole name; any of the user's when
    /// absent. Two upstreams with one `user` need one each.
    #[serde(default)]
    pub unit: Option<String>,
    /// `dial_in`: how long a connection may stand idle while a caller waits who has none; then it is given
    /// up, and whoever had it is told that its session is lost. 30 s when absent.
    #[serde(default)]
    pub yield_after: Option<Period>,
    /// `unix`: the absolute path of the socket; HTTP is spoken at `/mcp` of it. `dial_in`: where Airlock
    /// listens for the server, `/run/airlock/dial-in/NAME.sock` when absent.
    #[serde(default)]
    pub socket: Option<PathBuf>,
    /// `unix`: what is spoken on the socket.
    #[serde(default)]
    pub framing: Framing,
    /// `http`: the endpoint, `https` or, to loopback, `http`. Redirects are not followed.
    #[serde(default)]
    pub url: Option<String>,
    /// `http`, and `unix` with `framing: http`: what Airlock presents to the server.
    #[serde(default)]
    pub credential: Option<Credential>,
    /// The clients that share one process of this server.
    #[serde(default)]
    pub isolation: Option<Isolation>,
    /// Which protocol era it speaks.
    #[serde(default)]
    pub era: EraChoice,
    /// Deadline of one call; `server.timeouts.upstream` when absent. Each report of progress begins it anew.
    #[serde(default)]
    pub timeout: Option<Period>,
    /// Longest time of a call whose server reports progress: each report puts the deadline off by `timeout`,
    /// up to this. Ten times `timeout` when absent.
    #[serde(default)]
    pub timeout_total: Option<Period>,
    /// The only tools that may be called; all that the policy allows when absent.
    #[serde(default)]
    pub allow_tools: Option<Vec<String>>,
    /// `stdio`: how the process is confined. `dial_in`: how it has to be confined to be let in.
    #[serde(default)]
    pub pin: Pin,
    /// `stdio`: what of the file system it has, besides the system's programs; what its user has when absent.
    /// Never Airlock's own files.
    #[serde(default)]
    pub files: Option<Files>,
}

impl Upstream {
    /// `dial_in`: where Airlock listens for the server.
    pub fn dial_in_socket(&self) -> PathBuf {
        let default = || PathBuf::from(format!("/run/airlock/dial-in/{}.sock", self.name));
        self.socket.clone().unwrap_or_else(default)
    }

    /// True where each of the two has a unit, and they differ: servers that dial in are told apart by that.
    pub fn is_of_another_unit(&self, other: &Self) -> bool {
        matches!((&self.unit, &other.unit), (Some(own), Some(other)) if own != other)
    }

    /// The deadline of one call, where `default` is `server.timeouts.upstream`.
    pub fn timeout(&self, default: Period) -> Period {
        self.timeout.unwrap_or(default)
    }

    /// The same where the server reports progress for as long as the call takes.
    pub fn timeout_total(&self, default: Period) -> Period {
        self.timeout_total.unwrap_or_else(|| Period(self.timeout(default).0.saturating_mul(10)))
    }

    /// `dial_in`: how long a connection may stand idle while somebody waits for one.
    pub fn yield_after(&self) -> Period {
        self.yield_after.unwrap_or(Period::secs(30))
    }
}

/// `upstreams[].type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamKind {
    /// A program that Airlock starts, on its standard input and output.
    Stdio,
    /// A unix socket.
    Unix,
    /// Streamable HTTP.
    Http,
    /// A server that somebody else starts and that connects to a socket of Airlock's, a message a line.
    DialIn,
}

/// `upstreams[].framing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// Found out by asking.
    #[default]
    Auto,
    /// One JSON message a line.
    Ndjson,
    /// HTTP over the socket.
    Http,
}

/// `upstreams[].isolation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// One process a client session.
    Session,
    /// One process a principal.
    Subject,
    /// One process a tenant.
    Tenant,
    /// One process for all; only for servers of the modern era.
    Shared,
}

impl From<airlock_mcp::revision::Era> for EraChoice {
    fn from(era: airlock_mcp::revision::Era) -> Self {
        match era {
            airlock_mcp::revision::Era::Modern => Self::Modern,
            airlock_mcp::revision::Era::Legacy => Self::Legacy,
        }
    }
}

/// `upstreams[].era`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EraChoice {
    /// Found out by asking, then remembered.
    #[default]
    Auto,
    /// 2026-07-28 and later: no sessions.
    Modern,
    /// Up to 2025-11-25: `initialize` and sessions.
    Legacy,
}

/// `upstreams[].credential`: exactly one of its keys. A client's own token is never passed on.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Credential {
    /// A secret with a bearer token, read again when it changes.
    pub bearer_file: Option<SecretFile>,
    /// A header whose value is a secret, such as `X-Api-Key`.
    pub header: Option<SecretHeader>,
    /// A token that Airlock gets for itself (RFC 6749, section 4.4).
    pub client_credentials: Option<TokenClient>,
    /// A token that Airlock gets for each principal in exchange for the principal's own (RFC 8693).
    pub token_exchange: Option<TokenClient>,
}

/// Where a secret is: an absolute path, or the name of a systemd credential (`LoadCredential=`) without a `/`
/// in it.
pub type SecretFile = PathBuf;

/// `upstreams[].credential.header`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SecretHeader {
    /// The name of the header.
    pub name: String,
    /// The secret that is its value, read again when it changes.
    pub value_file: SecretFile,
}

/// `upstreams[].credential.client_credentials` and `.token_exchange`: how tokens are got.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TokenClient {
    /// The token endpoint, `https` or, to loopback, `http`. Redirects are not followed.
    pub token_endpoint: String,
    /// The name under which the identity provider knows Airlock.
    pub client_id: String,
    /// The secret that goes with it.
    pub client_secret_file: SecretFile,
    /// How the two are sent.
    #[serde(default)]
    pub client_auth: TokenClientAuth,
    /// Scopes to ask for.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The audience to ask for.
    #[serde(default)]
    pub audience: Option<String>,
    /// The resource to ask for (RFC 8707).
    #[serde(default)]
    pub resource: Option<String>,
}

/// `client_auth`: how a client names itself to the token endpoint (RFC 6749, section 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenClientAuth {
    /// In the `Authorization` header, which every provider must take.
    #[default]
    Basic,
    /// In the form.
    Post,
}

/// `upstreams[].pin`: how the process is confined.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pin {
    /// Its network: none (the default) or, explicitly, the host's.
    pub network: PinNetwork,
    /// Memory limit of its cgroup, swap included: it is given none. No limit when null.
    pub memory: Option<ByteSize>,
    /// Limit of processes and threads of its cgroup. None when null.
    pub tasks: Option<u32>,
    /// How long a file may be that one of its processes writes, wherever it may write; what is longer is cut
    /// off and the process is sent `SIGXFSZ`. No limit when null.
    pub file_size: Option<ByteSize>,
    /// How much it may keep in all in its own `/tmp`, `/var/tmp` and `/dev/shm`, which are in memory and go
    /// with it. It counts as `memory`, too.
    pub tmp: ByteSize,
    /// Share of processors of its cgroup, in hundredths of one: `50%` is half a processor, `200%` two.
    pub cpu: Option<CpuShare>,
    /// Limit of descriptors that one process of its may have open; the daemon's own when absent.
    pub open_files: Option<u32>,
    /// Sockets that it may connect to all the same; servers that dial in always have Airlock's.
    pub sockets: Vec<PinSocket>,
}

/// `upstreams[].pin.sockets[]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PinSocket {
    /// The socket of Airlock's on which this server dials in.
    Airlock,
    /// Those of journald below `/run/systemd/journal`: systemd connects what a unit prints, as one of the
    /// unit's processes. Given to every unit of the slice, if to one.
    Journal,
}

/// `upstreams[].files`: paths of files or directories, with all that is below them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Files {
    /// Paths that it may read and execute.
    pub read: Vec<PathBuf>,
    /// Paths that it may read, execute, write, make and remove.
    pub write: Vec<PathBuf>,
}

/// `upstreams[].pin.network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PinNetwork {
    /// Nothing.
    #[default]
    None,
    /// The host's network: the server is not pinned. Only for `dial_in`.
    Host,
}

impl Default for Pin {
    fn default() -> Self {
        Self {
            network: PinNetwork::None,
            memory: Some(ByteSize::kib(1 << 20)),
            tasks: Some(256),
            file_size: Some(ByteSize::kib(1 << 20)),
            tmp: ByteSize::kib(64 << 10),
            cpu: None,
            open_files: None,
            sockets: Vec::new(),
        }
    }
}
