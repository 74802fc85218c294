//! JSON-RPC error codes and error bodies.

use serde::Serialize;

use super::jsonrpc;
use super::object::quote;

/// Codes of JSON-RPC 2.0 and of the MCP specification. Codes of our own are HTTP status numbers: they lie
/// outside -32768..-32000, which JSON-RPC reserves.
pub mod code {
    /// Not JSON.
    pub const PARSE_ERROR: i32 = -32700;
    /// Not a JSON-RPC message.
    pub const INVALID_REQUEST: i32 = -32600;
    /// No such method.
    pub const METHOD_NOT_FOUND: i32 = -32601;
    /// The method's parameters are wrong.
    pub const INVALID_PARAMS: i32 = -32602;
    /// Something went wrong on the way.
    pub const INTERNAL_ERROR: i32 = -32603;
    /// No such resource, up to 2025-11-25; later revisions say [`INVALID_PARAMS`].
    pub const LEGACY_RESOURCE_NOT_FOUND: i32 = -32002;
    /// A header is missing, malformed, repeated, or disagrees with the body (2026-07-28).
    pub const HEADER_MISMATCH: i32 = -32020;
    /// The request needs a capability that the client has not declared (2026-07-28).
    pub const MISSING_CAPABILITY: i32 = -32021;
    /// The client has taken the request back.
    pub const CANCELLED: i32 = 499;
    /// The revision is not spoken here (2026-07-28).
    pub const UNSUPPORTED_VERSION: i32 = -32022;
}

/// `error.data` of the error contract.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ErrorData {
    /// Why, in words that give nothing internal away. The message has it as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The rule that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_id: Option<String>,
    /// Finds the audit record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// When to try again, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Revisions spoken here, with `UNSUPPORTED_VERSION`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supported: Option<Vec<&'static str>>,
    /// The revision asked for, with `UNSUPPORTED_VERSION`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested: Option<String>,
}

/// The text of a JSON-RPC error response; `id` is JSON text, `null` where none could be read.
pub fn response(id: Option<&str>, code: i32, message: &str, data: &ErrorData) -> String {
    let data = serde_json::to_string(data).unwrap_or_else(|_| "{}".to_owned());
    let error = format!(r#"{{"code":{code},"message":{},"data":{data}}}"#, quote(message));
    jsonrpc::error(id.unwrap_or("null"), &error)
}
