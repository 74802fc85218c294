//! `observability`: logs and metrics.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// `observability`.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Observability {
    /// Unix socket of the admin interface, which `airlock status` asks: an absolute path; by default
    /// [`AdminListen::DEFAULT`], where its directory exists. For root and the daemon's own user. `null` for
    /// none.
    pub admin_listen: AdminListen,
    /// Address of `/metrics`; not served when absent.
    pub metrics_listen: Option<SocketAddr>,
    /// Names by which scrapers know this host, beside its addresses, `localhost`, the name that the system
    /// has and those of `server.public_url` and `server.hosts`. A request for another name is refused: a web
    /// page may have bound it to this address.
    pub metrics_hosts: Vec<String>,
    /// Logs.
    pub log: Log,
}

/// `observability.admin_listen`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AdminListen {
    /// The configuration does not say: [`AdminListen::DEFAULT`], where that can be.
    #[default]
    Unsaid,
    /// `null`: none.
    Off,
    /// This socket.
    At(PathBuf),
}

impl AdminListen {
    /// Where the daemon listens, and commands ask, when nothing else is said.
    pub const DEFAULT: &str = "/run/airlock/admin.sock";

    /// The socket that may be there.
    pub fn socket(&self) -> Option<&Path> {
        match self {
            Self::Unsaid => Some(Path::new(Self::DEFAULT)),
            Self::Off => None,
            Self::At(path) => Some(path),
        }
    }
}

impl<'de> Deserialize<'de> for AdminListen {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<PathBuf>::deserialize(deserializer)?.map_or(Self::Off, Self::At))
    }
}

impl Serialize for AdminListen {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.socket().serialize(serializer)
    }
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
