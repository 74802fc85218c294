//! Batches of 2025-03-26: several messages in one body. Each passes every check by itself, as if it had come alone.

use std::collections::HashSet;

use bytes::Bytes;
use http::StatusCode;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::mcp::envelope;
use crate::mcp::error::code;
use crate::mcp::strict;
use crate::pipeline::{Context, Refusal, Stage};

use super::reply::Reply;

/// Most messages of a batch.
const MAX: usize = 64;
/// Events that may wait for a slow client.
const EVENTS: usize = 16;

/// Whether a body is an array, and so a batch.
pub fn is_batch(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'[')
}

/// The messages of a batch, each as the bytes received. One that is not well-formed, or whose id another has, spoils all:
/// nothing of the batch is carried out.
///
/// # Errors
/// 400 with the place of the message.
pub fn messages(body: &Bytes) -> Result<Vec<Bytes>, Refusal> {
    let bad = |code, reason: String| Refusal::new(Stage::Decode, StatusCode::BAD_REQUEST, reason).code(code);
    let text = std::str::from_utf8(body).map_err(|error| {
        bad(code::PARSE_ERROR, format!("the body is not UTF-8 at byte {}", error.valid_up_to()))
    })?;
    strict::check(text)
        .map_err(|error| bad(code::PARSE_ERROR, format!("the body is not acceptable JSON: {error}")))?;
    let messages: Vec<&RawValue> = serde_json::from_str(text)
        .map_err(|error| bad(code::PARSE_ERROR, format!("the body is not acceptable JSON: {error}")))?;
    if messages.is_empty() || messages.len() > MAX {
        return Err(bad(code::INVALID_REQUEST, format!("a batch has between 1 and {MAX} messages")));
    }
    let mut ids = HashSet::new();
    let mut out = Vec::with_capacity(messages.len());
    for (place, message) in messages.iter().map(|message| message.get()).enumerate() {
        let place = place + 1;
        let envelope = envelope::parse(message.as_bytes()).map_err(|refused| {
            bad(refused.code, format!("message {place} of the batch: {}", refused.reason))
        })?;
        if envelope.method.as_deref() == Some("initialize") {
            // 2025-03-26, "Initialization".
            return Err(bad(
                code::INVALID_REQUEST,
                format!("message {place} of the batch: `initialize` comes alone"),
            ));
        }
        if let (Some(id), Some(_)) = (envelope.id, envelope.method)
            && !ids.insert(id)
        {
            return Err(bad(
                code::INVALID_REQUEST,
                format!("message {place} of the batch has the id of another"),
            ));
        }
        out.push(body.slice_ref(message.as_bytes()));
    }
    Ok(out)
}

/// One answer out of many: an array in the order of the requests, or one event stream where one of them streams. Nothing
/// but a status where no message wanted an answer.
pub fn gather(answers: Vec<(Context, Result<Reply, Refusal>)>) -> Reply {
    let mut whole = Vec::new();
    let mut streams = Vec::new();
    for (context, answer) in answers {
        match answer {
            Ok(Reply::Json(_, text) | Reply::Opened(text, _)) => whole.push(text),
            Ok(Reply::Empty(_)) => {}
            Ok(Reply::Stream(stream)) => streams.push(stream),
            Err(refusal) => whole.push(refusal.body(&context.correlation_id)),
        }
    }
    if streams.is_empty() {
        return if whole.is_empty() {
            Reply::Empty(StatusCode::ACCEPTED)
        } else {
            Reply::Json(StatusCode::OK, format!("[{}]", whole.join(",")))
        };
    }
    let (sender, events) = mpsc::channel(EVENTS);
    for mut stream in streams {
        let sender = sender.clone();
        tokio::task::spawn_local(async move {
            while let Some(message) = stream.recv().await {
                if sender.send(message).await.is_err() {
                    return;
                }
            }
        });
    }
    tokio::task::spawn_local(async move {
        for message in whole {
            if sender.send(message).await.is_err() {
                return;
            }
        }
    });
    Reply::Stream(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_the_bytes_received() {
        let body = Bytes::from_static(
            b" [ {\"jsonrpc\":\"2.0\", \"id\":1,\"method\":\"a\"} ,{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}]",
        );
        assert!(is_batch(&body));
        let messages = messages(&body).expect("a batch");
        assert_eq!(messages[0], &b"{\"jsonrpc\":\"2.0\", \"id\":1,\"method\":\"a\"}"[..]);
        assert_eq!(messages.len(), 2);
        assert!(!is_batch(b"{\"a\":[]}"));
    }

    #[test]
    fn one_bad_message_spoils_all() {
        let good = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
        for (body, expected) in [
            ("[]".to_owned(), "between 1 and 64"),
            (format!("[{}]", vec!["1"; 65].join(",")), "between 1 and 64"),
            (format!("[{good},{good}]"), "message 2 of the batch has the id of another"),
            (format!("[{good},5]"), "message 2"),
            (format!("[{good},[{good}]]"), "message 2"),
            (format!("[{good}"), "not acceptable JSON"),
            (format!("[{good}] x"), "not acceptable JSON"),
            (r#"[{"jsonrpc":"2.0","id":2,"method":"initialize"}]"#.to_owned(), "comes alone"),
            (r#"[{"jsonrpc":"2.0","id":2,"method":"in\u0069tialize"}]"#.to_owned(), "comes alone"),
            (r#"[{"jsonrpc":"2.0","id":2,"method":"a","method":"b"}]"#.to_owned(), "duplicate"),
            (r#"[{"jsonrpc":"2.0","id":2,"Method":"b","method":"a"}]"#.to_owned(), "letter case"),
        ] {
            let refused = messages(&Bytes::from(body.clone())).expect_err(&body);
            assert!(refused.reason.contains(expected), "{body}: {}", refused.reason);
        }
        let answer = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
        assert!(messages(&Bytes::from(format!("[{good},{answer}]"))).is_ok(), "a response has an id of ours");
    }
}
