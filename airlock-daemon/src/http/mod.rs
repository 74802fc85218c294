//! HTTP, by hyper: connections, routes, bodies.

pub mod admin;
pub mod body;
pub mod connection;
pub mod endpoint;
pub mod health;
pub mod metadata;
pub mod metrics;
pub mod routes;
pub mod status;

use std::sync::Arc;

use crate::face::session::Sessions;
use crate::pipeline::Gateway;

/// What every connection serves.
pub struct Service {
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// Sessions of legacy clients.
    pub sessions: Sessions,
}
