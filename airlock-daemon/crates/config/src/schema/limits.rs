//! `rate_limiting`: how much anybody may ask for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::units::{Period, Rate};

/// `rate_limiting`: how much one client may take. Whoever takes more gets 429 with `Retry-After`. Unless
/// configured, only `per_address`, `failed_auth` and `per_principal.streams` are limited.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimiting {
    /// Messages of one principal (issuer, tenant and subject), however many tokens it fetches. Requests,
    /// notifications and responses count, and each message of a batch. No limit by default.
    pub per_token: Option<Rate>,
    /// HTTP requests of one client address, good or bad, counted before the token is looked at; `/live` and
    /// `/ready` are not. An IPv6 address counts with its /64; clients behind one address share it, unless
    /// their proxy is in `server.trusted_proxies`. Not for unix sockets. Unless configured it is `30000/min`,
    /// which no honest client meets, and does not count loopback, `server.trusted_proxies` (whose clients it
    /// counts) and `kernel.xdp.allow`: behind those may be everybody. `null` for no limit.
    pub per_address: PerAddress,
    /// How many requests may come at once after a rest; for `per_token`, `per_address` and
    /// `per_tenant.requests`. By default as many as the rate has in its span: 200 of `200/min`. It does not
    /// concern `per_address` where that is not configured.
    pub burst: Option<u32>,
    /// Quotas of one tenant of an issuer; principals without a tenant are one together. No limit by default.
    pub per_tenant: Option<TenantQuota>,
    /// Quotas of one principal.
    pub per_principal: PrincipalQuota,
    /// Calls of one principal to some tools: `upstream/tool: rate`, where `*` stands for any text and tools
    /// have the names that their servers give them. All tools of an entry share its rate; where several
    /// entries match, each counts.
    pub per_tool: BTreeMap<String, Rate>,
    /// Tokens of one address that may be guesses (forged, unknown, malformed), `5/min` by default. When there
    /// are more, every token from that address that is not known to be good is refused with 429 without being
    /// looked at, until the rate allows another guess: nobody learns which guess was right. A good token
    /// between bad ones resets nothing. Requests without a token do not count, nor tokens that a trusted
    /// issuer has signed: expired ones, say, or ones for somebody else. `null` for no limit.
    pub failed_auth: Option<Rate>,
    /// When an address is blocked altogether; never by default. Needs `per_address` or `failed_auth`.
    pub kernel_drop: Option<KernelDrop>,
}

/// `rate_limiting.per_address`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PerAddress {
    /// The configuration does not say: [`PerAddress::DEFAULT`], which spares those behind whom everybody may
    /// be.
    #[default]
    Unsaid,
    /// `null`: no limit.
    Off,
    /// This, of every address.
    Rate(Rate),
}

impl PerAddress {
    /// Far above what a user, or some thousand users behind one address, ask for; far below what costs
    /// anything to refuse.
    pub const DEFAULT: Rate = Rate::per_minute(30_000);

    /// The rate that the configuration gives.
    pub const fn given(self) -> Option<Rate> {
        match self {
            Self::Rate(rate) => Some(rate),
            Self::Unsaid | Self::Off => None,
        }
    }
}

impl<'de> Deserialize<'de> for PerAddress {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<Rate>::deserialize(deserializer)?.map_or(Self::Off, Self::Rate))
    }
}

impl Serialize for PerAddress {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unsaid => Self::DEFAULT.serialize(serializer),
            Self::Off => serializer.serialize_none(),
            Self::Rate(rate) => rate.serialize(serializer),
        }
    }
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
    /// Event streams open at a time, 64 by default. A subscription or a standing stream beyond them is
    /// refused; a call beyond them is answered without a stream: what its server says before the result is
    /// left out. `null` for no limit.
    pub streams: Option<u32>,
}

/// `rate_limiting.kernel_drop`: an address that goes on where it was told to wait is blocked. The kernel
/// drops its packets where `kernel.xdp.interfaces` has it do so; elsewhere, and where a proxy has named the
/// address, its requests are refused. Never blocked: loopback, unix sockets, `server.trusted_proxies`,
/// `kernel.xdp.allow`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KernelDrop {
    /// Violations that lead to a block: refusals by `per_address` or `failed_auth` within a minute, or within
    /// the time of `for` where that is longer. Those within one second count as one.
    pub after: u32,
    /// How long the first block lasts; each next one lasts twice as long.
    pub r#for: Period,
    /// The longest block. After as long without one, the next lasts for `for` again.
    pub at_most: Period,
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
            per_address: PerAddress::Unsaid,
            burst: None,
            per_tenant: None,
            per_principal: PrincipalQuota::default(),
            per_tool: BTreeMap::new(),
            failed_auth: Some(Rate::per_minute(5)),
            kernel_drop: None,
        }
    }
}
