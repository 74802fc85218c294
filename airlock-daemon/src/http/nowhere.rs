//! Refusals of paths and methods that are not served.

use super::body::{Body, json};
use crate::pipeline::Refusal;
use crate::stage::Stage;
use http::{Response, StatusCode};

/// 404 of the metrics listener.
pub(super) fn not_found() -> Response<Body> {
    json(StatusCode::NOT_FOUND, r#"{"error":"there is nothing at this path"}"#.to_owned())
}

/// 404 for a path that is nothing at all.
pub(super) fn nothing_here() -> Refusal {
    let reason = "there is nothing at this path: `/mcp/NAME` is one server, `/mcp` all of them";
    Refusal::new(Stage::Http, StatusCode::NOT_FOUND, reason)
}

pub(super) fn not_allowed() -> Refusal {
    let reason = "only GET is served at this path";
    let mut refusal = Refusal::new(Stage::Http, StatusCode::METHOD_NOT_ALLOWED, reason);
    refusal.allow = Some("GET, HEAD");
    refusal
}
