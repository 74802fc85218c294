//! Messages of an upstream: told apart with one shallow parse, the payload left as bytes.

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
    /// An answer that is not as it has to be: it has another id than the request, or not one outcome that is
    /// an object.
    Unfit {
        /// The request that it is meant for.
        id: Meant,
        /// The error object, where it has one that could be the outcome.
        error: Option<&'a RawValue>,
        /// The fault in it, as a sentence about the server.
        fault: String,
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

/// Which request an answer is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meant {
    /// One of ours, though its id may be written in another way.
    Call(u64),
    /// Its id is null, or missing.
    Nobody,
    /// Its id is none that a request has here.
    Stranger,
}

impl Meant {
    /// Reads an id that is not one of ours as it was sent.
    fn read(id: &RawValue) -> Self {
        let whole = |number: f64| {
            // Both bounds are exact, and every id is below them.
            let is_id = number.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(&number);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just now")]
            is_id.then_some(number as u64)
        };
        let text = serde_json::from_str::<String>(id.get()).ok();
        let id = text.as_deref().unwrap_or(id.get());
        id.parse().ok().or_else(|| id.parse().ok().and_then(whole)).map_or(Self::Stranger, Self::Call)
    }
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
/// The fault, for the log.
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
        (None, id, result, error) if id.or(result).or(error).is_some() => {
            Ok(answer(id, result, error, is_too_deep))
        }
        _ => Err("neither a request, a notification nor an answer".to_owned()),
    }
}

fn answer<'a>(
    id: Option<&'a RawValue>,
    result: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
    is_too_deep: bool,
) -> Incoming<'a> {
    let outcome = match (result, error) {
        (Some(result), None) if result.get().starts_with('{') => Some(Ok(result)),
        (None, Some(error)) if error.get().starts_with('{') => Some(Err(error)),
        _ => None,
    };
    let ours = id.and_then(|id| id.get().parse().ok());
    if let (Some(id), Some(outcome)) = (ours, outcome) {
        return if is_too_deep {
            Incoming::TooDeep { id, outcome }
        } else {
            Incoming::Answer { id, outcome }
        };
    }
    let meant = ours.map(Meant::Call).or_else(|| id.map(Meant::read)).unwrap_or(Meant::Nobody);
    let fault = match (ours, id) {
        (Some(_), _) => "its answer has not either an object `result` or an object `error`".to_owned(),
        (None, id) => {
            let id = id.map_or("null", RawValue::get);
            format!(
                "its answer has the id {}, which no request has: it has to give back the id of the request as it is, a number",
                short(id, 40)
            )
        }
    };
    let error = outcome.and_then(Result::err).filter(|_| !is_too_deep);
    Incoming::Unfit { id: meant, error, fault }
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
    fn an_answer_that_is_wrong_says_whose_it_is() {
        for (text, wanted, has_error) in [
            (r#"{"jsonrpc":"2.0","id":"2","result":{}}"#, Meant::Call(2), false),
            (r#"{"jsonrpc":"2.0","id":2.0,"result":{}}"#, Meant::Call(2), false),
            (r#"{"jsonrpc":"2.0","id":2e0,"error":{"code":1}}"#, Meant::Call(2), true),
            (r#"{"jsonrpc":"2.0","id":"2.0","result":{}}"#, Meant::Call(2), false),
            (r#"{"jsonrpc":"2.0","id":null,"error":{"code":1}}"#, Meant::Nobody, true),
            (r#"{"jsonrpc":"2.0","error":{"code":1}}"#, Meant::Nobody, true),
            (r#"{"jsonrpc":"2.0","id":null,"result":{}}"#, Meant::Nobody, false),
            (r#"{"jsonrpc":"2.0","id":"x","result":{}}"#, Meant::Stranger, false),
            (r#"{"jsonrpc":"2.0","id":-1,"result":{}}"#, Meant::Stranger, false),
            (r#"{"jsonrpc":"2.0","id":2.5,"result":{}}"#, Meant::Stranger, false),
            (r#"{"jsonrpc":"2.0","id":1e300,"result":{}}"#, Meant::Stranger, false),
            (r#"{"jsonrpc":"2.0","id":[1],"result":{}}"#, Meant::Stranger, false),
            (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#, Meant::Call(1), false),
            (r#"{"jsonrpc":"2.0","id":1,"result":3}"#, Meant::Call(1), false),
            (r#"{"jsonrpc":"2.0","id":1,"result":null}"#, Meant::Call(1), false),
            (r#"{"jsonrpc":"2.0","id":1}"#, Meant::Call(1), false),
            (r#"{"jsonrpc":"2.0","id":1,"error":"no"}"#, Meant::Call(1), false),
        ] {
            let Ok(Incoming::Unfit { id, error, fault }) = parse(text) else { panic!("{text}") };
            assert_eq!((id, error.is_some()), (wanted, has_error), "{text}");
            assert!(fault.starts_with("its answer has "), "{fault}");
        }
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
        ] {
            parse(text).expect_err(text);
        }
    }
}
