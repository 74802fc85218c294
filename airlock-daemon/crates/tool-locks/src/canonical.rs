//! The canonical form of JSON (RFC 8785): one text for all texts that mean the same.
//!
//! The RFC writes a number as the double next to it, so that `9007199254740993` and `9007199254740992` would
//! be one. A schema can tell the two apart, so a number with more digits than its double keeps them all.
//! Every other text is the RFC's.

use std::collections::BTreeMap;

use airlock_mcp::object::quote;
use airlock_mcp::strict;
use serde_json::value::RawValue;

use crate::number;

/// The canonical form of a JSON text.
///
/// # Errors
/// Texts about which readers disagree: duplicate members, lone surrogates, numbers out of range, nesting
/// deeper than the protocol has it; and texts that are no JSON.
pub fn canonical(text: &str) -> Result<String, serde_json::Error> {
    strict::check(text)?;
    let mut out = String::with_capacity(text.len());
    write(text, &mut out)?;
    Ok(out)
}

/// Writes a value that was checked; its depth is bounded by that.
fn write(text: &str, out: &mut String) -> Result<(), serde_json::Error> {
    let text = text.trim_matches([' ', '\t', '\n', '\r']);
    match text.as_bytes().first() {
        Some(b'{') => object(text, out),
        Some(b'[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(text)?;
            between('[', ']', elements, out, |element, out| write(element.get(), out))
        }
        Some(b'"') => {
            let string: String = serde_json::from_str(text)?;
            out.push_str(&quote(&string));
            Ok(())
        }
        Some(b'-' | b'0'..=b'9') => number::write(text, out),
        _ => {
            out.push_str(text);
            Ok(())
        }
    }
}

/// Members stand in the order of their names' UTF-16 code units (RFC 8785, section 3.2.3).
fn object(text: &str, out: &mut String) -> Result<(), serde_json::Error> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
    let mut members: Vec<_> = members.into_iter().collect();
    members.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
    between('{', '}', members, out, |(name, value), out| {
        out.push_str(&quote(&name));
        out.push(':');
        write(value.get(), out)
    })
}

fn between<T>(
    open: char,
    close: char,
    parts: Vec<T>,
    out: &mut String,
    mut each: impl FnMut(T, &mut String) -> Result<(), serde_json::Error>,
) -> Result<(), serde_json::Error> {
    out.push(open);
    for (place, part) in parts.into_iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        each(part, out)?;
    }
    out.push(close);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn form(text: &str) -> String {
        canonical(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn the_examples_of_the_rfc_are_as_it_has_them() {
        // RFC 8785, sections 3.2.2 and 3.2.3.
        let text = r#"{
            "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
            "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
            "literals": [null, true, false]
        }"#;
        let numbers = "[333333333.3333333,1e+30,4.5,0.002,1e-27]";
        // The first number has more digits than its double: exactly these are kept.
        let numbers = numbers.replace("333333333.3333333,", "333333333.33333329,");
        let literals = r#""literals":[null,true,false],"numbers":"#;
        let string = r#","string":"€$\u000f\nA'B\"\\\\\"/""#;
        assert_eq!(form(text), format!("{{{literals}{numbers}{string}}}"));

        let text = r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh",
            "1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}"#;
        let order = ["\\r", "1", "\u{80}", "ö", "€", "😀", "\u{fb33}"];
        let written = form(text);
        let places: Vec<_> = order.iter().map(|name| written.find(&format!("\"{name}\":"))).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{written}");
    }

    #[test]
    fn texts_that_mean_the_same_have_one_form() {
        for (one, other) in [
            (
                r#"{"b":1,"a":[2,{"d":null,"c":""}]}"#,
                " { \"a\" :\n[ 2.0 ,{\"c\":\"\",\t\"d\":null}], \"b\":1e0}\r\n",
            ),
            (r#""a\/b\u0041""#, r#""a/bA""#),
            (r#"{"é":1}"#, r#"{"\u00e9":1}"#),
            ("-0", "0"),
            ("0.10", "1e-1"),
            ("9007199254740993", "9007199254740993.0"),
            ("123456789012345678901234567890", "12345678901234567890123456789e1"),
        ] {
            assert_eq!(form(one), form(other));
        }
    }

    #[test]
    fn texts_that_mean_something_else_have_another() {
        for (one, other) in [
            ("9007199254740993", "9007199254740992"),
            ("0.1", "0.1000000000000000000001"),
            ("1e-400", "0"),
            ("1e-400", "2e-400"),
            ("[1,2]", "[2,1]"),
            ("[[],[1]]", "[[1],[]]"),
            (r#"{"a":"1"}"#, r#"{"a":1}"#),
            (r#"{"a":null}"#, "{}"),
            (r#""é""#, r#""e\u0301""#),
            (r#"{"a":{},"b":{"c":1}}"#, r#"{"a":{"c":1},"b":{}}"#),
        ] {
            assert_ne!(form(one), form(other));
        }
    }

    #[test]
    fn what_readers_disagree_about_has_no_form() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":1}"#,
            r#""\ud800""#,
            "1e400",
            "1e-99999999999999999999",
            "[1] 2",
            "",
            &format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)),
        ] {
            assert!(canonical(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_schema_of_a_megabyte_that_is_deep_and_refers_to_itself_has_one() {
        let schema = format!(
            r##"{{"$ref":"#","enum":[{}],"deep":{}1{}}}"##,
            vec![r#""x""#; 250_000].join(","),
            r#"{"properties":"#.repeat(60),
            "}".repeat(60)
        );
        assert!(schema.len() > 1_000_000 && form(&schema).len() == schema.len());
    }

    /// JSON values as two texts: plain, and with other spaces, escapes and the members the other way round.
    fn value() -> impl Strategy<Value = (String, String)> {
        let string = |text: String| {
            let escaped: Vec<_> = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
            (quote(&text), format!("\"{}\"", escaped.concat()))
        };
        let leaf = prop_oneof![
            Just(("null".to_owned(), " null".to_owned())),
            any::<bool>().prop_map(|value| (value.to_string(), format!("{value}\n"))),
            any::<i64>().prop_map(|value| (value.to_string(), format!("{value}.00e0"))),
            "\\PC{0,8}".prop_map(string),
        ];
        leaf.prop_recursive(4, 32, 4, move |inner| {
            let members = proptest::collection::btree_map("\\PC{0,3}", inner.clone(), 0..4);
            prop_oneof![
                proptest::collection::vec(inner, 0..4).prop_map(|parts| {
                    let (plain, other): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
                    (format!("[{}]", plain.join(",")), format!("[ {} ]", other.join(" ,\t")))
                }),
                members.prop_map(move |members| {
                    let texts = members.into_iter().map(|(name, (plain, other))| {
                        let (name, escaped) = string(name);
                        (format!("{name}:{plain}"), format!("{escaped} : {other}"))
                    });
                    let (plain, mut other): (Vec<_>, Vec<_>) = texts.unzip();
                    other.reverse();
                    (format!("{{{}}}", plain.join(",")), format!("{{{}\n}}", other.join(",")))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn equal_values_have_equal_forms_and_a_form_is_its_own((plain, other) in value()) {
            let written = form(&plain);
            prop_assert_eq!(&form(&other), &written);
            prop_assert_eq!(&form(&written), &written);
        }

        #[test]
        fn unequal_values_have_unequal_forms((one, _) in value(), (other, _) in value()) {
            let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
            prop_assert_eq!(read(&one) == read(&other), form(&one) == form(&other), "{} {}", one, other);
        }
    }
}
