//! Is the body exactly one message? The strict envelope of [`crate::mcp::envelope`], as a stage.

use http::StatusCode;

use crate::mcp::envelope::{self, Envelope};

use super::{Refusal, Stage};

/// Parses the body.
///
/// # Errors
/// 400 with the JSON-RPC code that fits, and the id where one could be read.
pub fn decode(body: &[u8]) -> Result<Envelope<'_>, Refusal> {
    envelope::parse(body).map_err(|refused| {
        Refusal::new(Stage::Decode, StatusCode::BAD_REQUEST, refused.reason)
            .code(refused.code)
            .id(refused.id.as_ref())
    })
}
