//! Any message with a secret planted in it, in any spelling: nothing of the secret is left, the message keeps
//! its shape, and looking through it once more finds nothing.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::tests::{DETECTORS, TOKEN};
use super::*;
use crate::generate::{Random, SHAPES};
use crate::pack::shipped;
use crate::proof::SPELLINGS;
use crate::{Action, Detectors, Hit};

pub(super) static SHIPPED: LazyLock<Detectors> = LazyLock::new(|| {
    let packs = shipped().iter().map(|pack| pack.load().expect("a shipped pack"));
    Detectors::new(packs.flat_map(|pack| pack.detectors).collect())
});

/// Text around the secret, of all that JSON and the spellings mean something by.
fn around() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![
            "[a-z ]{0,12}",
            "[\"\\\\/%&<>{}\\[\\]:,.]{0,4}",
            Just("é".to_owned()),
            Just("\u{1F511}".to_owned()),
            Just("\n".to_owned()),
            Just("\\n".to_owned()),
            Just("=".to_owned()),
            Just("%4".to_owned()),
        ],
        0..5,
    )
    .prop_map(|parts| parts.concat())
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        around().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-z]{1,6}", inner, 0..4)
                .prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn is_of_one_shape(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::String(_), Value::String(_)) => true,
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_of_one_shape(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.values().zip(b.values()).all(|(a, b)| is_of_one_shape(a, b))
        }
        (a, b) => a == b,
    }
}

fn redacted(json: &str) -> Result<Redacted, Refused> {
    redacted_by(&DETECTORS, json)
}

pub(super) fn redacted_by(detectors: &Detectors, json: &str) -> Result<Redacted, Refused> {
    let actions = vec![Action::Redact; detectors.all().len()];
    redact(&Plan { detectors, actions: &actions, digest: &|_| 0, skip: &[], keep: &[], limit: 1 << 24 }, json)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_planted_secret_is_gone(
        other in any_json(),
        (before, after) in (around(), around()),
        spelling in 0..SPELLINGS.len(),
        place in 0..4_u8,
    ) {
        let secret = SPELLINGS[spelling](TOKEN);
        let text = format!("{before} {secret} {after}");
        let planted = match place {
            0 => serde_json::json!([other, text]),
            1 => serde_json::json!({"a": other, "z": {"b": [text]}}),
            2 => Value::from(Map::from_iter([(text.clone(), other)])),
            _ => serde_json::json!({"result": {"content": [{"type": "text", "text": text}, {"type": "other", "x": other}]}}),
        };
        let json = planted.to_string();
        let result = redacted(&json);
        let Ok(Redacted { text: Some(result), counts }) = result else {
            return Err(TestCaseError::fail(format!("not found: {json}: {result:?}")));
        };
        prop_assert!(counts.iter().any(|(detector, _)| *detector == 0), "{result}");
        let value: Value = serde_json::from_str(&result).map_err(|error| TestCaseError::fail(format!("{error}: {result}")))?;
        prop_assert!(is_of_one_shape(&value, &planted), "{json} {result}");
        let within = serde_json::to_string(&secret).unwrap_or_default();
        prop_assert!(!result.contains(within.trim_matches('"')), "{result}");
        let again = redacted(&result);
        prop_assert_eq!(again.map(|again| again.text), Ok(None), "{}", result);
    }

    /// The passes by sieve and gates find in every spelling what patterns find that run over the whole text.
    #[test]
    fn what_issuers_make_is_gone_in_every_spelling(
        shape in 0..SHAPES.len(),
        seed in any::<u64>(),
        spelling in 0..SPELLINGS.len(),
        (before, after) in ("[a-z .:]{0,80}", "[a-z .;]{0,80}"),
    ) {
        let shape = &SHAPES[shape];
        let secret = format!("{}{}", shape.before, shape.make(&mut Random::new(seed)));
        let finds = |hit: &Hit| SHIPPED.all()[hit.detector].name() == shape.detector;
        prop_assume!(SHIPPED.scan_slowly(&format!("a {secret} z")).iter().any(finds));
        let spelled = SPELLINGS[spelling](&secret);
        let json = serde_json::json!([{"text": format!("{before} {spelled} {after}")}, 1]).to_string();
        let result = redacted_by(&SHIPPED, &json);
        let Ok(Redacted { text: Some(text), .. }) = result else {
            return Err(TestCaseError::fail(format!("{}: not found: {json}: {result:?}", shape.detector)));
        };
        let within = serde_json::to_string(&spelled).unwrap_or_default();
        prop_assert!(!text.contains(within.trim_matches('"')), "{text}");
    }

    #[test]
    fn any_message_keeps_its_shape(value in any_json()) {
        let json = value.to_string();
        let result = redacted(&json).map_err(|error| TestCaseError::fail(error.to_string()))?;
        if let Some(text) = result.text {
            let after: Value = serde_json::from_str(&text).map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert!(is_of_one_shape(&after, &value));
        }
    }
}
