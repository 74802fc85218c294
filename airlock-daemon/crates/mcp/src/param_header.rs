//! `Mcp-Param-*`: headers that repeat arguments of a tool call, where the tool's input schema says
//! `x-mcp-header` (2026-07-28, "Custom Headers from Tool Parameters").
//!
//! Whoever stands before the server may route or count by these headers, so they must say what the body says:
//! they are compared when they come in, and written anew from the body when they go out.

use std::collections::HashSet;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::header;

/// The prefix of all these headers, in lower case.
pub const PREFIX: &str = "mcp-param-";
/// The member of a property's schema that asks for a header.
const ANNOTATION: &str = "x-mcp-header";
/// Most headers of one call, and most annotations of one tool.
const MAX: usize = 32;
/// Longest name behind the prefix in bytes.
const MAX_NAME: usize = 128;
/// Longest value of a header, encoded, in bytes.
const MAX_VALUE: usize = 8 * 1024;
/// The largest integer that every JSON reader takes as it stands.
const SAFE: i64 = (1 << 53) - 1;

/// The headers of one call, as the client sent them.
#[derive(Debug, Clone, Default)]
pub struct Sent(Option<Arc<[(HeaderName, HeaderValue)]>>);

/// The arguments that a tool wants to see as headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotations(Vec<Annotation>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Annotation {
    header: HeaderName,
    /// The names of properties that lead to the value.
    path: Vec<String>,
}

/// The headers of one call to a server: those that its tool wants, and those that the client sent beyond
/// them.
#[derive(Debug, Clone, Default)]
pub struct Mirrored {
    /// Written anew from the arguments that are sent.
    pub annotations: Option<Arc<Annotations>>,
    /// Passed on as they came: headers that the tool does not know.
    pub others: Vec<(HeaderName, HeaderValue)>,
}

impl Sent {
    /// Takes the headers out of a request's head.
    ///
    /// # Errors
    /// A sentence for the client: when there are more than 32, one is repeated, too long, or is not visible
    /// ASCII.
    pub fn read(headers: &HeaderMap) -> Result<Self, String> {
        let mut sent: Vec<(HeaderName, HeaderValue)> = Vec::new();
        for (name, value) in headers {
            let Some(rest) = name.as_str().strip_prefix(PREFIX) else { continue };
            if sent.iter().any(|(other, _)| other == name) {
                return Err(format!("the header {name} is repeated"));
            }
            if rest.is_empty() || rest.len() > MAX_NAME || value.len() > MAX_VALUE || sent.len() == MAX {
                return Err(format!("there are too many or too long headers {PREFIX}*"));
            }
            if value.to_str().is_err() {
                return Err(format!("the header {name} is not visible ASCII"));
            }
            sent.push((name.clone(), value.clone()));
        }
        Ok(Self((!sent.is_empty()).then(|| sent.into())))
    }

    /// True where there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn iter(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.0.iter().flat_map(|sent| sent.iter())
    }

    /// Those that a tool does not know: whoever does not recognise one passes it on.
    pub fn beyond(&self, known: Option<&Annotations>) -> Vec<(HeaderName, HeaderValue)> {
        let known =
            |name: &HeaderName| known.is_some_and(|known| known.0.iter().any(|each| each.header == *name));
        self.iter().filter(|(name, _)| !known(name)).cloned().collect()
    }
}

impl Annotations {
    /// Reads a tool's input schema; `None` when it asks for no header.
    ///
    /// # Errors
    /// Which of the specification's constraints it breaks, for the operator.
    pub fn read(schema: &str) -> Result<Option<Self>, String> {
        // Most schemas do not have the word, spelled out or escaped.
        if !schema.contains(ANNOTATION) && !schema.contains("\\u") {
            return Ok(None);
        }
        let schema: Value =
            serde_json::from_str(schema).map_err(|error| format!("its schema is no JSON: {error}"))?;
        let mut found = Self::default();
        let mut path = Vec::new();
        walk(&schema, Some(&mut path), &mut found)?;
        let mut names = HashSet::new();
        if let Some(twice) = found.0.iter().find(|each| !names.insert(&each.header)) {
            return Err(format!("{ANNOTATION} names {} twice", twice.header));
        }
        Ok((!found.0.is_empty()).then_some(found))
    }

    /// Compares what was sent with the arguments: a value has its header, and a header has its value.
    ///
    /// # Errors
    /// A sentence for the client.
    pub fn check(&self, sent: &Sent, arguments: &str) -> Result<(), String> {
        let arguments: Value =
            serde_json::from_str(arguments).map_err(|_| "the arguments are no JSON".to_owned())?;
        for Annotation { header, path } in &self.0 {
            let given = sent.iter().find(|(name, _)| name == header).map(|(_, value)| value);
            match (at(&arguments, path), given) {
                (None, None) => {}
                (None, Some(_)) => {
                    return Err(format!("the header {header} repeats an argument that is not there"));
                }
                (Some(_), None) => {
                    return Err(format!("the header {header} is missing: it repeats an argument"));
                }
                (Some(value), Some(given)) => {
                    let text =
                        given.to_str().map_err(|_| format!("the header {header} is not visible ASCII"))?;
                    let text = header::decode(text).map_err(|reason| format!("{header}: {reason}"))?;
                    if !agree(value, &text) {
                        return Err(format!("the header {header} disagrees with the body"));
                    }
                }
            }
        }
        Ok(())
    }

    /// The headers for these arguments. A value that no header can carry is left out, for the server to
    /// refuse.
    pub fn write(&self, arguments: &str) -> Vec<(HeaderName, HeaderValue)> {
        let Ok(arguments) = serde_json::from_str::<Value>(arguments) else { return Vec::new() };
        let each = |annotation: &Annotation| {
            let text = match at(&arguments, &annotation.path)? {
                Value::String(text) => text.clone(),
                Value::Bool(flag) => flag.to_string(),
                value @ Value::Number(number) => {
                    integer(value).map_or_else(|| number.to_string(), |whole| whole.to_string())
                }
                Value::Null | Value::Array(_) | Value::Object(_) => return None,
            };
            let value = header::encode(&text);
            let value = HeaderValue::from_str(&value).ok().filter(|value| value.len() <= MAX_VALUE)?;
            Some((annotation.header.clone(), value))
        };
        self.0.iter().filter_map(each).collect()
    }
}

/// Looks for annotations in a schema. `path` leads to it from the root through `properties` alone, and is
/// none where it is reached by another way, where no annotation may stand.
fn walk(schema: &Value, mut path: Option<&mut Vec<String>>, found: &mut Annotations) -> Result<(), String> {
    let Value::Object(members) = schema else {
        if let Value::Array(items) = schema {
            return items.iter().try_for_each(|item| walk(item, None, found));
        }
        return Ok(());
    };
    for (key, value) in members {
        match (key.as_str(), value) {
            (ANNOTATION, value) => {
                let path = path.as_deref().filter(|path| !path.is_empty());
                let path =
                    path.ok_or("x-mcp-header stands where no property can be reached by `properties` alone")?;
                found.add(value, members.get("type"), path)?;
            }
            ("properties", Value::Object(properties)) => {
                for (name, property) in properties {
                    match path.as_deref_mut() {
                        None => walk(property, None, found)?,
                        Some(path) => {
                            path.push(name.clone());
                            walk(property, Some(path), found)?;
                            path.pop();
                        }
                    }
                }
            }
            // Names of schemas, not of keywords.
            ("$defs" | "definitions" | "patternProperties" | "dependentSchemas", Value::Object(schemas)) => {
                schemas.values().try_for_each(|schema| walk(schema, None, found))?;
            }
            // Values, not schemas.
            ("const" | "default" | "enum" | "examples", _) => {}
            (_, other) => walk(other, None, found)?,
        }
    }
    Ok(())
}

impl Annotations {
    fn add(&mut self, name: &Value, kind: Option<&Value>, path: &[String]) -> Result<(), String> {
        let name = name.as_str().ok_or("x-mcp-header is no string")?;
        let primitive = |kind: &Value| matches!(kind.as_str(), Some("string" | "integer" | "boolean"));
        let fits = match kind {
            // A value that may be null as well: then there is no header.
            Some(Value::Array(kinds)) => {
                kinds.len() == 2 && kinds.iter().any(primitive) && kinds.iter().any(|kind| kind == "null")
            }
            Some(kind) => primitive(kind),
            None => false,
        };
        if !fits {
            return Err(format!(
                "x-mcp-header `{}` is not on a string, an integer or a boolean",
                brief(name)
            ));
        }
        if name.is_empty() || name.len() > MAX_NAME {
            return Err("x-mcp-header is empty or too long".to_owned());
        }
        let header = HeaderName::from_bytes(format!("{PREFIX}{name}").as_bytes())
            .map_err(|_| format!("x-mcp-header `{}` cannot be part of a header's name", brief(name)))?;
        if self.0.len() == MAX {
            return Err(format!("it has more than {MAX} x-mcp-header"));
        }
        self.0.push(Annotation { header, path: path.to_vec() });
        Ok(())
    }
}

/// At most 64 characters of something a server wrote, fit for a log.
fn brief(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

/// The value at a path of properties; null counts as absent.
fn at<'a>(arguments: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter()
        .try_fold(arguments, |value, name| value.as_object()?.get(name))
        .filter(|value| !value.is_null())
}

/// True where a header's decoded text says what the value says. Numbers are compared as such.
fn agree(value: &Value, text: &str) -> bool {
    match value {
        Value::String(string) => string == text,
        Value::Bool(flag) => text == if *flag { "true" } else { "false" },
        Value::Number(number) => match integer(value) {
            Some(whole) => whole_of(text) == Some(whole),
            None => number.to_string() == text && number.as_i64().is_none() && number.as_u64().is_none(),
        },
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

/// A number that is whole and that every reader takes as it stands.
fn integer(value: &Value) -> Option<i64> {
    // Written out, so that `1e0` is `1.0` and nothing is rounded here.
    whole_of(&value.as_number()?.to_string())
}

/// A whole number in a header: digits, perhaps with a fraction of zeros.
fn whole_of(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let plain =
        |text: &str, allowed: fn(&u8) -> bool| !text.is_empty() && text.as_bytes().iter().all(allowed);
    if !plain(digits, u8::is_ascii_digit) || !plain(fraction, |byte| *byte == b'0') {
        return None;
    }
    whole.parse().ok().filter(|whole| (-SAFE..=SAFE).contains(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{"type":"object","properties":{
        "region":{"type":"string","x-mcp-header":"Region"},
        "count":{"type":"integer","x-mcp-header":"Count"},
        "dry":{"type":["boolean","null"],"x-mcp-header":"Dry-Run"},
        "x-mcp-header":{"type":"string"},
        "deep":{"type":"object","properties":{"er":{"type":"string","x-mcp-header":"Deeper"}}},
        "free":{"type":"string","default":{"x-mcp-header":"no annotation"}}}}"#;

    fn sent(headers: &[(&str, &str)]) -> Result<Sent, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).expect("a name"),
                HeaderValue::from_bytes(value.as_bytes()).expect("a value"),
            );
        }
        Sent::read(&map)
    }

    fn annotations() -> Annotations {
        Annotations::read(SCHEMA).expect("valid").expect("annotated")
    }

    #[test]
    fn a_header_says_what_the_body_says() {
        for (headers, arguments) in [
            (&[][..], "{}"),
            (&[][..], r#"{"region":null,"free":"x","deep":7}"#),
            (&[("Mcp-Param-Region", "eu")][..], r#"{"region":"eu"}"#),
            (&[("MCP-PARAM-REGION", "=?base64?SGVsbG8=?=")][..], r#"{"region":"Hello"}"#),
            (&[("mcp-param-region", "SGVsbG8=")][..], r#"{"region":"SGVsbG8="}"#),
            (&[("mcp-param-region", "=?base64?SGVsbG8=")][..], r#"{"region":"=?base64?SGVsbG8="}"#),
            (&[("mcp-param-region", "")][..], r#"{"region":""}"#),
            (&[("mcp-param-count", "42.0")][..], r#"{"count":42}"#),
            (&[("mcp-param-count", "-42")][..], r#"{"count":-4.2e1}"#),
            (&[("mcp-param-dry-run", "true")][..], r#"{"dry":true}"#),
            (&[("mcp-param-deeper", "x")][..], r#"{"deep":{"er":"x"}}"#),
            (&[("mcp-param-unknown", "=?base64?!?=")][..], "{}"),
        ] {
            let sent = sent(headers).expect("headers");
            annotations()
                .check(&sent, arguments)
                .unwrap_or_else(|error| panic!("{headers:?} {arguments}: {error}"));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for (headers, arguments, expected) in [
            (&[][..], r#"{"region":"eu"}"#, "missing"),
            (&[("mcp-param-region", "us")][..], r#"{"region":"eu"}"#, "disagrees"),
            (&[("mcp-param-region", "EU")][..], r#"{"region":"eu"}"#, "disagrees"),
            (&[("mcp-param-region", "eu")][..], r#"{"region":null}"#, "not there"),
            (&[("mcp-param-region", "eu")][..], r#"{"Region":"eu"}"#, "not there"),
            (&[("mcp-param-region", "=?base64?SGVsbG8?=")][..], r#"{"region":"Hello"}"#, "malformed"),
            (&[("mcp-param-region", "=?base64?SGVs!!!bG8=?=")][..], r#"{"region":"Hello"}"#, "malformed"),
            (&[("mcp-param-region", "=?BASE64?SGVsbG8=?=")][..], r#"{"region":"Hello"}"#, "disagrees"),
            (&[("mcp-param-region", "=?base64?/w==?=")][..], r#"{"region":"Hello"}"#, "not UTF-8"),
            (&[("mcp-param-region", "{}")][..], r#"{"region":{}}"#, "disagrees"),
            (&[("mcp-param-count", "42.5")][..], r#"{"count":42}"#, "disagrees"),
            (&[("mcp-param-count", "0x2a")][..], r#"{"count":42}"#, "disagrees"),
            (&[("mcp-param-count", "+42")][..], r#"{"count":42}"#, "disagrees"),
            (&[("mcp-param-count", "42.")][..], r#"{"count":42}"#, "disagrees"),
            (&[("mcp-param-count", "9007199254740993")][..], r#"{"count":9007199254740993}"#, "disagrees"),
            (&[("mcp-param-count", "1")][..], r#"{"count":"1 "}"#, "disagrees"),
            (&[("mcp-param-dry-run", "True")][..], r#"{"dry":true}"#, "disagrees"),
            (&[("mcp-param-dry-run", "1")][..], r#"{"dry":true}"#, "disagrees"),
            (&[("mcp-param-deeper", "x")][..], r#"{"deep.er":"x"}"#, "not there"),
        ] {
            let error =
                annotations().check(&sent(headers).expect("headers"), arguments).expect_err(arguments);
            assert!(error.contains(expected), "{headers:?} {arguments}: {error}");
        }
        for (headers, expected) in [
            (vec![("mcp-param-region", "eu"), ("Mcp-Param-Region", "eu")], "repeated"),
            (vec![("mcp-param-region", "gr\u{fc}n")], "visible ASCII"),
            (vec![("mcp-param-", "x")], "too many or too long"),
        ] {
            let error = sent(&headers).expect_err(expected);
            assert!(error.contains(expected), "{error}");
        }
        let names: Vec<String> = (0..=MAX).map(|number| format!("mcp-param-{number}")).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
        assert!(sent(&many).is_err());
        assert!(sent(&many[1..]).is_ok());
    }

    #[test]
    fn what_is_written_passes_the_check() {
        for arguments in [
            r#"{"region":"grüße","count":1e0,"dry":false,"deep":{"er":" x\r\ny: z"}}"#,
            r#"{"region":"=?base64?x?=","count":-7}"#,
            r#"{"region":"","count":1.5}"#,
            "{}",
        ] {
            let written = annotations().write(arguments);
            let headers: HeaderMap = written.into_iter().collect();
            let sent = Sent::read(&headers).expect("headers");
            annotations().check(&sent, arguments).unwrap_or_else(|error| panic!("{arguments}: {error}"));
        }
        let written = annotations().write(r#"{"count":1e0,"region":"eu"}"#);
        let text: Vec<_> =
            written.iter().map(|(name, value)| (name.as_str(), value.to_str().expect("text"))).collect();
        assert_eq!(text, [("mcp-param-count", "1"), ("mcp-param-region", "eu")]);
    }

    #[test]
    fn what_a_tool_does_not_know_is_passed_on() {
        let sent = sent(&[("mcp-param-region", "eu"), ("mcp-param-trace", "7")]).expect("headers");
        let beyond = |known| sent.beyond(known).iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>();
        let known = annotations();
        assert_eq!(beyond(Some(&known)), ["mcp-param-trace"]);
        assert_eq!(beyond(None).len(), 2);
    }

    #[test]
    fn invalid_annotations_are_found() {
        let property = |schema: &str| format!(r#"{{"properties":{{"p":{schema}}}}}"#);
        for schema in [
            property(r#"{"type":"string","x-mcp-header":""}"#),
            property(r#"{"type":"string","x-mcp-header":7}"#),
            property(r#"{"type":"string","x-mcp-header":"My Region"}"#),
            property(r#"{"type":"string","x-mcp-header":"Region:Primary"}"#),
            property(r#"{"type":"string","x-mcp-header":"Région"}"#),
            property(r#"{"type":"string","x-mcp-header":"Region\t1"}"#),
            property(r#"{"type":"string","x-mcp-header":"A\r\nB"}"#),
            property(r#"{"type":"number","x-mcp-header":"N"}"#),
            property(r#"{"type":"object","x-mcp-header":"N"}"#),
            property(r#"{"type":"array","x-mcp-header":"N"}"#),
            property(r#"{"type":"null","x-mcp-header":"N"}"#),
            property(r#"{"type":["string","integer"],"x-mcp-header":"N"}"#),
            property(r#"{"x-mcp-header":"N"}"#),
            property(r#"{"type":"array","items":{"type":"string","x-mcp-header":"N"}}"#),
            property(r#"{"anyOf":[{"type":"string","x-mcp-header":"N"}]}"#),
            property(r#"{"type":"string","x-mcp-\u0068eader":""}"#),
            r#"{"type":"string","x-mcp-header":"N"}"#.to_owned(),
            r#"{"if":{"properties":{"p":{"type":"string","x-mcp-header":"N"}}}}"#.to_owned(),
            r#"{"$defs":{"d":{"type":"string","x-mcp-header":"N"}}}"#.to_owned(),
            r#"{"properties":{"a":{"type":"string","x-mcp-header":"N"},"b":{"type":"string","x-mcp-header":"n"}}}"#
                .to_owned(),
        ] {
            assert!(Annotations::read(&schema).is_err(), "{schema}");
        }
        for plain in ["{}", "true", r#"{"properties":{"x-mcp-header":{"type":"string"}}}"#] {
            assert_eq!(Annotations::read(plain), Ok(None), "{plain}");
        }
    }
}
