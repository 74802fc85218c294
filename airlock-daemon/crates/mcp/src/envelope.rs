//! The JSON-RPC envelope of what a client sends: parsed once, strictly.
//!
//! "Value authorised equals value forwarded": every stage reads this one parse, and the bytes that it borrows
//! are the bytes that the server gets.

use std::borrow::Cow;
use std::fmt;

use super::error::code;
use super::object::Object;
use super::strict;

/// A request's id, as JSON text: an integer or a string.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Id(Box<str>);

/// A message that passed the strict parse.
#[derive(Debug)]
pub struct Envelope<'a> {
    /// The id; `None` for a notification.
    pub id: Option<Id>,
    /// The method; `None` for a response.
    pub method: Option<Cow<'a, str>>,
    /// The parameters, empty where the message has none.
    pub params: Object<'a>,
    /// `_meta` of the parameters as it came, read once for all who look into it.
    pub meta: Option<Object<'a>>,
}

/// Why a message is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refused {
    /// The JSON-RPC code.
    pub code: i32,
    /// A sentence for the client.
    pub reason: String,
    /// The id of the message, where one could be read.
    pub id: Option<Id>,
}

/// Longest string id in bytes.
const MAX_ID: usize = 256;

/// Members that decide what a message does. A variant in other letter case is refused: some parsers match
/// names without regard to case, and would read what was never authorised.
const ENVELOPE_NAMES: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];
const PARAMS_NAMES: [&str; 18] = [
    "name",
    "arguments",
    "uri",
    "cursor",
    "_meta",
    "taskId",
    "requestId",
    "progressToken",
    "protocolVersion",
    "capabilities",
    "clientInfo",
    "level",
    "ref",
    "argument",
    "context",
    "task",
    "inputResponses",
    "requestState",
];

const META_NAMES: [&str; 6] = [
    "progressToken",
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/clientCapabilities",
    "io.modelcontextprotocol/clientInfo",
    "io.modelcontextprotocol/logLevel",
    "io.modelcontextprotocol/related-task",
];

impl Id {
    /// The id as JSON text.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// Reads an id.
    ///
    /// # Errors
    /// When it is neither an integer that fits 64 bits nor a string of at most 256 bytes.
    pub fn parse(json: &str) -> Result<Self, String> {
        let first = json.as_bytes().first().copied().unwrap_or(b' ');
        let good = match first {
            b'"' => json.len() <= MAX_ID,
            b'-' | b'0'..=b'9' => json.parse::<i64>().is_ok(),
            _ => false,
        };
        if good {
            Ok(Self(json.into()))
        } else {
            Err(format!("`id` must be an integer of 64 bits or a string of at most {MAX_ID} bytes"))
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Parses one message.
///
/// # Errors
/// [`Refused`] for anything that is not exactly one well-formed JSON-RPC 2.0 request, notification or
/// response; see the strict walk for what well-formed means here.
pub fn parse(body: &[u8]) -> Result<Envelope<'_>, Refused> {
    let refuse = |code, reason: String, id: Option<Id>| Refused { code, reason, id };
    let text = std::str::from_utf8(body).map_err(|error| {
        refuse(code::PARSE_ERROR, format!("the body is not UTF-8 at byte {}", error.valid_up_to()), None)
    })?;
    strict::check(text).map_err(|error| {
        refuse(code::PARSE_ERROR, format!("the body is not acceptable JSON: {error}"), None)
    })?;
    if text.trim_start().starts_with('[') {
        return Err(refuse(
            code::INVALID_REQUEST,
            "batches are not served: send one message a request".into(),
            None,
        ));
    }
    let top = Object::parse(text)
        .map_err(|_| refuse(code::INVALID_REQUEST, "a message is a JSON object".into(), None))?;
    if let Some(name) = variant(&top, &ENVELOPE_NAMES) {
        return Err(refuse(
            code::INVALID_REQUEST,
            format!("the member `{name}` is written in the wrong letter case"),
            None,
        ));
    }
    let id = match top.get("id") {
        None => None,
        Some("null") => return Err(refuse(code::INVALID_REQUEST, "`id` must not be null".into(), None)),
        Some(json) => Some(Id::parse(json).map_err(|reason| refuse(code::INVALID_REQUEST, reason, None))?),
    };
    if top.get("jsonrpc") != Some("\"2.0\"") {
        return Err(refuse(code::INVALID_REQUEST, "`jsonrpc` must be \"2.0\"".into(), id));
    }
    let method = top.kept_string("method");
    if method.is_none() && top.get("method").is_some() {
        return Err(refuse(code::INVALID_REQUEST, "`method` must be a string".into(), id));
    }
    let answers = usize::from(top.get("result").is_some()) + usize::from(top.get("error").is_some());
    match (&method, answers) {
        (Some(_), 0) | (None, 1) => {}
        (Some(_), _) => {
            return Err(refuse(
                code::INVALID_REQUEST,
                "a message with `method` has no `result` or `error`".into(),
                id,
            ));
        }
        (None, _) => {
            return Err(refuse(
                code::INVALID_REQUEST,
                "a message has `method`, or one of `result` and `error`".into(),
                id,
            ));
        }
    }
    let mut params = match top.kept("params") {
        Some(raw) if raw.get() != "null" => Object::parse(raw.get())
            .map_err(|_| refuse(code::INVALID_PARAMS, "`params` must be an object".into(), id.clone()))?,
        _ => Object::default(),
    };
    if let Some(name) = variant(&params, &PARAMS_NAMES) {
        let reason = format!("the member `params.{name}` is written in the wrong letter case");
        return Err(refuse(code::INVALID_PARAMS, reason, id));
    }
    // Many clients write what they leave out as null. No member of the protocol may be null, so every reader
    // sees the same.
    params.drop_nulls(&PARAMS_NAMES);
    let mut meta = match params.kept("_meta") {
        None => None,
        Some(raw) => Some(Object::parse(raw.get()).map_err(|_| {
            refuse(code::INVALID_PARAMS, "`params._meta` must be an object".into(), id.clone())
        })?),
    };
    if let Some(name) = meta.as_ref().and_then(|meta| variant(meta, &META_NAMES)) {
        let reason = format!("the member `params._meta.{name}` is written in the wrong letter case");
        return Err(refuse(code::INVALID_PARAMS, reason, id));
    }
    if let Some(meta) = &mut meta
        && meta.drop_nulls(&META_NAMES)
    {
        params.set("_meta", meta.write());
    }
    Ok(Envelope { id, method, params, meta })
}

/// A member whose name differs from a known one in letter case only; at most 64 characters of its name.
pub fn variant(object: &Object<'_>, known: &[&str]) -> Option<String> {
    object
        .names()
        .find(|name| {
            known.iter().any(|known| name != known && is_alike(name, known)) && !known.contains(name)
        })
        .map(|name| name.chars().take(64).collect())
}

/// True where a name is that of a known member to the laxest parsers, which fold letter case: `ſ` counts as
/// `s` and the Kelvin sign as `k`. Known names are ASCII. Costs no more than the first letter that differs: a
/// client may send many names.
fn is_alike(name: &str, known: &str) -> bool {
    if name.is_ascii() {
        return name.eq_ignore_ascii_case(known);
    }
    let folded = name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    folded.eq(known.chars().map(|letter| letter.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_is_read() {
        let body = br#"{"jsonrpc":"2.0","id":"a-1","method":"tools/call","params":{"name":"x","arguments":{"p":1},"future":[1 ,2]}}"#;
        let envelope = parse(body).expect("a request");
        assert_eq!(envelope.id.expect("an id").as_json(), "\"a-1\"");
        assert_eq!(envelope.method.expect("a method"), "tools/call");
        assert_eq!(envelope.params.string("name").expect("a name"), "x");
        assert_eq!(envelope.params.get("future"), Some("[1 ,2]"));
    }

    #[test]
    fn a_member_that_is_null_is_not_there() {
        let read = |body: &'static str| parse(body.as_bytes()).expect(body);
        for params in [r#","params":null"#, r#","params":{}"#, ""] {
            let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list"{params}}}"#);
            assert!(parse(body.as_bytes()).expect("a request").params.is_empty(), "{body}");
        }
        let called = read(
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":null,"cursor":null,"task":null,"own":null}}"#,
        );
        assert_eq!(called.params.write(), r#"{"name":"x","own":null}"#);
        let meta = read(r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":null}}"#);
        assert!(meta.meta.is_none() && meta.params.is_empty());
        let meta = read(
            r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":{"progressToken":null,"own":null}}}"#,
        );
        assert_eq!(meta.params.write(), r#"{"_meta":{"own":null}}"#, "what is read is what is forwarded");
        assert_eq!(meta.meta.map(|meta| meta.write()).as_deref(), Some(r#"{"own":null}"#));
    }

    #[test]
    fn notifications_and_responses_are_told_apart() {
        let notification =
            parse(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).expect("a notification");
        assert!(notification.id.is_none() && notification.method.is_some());
        let response = parse(br#"{"jsonrpc":"2.0","id":1,"result":{}}"#).expect("a response");
        assert!(response.id.is_some() && response.method.is_none());
    }

    #[test]
    fn what_is_not_exactly_one_message_is_refused() {
        let cases: [(&str, &str); 26] = [
            (r#"{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}"#, "duplicate"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a","m\u0065thod":"b"}"#, "duplicate"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a","Method":"b"}"#, "letter case"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a","PARAMS":{}}"#, "letter case"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a","paramſ":{}}"#, "letter case"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"name":"x","Name":"y"}}"#, "params.Name"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"name":"x","name":"y"}}"#, "duplicate"),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":{"ProgressToken":5}}}"#,
                "_meta.ProgressToken",
            ),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":5}}"#, "_meta` must be"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a","params":[1]}"#, "must be an object"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a","params":"x"}"#, "must be an object"),
            (r#"{"jsonrpc":"2.0","id":1.0,"method":"a"}"#, "`id` must be"),
            (r#"{"jsonrpc":"2.0","id":1e3,"method":"a"}"#, "`id` must be"),
            (r#"{"jsonrpc":"2.0","id":99999999999999999999,"method":"a"}"#, "`id` must be"),
            (r#"{"jsonrpc":"2.0","id":true,"method":"a"}"#, "`id` must be"),
            (r#"{"jsonrpc":"2.0","id":{},"method":"a"}"#, "`id` must be"),
            (r#"{"jsonrpc":"2.0","id":null,"method":"a"}"#, "must not be null"),
            (r#"{"jsonrpc":"1.0","id":1,"method":"a"}"#, "`jsonrpc`"),
            (r#"{"jsonrpc":2.0,"id":1,"method":"a"}"#, "`jsonrpc`"),
            (r#"{"id":1,"method":"a"}"#, "`jsonrpc`"),
            (r#"{"jsonrpc":"2.0","id":1,"method":1}"#, "`method` must be a string"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a","result":{}}"#, "no `result`"),
            (r#"{"jsonrpc":"2.0","id":1}"#, "one of"),
            (r#"[{"jsonrpc":"2.0","id":1,"method":"a"}]"#, "batches"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a"} x"#, "trailing"),
            ("\u{feff}{}", "not acceptable JSON"),
        ];
        for (body, expected) in cases {
            let refused = parse(body.as_bytes()).expect_err(body);
            assert!(refused.reason.contains(expected), "{body}: {}", refused.reason);
        }
        assert!(parse(b"{\"a\":\"\xff\"}").expect_err("bytes").reason.contains("UTF-8 at byte 6"));
    }

    #[test]
    fn a_refusal_carries_the_id_where_one_was_read() {
        let refused = parse(br#"{"jsonrpc":"2.0","id":7,"method":"a","params":[]}"#).expect_err("params");
        assert_eq!(refused.id.expect("the id").as_json(), "7");
    }

    #[test]
    fn many_members_cost_little_more_than_to_read_them() {
        use std::time::{Duration, Instant};
        let members: Vec<_> = (0..50_000).map(|number| format!("\"{number}\":1")).collect();
        let meta = format!("{{{}}}", members.join(","));
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"a","params":{{"_meta":{meta}}}}}"#);
        // The best of some tries, each beside the measure: machines are noisy.
        let best = |work: &dyn Fn()| {
            let one = |_| {
                let before = Instant::now();
                work();
                before.elapsed()
            };
            (0..7).map(one).min().unwrap_or(Duration::MAX)
        };
        let reading = best(&|| drop(serde_json::from_str::<serde_json::Value>(&body).expect("JSON")));
        let parsing = best(&|| drop(parse(body.as_bytes()).expect("a request")));
        println!("{parsing:?}, and to read them {reading:?}");
        assert!(parsing < reading * 8, "{parsing:?}, and to read them {reading:?}");
    }

    /// Letter case as it was folded name by name, each anew.
    fn fold(name: &str) -> String {
        name.to_uppercase().to_lowercase()
    }

    proptest! {
        #[test]
        fn names_are_alike_when_they_fold_to_the_same(
            name in "[naſmeNAME\u{212A}\u{131}\u{130}ﬁß_x]{0,8}", known in "[a-zA-Z_]{0,8}"
        ) {
            prop_assert_eq!(is_alike(&name, &known), fold(&name) == fold(&known));
            let own = name.to_uppercase();
            prop_assert_eq!(is_alike(&own, &known), fold(&own) == fold(&known));
        }

        #[test]
        fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&body);
        }

        #[test]
        fn nearly_json_does_not_either(body in "[\\[\\]{}\",:0-9a-z\\\\u.eE+ -]{0,120}") {
            let _ = parse(body.as_bytes());
        }

        #[test]
        fn what_is_accepted_reads_the_same_for_another_parser(
            name in "[a-zA-Z_]{1,12}", value in "\\PC{0,20}", id in any::<i64>()
        ) {
            let body = serde_json::json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
                "params": {"name": value, "arguments": {name.as_str(): value}}}).to_string();
            let envelope = parse(body.as_bytes()).expect("a request");
            let name = envelope.params.string("name").expect("a name");
            prop_assert_eq!(name.as_ref(), value.as_str());
        }
    }
}
