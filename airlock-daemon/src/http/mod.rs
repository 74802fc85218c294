//! HTTP, by hyper: connections, routes, bodies.

pub mod admin;
mod ambiguous;
pub mod body;
pub mod connection;
mod cors;
pub mod endpoint;
mod frames;
mod framing;
pub mod health;
mod linger;
pub mod metadata;
pub mod metrics;
mod nowhere;
mod peek;
pub mod routes;
pub mod status;
mod streams;

use std::sync::Arc;

use crate::call::suspended::SuspendedCalls;
use crate::config::OnDisk;
use crate::downstream::sessions::Sessions;
use crate::pipeline::Gateway;
use crate::pipeline::forwarded::Proxies;
use crate::runtime::room::Room;
use crate::runtime::tls::Tls;

/// The parts that all connections serve with.
pub struct Service {
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// Sessions of legacy clients.
    pub sessions: Sessions,
    /// Calls that wait for an answer of their modern client.
    pub suspended: Arc<SuspendedCalls>,
    /// The checks of a connection before its first request.
    pub door: Door,
    /// The configuration file as it was when it was read.
    pub file: OnDisk,
}

/// The parts that a connection meets before its first request.
pub struct Door {
    /// TLS of the TCP listeners, where it is configured.
    pub tls: Option<Arc<Tls>>,
    /// Room for connections.
    pub room: Arc<Room>,
    /// The proxies that are believed about the address of others.
    pub proxies: Proxies,
}
