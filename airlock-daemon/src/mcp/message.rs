//! What an upstream sends: told apart with one shallow parse, the payload left as bytes.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::depth;

/// Longest id of a server's request in bytes: it is kept until it is answered.
const MAX_ID: usize = 256;
/// Longest method in bytes: it is kept for who is to hear of it, and logged.
const MAX_METHOD: usize = 256;
/// Most characters of what the parser says: it repeats what it has read.
const MAX_REASON: usize = 200;

/// A message of an upstream.
#[derive(Debug)]
pub enum Incoming<'a> {
    /// The answer to a request of ours, by our numeric id.
    Answer {
        /// Our id.
        id: u64,
        /// The result, or the error object.
        outcome: Result<&'a RawValue, &'a RawValue>,
    },
    /// The answer to a request of ours, nested so deep that it is not passed on as it is.
    TooDeep {
        /// Our id.
        id: u64,
        /// The result, or the error object.
        outcome: Result<&'a RawValue, &'a RawValue>,
    },
    /// A request of the server's.
    Request {
        /// Its id as JSON text.
        id: &'a str,
        /// Its method.
        method: String,
        /// Its parameters.
        params: Option<&'a RawValue>,
    },
    /// A notification.
    Notification {
        /// Its method.
        method: String,
        /// Its parameters.
        params: Option<&'a RawValue>,
    },
}

#[derive(Deserialize)]
struct Wire<'a> {
    jsonrpc: Option<String>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: Option<String>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// Reads one message; duplicate members of the envelope are refused.
///
/// # Errors
/// What is wrong with it, for the log.
pub fn parse(text: &str) -> Result<Incoming<'_>, String> {
    let wire: Wire<'_> = serde_json::from_str(text)
        .map_err(|error| short(&format!("not a JSON-RPC message: {error}"), MAX_REASON))?;
    if wire.jsonrpc.as_deref() != Some("2.0") {
        return Err("not a JSON-RPC message: `jsonrpc` is not \"2.0\"".to_owned());
    }
    let is_too_deep = depth::is_too_deep(text);
    if is_too_deep && wire.method.is_some() {
        return Err(format!("a message nested deeper than {} levels", depth::MAX));
    }
    if wire.method.as_ref().is_some_and(|method| method.len() > MAX_METHOD) {
        return Err(format!("a message whose method is longer than {MAX_METHOD} bytes"));
    }
    match (wire.method, wire.id, wire.result, wire.error) {
        (Some(method), Some(id), None, None) if id.get().len() <= MAX_ID => {
            Ok(Incoming::Request { id: id.get(), method, params: wire.params })
        }
        (Some(_), Some(_), None, None) => Err(format!("a request whose id is longer than {MAX_ID} bytes")),
        (Some(method), None, None, None) => Ok(Incoming::Notification { method, params: wire.params }),
        (None, Some(id), result, error) => {
            let id = id.get().parse().map_err(|_| {
                format!("an answer to a request that was never sent ({})", short(id.get(), 40))
            })?;
            let outcome = match (result, error) {
                (Some(result), None) if result.get().starts_with('{') => Ok(result),
                (None, Some(error)) if error.get().starts_with('{') => Err(error),
                _ => return Err("an answer has either an object `result` or an object `error`".to_owned()),
            };
            Ok(if is_too_deep { Incoming::TooDeep { id, outcome } } else { Incoming::Answer { id, outcome } })
        }
        _ => Err("neither a request, a notification nor an answer".to_owned()),
    }
}

/// At most so many characters of something a server wrote.
fn short(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart() {
        assert!(matches!(
            parse(r#"{"jsonrpc":"2.0","id":3,"result":{}}"#),
            Ok(Incoming::Answer { id: 3, outcome: Ok(_) })
        ));
        assert!(matches!(
            parse(r#"{"jsonrpc":"2.0","id":3,"error":{"code":1}}"#),
            Ok(Incoming::Answer { outcome: Err(_), .. })
        ));
        assert!(matches!(
            parse(r#"{"jsonrpc":"2.0","id":"r","method":"roots/list"}"#),
            Ok(Incoming::Request { id: "\"r\"", .. })
        ));
        assert!(matches!(
            parse(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{}}"#),
            Ok(Incoming::Notification { .. })
        ));
    }

    #[test]
    fn nesting_without_end_is_not_passed_on() {
        let nested = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        let answer = format!(r#"{{"jsonrpc":"2.0","id":3,"result":{{"deep":{nested}}}}}"#);
        assert!(matches!(parse(&answer), Ok(Incoming::TooDeep { id: 3, .. })));
        let said =
            format!(r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"data":{nested}}}}}"#);
        assert!(parse(&said).expect_err("too deep").contains("deeper than 128 levels"));
    }

    #[test]
    fn no_method_is_longer_than_it_may_be() {
        let said =
            |length: usize, id: &str| format!(r#"{{"jsonrpc":"2.0",{id}"method":"{}"}}"#, "m".repeat(length));
        for id in ["", r#""id":1,"#] {
            assert!(parse(&said(MAX_METHOD, id)).is_ok());
            let refused = parse(&said(MAX_METHOD + 1, id)).expect_err("too long");
            assert!(refused.contains("method is longer than 256 bytes"), "{refused}");
        }
    }

    #[test]
    fn what_is_said_of_rubbish_is_short() {
        let refused = parse(&format!("\"{}\"", "x".repeat(1_000_000))).expect_err("a string");
        assert!(refused.starts_with("not a JSON-RPC message") && refused.len() <= MAX_REASON, "{refused}");
    }

    #[test]
    fn rubbish_is_named() {
        for text in [
            "",
            "hello",
            "{}",
            "[]",
            r#"{"jsonrpc":"2.0"}"#,
            r#"{"jsonrpc":"2.0","id":1,"id":2,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#,
            r#"{"jsonrpc":"2.0","id":"x","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":3}"#,
        ] {
            parse(text).expect_err(text);
        }
    }
}
