//! Messages in every spelling, with a few detectors of our own.

use std::sync::LazyLock;

use super::*;
use crate::{Action, Context, Detector, Detectors, Spec};

pub(super) static DETECTORS: LazyLock<Detectors> = LazyLock::new(detectors);

fn detectors() -> Detectors {
    let spec = |name: &str, pattern: &str| Spec {
        name: name.into(),
        pack: "test".into(),
        pattern: pattern.into(),
        word: true,
        ..Spec::default()
    };
    let pin = Context { words: vec!["pin code".into(), "pin".into()], before: 32, after: 0 };
    let specs = [
        spec("token", "ghp_[A-Za-z0-9]{20,64}"),
        Spec {
            checks: crate::Check::named("luhn").into_iter().collect(),
            ..spec("card", "[0-9](?:[ -]?[0-9]){11,18}")
        },
        spec("email", r"[A-Za-z0-9._+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}"),
        Spec { context: Some(pin), ..spec("pin", "[0-9]{4,6}") },
    ];
    Detectors::new(specs.into_iter().map(|spec| Detector::new(spec).expect("a detector")).collect())
}

pub(super) const TOKEN: &str = "ghp_0123456789abcdefghijABCDEFGHIJ";

/// Spells a text byte by byte.
pub(super) fn spelled(text: &str, how: impl Fn(u8) -> String) -> String {
    text.bytes().map(how).collect()
}

fn with(action: Action, json: &str) -> Result<Redacted, Refused> {
    let actions = vec![action; DETECTORS.all().len()];
    let plan = Plan {
        detectors: &DETECTORS,
        actions: &actions,
        digest: &|text| text.len() as u64,
        skip: &[&["id"], &["params", "cursor"]],
        keep: &[&["params", "uri"]],
        limit: 1 << 20,
    };
    redact(&plan, json)
}

fn redacted(json: &str) -> String {
    let result = with(Action::Redact, json).expect("nothing blocks");
    result.text.unwrap_or_else(|| json.to_owned())
}

#[test]
fn a_clean_message_passes_as_it_is() {
    for clean in [r#"{"a":[1,2.5e3,"text \n more",null,true],"b":{}}"#, "[]", "12", r#""word""#] {
        assert_eq!(with(Action::Redact, clean), Ok(Redacted { text: None, counts: vec![] }), "{clean}");
    }
}

#[test]
fn a_finding_is_replaced_and_all_other_bytes_stay() {
    let json = format!(r#"{{"a" : "x {TOKEN}, y\n",  "n":1.50,"a":"mail bob@example.org\/","z":"\u00e9"}}"#);
    let expected =
        r#"{"a" : "x [redacted:token], y\n",  "n":1.50,"a":"mail [redacted:email]\/","z":"\u00e9"}"#;
    assert_eq!(redacted(&json), expected);
}

#[test]
fn every_spelling_is_read() {
    let escaped: String = spelled(TOKEN, |byte| format!("\\u{byte:04x}"));
    let percent: String = spelled(TOKEN, |byte| format!("%{byte:02X}"));
    let twice = percent.replace('%', "%25");
    let wide: String = TOKEN
        .chars()
        .map(|c| if c == '_' { c } else { char::from_u32(c as u32 + 0xFEE0).expect("a wide form") })
        .collect();
    let invisible: String = TOKEN.chars().flat_map(|c| [c, '\u{200B}']).collect();
    let backslashed = format!(r"line\\n{TOKEN}");
    for spelled in [&escaped, &percent, &twice, &wide, &invisible, &backslashed] {
        let result = redacted(&format!(r#"{{"text":"so {spelled} it is"}}"#));
        assert!(result.contains("[redacted:token]"), "{spelled}: {result}");
        assert!(serde_json::from_str::<serde_json::Value>(&result).is_ok(), "{result}");
    }
}

#[test]
fn encoded_texts_stay_encoded() {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    let inner = format!("token={TOKEN}; and some more text?>");
    let expected = inner.replace(TOKEN, "[redacted:token]");
    let json = format!(r#"{{"blob":"{}"}}"#, STANDARD.encode(&inner));
    assert_eq!(redacted(&json), format!(r#"{{"blob":"{}"}}"#, STANDARD.encode(&expected)));
    let json = format!(r#"{{"blob":"data:text/plain;base64,{}"}}"#, URL_SAFE_NO_PAD.encode(&inner));
    assert_eq!(
        redacted(&json),
        format!(r#"{{"blob":"data:text/plain;base64,{}"}}"#, URL_SAFE_NO_PAD.encode(&expected))
    );
    let hex = |text: &str| spelled(text, |byte| format!("{byte:02x}"));
    assert_eq!(redacted(&format!(r#"["{}"]"#, hex(&inner))), format!(r#"["{}"]"#, hex(&expected)));
    let twice = STANDARD.encode(STANDARD.encode(&inner));
    assert_eq!(
        redacted(&format!(r#"["{twice}"]"#)),
        format!(r#"["{}"]"#, STANDARD.encode(STANDARD.encode(&expected)))
    );
}

#[test]
fn an_encoded_text_does_not_keep_what_stands_in_it_as_it_is() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    // The card is within the base64, and the number behind it is a character of it as well.
    let run = STANDARD_NO_PAD.encode("pay 4111 1111 1111 1111 now, thank you.");
    let result = redacted(&format!(r#"["{run}/4111111111111111"]"#));
    assert!(result.contains("[redacted:card]") && !result.contains("4111111111111111"), "{result}");
}

#[test]
fn a_secret_in_pieces_is_taken_out_of_each() {
    let (a, b) = TOKEN.split_at(9);
    let json = format!(r#"{{"parts":["x {a}","{b} y"]}}"#);
    assert_eq!(redacted(&json), r#"{"parts":["x [redacted:token]","[redacted:token] y"]}"#);
    let json = format!(r#"{{"content":[{{"type":"text","text":"{a}"}},{{"type":"text","text":"{b}"}}]}}"#);
    let result = redacted(&json);
    assert!(!result.contains(a) && !result.contains(b), "{result}");
    let json = format!(r#"{{"first":"{a}","second":"{b}"}}"#);
    assert!(!redacted(&json).contains(b));
}

#[test]
fn numbers_and_names_are_read() {
    assert_eq!(
        redacted(r#"{"card":4111111111111111,"n":4111111111111112}"#),
        r#"{"card":0,"n":4111111111111112}"#
    );
    let json = r#"{"a@b.example":1,"d@e.example":2,"[redacted:email]":3}"#;
    assert_eq!(redacted(json), r#"{"[redacted:email]-2":1,"[redacted:email]-3":2,"[redacted:email]":3}"#);
    assert_eq!(
        redacted(r#"{"pinCode":"1234","other":"1234"}"#),
        r#"{"pinCode":"[redacted:pin]","other":"1234"}"#
    );
}

#[test]
fn what_is_not_to_be_read_is_not_and_what_must_stay_blocks() {
    let json = format!(r#"{{"id":"{TOKEN}","params":{{"cursor":"{TOKEN}"}}}}"#);
    assert_eq!(redacted(&json), json);
    let json = format!(r#"{{"params":{{"uri":"docs://{TOKEN}"}}}}"#);
    assert_eq!(with(Action::Redact, &json), Err(Refused::Blocked { detector: 0, counts: vec![(0, 1)] }));
    assert_eq!(with(Action::Report, &json), Ok(Redacted { text: None, counts: vec![(0, 1)] }));
}

#[test]
fn each_action_does_what_it_says() {
    let json = r#"["4111 1111 1111 1111"]"#;
    let text = |action| with(action, json).expect("it passes").text;
    assert_eq!(text(Action::Mask).as_deref(), Some(r#"["****1111"]"#));
    assert_eq!(text(Action::Hash).as_deref(), Some(r#"["[card:0000000000000013]"]"#));
    assert_eq!(text(Action::Report), None);
    assert_eq!(with(Action::Off, json), Ok(Redacted { text: None, counts: vec![] }));
    assert_eq!(with(Action::Block, json), Err(Refused::Blocked { detector: 1, counts: vec![(1, 1)] }));
}

#[test]
fn a_pattern_is_anchored_to_the_ends_of_a_string() {
    let spec = Spec { name: "row".into(), pattern: "^[0-9]{9}$".into(), ..Spec::default() };
    let detectors = Detectors::new(vec![Detector::new(spec).expect("a detector")]);
    let plan = Plan {
        detectors: &detectors,
        actions: &[Action::Redact],
        digest: &|_| 0,
        skip: &[],
        keep: &[],
        limit: 1 << 20,
    };
    let text = redact(&plan, r#"["123456789","a 123456789"]"#).expect("nothing blocks").text;
    assert_eq!(text.as_deref(), Some(r#"["[redacted:row]","a 123456789"]"#));
}
