//! One strict walk over a whole JSON document, before anything is believed.
//!
//! Two parsers that read the same bytes differently are a way around a policy: the gateway authorises one
//! reading, the server executes the other. So whatever parsers disagree about is refused here: duplicate
//! members at any depth (also when one is written with escapes), lone surrogates, numbers out of range,
//! trailing data, and nesting without end.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Deepest nesting that is accepted.
pub(super) const MAX_DEPTH: u8 = 64;

/// Objects with more members than this are checked with a hash set instead of by comparing all pairs.
const SMALL_OBJECT: usize = 16;

/// Walks `text`; an error names what is wrong, with serde's line and column.
pub fn check(text: &str) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Walk { depth: 0 }.deserialize(&mut deserializer)?;
    deserializer.end()
}

/// Walks an object but for one member, which is given back unread: its parts are judged one by one.
///
/// # Errors
/// As [`check`]; also when `text` is no object, or has no such member.
pub fn check_around<'a>(text: &'a str, member: &str) -> Result<&'a RawValue, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let spared = deserializer.deserialize_map(Around { member })?;
    deserializer.end()?;
    Ok(spared)
}

#[derive(Clone, Copy)]
struct Walk {
    depth: u8,
}

impl Walk {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format_args!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Walk {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// A member's name, decoded.
struct MemberName;

impl<'de> DeserializeSeed<'de> for MemberName {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for MemberName {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

impl<'de> Visitor<'de> for Walk {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while seq.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut names = Names::default();
        while let Some(key) = map.next_key_seed(MemberName)? {
            names.add(key)?;
            map.next_value_seed(inner)?;
        }
        Ok(())
    }
}

/// An object of which one member is spared.
struct Around<'m> {
    member: &'m str,
}

impl<'de> Visitor<'de> for Around<'_> {
    type Value = &'de RawValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let inner = Walk { depth: 1 };
        let mut names = Names::default();
        let mut spared = None;
        while let Some(key) = map.next_key_seed(MemberName)? {
            let is_spared = key == self.member;
            names.add(key)?;
            if is_spared {
                spared = Some(map.next_value()?);
            } else {
                map.next_value_seed(inner)?;
            }
        }
        spared.ok_or_else(|| A::Error::custom(format_args!("no member `{}`", self.member)))
    }
}

/// The members of one object so far.
#[derive(Default)]
struct Names<'de> {
    few: Vec<Cow<'de, str>>,
    many: HashSet<Cow<'de, str>>,
}

impl<'de> Names<'de> {
    fn add<E: Error>(&mut self, name: Cow<'de, str>) -> Result<(), E> {
        let Self { few, many } = self;
        let is_known = if many.is_empty() { few.contains(&name) } else { many.contains(&name) };
        if is_known {
            return Err(E::custom(format_args!("duplicate member `{}`", shorten(&name))));
        }
        if few.len() < SMALL_OBJECT {
            few.push(name);
        } else {
            // From here on each name costs one look-up, however many there are.
            if many.is_empty() {
                many.extend(few.iter().cloned());
            }
            many.insert(name);
        }
        Ok(())
    }
}

/// At most 64 characters of something a client wrote.
fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_parsers_disagree_about_is_refused() {
        let deep = format!("{}1{}", "[".repeat(65), "]".repeat(65));
        let many =
            format!("{{{}}}", (0..40).map(|i| format!("\"k{}\":1", i % 39)).collect::<Vec<_>>().join(","));
        let cases = [
            (r#"{"a":1,"a":2}"#, "duplicate member `a`"),
            (r#"{"x":{"a":1,"\u0061":2}}"#, "duplicate member `a`"),
            (r#"[{"":1,"":2}]"#, "duplicate member ``"),
            (many.as_str(), "duplicate member `k0`"),
            (deep.as_str(), "nested deeper"),
            (r#"{"a":"\ud800"}"#, "hex escape"),
            (r#"{"a":"\ud800\u0041"}"#, "surrogate"),
            (r#"{"a":1e999}"#, "out of range"),
            ("{} {}", "trailing"),
            ("{\"a\":\"\u{1}\"}", "control character"),
            ("", "EOF"),
            ("[1,]", "trailing comma"),
        ];
        for (text, expected) in cases {
            let error = check(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn one_member_is_spared_and_no_other() {
        let spared = check_around(r#"{"a":[1],"list":[{"x":1,"x":2},"\ud800",1e999],"b":2}"#, "list");
        assert_eq!(spared.expect("clear around it").get(), r#"[{"x":1,"x":2},"\ud800",1e999]"#);
        for text in [
            r#"{"list":[],"list":[]}"#,
            r#"{"list":[],"a":1,"a":2}"#,
            r#"{"list":[],"a":"\ud800"}"#,
            r#"{"list":[],"a":{"b":1,"b":2}}"#,
            r#"{"a":[]}"#,
            "[]",
            r#"{"list":[]} {}"#,
        ] {
            assert!(check_around(text, "list").is_err(), "{text}");
        }
    }

    #[test]
    fn ordinary_documents_pass() {
        let deep = format!("{}1{}", "[".repeat(64), "]".repeat(64));
        for text in [r#"{"a":{"a":[1,2.5,-3,true,null,"x"]},"A":1}"#, "[]", "1", deep.as_str()] {
            check(text).expect(text);
        }
    }
}
