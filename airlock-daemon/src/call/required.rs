//! The questions that a modern server has before it can go on (2026-07-28, "Multi round-trip requests"): a
//! result of the type `input_required` asks them, and the same request, sent again with the answers and the
//! server's state, goes on.

use crate::mcp::object::{Object, quote};
use crate::mcp::strict;

use crate::pipeline::request::state::{RESPONSES, STATE};

/// How often a server may ask in one call.
pub const ROUNDS: u8 = 16;
/// How much a server may ask at a time.
const ENTRIES: usize = 16;

/// A result that asks.
#[derive(Debug, PartialEq, Eq)]
pub struct Required {
    /// Its questions.
    pub entries: Vec<Entry>,
    /// The server's state.
    pub state: Option<String>,
}

/// One thing that is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The server's name for it.
    pub key: String,
    /// The method that the client is to answer.
    pub method: String,
    /// Its parameters, as JSON text.
    pub params: String,
}

/// Reads a modern server's result; `None` when it asks nothing. Costs a search where the words do not occur.
///
/// # Errors
/// The fault, in words for the operator.
pub fn read(result: &str) -> Result<Option<Required>, String> {
    if memchr::memmem::find(result.as_bytes(), b"\"input_required\"").is_none() {
        return Ok(None);
    }
    let Ok(object) = Object::parse(result) else { return Ok(None) };
    if object.string("resultType").as_deref() != Some("input_required") {
        return Ok(None);
    }
    // The questions are judged by one reader and answered by another: both must read the same.
    strict::check(result).map_err(|error| format!("what it asks is not acceptable JSON: {error}"))?;
    if object.names().filter(|name| name.eq_ignore_ascii_case("resultType")).count() != 1 {
        return Err("its `resultType` is given twice".to_owned());
    }
    let state = match object.get(STATE) {
        None => None,
        Some(_) => Some(object.string(STATE).ok_or("its `requestState` is no string")?.into_owned()),
    };
    let entries = entries(&object)?;
    if entries.is_empty() && state.is_none() {
        return Err("it asks for input without a question or a state".to_owned());
    }
    Ok(Some(Required { entries, state }))
}

/// The questions in the `inputRequests` of an object: of a result, or of a task (tasks extension).
///
/// # Errors
/// The fault, in words for the operator.
pub fn entries(object: &Object<'_>) -> Result<Vec<Entry>, String> {
    let asked = object.get("inputRequests").unwrap_or("{}");
    let asked = Object::parse(asked).map_err(|_| "its `inputRequests` is no object".to_owned())?;
    let entries: Vec<_> = asked.names().map(|key| entry(&asked, key)).collect::<Result<_, String>>()?;
    if entries.len() > ENTRIES {
        return Err(format!("it asks more than {ENTRIES} things at a time"));
    }
    Ok(entries)
}

fn entry(asked: &Object<'_>, key: &str) -> Result<Entry, String> {
    let wrong = || "an entry of its `inputRequests` is no request".to_owned();
    let request = Object::parse(asked.get(key).ok_or_else(wrong)?).map_err(|_| wrong())?;
    let method = request.string("method").ok_or_else(wrong)?.into_owned();
    let params = request.get("params").unwrap_or("{}");
    if !params.starts_with('{') {
        return Err(wrong());
    }
    Ok(Entry { key: key.to_owned(), method, params: params.to_owned() })
}

/// The result that asks a modern client.
pub fn write(entries: &[Entry], state: &str) -> String {
    let entries: Vec<_> = entries
        .iter()
        .map(|Entry { key, method, params }| {
            format!(r#"{}:{{"method":{},"params":{params}}}"#, quote(key), quote(method))
        })
        .collect();
    let asked = if entries.is_empty() {
        String::new()
    } else {
        format!(r#","inputRequests":{{{}}}"#, entries.join(","))
    };
    format!(r#"{{"resultType":"input_required"{asked},"requestState":{}}}"#, quote(state))
}

/// Writes answers and state into the parameters of a request that is sent again; what was there goes.
pub fn answer(params: &mut Object<'_>, answers: &[(String, String)], state: Option<&str>) {
    params.retain(|name| name != RESPONSES && name != STATE);
    if !answers.is_empty() {
        let answers: Vec<_> =
            answers.iter().map(|(key, answer)| format!("{}:{answer}", quote(key))).collect();
        params.set(RESPONSES, format!("{{{}}}", answers.join(",")));
    }
    if let Some(state) = state {
        params.set(STATE, quote(state));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::request::state::answers;

    #[test]
    fn what_is_asked_is_read_and_written_again() {
        let text = r#"{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{"message":"?" ,"n":1.50}},"r":{"method":"roots/list"}},"requestState":"s\u0031"}"#;
        let required = read(text).expect("well-formed").expect("asks");
        assert_eq!(required.state.as_deref(), Some("s1"));
        assert_eq!(
            required.entries.iter().map(|e| (e.key.as_str(), e.method.as_str())).collect::<Vec<_>>(),
            [("a", "elicitation/create"), ("r", "roots/list")]
        );
        assert_eq!(
            write(&required.entries[..1], "sealed"),
            r#"{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{"message":"?" ,"n":1.50}}},"requestState":"sealed"}"#
        );
        assert_eq!(write(&[], "s"), r#"{"resultType":"input_required","requestState":"s"}"#);
    }

    #[test]
    fn what_asks_nothing_passes() {
        for text in [
            r#"{"resultType":"complete","content":[]}"#,
            r#"{"resultType":"complete","structuredContent":{"a":"input_required"}}"#,
            "rubbish \"input_required\"",
        ] {
            assert_eq!(read(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn what_asks_unclearly_is_an_error() {
        for text in [
            r#"{"resultType":"input_required"}"#,
            r#"{"resultType":"input_required","requestState":7}"#,
            r#"{"resultType":"input_required","resultType":"complete","requestState":"s"}"#,
            r#"{"resultType":"input_required","ResultType":"complete","requestState":"s"}"#,
            r#"{"resultType":"input_required","inputRequests":[]}"#,
            r#"{"resultType":"input_required","inputRequests":{"a":1}}"#,
            r#"{"resultType":"input_required","inputRequests":{"a":{"method":"x","params":[]}}}"#,
            r#"{"resultType":"input_required","inputRequests":{"a":{"method":"x","params":{"b":1,"b":2}}}}"#,
        ] {
            read(text).expect_err(text);
        }
        let many: Vec<_> = (0..=ENTRIES).map(|i| format!(r#""{i}":{{"method":"roots/list"}}"#)).collect();
        let text = format!(r#"{{"resultType":"input_required","inputRequests":{{{}}}}}"#, many.join(","));
        read(&text).expect_err("too many");
    }

    #[test]
    fn a_retry_carries_answers_and_state_once() {
        let sent = r#"{"name":"x","arguments":{"a":1 },"requestState":"old","inputResponses":{"z":{}}}"#;
        let mut params = Object::parse(sent).expect("params");
        answer(&mut params, &[("a\"".to_owned(), "{}".to_owned())], Some("new"));
        assert_eq!(
            params.write(),
            r#"{"name":"x","arguments":{"a":1 },"inputResponses":{"a\"":{}},"requestState":"new"}"#
        );
        answer(&mut params, &[], None);
        assert_eq!(params.write(), r#"{"name":"x","arguments":{"a":1 }}"#);
        assert_eq!(answers(r#"{"a":{"b":1}}"#), Ok(vec![("a".to_owned(), r#"{"b":1}"#.to_owned())]));
        for wrong in ["[]", r#"{"a":1}"#, r#"{"a":[]}"#, "\"x\""] {
            answers(wrong).expect_err(wrong);
        }
    }
}
