//! Orders of an operator as they come in, and their answers.

use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Bytes, Incoming};
use serde::de::DeserializeOwned;
use serde_json::json as value;

use crate::http::body::{Body, json};

/// Longest body of an order, in bytes.
const MOST: usize = 64 * 1024;

/// Reads the body of an order.
///
/// # Errors
/// The answer to one that is too long.
pub(super) async fn read(body: Incoming) -> Result<Bytes, Response<Body>> {
    let body = Limited::new(body, MOST).collect().await;
    let body =
        body.map_err(|_| refused(StatusCode::BAD_REQUEST, &format!("an order is at most {MOST} bytes")))?;
    Ok(body.to_bytes())
}

/// Understands an order.
///
/// # Errors
/// Why it is none.
pub(super) fn parse<T: DeserializeOwned>(order: &[u8]) -> Result<T, String> {
    serde_json::from_slice(order).map_err(|error| format!("this is no order: {error}"))
}

/// The answer to an order that is not carried out.
pub(super) fn refused(status: StatusCode, problem: &str) -> Response<Body> {
    json(status, value!({ "error": problem }).to_string())
}
