//! Is the body one message, or a batch of messages, that has one reading? The strict envelope of
//! [`crate::mcp::envelope`], as a stage.

use std::collections::HashSet;

use bytes::Bytes;
use http::StatusCode;
use serde_json::value::RawValue;

use crate::config::schema::{PolicyArguments, PolicyNumbers};
use crate::mcp::envelope::{self, Envelope};
use crate::mcp::error::code;
use crate::mcp::level::Level;
use crate::mcp::object::Object;
use crate::policy::Clarity;

use super::{Gateway, Refusal};
use crate::stage::Stage;

/// Most messages in one body.
const MAX_MESSAGES: usize = 64;

fn refused(reason: impl Into<String>, code: i32) -> Refusal {
    Refusal::new(Stage::Decode, StatusCode::BAD_REQUEST, reason).code(code)
}

/// Parses the text of one message.
///
/// # Errors
/// 400 with the JSON-RPC code that fits, and the id where one could be read.
pub fn message(text: &[u8]) -> Result<Envelope<'_>, Refusal> {
    envelope::parse(text).map_err(|error| refused(error.reason, error.code).id(error.id.as_ref()))
}

/// True for a body that is an array.
pub fn is_batch(body: &[u8]) -> bool {
    body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[')
}

/// Splits a batch into its messages (2025-03-26, "Batching"), each of which passes the strict parse.
///
/// # Errors
/// 400 for the whole batch: a message that is unclear makes all of it unclear.
pub fn batch(body: &Bytes) -> Result<Vec<Bytes>, Refusal> {
    let bad = |reason: String| refused(reason, code::INVALID_REQUEST);
    let parts: Vec<&RawValue> = serde_json::from_slice(body)
        .map_err(|error| refused(format!("the body is not acceptable JSON: {error}"), code::PARSE_ERROR))?;
    if parts.is_empty() || parts.len() > MAX_MESSAGES {
        return Err(bad(format!("a batch has 1 to {MAX_MESSAGES} messages")));
    }
    let mut ids = HashSet::new();
    for part in &parts {
        let envelope = message(part.get().as_bytes())?;
        if envelope.method.as_deref() == Some("initialize") {
            return Err(bad("`initialize` stands alone".to_owned()));
        }
        // Responses have ids of ours.
        if let (Some(id), Some(_)) = (envelope.id, envelope.method)
            && !ids.insert(id)
        {
            return Err(bad("an `id` is given twice in one batch".to_owned()));
        }
    }
    Ok(parts.into_iter().map(|part| body.slice_ref(part.get().as_bytes())).collect())
}

/// Reads the answer that a legacy client gives to a question: its result, or its error object.
///
/// # Errors
/// 400 for a message that has both, neither, or one that is no object.
pub fn answer(text: &[u8]) -> Result<Result<String, String>, Refusal> {
    let bad = |reason: &str| refused(reason, code::INVALID_REQUEST);
    let text = std::str::from_utf8(text).unwrap_or_default();
    let message = Object::parse(text).map_err(|_| bad("a message is a JSON object"))?;
    let is_object = |text: &&str| text.starts_with('{');
    match (message.get("result"), message.get("error").filter(is_object)) {
        (Some(result), None) if result.starts_with('{') => Ok(Ok(result.to_owned())),
        (None, Some(error)) => Ok(Err(error.to_owned())),
        _ => Err(bad("a response has an object `result` or an object `error`")),
    }
}

/// The refusal of parameters that are not of the shape that the method has.
pub fn invalid_params(reason: impl Into<String>) -> Refusal {
    refused(reason, code::INVALID_PARAMS)
}

/// Reads the level of `logging/setLevel`.
///
/// # Errors
/// An error in an answer with status 200 for a level that the specification does not have.
pub fn level(params: &Object<'_>) -> Result<Level, Refusal> {
    let level = params.string("level").and_then(|level| Level::parse(&level));
    level.ok_or_else(|| {
        let levels = Level::ALL.map(Level::as_str).join(", ");
        let mut refusal = invalid_params(format!("`params.level` must be one of {levels}"));
        refusal.status = StatusCode::OK;
        refusal
    })
}

/// Checks that the policy reads arguments as every server does, in shadow mode as well.
///
/// # Errors
/// 400 for members that some readers take for one, and for numbers that some readers round.
pub fn arguments(gateway: &Gateway, arguments: Option<&RawValue>) -> Result<(), Refusal> {
    let Some(arguments) = arguments else { return Ok(()) };
    let policy = &gateway.config.policy;
    let clarity = Clarity {
        members: policy.arguments == PolicyArguments::Strict,
        numbers: policy.numbers == PolicyNumbers::Exact,
    };
    let cleared = gateway.policy.load().clear(arguments, clarity);
    cleared.map_err(|unclear| refused(unclear.to_string(), code::INVALID_PARAMS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_split_strictly() {
        let good = Bytes::from_static(
            br#" [{"jsonrpc":"2.0","id":1,"method":"ping"}, {"jsonrpc":"2.0","method":"notifications/x"},{"jsonrpc":"2.0","id":1,"result":{}}]"#,
        );
        assert!(is_batch(&good));
        let parts = batch(&good).expect("a batch");
        assert_eq!((parts.len(), &parts[0][..]), (3, &br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#[..]));
        let one = r#"{"jsonrpc":"2.0","method":"notifications/x"}"#;
        let many = format!("[{}]", vec![one; MAX_MESSAGES + 1].join(","));
        for (text, expected) in [
            ("[]", "1 to 64"),
            (many.as_str(), "1 to 64"),
            ("[1]", "JSON object"),
            ("[[]]", "batches"),
            ("[{}", "EOF"),
            (r#"[{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}]"#, "duplicate"),
            (r#"[{"jsonrpc":"2.0","id":1,"Method":"ping","method":"ping"}]"#, "letter case"),
            (r#"[{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}]"#, "stands alone"),
            (
                r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":1,"method":"tools/list"}]"#,
                "given twice",
            ),
        ] {
            let refusal = batch(&Bytes::copy_from_slice(text.as_bytes())).expect_err(text);
            assert!(refusal.reason.contains(expected), "{text}: {}", refusal.reason);
            assert_eq!(refusal.status, StatusCode::BAD_REQUEST);
        }
        assert!(!is_batch(b"{}") && !is_batch(b""));
    }

    #[test]
    fn an_answer_is_one_of_two_objects() {
        assert_eq!(answer(br#"{"result":{"a":1}}"#).expect("a result"), Ok(r#"{"a":1}"#.to_owned()));
        assert_eq!(answer(br#"{"error":{"code":1}}"#).expect("an error"), Err(r#"{"code":1}"#.to_owned()));
        for wrong in [r#"{"result":1}"#, r#"{"error":1}"#, r#"{"result":{},"error":{}}"#, "{}", "[]"] {
            assert_eq!(answer(wrong.as_bytes()).expect_err(wrong).stage, Stage::Decode);
        }
    }
}
