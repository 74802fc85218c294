//! Secrets in pieces, and in numbers and members of their own, with the shipped detectors.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::planted::{SHIPPED, redacted_by};
use super::tests::spelled;
use crate::proof::SPELLINGS;

const TOKEN: &str = concat!("ghp_", "318wPfvnmcZm8jFzhUXA8iNWWgoZXrugg3af");

/// A message as it may pass.
fn passed(message: &Value) -> Value {
    let json = message.to_string();
    let redacted = redacted_by(&SHIPPED, &json).expect("nothing blocks");
    redacted.text.map_or_else(|| message.clone(), |text| serde_json::from_str(&text).expect("JSON"))
}

#[test]
fn a_card_in_pieces_is_taken_out_of_each() {
    let card = "[redacted:card]";
    for (message, expected) in [
        (json!(["4111", "1111", "1111", "1111"]), json!([card, card, card, card])),
        (json!(["41111111", "11111111"]), json!([card, card])),
        (
            json!({"a": "4111 1111", "b": "1111-1111", "c": "12/27"}),
            json!({"a": card, "b": card, "c": "12/27"}),
        ),
        (json!(["pay 4111 1111", "1111 1111 now"]), json!([format!("pay {card}"), format!("{card} now")])),
        (json!([{"text": "378282"}, {"text": "246310005"}]), json!([{"text": card}, {"text": card}])),
        (json!(["1", "4111", "1111", "1111", "1111", "99"]), json!(["1", card, card, card, card, "99"])),
        // With what cannot be seen between the digits.
        (json!(["41\u{200d}111111", "1\u{200d}1111111"]), json!([card, card])),
        // In base64, each by itself, and in wide digits.
        (json!(["NDExMTExMTE=", "MTExMTExMTE="]), json!([card, card])),
        (json!(["\u{ff14}\u{ff11}\u{ff11}\u{ff11}1111", "11111111"]), json!([card, card])),
    ] {
        assert_eq!(passed(&message), expected, "{message}");
    }
    for clean in [
        json!(["4111", "1111", "1111", "1112"]),
        json!(["2019", "2020", "2021", "2022"]),
        json!(["4111", 1, {"a": "1111"}, "1111", "x", "1111"]),
        json!(["4111", "1111", "1111", "1111", "4111", "1111", "1111", "1111"]),
        json!(["v4.4111 1111", "1111 1111"]),
        json!(["", "-", "4111"]),
    ] {
        assert_eq!(passed(&clean), clean);
    }
}

#[test]
fn a_secret_is_seen_that_was_encoded_and_cut_or_cut_and_encoded() {
    let (a, b) = TOKEN.split_at(15);
    let whole = STANDARD.encode(format!("the token is {TOKEN}, you see"));
    let hex = spelled(TOKEN, |byte| format!("{byte:02x}"));
    let percent = spelled(TOKEN, |byte| format!("%{byte:02x}"));
    let wide: String = TOKEN.chars().map(|of| char::from_u32(of as u32 + 0xFEE0).unwrap_or(of)).collect();
    for (first, second) in [
        whole.split_at(24),
        hex.split_at(33),
        percent.split_at(40),
        wide.split_at(30),
        (&STANDARD.encode(a), &STANDARD.encode(b)),
    ] {
        for message in [
            json!([first, second]),
            json!({"x": first, "y": second}),
            json!([{"text": first}, {"text": second}]),
            json!([{"resource": {"text": first}}, {"type": "text", "text": second}]),
        ] {
            let result = passed(&message).to_string();
            assert!(result.contains("[redacted:github-token]"), "{message}: {result}");
            assert!(!result.contains(first) && !result.contains(second), "{message}: {result}");
        }
    }
    // Each half means something else by itself.
    let clean = json!([&whole[..12], "words in between", &whole[40..]]);
    assert_eq!(passed(&clean), clean);
}

#[test]
fn a_secret_in_pieces_is_seen_among_other_words() {
    for key in [TOKEN, concat!("AKI", "A2TXSLRHBPY2QUZID")] {
        let (a, b) = key.split_at(12);
        for message in [
            json!(["id1", a, b, "ok"]),
            json!({"x": "id1", "y": a, "z": b, "w": "ok"}),
            json!([{"text": "id1"}, {"text": a}, {"text": b}, {"text": "ok"}]),
            json!(["id1", a, &b[..4], &b[4..], "ok"]),
        ] {
            let result = passed(&message).to_string();
            assert!(!result.contains(a) && !result.contains(b), "{message}: {result}");
            assert!(result.contains("id1") && result.contains("ok"), "{message}: {result}");
        }
    }
}

#[test]
fn a_key_in_lines_of_their_own_is_taken_out_whole() {
    let body = "FIppIWnWHDpVmnHrGe899LO0D3tZXbBVwTgN2sIYGM1tX5InqzQFYa9uqAeglnt2";
    let lines = ["-----BEGIN RSA PRIVATE KEY-----", body, body, "-----END RSA PRIVATE KEY-----"];
    let blocks: Vec<_> = lines.iter().map(|line| json!({"type": "text", "text": line})).collect();
    let halves = lines.join("\n");
    for message in [
        json!({"lines": ["before", lines[0], lines[1], lines[2], lines[3], "after"]}),
        json!({"content": blocks}),
        json!([halves[..80], halves[80..]]),
    ] {
        // The same where its reader sees dashes that are spelled otherwise.
        let spelled = message.to_string().replace("-----", r"\u002d--\u002D-");
        let result = redacted_by(&SHIPPED, &spelled).expect("nothing blocks").text.expect("a change");
        assert!(!result.contains(&body[..20]) && !result.contains(&body[40..]), "{result}");
        let result = passed(&message).to_string();
        assert!(!result.contains(&body[..20]) && !result.contains(&body[40..]), "{result}");
        assert!(result.contains("before") == message.to_string().contains("before"), "{result}");
        assert!(result.contains("after") == message.to_string().contains("after"), "{result}");
    }
}

#[test]
fn a_number_that_is_a_card_is_one_in_every_spelling() {
    for number in ["4111111111111111.0", "4.111111111111111e15", "-4111111111111111", "4111111111111111E0"] {
        let json = format!("[{number},1.50]");
        let redacted = redacted_by(&SHIPPED, &json).expect("nothing blocks");
        assert_eq!(redacted.text.as_deref(), Some("[0,1.50]"), "{number}");
    }
    let clean = "[4111111111111111.5,0.4111111111111111,4.111111111111111e-3,1e400]";
    assert_eq!(redacted_by(&SHIPPED, clean).expect("nothing blocks").text, None);
}

#[test]
fn a_secret_of_kubernetes_is_one_as_a_whole() {
    let taken = "[redacted:kubernetes-secret]";
    let secret = json!({"kind": "Secret", "metadata": {"name": "db"}, "data": {"user": "YWRtaW4=", "pass": "eA=="},
        "stringData": {"a": "b\"c"}});
    let expected = json!({"kind": "Secret", "metadata": {"name": "db"}, "data": {"user": taken, "pass": taken},
        "stringData": {"a": taken}});
    assert_eq!(passed(&json!({"items": [secret]})), json!({"items": [expected]}));
    // Whatever its words are spelled as, and whatever stands beside its data.
    let spelled = secret.to_string().replace("Secret", r"\u0053ecret").replace("kind", r"k\u0069nd");
    let spelled = spelled.replace(r#""data":{"#, r#""d\u0061ta":{"none":null,"n":1,"#);
    let result = redacted_by(&SHIPPED, &spelled).expect("nothing blocks").text.expect("a change");
    assert!(!result.contains("YWRtaW4=") && !result.contains("eA=="), "{result}");
    // The same as text.
    for text in [secret.to_string(), serde_json::to_string_pretty(&secret).expect("JSON")] {
        let result = passed(&json!([text])).to_string();
        assert!(!result.contains("YWRtaW4=") && result.contains(taken), "{result}");
    }
    let clean = json!({"kind": "ConfigMap", "data": {"user": "YWRtaW4="}, "spec": {"kind": "Secret"}});
    assert_eq!(passed(&clean), clean);
}

#[test]
fn encoded_text_in_lines_keeps_its_lines() {
    let wrapped = |text: &str| {
        let text = STANDARD.encode(text);
        let lines: Vec<_> =
            text.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
        lines.join("\r\n  ")
    };
    let before = "so it is, ".repeat(12);
    let message = json!({"mail": format!("see:\n{}\n--", wrapped(&format!("{before}{TOKEN} then")))});
    let expected = format!("see:\n{}\n--", wrapped(&format!("{before}[redacted:github-token] then")));
    assert_eq!(passed(&message), json!({"mail": expected}));
}

/// The bytes that a string has, in lines of base64 behind some text.
fn decoded(text: &Value, before: &str, between: &str) -> Vec<u8> {
    let lines = text.as_str().and_then(|text| text.strip_prefix(before)).expect("a text");
    STANDARD.decode(lines.replace(between, "")).expect("base64")
}

#[test]
fn a_secret_over_the_break_of_two_long_lines_is_taken_out() {
    // Neither line has enough of it.
    let bytes = [vec![0xff_u8; 819], TOKEN.as_bytes().to_vec(), vec![0xff_u8; 791]].concat();
    let whole = STANDARD.encode(&bytes);
    let (first, second) = whole.split_at(1_100);
    for between in ["\n", "\r\n", "\n  ", "\n\t "] {
        let message = json!([format!("see: {first}{between}{second}")]);
        let has_token = |message: &Value| {
            let bytes = decoded(&message[0], "see: ", between);
            bytes.windows(TOKEN.len()).any(|part| part == TOKEN.as_bytes())
        };
        assert!(has_token(&message) && !has_token(&passed(&message)), "{between:?}");
    }
}

#[test]
fn encoded_text_beyond_ascii_is_read_behind_an_escape() {
    let card: String =
        "4111111111111111".chars().filter_map(|of| char::from_u32(of as u32 + 0xFEE0)).collect();
    let words = "\u{441}\u{43b}\u{43e}\u{432}\u{43e} ".repeat(36);
    let text = format!("{words}{card} {words}");
    assert!(text.len() >= 768);
    let message = json!([format!("content:\n{}", STANDARD.encode(&text))]);
    let result = decoded(&passed(&message)[0], "content:\n", "\n");
    let result = String::from_utf8(result).expect("a text");
    assert!(result.contains("[redacted:card]") && !result.contains(&card), "{result}");
}

#[test]
fn a_key_of_aws_is_read_behind_an_escape_in_front_of_a_long_run() {
    let (key, rest) = (concat!("AKI", "A2TXSLRHBPY2QUZID"), "/".repeat(1_010));
    for escape in ["\\n", "\\r", "\\t", "\\u000a", "\\n\\u0009"] {
        let json = format!(r#"{{"text":"{escape}{key}{rest}"}}"#);
        let text = redacted_by(&SHIPPED, &json).expect("nothing blocks").text;
        assert!(text.is_some_and(|text| !text.contains(key)), "{escape}");
    }
}

#[test]
fn every_spelling_of_a_card_is_read() {
    for spelling in SPELLINGS {
        let message = json!([{"text": format!("a {} z", spelling("4111 1111 1111 1111"))}, 1]);
        assert_ne!(passed(&message), message);
    }
}
