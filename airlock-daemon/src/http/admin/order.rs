//! Orders of an operator as they come in, and their answers.

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use serde_json::json as value;

use crate::http::body::{Body, json};

/// Reads an order of at most so many bytes.
///
/// # Errors
/// The answer to one that is longer, or none.
pub(super) async fn read<T: DeserializeOwned>(
    request: Request<Incoming>,
    most: usize,
) -> Result<T, Response<Body>> {
    let body = Limited::new(request.into_body(), most).collect().await;
    let body =
        body.map_err(|_| refused(StatusCode::BAD_REQUEST, &format!("an order is at most {most} bytes")))?;
    serde_json::from_slice(&body.to_bytes())
        .map_err(|error| refused(StatusCode::BAD_REQUEST, &format!("this is no order: {error}")))
}

/// The answer to an order that is not carried out.
pub(super) fn refused(status: StatusCode, problem: &str) -> Response<Body> {
    json(status, value!({ "error": problem }).to_string())
}
