//! The form of a pack as YAML.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::fault::{PackError, near};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Form {
    pub(super) pack: Spanned<String>,
    #[expect(dead_code, reason = "for people who read the file")]
    #[serde(default)]
    about: String,
    pub(super) detectors: Spanned<Vec<DetectorForm>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DetectorForm {
    pub(super) name: Spanned<String>,
    pub(super) about: String,
    pub(super) pattern: Spanned<String>,
    #[serde(default = "yes")]
    pub(super) word: bool,
    #[serde(default)]
    pub(super) check: Option<Spanned<ChecksForm>>,
    #[serde(default)]
    pub(super) context: Option<Spanned<ContextForm>>,
    #[serde(default)]
    pub(super) positive: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) negative: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ContextForm {
    pub(super) words: Vec<String>,
    #[serde(default = "before")]
    pub(super) before: usize,
    #[serde(default = "after")]
    pub(super) after: usize,
}

fn yes() -> bool {
    true
}

fn before() -> usize {
    64
}

fn after() -> usize {
    32
}

/// One check, or a list of them.
#[derive(Debug)]
pub(super) struct ChecksForm(pub(super) Vec<CheckForm>);

/// A name, or a name with its setting.
#[derive(Debug)]
pub(super) struct CheckForm {
    pub(super) name: String,
    pub(super) setting: Option<Setting>,
}

#[derive(Debug)]
pub(super) enum Setting {
    Number(f64),
    List(Vec<String>),
}

impl Form {
    pub(super) fn read(file: &str, text: &str) -> Result<Self, PackError> {
        serde_saphyr::from_str(text).map_err(|error| {
            let place = error
                .location()
                .map_or_else(|| file.to_owned(), |at| format!("{file}:{}:{}", at.line(), at.column()));
            match error.without_snippet() {
                serde_saphyr::Error::SerdeUnknownField { field, expected, .. } => PackError::one(
                    place,
                    format!("`{field}` is unknown here"),
                    near(field, expected.iter().copied()),
                ),
                other => PackError::one(place, other.to_string(), "correct the pack at this place"),
            }
        })
    }
}

impl<'de> Deserialize<'de> for ChecksForm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Checks;
        impl<'de> Visitor<'de> for Checks {
            type Value = ChecksForm;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("the name of a check, a check with its setting, or a list of them")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<ChecksForm, E> {
                Ok(ChecksForm(vec![CheckForm { name: name.to_owned(), setting: None }]))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ChecksForm, A::Error> {
                Ok(ChecksForm(settings(map)?))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<ChecksForm, A::Error> {
                let mut all = Vec::new();
                while let Some(ChecksForm(checks)) = seq.next_element()? {
                    all.extend(checks);
                }
                Ok(ChecksForm(all))
            }
        }
        deserializer.deserialize_any(Checks)
    }
}

fn settings<'de, A: MapAccess<'de>>(mut map: A) -> Result<Vec<CheckForm>, A::Error> {
    let mut all = Vec::new();
    while let Some(name) = map.next_key::<String>()? {
        all.push(CheckForm { name, setting: Some(map.next_value()?) });
    }
    if all.is_empty() { Err(A::Error::custom("a check is missing")) } else { Ok(all) }
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Settings;
        impl<'de> Visitor<'de> for Settings {
            type Value = Setting;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a number or a list of names")
            }

            fn visit_f64<E>(self, number: f64) -> Result<Setting, E> {
                Ok(Setting::Number(number))
            }

            #[expect(clippy::cast_precision_loss, reason = "settings are small")]
            fn visit_i64<E>(self, number: i64) -> Result<Setting, E> {
                Ok(Setting::Number(number as f64))
            }

            #[expect(clippy::cast_precision_loss, reason = "settings are small")]
            fn visit_u64<E>(self, number: u64) -> Result<Setting, E> {
                Ok(Setting::Number(number as f64))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Setting, A::Error> {
                let mut all = Vec::new();
                while let Some(name) = seq.next_element()? {
                    all.push(name);
                }
                Ok(Setting::List(all))
            }
        }
        deserializer.deserialize_any(Settings)
    }
}
