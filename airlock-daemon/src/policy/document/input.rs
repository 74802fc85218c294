//! The input document, and JSON that is read without ambiguity.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, LazyLock};

use regorus::Value;
use regorus::value::Object;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::decision::Question;
use crate::auth::principal::Principal;

/// Integers from here on are not all representable as a double, so a reader may see another number than its
/// neighbour.
const INEXACT: f64 = 9_007_199_254_740_992.0;
/// Integers below this fit into 63 bits.
const LARGE: f64 = 4_611_686_018_427_387_904.0;

macro_rules! keys {
    ($($name:ident),* $(,)?) => {
        /// The keys of the document, allocated once.
        struct Keys { $($name: Value),* }
        static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys { $($name: Value::from(stringify!($name))),* });
    };
}

keys! {
    subject, call, client, time, id, tenant, groups, scopes, issuer, claims, method, upstream, tool, prompt, resource,
    root, arguments, revision, address, certificate, uid,
}

/// The `subject` part, which is the same for every call of one token.
pub(in crate::policy) fn subject(principal: &Principal) -> Value {
    let keys = &*KEYS;
    object([
        (&keys.id, Value::from(principal.subject.as_str())),
        (&keys.tenant, text(principal.tenant.as_deref())),
        (&keys.groups, list(&principal.groups)),
        (&keys.scopes, list(&principal.scopes)),
        (&keys.issuer, Value::from(principal.issuer.as_str())),
        (&keys.claims, map(&principal.claims)),
    ])
}

/// The whole document around a prepared `subject`.
///
/// # Errors
/// Arguments with duplicate keys.
pub(in crate::policy) fn document(subject: Value, question: &Question<'_>) -> Result<Value, String> {
    let keys = &*KEYS;
    let Question { call, client, time, .. } = question;
    let arguments = match call.arguments {
        Some(raw) => parse_json(raw.get()).map_err(|error| format!("arguments: {error}"))?,
        None => Value::Null,
    };
    let call = object([
        (&keys.method, Value::from(call.method)),
        (&keys.upstream, Value::from(call.upstream)),
        (&keys.tool, text(call.tool)),
        (&keys.prompt, text(call.prompt)),
        (&keys.resource, text(call.resource)),
        (&keys.root, text(call.root)),
        (&keys.arguments, arguments),
        (&keys.revision, Value::from(call.revision)),
    ]);
    let client = object([
        (&keys.address, text(client.address)),
        (&keys.certificate, text(client.certificate)),
        (&keys.uid, client.uid.map_or(Value::Null, Value::from)),
    ]);
    Ok(object([
        (&keys.subject, subject),
        (&keys.call, call),
        (&keys.client, client),
        (&keys.time, Value::from(*time)),
    ]))
}

/// Reads JSON strictly. An integer of more than 64 bits becomes the nearest double: where that matters, the
/// call has been refused before ([`crate::policy::lint::clear`]).
///
/// # Errors
/// Syntax errors, duplicate keys.
pub(super) fn parse_json(text: &str) -> serde_json::Result<Value> {
    serde_json::from_str::<Strict<false>>(text).map(|strict| strict.0)
}

/// True where [`parse_json`] would read the text, without building what it reads.
pub(in crate::policy) fn is_unambiguous(text: &str) -> bool {
    // The common `{}` and what needs no look are worth nothing more.
    text == "{}" || serde_json::from_str::<Judged>(text).is_ok()
}

fn object<const N: usize>(fields: [(&Value, Value); N]) -> Value {
    let fields: Object = fields.into_iter().map(|(key, value)| (key.clone(), value)).collect();
    Value::Object(Arc::new(fields))
}

fn text(text: Option<&str>) -> Value {
    text.map_or(Value::Null, Value::from)
}

fn list(texts: &[String]) -> Value {
    Value::from(texts.iter().map(|text| Value::from(text.as_str())).collect::<Vec<_>>())
}

fn map(fields: &serde_json::Map<String, serde_json::Value>) -> Value {
    let fields: Object =
        fields.iter().map(|(key, value)| (Value::from(key.as_str()), from_json(value))).collect();
    Value::Object(Arc::new(fields))
}

/// Claims come parsed from the token; a number that is no finite number does not occur in JSON.
fn from_json(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(flag) => Value::Bool(*flag),
        serde_json::Value::Number(number) => number
            .as_u64()
            .map(Value::from)
            .or_else(|| number.as_i64().map(Value::from))
            .or_else(|| number.as_f64().map(Value::from))
            .unwrap_or(Value::Null),
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => Value::from(items.iter().map(from_json).collect::<Vec<_>>()),
        serde_json::Value::Object(fields) => map(fields),
    }
}

/// A document without duplicate keys, and with `EXACT` also without numbers that lose their value on the way.
pub(in crate::policy) struct Strict<const EXACT: bool>(pub(in crate::policy) Value);

impl<'de, const EXACT: bool> Deserialize<'de> for Strict<EXACT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor::<EXACT>).map(Self)
    }
}

struct StrictVisitor<const EXACT: bool>;

impl<'de, const EXACT: bool> Visitor<'de> for StrictVisitor<EXACT> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        if !number.is_finite() || (EXACT && number.abs() >= INEXACT) {
            return Err(E::custom(format!(
                "the number {number} is too large to be read exactly; write it as a string"
            )));
        }
        // `1e16` is the integer that it means.
        #[expect(clippy::cast_possible_truncation, reason = "it is an integer of less than 63 bits")]
        let whole = (number.fract() == 0.0 && number.abs() < LARGE).then_some(number as i64);
        Ok(whole.map_or_else(|| Value::from(number), Value::from))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict::<EXACT>(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::from(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut pairs: Vec<(Value, Value)> = Vec::new();
        while let Some((key, Strict(value))) = fields.next_entry::<String, Strict<EXACT>>()? {
            pairs.push((Value::from(key), value));
        }
        pairs.sort_by(|one, other| one.0.cmp(&other.0));
        if let Some(pair) = pairs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(A::Error::custom(format!("the key {} stands twice", pair[0].0)));
        }
        Ok(Value::Object(Arc::new(pairs.into_iter().collect::<Object>())))
    }
}

/// A value that [`Strict`] would take, read and forgotten.
struct Judged;

impl<'de> Deserialize<'de> for Judged {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JudgedVisitor)
    }
}

struct JudgedVisitor;

impl<'de> Visitor<'de> for JudgedVisitor {
    type Value = Judged;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Judged, E> {
        Ok(Judged)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Judged, E> {
        Ok(Judged)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Judged, E> {
        Ok(Judged)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Judged, E> {
        Ok(Judged)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Judged, E> {
        StrictVisitor::<false>.visit_f64(number).map(|_| Judged)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Judged, E> {
        Ok(Judged)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Judged, A::Error> {
        while items.next_element::<Judged>()?.is_some() {}
        Ok(Judged)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Judged, A::Error> {
        let mut keys: Vec<Cow<'de, str>> = Vec::new();
        while let Some(Name(key)) = fields.next_key()? {
            keys.push(key);
            fields.next_value::<Judged>()?;
        }
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(A::Error::custom("a key stands twice"));
        }
        Ok(Judged)
    }
}

/// A key, borrowed from the text where it stands there without escapes.
struct Name<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a key")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::decision::{Call, Client};
    use super::super::shape::{Field, INPUT};
    use super::*;
    use crate::auth::principal::Bearer;

    fn principal() -> Principal {
        let claims = serde_json::json!({"n": -3, "big": u64::MAX, "f": 1.5, "deep": {"list": [null, true]}});
        Principal::new(Bearer {
            subject: "alice".into(),
            tenant: None,
            groups: vec!["g".into()],
            scopes: Vec::new(),
            issuer: "https://idp".into(),
            claims: claims.as_object().unwrap().clone(),
            expires_at: 0,
        })
    }

    #[test]
    fn the_document_is_the_contract() {
        let raw =
            serde_json::value::RawValue::from_string(r#"{"path": "/a", "n": 18446744073709551615}"#.into())
                .unwrap();
        let principal = principal();
        let question = Question {
            subject: &principal,
            call: Call {
                method: "tools/call",
                upstream: "docs",
                tool: Some("read_file"),
                prompt: None,
                resource: None,
                root: None,
                arguments: Some(&raw),
                revision: "2026-07-28",
            },
            client: Client { address: Some("203.0.113.7"), certificate: None, uid: Some(5) },
            time: 1_795_347_000,
        };
        let document = document(subject(&principal), &question).unwrap();
        let expected = r#"{"subject": {"id": "alice", "tenant": null, "groups": ["g"], "scopes": [], "issuer": "https://idp",
            "claims": {"n": -3, "big": 18446744073709551615, "f": 1.5, "deep": {"list": [null, true]}}},
            "call": {"method": "tools/call", "upstream": "docs", "tool": "read_file", "prompt": null, "resource": null,
            "root": null, "arguments": {"path": "/a", "n": 18446744073709551615}, "revision": "2026-07-28"},
            "client": {"address": "203.0.113.7", "certificate": null, "uid": 5}, "time": 1795347000}"#;
        assert_eq!(document, Value::from_json_str(expected).unwrap());
        has_shape(&document, &INPUT);
    }

    /// The value has all members that the contract promises at this place, and no others.
    fn has_shape(value: &Value, field: &Field) {
        let Some(members) = field.kind.members() else { return };
        let names: Vec<&str> =
            value.as_object().unwrap().keys().map(|key| &**key.as_string().unwrap()).collect();
        let mut promised: Vec<&str> = members.iter().map(|member| member.name).collect();
        promised.sort_unstable();
        assert_eq!(names, promised, "{}", field.name);
        for member in members {
            has_shape(&value[member.name], member);
        }
    }

    #[test]
    fn ambiguous_json_is_refused() {
        for text in [r#"{"a": 1, "a": 2}"#, r#"{"x": [{"a": 1, "\u0061": 2}]}"#, "[1, 2] 3"] {
            assert!(parse_json(text).is_err() && !is_unambiguous(text), "{text}");
        }
        for text in
            [r#"{"a": [1, {"b": null}], "c": {"a": 1.5, "\u0062": "x\n"}}"#, "{}", "[]", "7", "\"a\"", "true"]
        {
            assert!(parse_json(text).is_ok() && is_unambiguous(text), "{text}");
        }
        let odd = r#"{"$serde_json::private::Number": "7"}"#;
        assert!(matches!(parse_json(odd).unwrap(), Value::Object(_)), "an object stays an object");
    }

    #[test]
    fn exact_numbers_pass() {
        assert_eq!(parse_json("18446744073709551615").unwrap(), Value::from(u64::MAX));
        assert_eq!(parse_json("-9223372036854775808").unwrap(), Value::from(i64::MIN));
        assert_eq!(parse_json("0.5").unwrap(), Value::from(0.5));
        assert_eq!(parse_json("1e16").unwrap(), Value::from(10_000_000_000_000_000_u64));
        assert_eq!(parse_json("-1.0e2").unwrap(), Value::from(-100));
        assert_eq!(parse_json("1e21").unwrap(), Value::from(1e21));
        for text in ["9007199254740993.0", "18446744073709551616", "1e300", "-9223372036854775809"] {
            assert!(is_unambiguous(text) && parse_json(text).is_ok(), "{text}");
            // In a file of data there is nobody to ask what is meant.
            assert!(serde_json::from_str::<Strict<true>>(text).is_err(), "{text}");
        }
    }
}
