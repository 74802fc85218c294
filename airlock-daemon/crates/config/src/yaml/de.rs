//! Reads the schema's types from the located tree; an error names the node at which it happened.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, Expected, Unexpected, Visitor, value::StrDeserializer};

use super::tree::{Entry, Kind, Node, NodeId, brief, is_null};

/// Why reading stopped, and where.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) cause: Cause,
    /// The innermost node concerned; for an unknown key, that key's value.
    pub(crate) node: Option<NodeId>,
}

/// Why reading stopped.
#[derive(Debug)]
pub(crate) enum Cause {
    UnknownKey {
        key: String,
        valid: &'static [&'static str],
    },
    MissingKey(&'static str),
    UnknownWord {
        word: String,
        valid: &'static [&'static str],
    },
    /// A value of the wrong kind.
    Kind {
        expected: String,
    },
    /// A value of the right kind that its type refuses.
    Refused {
        message: String,
    },
}

impl Fault {
    fn at(mut self, node: &Node) -> Self {
        self.node.get_or_insert(node.id);
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.cause)
    }
}

impl std::error::Error for Fault {}

impl From<Cause> for Fault {
    fn from(cause: Cause) -> Self {
        Self { cause, node: None }
    }
}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Cause::Refused { message: message.to_string() }.into()
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Cause::Kind { expected: plainly(&expected.to_string()) }.into()
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Cause::Kind { expected: plainly(&expected.to_string()) }.into()
    }

    fn unknown_field(key: &str, valid: &'static [&'static str]) -> Self {
        Cause::UnknownKey { key: key.to_owned(), valid }.into()
    }

    fn unknown_variant(word: &str, valid: &'static [&'static str]) -> Self {
        Cause::UnknownWord { word: word.to_owned(), valid }.into()
    }

    fn missing_field(key: &'static str) -> Self {
        Cause::MissingKey(key).into()
    }
}

/// Serde's and Rust's names of things in an operator's words.
fn plainly(expected: &str) -> String {
    match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number",
        "a boolean" => "`true` or `false`",
        "a string" | "a borrowed string" => "text",
        "path string" => "a path",
        "socket address" => "an IP address and a port, such as `127.0.0.1:8080`",
        "a sequence" => "a list",
        "a map" => "a mapping (`key: value`)",
        other if other.starts_with("struct ") => "a mapping (`key: value`)",
        other => return other.to_owned(),
    }
    .to_owned()
}

/// Reads from a node.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'t>(pub(crate) &'t Node);

impl<'t> Reader<'t> {
    fn wrong<T>(self, visitor: &dyn Expected) -> Result<T, Fault> {
        Err(Fault::from(Cause::Kind { expected: plainly(&visitor.to_string()) }).at(self.0))
    }

    /// A mapping; `fields` are the keys that a blank may pretend to have.
    fn mapping<V: Visitor<'t>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        let (rest, pretended) = match &self.0.kind {
            Kind::Map(entries) => (entries.iter(), [].iter()),
            Kind::Blank(blank) => ([].iter(), blank.fields.iter()),
            _ => return self.wrong(&visitor),
        };
        let entries = Entries { node: self.0, rest, pretended, fields, value: None };
        visitor.visit_map(entries).map_err(|fault| fault.at(self.0))
    }

    fn map<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.mapping(&[], visitor)
    }

    fn text<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Fault> {
        let expected = visitor_words(&visitor);
        let text = match &self.0.kind {
            Kind::Plain(text) if !is_null(text) => text,
            Kind::Quoted(text) => text,
            Kind::Blank(blank) => blank.text(),
            _ => return self.wrong(&visitor),
        };
        visitor.visit_borrowed_str::<Fault>(text).map_err(|fault| {
            // A parser of the standard library says no, not what it wants; the visitor knows that.
            match fault.cause {
                Cause::Refused { .. } => Fault::from(Cause::Kind { expected }).at(self.0),
                _ => fault.at(self.0),
            }
        })
    }

    fn number<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Fault> {
        let result = match &self.0.kind {
            Kind::Plain(text) => match (text.parse::<u64>(), text.parse::<i64>(), text.parse::<f64>()) {
                (Ok(number), ..) => visitor.visit_u64::<Fault>(number),
                (_, Ok(number), _) => visitor.visit_i64(number),
                (.., Ok(number)) if looks_numeric(text) => visitor.visit_f64(number),
                _ => return self.wrong(&visitor),
            },
            Kind::Blank(_) => visitor.visit_u64(1),
            _ => return self.wrong(&visitor),
        };
        result.map_err(|fault| fault.at(self.0))
    }
}

fn visitor_words(visitor: &dyn Expected) -> String {
    plainly(&visitor.to_string())
}

/// True where plain text is a number in YAML's core schema, not one of Rust's words such as `inf`.
fn looks_numeric(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b))
        && text.bytes().any(|b| b.is_ascii_digit())
}

macro_rules! forward {
    ($($method:ident)* => $to:ident) => {$(
        fn $method<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.$to(visitor)
        }
    )*};
}

impl<'t> Deserializer<'t> for Reader<'t> {
    type Error = Fault;

    forward!(deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_i8
        deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_f32 deserialize_f64 => number);
    forward!(deserialize_str deserialize_string deserialize_char deserialize_bytes deserialize_byte_buf
        deserialize_identifier => text);
    forward!(deserialize_map => map);

    fn deserialize_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.kind {
            Kind::Plain(text) if is_null(text) => visitor.visit_unit::<Fault>().map_err(|f| f.at(self.0)),
            Kind::Plain(text) if text == "true" || text == "false" => self.deserialize_bool(visitor),
            Kind::Plain(text) if looks_numeric(text) && text.parse::<f64>().is_ok() => self.number(visitor),
            Kind::Plain(_) | Kind::Quoted(_) | Kind::Blank(_) => self.text(visitor),
            Kind::Empty => self.wrong(&visitor),
            Kind::Seq(_) => self.deserialize_seq(visitor),
            Kind::Map(_) => self.map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Fault> {
        let value = match &self.0.kind {
            Kind::Plain(text) if text == "true" => true,
            Kind::Plain(text) if text == "false" => false,
            Kind::Blank(_) => false,
            _ => return self.wrong(&visitor),
        };
        visitor.visit_bool::<Fault>(value).map_err(|fault| fault.at(self.0))
    }

    fn deserialize_option<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.kind {
            Kind::Plain(text) if is_null(text) => visitor.visit_none(),
            Kind::Blank(_) => visitor.visit_none(),
            // Nothing at all may be what is left when everything below a key was commented out: it is not
            // taken for "no restriction".
            Kind::Empty => self.wrong(&"a value, or `null` for none"),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.kind {
            Kind::Plain(text) if is_null(text) => visitor.visit_unit(),
            Kind::Blank(_) => visitor.visit_unit(),
            _ => self.wrong(&visitor),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'t>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'t>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Fault> {
        let items = match &self.0.kind {
            Kind::Seq(items) => items.iter(),
            Kind::Blank(_) => [].iter(),
            _ => return self.wrong(&visitor),
        };
        visitor.visit_seq(Items(items)).map_err(|fault| fault.at(self.0))
    }

    fn deserialize_tuple<V: Visitor<'t>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'t>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_struct<V: Visitor<'t>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.mapping(fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'t>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let word = match &self.0.kind {
            Kind::Plain(text) if !is_null(text) => text.as_str(),
            Kind::Quoted(text) => text,
            Kind::Blank(_) => variants.first().copied().unwrap_or_default(),
            _ => return self.wrong(&one_of(variants).as_str()),
        };
        let word: StrDeserializer<'_, Fault> = de::IntoDeserializer::into_deserializer(word);
        visitor.visit_enum(word).map_err(|fault| fault.at(self.0))
    }

    fn deserialize_ignored_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }
}

/// A list of words as a sentence has it.
pub(crate) fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.as_slice() {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        _ => format!("one of {}", quoted.join(", ")),
    }
}

/// The elements of a list.
struct Items<'t>(std::slice::Iter<'t, Node>);

impl<'t> de::SeqAccess<'t> for Items<'t> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'t>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(node) = self.0.next() else { return Ok(None) };
        seed.deserialize(Reader(node)).map(Some).map_err(|fault| fault.at(node))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

/// The keys and values of a mapping, or those that a blank pretends to have.
struct Entries<'t> {
    node: &'t Node,
    rest: std::slice::Iter<'t, Entry>,
    pretended: std::slice::Iter<'t, String>,
    fields: &'static [&'static str],
    value: Option<&'t Node>,
}

impl<'t> de::MapAccess<'t> for Entries<'t> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'t>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let (key, value) = match self.rest.next() {
            Some(entry) => (entry.key.as_str(), &entry.value),
            None => match self.pretended.find(|key| self.fields.contains(&key.as_str())) {
                Some(key) => (key.as_str(), self.node),
                None => return Ok(None),
            },
        };
        self.value = Some(value);
        let key = de::value::BorrowedStrDeserializer::<Fault>::new(key);
        seed.deserialize(key).map(Some).map_err(|fault| fault.at(value))
    }

    fn next_value_seed<V: DeserializeSeed<'t>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        // Serde asks for a value only after its key.
        let node = self.value.take().unwrap_or(self.node);
        seed.deserialize(Reader(node)).map_err(|fault| fault.at(node))
    }
}

/// The word nearest to `word`, when it is near enough to be meant.
pub fn nearest<'v>(word: &str, valid: &[&'v str]) -> Option<&'v str> {
    let folded = brief(word).to_lowercase().replace('-', "_");
    let distance = |candidate: &str| strsim::damerau_levenshtein(&folded, &candidate.replace('-', "_"));
    let best = valid.iter().copied().min_by_key(|candidate| distance(candidate))?;
    let allowed = (best.chars().count() / 3).max(1);
    (distance(best) <= allowed).then_some(best)
}
