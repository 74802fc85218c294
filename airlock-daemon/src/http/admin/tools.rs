//! `airlock tools` on the admin interface: the locks, and orders to let something in.

use std::sync::Arc;

use airlock_tool_locks::definition::{Digest, Kind};
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json as value;

use super::order::{self, refused};
use crate::http::body::{Body, json};
use crate::pipeline::Gateway;
use crate::tool_locks::{Approved, Wanted};

/// The order of an operator.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    /// The server.
    pub(super) upstream: String,
    /// Only what has this name.
    #[serde(default)]
    pub(super) name: Option<String>,
    /// Only what is of this kind: `tool`, `prompt` or `resource template`.
    #[serde(default)]
    pub(super) kind: Option<String>,
    /// The digest that was looked at, whole.
    #[serde(default)]
    pub(super) digest: Option<String>,
}

/// `GET /tools`.
pub(super) async fn list(gateway: &Arc<Gateway>) -> Response<Body> {
    let gateway = Arc::clone(gateway);
    // Thousands of definitions are no work for the thread that serves keys.
    let told = tokio::task::spawn_blocking(move || {
        let upstreams = gateway.upstreams.iter().map(|upstream| (&*upstream.name, upstream.bound_to()));
        serde_json::to_string(&gateway.tool_locks.report(upstreams)).unwrap_or_default()
    });
    json(StatusCode::OK, told.await.unwrap_or_default())
}

/// `POST /tools/approve` and, where `as_it_is`, `POST /tools/lock`, by that user.
pub(super) async fn order(gateway: &Arc<Gateway>, order: &[u8], as_it_is: bool, by: u32) -> Response<Body> {
    let order: Order = match order::parse(order) {
        Ok(order) => order,
        Err(problem) => return refused(StatusCode::BAD_REQUEST, &problem),
    };
    let gateway = Arc::clone(gateway);
    let done = tokio::task::spawn_blocking(move || carry_out(&gateway, &order, as_it_is, by));
    match done.await {
        Ok(Ok(approved)) => {
            let each = |(kind, one): &Approved| value!({"kind": kind.noun(), "name": one.name, "digest": Digest::to_string(&one.digest)});
            let approved: Vec<_> = approved.iter().map(each).collect();
            json(StatusCode::OK, value!({"approved": approved}).to_string())
        }
        Ok(Err(problem)) => refused(StatusCode::CONFLICT, &problem),
        Err(_) => refused(StatusCode::CONFLICT, "the order broke off; see `airlock tools list`"),
    }
}

fn carry_out(gateway: &Gateway, order: &Order, as_it_is: bool, by: u32) -> Result<Vec<Approved>, String> {
    let Some(upstream) = gateway.upstreams.get(&order.upstream) else {
        let names: Vec<_> = gateway.upstreams.iter().map(|upstream| &*upstream.name).collect();
        return Err(format!("there is no upstream `{}`; there are: {}", order.upstream, names.join(", ")));
    };
    let (locks, bound_to) = (&gateway.tool_locks, upstream.bound_to());
    if !locks.is_on() {
        return Err("tool_lock.mode is `off`, so nothing is held back".to_owned());
    }
    if as_it_is {
        return locks.lock_as_it_is(&upstream.name, bound_to, by);
    }
    let (name, digest) = (order.name.as_deref(), order.digest.as_deref());
    let kind = order.kind.as_deref().map(kind_of).transpose()?;
    locks.approve(Wanted { upstream: &upstream.name, bound_to, name, kind, digest }, by)
}

fn kind_of(noun: &str) -> Result<Kind, String> {
    let known = Kind::ALL.into_iter().find(|kind| kind.noun() == noun);
    known.ok_or_else(|| {
        format!("there is no kind `{noun}`; there are: {}", Kind::ALL.map(Kind::noun).join(", "))
    })
}
