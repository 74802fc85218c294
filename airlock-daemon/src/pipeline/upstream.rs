//! Did the server answer?

use http::StatusCode;

use crate::mcp::error::code;
use crate::upstream::error::UpstreamError;

use super::Refusal;
use crate::stage::Stage;

/// The refusal for a server that failed.
pub fn failed(error: &UpstreamError) -> Refusal {
    let mut refusal = Refusal::new(Stage::Upstream, error.status(), error.reason());
    refusal.detail = Some(error.on_record());
    refusal.retry_after = error.retry_after();
    if let UpstreamError::NoRoom { exhausted, .. } = error {
        refusal.rule_id = Some(exhausted.0.name().into());
    }
    refusal
}

/// The refusal of a call that its client cancelled before the server had it: an answer that nobody reads.
pub fn cancelled() -> Refusal {
    Refusal::new(Stage::Upstream, StatusCode::OK, "the call was cancelled").code(code::CANCELLED)
}
