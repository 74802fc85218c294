//! `airlock stop`, `airlock resume` and `airlock stops` on the admin interface.

use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json as value};

use super::order::{self, refused};
use crate::http::body::{Body, json};
use crate::pipeline::Gateway;
use crate::stops::shown::ShownStop;
use crate::stops::target::StopTarget;
use crate::stops::{Operator, Ordered};

/// The order of an operator to stop something.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StopWish {
    target: StopTarget,
    reason: String,
    /// For how many seconds; none until it is taken back.
    #[serde(default)]
    for_secs: Option<u64>,
}

/// The order to take a stop back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResumeWish {
    target: StopTarget,
}

/// `GET /stops`.
pub(super) fn list(gateway: &Gateway) -> Response<Body> {
    let (stops, alarms) = (gateway.stops.shown(), gateway.stops.alarms());
    json(StatusCode::OK, value!({ "stops": stops, "alarms": alarms }).to_string())
}

/// `POST /stops`.
pub(super) async fn stop(gateway: &Arc<Gateway>, order: &[u8], by: Operator) -> Response<Body> {
    let wish: StopWish = match order::parse(order) {
        Ok(wish) => wish,
        Err(problem) => return refused(StatusCode::BAD_REQUEST, &problem),
    };
    let warnings: Vec<_> = unknown(gateway, &wish.target).into_iter().collect();
    let stops = Arc::clone(&gateway.stops);
    let done = tokio::task::spawn_blocking(move || {
        stops.stop(wish.target, wish.reason, wish.for_secs.map(Duration::from_secs), by)
    });
    match done.await {
        Ok(Ok(ordered)) => answer(&ordered, warnings, value!({})),
        Ok(Err(fault)) => refused(StatusCode::CONFLICT, &fault.to_string()),
        Err(_) => refused(StatusCode::CONFLICT, "the order broke off; see `airlock stops`"),
    }
}

/// `POST /stops/resume`.
pub(super) async fn resume(gateway: &Arc<Gateway>, order: &[u8], by: Operator) -> Response<Body> {
    let wish: ResumeWish = match order::parse(order) {
        Ok(wish) => wish,
        Err(problem) => return refused(StatusCode::BAD_REQUEST, &problem),
    };
    let stops = Arc::clone(&gateway.stops);
    let done = tokio::task::spawn_blocking(move || stops.resume(&wish.target, by));
    match done.await {
        Ok(Ok(ordered)) => {
            let left = gateway.stops.in_force().all().count();
            answer(&ordered, Vec::new(), value!({ "stops_left": left }))
        }
        Ok(Err(fault)) => refused(StatusCode::CONFLICT, &fault.to_string()),
        Err(_) => refused(StatusCode::CONFLICT, "the order broke off; see `airlock stops`"),
    }
}

fn answer(ordered: &Ordered, mut warnings: Vec<String>, more: Value) -> Response<Body> {
    warnings.extend(ordered.unkept.clone().map(|why| format!("a restart has it otherwise: {why}")));
    let mut answer = value!(ShownStop::from(&*ordered.order));
    if let (Some(members), Value::Object(more)) = (answer.as_object_mut(), more) {
        members.insert("warnings".to_owned(), value!(warnings));
        members.extend(more);
    }
    json(StatusCode::OK, answer.to_string())
}

/// The sentence on a target that nothing here is called. It is stopped all the same.
fn unknown(gateway: &Gateway, target: &StopTarget) -> Option<String> {
    let name = target.upstream()?;
    let Some(upstream) = gateway.upstreams.get(name) else {
        let names: Vec<_> = gateway.upstreams.iter().map(|upstream| &*upstream.name).collect();
        return Some(format!("no upstream `{name}` is configured; there are: {}", names.join(", ")));
    };
    let StopTarget::Tool { tool, .. } = target else { return None };
    let allowed = upstream.config.allow_tools.as_ref()?;
    let is_offered = allowed.iter().any(|one| one == tool);
    (!is_offered).then(|| format!("`allow_tools` of upstream `{name}` has no tool `{tool}`"))
}
