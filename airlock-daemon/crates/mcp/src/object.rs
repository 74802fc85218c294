//! A JSON object as an ordered list of members whose values stay bytes.
//!
//! Editing one member leaves all others byte for byte as they came: a gateway that re-encodes a message
//! through a model loses what the model does not know.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of one object, in the order in which they came.
#[derive(Debug, Clone, Default)]
pub struct Object<'a> {
    members: Vec<(Cow<'a, str>, Member<'a>)>,
}

/// A value: as received, or written by us.
#[derive(Debug, Clone)]
enum Member<'a> {
    Kept(&'a RawValue),
    Written(String),
}

impl Member<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Kept(raw) => raw.get(),
            Self::Written(text) => text,
        }
    }
}

impl<'a> Object<'a> {
    /// Reads an object.
    ///
    /// # Errors
    /// When `text` is not one JSON object. Duplicate members are not looked for: the strict walk of a request
    /// did that, and for an upstream's message [`Object::get`] takes the first, as [`Object::write`] keeps
    /// both.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The text of a member's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.members.iter().find(|(key, _)| key == name).map(|(_, value)| value.text())
    }

    /// The text of a member's value, for as long as the parsed text lives; `None` for members written by
    /// [`Object::set`].
    pub fn kept(&self, name: &str) -> Option<&'a RawValue> {
        self.members.iter().find(|(key, _)| key == name).and_then(|(_, value)| match value {
            Member::Kept(raw) => Some(*raw),
            Member::Written(_) => None,
        })
    }

    /// A member that is a string, decoded.
    pub fn string(&self, name: &str) -> Option<Cow<'_, str>> {
        serde_json::from_str::<Text<'_>>(self.get(name)?).ok().map(|text| text.0)
    }

    /// A member that is a string, decoded, for as long as the parsed text lives.
    pub fn kept_string(&self, name: &str) -> Option<Cow<'a, str>> {
        serde_json::from_str::<Text<'a>>(self.kept(name)?.get()).ok().map(|text| text.0)
    }

    /// Sets a member to JSON text, in its old place or at the end. Duplicates go: another parser may take the
    /// last one.
    pub fn set(&mut self, name: &'a str, json: impl Into<String>) {
        let value = Member::Written(json.into());
        match self.members.iter().position(|(key, _)| key == name) {
            Some(index) => {
                self.members[index].1 = value;
                let mut at = 0;
                self.members.retain(|(key, _)| {
                    at += 1;
                    at <= index + 1 || key != name
                });
            }
            None => self.members.push((Cow::Borrowed(name), value)),
        }
    }

    /// Takes the members of another text in place of its own.
    ///
    /// # Errors
    /// When `text` is not one JSON object.
    pub fn replace(&mut self, text: &str) -> Result<(), serde_json::Error> {
        let other = Object::parse(text)?;
        let owned = |(key, value): (Cow<'_, str>, Member<'_>)| {
            (Cow::Owned(key.into_owned()), Member::Written(value.text().to_owned()))
        };
        self.members = other.members.into_iter().map(owned).collect();
        Ok(())
    }

    /// Takes a member out; says whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        self.retain(|key| key != name)
    }

    /// Takes out the members of these names that are null; says whether any was.
    pub fn drop_nulls(&mut self, names: &[&str]) -> bool {
        let before = self.members.len();
        self.members.retain(|(key, value)| value.text() != "null" || !names.contains(&key.as_ref()));
        self.members.len() != before
    }

    /// Keeps the members whose name passes; says whether any went.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) -> bool {
        let before = self.members.len();
        self.members.retain(|(key, _)| keep(key));
        self.members.len() != before
    }

    /// Names of the members.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|(key, _)| key.as_ref())
    }

    /// True where there is no member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The object as JSON text.
    pub fn write(&self) -> String {
        let size =
            self.members.iter().map(|(key, value)| key.len() + value.text().len() + 8).sum::<usize>() + 2;
        let mut out = String::with_capacity(size);
        out.push('{');
        for (index, (key, value)) in self.members.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            if is_plain(key) {
                out.push('"');
                out.push_str(key);
                out.push('"');
            } else {
                out.push_str(&quote(key));
            }
            out.push(':');
            out.push_str(value.text());
        }
        out.push('}');
        out
    }
}

/// True where a string has nothing that JSON escapes.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\')
}

/// A string as JSON text.
pub fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A string that borrows where it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Read)
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(map.size_hint().unwrap_or(4));
                while let Some(Text(key)) = map.next_key()? {
                    members.push((key, Member::Kept(map.next_value()?)));
                }
                Ok(Object { members })
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_edited_stays_as_it_came() {
        let text =
            r#"{"a": 1.50, "n\u0061me":"x\/y","z":{"deep" : [1, 2]},"big":123456789012345678901234567890}"#;
        let mut object = Object::parse(text).expect("an object");
        assert_eq!(object.string("name").expect("decoded"), "x/y");
        object.set("a", "2");
        object.set("new", quote("q\"uote"));
        assert_eq!(
            object.write(),
            r#"{"a":2,"name":"x\/y","z":{"deep" : [1, 2]},"big":123456789012345678901234567890,"new":"q\"uote"}"#
        );
        assert!(object.remove("z"));
        assert!(!object.remove("z"));
    }

    #[test]
    fn a_member_that_is_set_is_there_once() {
        let mut object = Object::parse(r#"{"b":0,"a":1,"\u0061":2,"c":3,"a":4}"#).expect("an object");
        object.set("a", "5");
        assert_eq!(object.write(), r#"{"b":0,"a":5,"c":3}"#);
    }

    #[test]
    fn null_is_taken_for_nothing_where_that_is_asked_for() {
        let mut object = Object::parse(r#"{"a":null,"b":"null","\u0063":null,"d":null}"#).expect("an object");
        assert!(object.drop_nulls(&["a", "b", "c"]));
        assert_eq!(object.write(), r#"{"b":"null","d":null}"#);
        assert!(!object.drop_nulls(&["a", "b", "c"]));
    }

    #[test]
    fn names_are_quoted_as_they_must_be() {
        let names = ["", "plain", "q\"", "b\\", "n\n", "\u{1}", "\u{7f}", "é", "\u{2028}"];
        let mut object = Object::default();
        for name in names {
            object.set(name, "1");
        }
        let all: Vec<String> = names.iter().map(|name| format!("{}:1", quote(name))).collect();
        assert_eq!(object.write(), format!("{{{}}}", all.join(",")));
    }

    #[test]
    fn only_objects_are_objects() {
        for text in ["[]", "1", "null", "{", "{\"a\":}", "{1:2}"] {
            assert!(Object::parse(text).is_err(), "{text}");
        }
    }
}
