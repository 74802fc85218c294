//! `limits`: how much there is of what all share, and how much of it one may have.

use serde::{Deserialize, Serialize};

use crate::units::ByteSize;

/// `limits`: how much there is of what all share, and how much of it one tenant, principal or session may
/// have.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shares {
    /// Bytes that are kept for clients.
    pub memory: MemoryShares,
    /// Sessions of the legacy era.
    pub sessions: SessionShares,
    /// Processes and connections of each server.
    pub processes: ProcessShares,
}

/// `limits.sessions`: open sessions of the legacy era. Whoever finds no place takes that of its own session
/// that was left alone longest, without a call and a stream that is read. Where all of its own are in use it
/// waits for a second before it is refused with 503.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionShares {
    /// Sessions of all, 10,000 by default.
    pub total: usize,
    /// Those of one tenant of an issuer. By default its fair share, and what nobody uses, but for a quarter
    /// of all.
    pub per_tenant: Option<usize>,
    /// Sessions of one principal, 64 by default.
    pub per_principal: usize,
}

/// `limits.processes`: processes of one server, or sessions with it where it is not started here. Whoever
/// finds no place waits for a second before it is refused with 503.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProcessShares {
    /// Processes of all, 256 by default.
    pub total: usize,
    /// Those of one tenant of an issuer. By default its fair share, and what nobody uses, but for a quarter
    /// of all.
    pub per_tenant: Option<usize>,
    /// Processes of one principal, 32 by default.
    pub per_principal: usize,
}

impl Default for SessionShares {
    fn default() -> Self {
        Self { total: 10_000, per_tenant: None, per_principal: 64 }
    }
}

impl Default for ProcessShares {
    fn default() -> Self {
        Self { total: 256, per_tenant: None, per_principal: 32 }
    }
}

/// `limits.memory`: bytes that are kept for clients from one moment to the next: answers that they have not
/// read, messages of their event streams, calls that wait for them, what they subscribe to. Whoever goes
/// beyond a share loses the largest of what is kept for it; when all is in use, the greediest tenant does.
/// The process needs about 100 MiB besides.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryShares {
    /// For all, 256 MiB by default.
    pub total: ByteSize,
    /// For one tenant of an issuer, 128 MiB by default; principals without a tenant are one together.
    pub per_tenant: ByteSize,
    /// For one principal, 64 MiB by default.
    pub per_principal: ByteSize,
    /// For one session of the legacy era, 32 MiB by default. At least as much as `server.max_response_bytes`,
    /// or the longest answers would never arrive.
    pub per_session: ByteSize,
}

impl Default for MemoryShares {
    fn default() -> Self {
        Self {
            total: ByteSize::kib(256 * 1024),
            per_tenant: ByteSize::kib(128 * 1024),
            per_principal: ByteSize::kib(64 * 1024),
            per_session: ByteSize::kib(32 * 1024),
        }
    }
}
