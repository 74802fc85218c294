//! Long messages of a server, read by a thread that nobody else waits for: to look through one takes longer
//! than the others of a worker should wait.

use serde_json::value::RawValue;

use crate::mcp::message::{self, Incoming, Meant};
use crate::runtime::apart::apart;

/// A message that owns its text, so that it goes from thread to thread.
#[derive(Debug)]
pub(in crate::upstream) enum Owned {
    Answer { id: u64, outcome: Result<Box<RawValue>, Box<RawValue>> },
    TooDeep { id: u64, outcome: Result<Box<RawValue>, Box<RawValue>> },
    Unfit { id: Meant, error: Option<Box<RawValue>>, fault: String },
    Request { id: String, method: String, params: Option<Box<RawValue>> },
    Notification { method: String, params: Option<Box<RawValue>> },
}

impl Owned {
    /// As [`message::parse`].
    pub(in crate::upstream) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?;
        Ok(match message::parse(text)? {
            Incoming::Answer { id, outcome } => Self::Answer { id, outcome: owned(outcome) },
            Incoming::TooDeep { id, outcome } => Self::TooDeep { id, outcome: owned(outcome) },
            Incoming::Unfit { id, error, fault } => {
                Self::Unfit { id, error: error.map(ToOwned::to_owned), fault }
            }
            Incoming::Request { id, method, params } => {
                Self::Request { id: id.to_owned(), method, params: params.map(ToOwned::to_owned) }
            }
            Incoming::Notification { method, params } => {
                Self::Notification { method, params: params.map(ToOwned::to_owned) }
            }
        })
    }

    /// The message as its readers take it.
    pub(in crate::upstream) fn borrowed(&self) -> Incoming<'_> {
        match self {
            Self::Answer { id, outcome } => Incoming::Answer { id: *id, outcome: borrowed(outcome) },
            Self::TooDeep { id, outcome } => Incoming::TooDeep { id: *id, outcome: borrowed(outcome) },
            Self::Unfit { id, error, fault } => {
                Incoming::Unfit { id: *id, error: error.as_deref(), fault: fault.clone() }
            }
            Self::Request { id, method, params } => {
                Incoming::Request { id, method: method.clone(), params: params.as_deref() }
            }
            Self::Notification { method, params } => {
                Incoming::Notification { method: method.clone(), params: params.as_deref() }
            }
        }
    }
}

fn owned(outcome: Result<&RawValue, &RawValue>) -> Result<Box<RawValue>, Box<RawValue>> {
    outcome.map(ToOwned::to_owned).map_err(ToOwned::to_owned)
}

fn borrowed(outcome: &Result<Box<RawValue>, Box<RawValue>>) -> Result<&RawValue, &RawValue> {
    outcome.as_deref().map_err(|error| &**error)
}

/// The text of a value, without a copy.
pub(in crate::upstream) fn text(value: Box<RawValue>) -> String {
    Box::<str>::from(value).into_string()
}

/// Reads one message, or a batch of them as 2025-03-26 allows, apart. The parts of a batch that are no
/// messages are told by the first alone.
pub(in crate::upstream) async fn read(bytes: Vec<u8>) -> Vec<Result<Owned, String>> {
    let reading = apart(move || parts(&bytes));
    reading.await.unwrap_or_else(|_| vec![Err("one that cannot be read".to_owned())])
}

fn parts(bytes: &[u8]) -> Vec<Result<Owned, String>> {
    if !bytes.trim_ascii_start().starts_with(b"[") {
        return vec![Owned::parse(bytes)];
    }
    let batch: Vec<&RawValue> = match serde_json::from_slice(bytes) {
        Ok(batch) => batch,
        Err(error) => return vec![Err(format!("not JSON: {error}"))],
    };
    let mut is_clean = true;
    let mut parts = Vec::new();
    for one in batch {
        let part = Owned::parse(one.get().as_bytes());
        if is_clean || part.is_ok() {
            is_clean &= part.is_ok();
            parts.push(part);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_the_same_when_it_owns_its_text() {
        for said in [
            r#"{"jsonrpc":"2.0","id":3,"result":{"a":1}}"#,
            r#"{"jsonrpc":"2.0","id":3,"error":{"code":1}}"#,
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":1}}"#,
            r#"{"jsonrpc":"2.0","id":"r","method":"roots/list"}"#,
            r#"{"jsonrpc":"2.0","id":"r","method":"sampling/createMessage","params":{"a":1}}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"a":1}}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#,
        ] {
            let owned = Owned::parse(said.as_bytes()).expect(said);
            let parsed = message::parse(said).expect(said);
            assert_eq!(format!("{:?}", owned.borrowed()), format!("{parsed:?}"));
        }
        let nested = format!("{}{}", "[".repeat(200), "]".repeat(200));
        let deep = format!(r#"{{"jsonrpc":"2.0","id":3,"result":{{"deep":{nested}}}}}"#);
        let owned = Owned::parse(deep.as_bytes()).expect("an answer");
        assert!(matches!(owned.borrowed(), Incoming::TooDeep { id: 3, .. }));
        assert!(Owned::parse(b"\xff").expect_err("no text").contains("UTF-8"));
    }

    #[tokio::test]
    async fn a_batch_is_read_but_for_what_is_no_message() {
        let one = r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#;
        assert_eq!(read(one.as_bytes().to_vec()).await.len(), 1);
        let batch = read(format!(" [{one},{one},7,8,{one}]").into_bytes()).await;
        assert_eq!(batch.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false, true]);
        for rubbish in [&b"[\xff]"[..], b"[", b"\xff", b""] {
            assert!(matches!(read(rubbish.to_vec()).await.as_slice(), [Err(_)]), "{rubbish:?}");
        }
        assert!(read(b"[]".to_vec()).await.is_empty());
    }
}
