//! Arguments that two readers would understand differently.

use serde_json::value::RawValue;

use crate::policy::lint::clear::{ArgumentsRead, Clarity, check, is_exact};

const STRICT: Clarity = Clarity { members: true, numbers: false };
const EXACTLY: Clarity = Clarity { members: false, numbers: true };

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

fn read(body: &str) -> ArgumentsRead {
    let mut engine = regorus::Engine::new();
    engine.add_policy("a.rego".into(), format!("package airlock.authz\nimport rego.v1\n{body}\n")).unwrap();
    ArgumentsRead::of(engine.get_modules())
}

fn place(text: &str, read: &ArgumentsRead, clarity: Clarity) -> Option<String> {
    check(&raw(text), read, clarity).err().map(|unclear| unclear.pointer)
}

#[test]
fn members_that_one_reader_takes_for_one_are_found() {
    let none = ArgumentsRead::default();
    for (text, at) in [
        (r#"{"path":"/ok","Path":"/secret/x"}"#, "/Path"),
        (r#"{"a":{"b":[1,{"x":1,"y":{"K":1},"X":2}]}}"#, "/a/b/1/X"),
        // An escape, width, a ligature, the Kelvin sign, the long s, a dotless i, composed and decomposed.
        (r#"{"path":1,"p\u0041th":2}"#, "/pAth"),
        (r#"{"path":1,"\uff50ath":2}"#, "/ｐath"),
        (r#"{"file":1,"ﬁle":2}"#, "/ﬁle"),
        (r#"{"key":1,"\u212aey":2}"#, "/\u{212a}ey"),
        (r#"{"paſs":1,"pass":2}"#, "/pass"),
        (r#"{"path":1,"PATH":2,"x":3}"#, "/PATH"),
        (r#"{"idı":1,"idi":2}"#, "/idi"),
        (r#"{"\u00e9":1,"e\u0301":2}"#, "/e\u{301}"),
        (r#"{"straße":1,"STRASSE":2}"#, "/STRASSE"),
        (r#"{"ΟΔΟΣ":1,"οδοσ":2}"#, "/οδοσ"),
        (r#"{"a/b~":1,"A/b~":2}"#, "/A~1b~0"),
        (r#"{"s":"\"","x\\":1,"X\\":2}"#, "/X\\"),
    ] {
        assert_eq!(place(text, &none, STRICT).as_deref(), Some(at), "{text}");
        assert_eq!(place(text, &none, EXACTLY), None, "{text}");
    }
    let many = |last: &str| {
        let members: Vec<String> = (0..40).map(|n| format!("\"k{n}\":{n}")).collect();
        format!("{{{},\"{last}\":1}}", members.join(","))
    };
    assert_eq!(place(&many("K7"), &none, STRICT).as_deref(), Some("/K7"));
    for text in [
        &many("k40"),
        "{}",
        r#"{"a":{"x":1},"b":{"X":2},"c":["x","X","x"]}"#,
        r#"{"path":"PATH","Root":"root","é":1,"è":2,"\"":1,"\\":2}"#,
        r#"{"x":"{\"path\":1,\"Path\":2}"}"#,
    ] {
        assert_eq!(place(text, &none, STRICT), None, "{text}");
    }
}

#[test]
fn integers_that_no_double_holds_are_told_from_those_that_it_does() {
    for number in [
        "0",
        "-0",
        "1.5",
        "0.1",
        "1e2",
        "9007199254740992",
        "-9007199254740992",
        "9007199254740994",
        "1e16",
        "1e+21",
        "1.7e18",
        "18446744073709551616",
        "9007199254740992.0",
        "1e22",
        "123456789012345",
        "9007199254740993.5",
        "0.00000000000000000000000000000000000000001e60",
        "1e-400",
        "100000000000000000000e-20",
    ] {
        assert!(is_exact(number), "{number}");
    }
    for number in [
        "9007199254740993",
        "-9007199254740993",
        "18446744073709551615",
        "9223372036854775807",
        "9007199254740993.0",
        "90071992547409930e-1",
        "1e23",
        "1E308",
        "123456789012345678901234567890",
        "1e999",
    ] {
        assert!(!is_exact(number), "{number}");
    }
}

#[test]
fn a_number_matters_where_the_policy_reads_it() {
    let text = r#"{"n":9007199254740993,"deep":{"list":[1,{"m":9007199254740993}]},"s":"9007199254740993"}"#;
    let unread = read("allow if input.call.tool == \"x\"");
    assert_eq!(place(text, &unread, STRICT), None);
    assert_eq!(place(text, &unread, EXACTLY).as_deref(), Some("/n"));
    for (body, at) in [
        ("allow if input.call.arguments.n == 1", Some("/n")),
        ("allow if input.call.arguments[\"n\"] > 1", Some("/n")),
        ("allow if input.call.arguments.deep.list[1].m == 1", Some("/deep/list/1/m")),
        ("allow if { some x in input.call.arguments.deep.list; x }", Some("/deep/list/1/m")),
        ("import input.call.arguments as a\nallow if a.deep.list[_].m == 1", Some("/deep/list/1/m")),
        ("allow if f(input.call)\nf(c) if c.arguments.n", Some("/n")),
        ("allow if input.call.arguments[input.call.tool]", Some("/n")),
        ("allow if walk(input, [p, v])", Some("/n")),
        ("allow if input.call.arguments.s == \"x\"", None),
        ("allow if input.call.arguments.name == 1", None),
        ("allow if input.call.arguments == null", None),
        ("allow if not is_number(input.call.arguments.n)", None),
        ("allow if { input.call.arguments != null; input.call.arguments.n > 1 }", Some("/n")),
    ] {
        assert_eq!(place(text, &read(body), STRICT).as_deref(), at, "{body}");
    }
}

#[test]
fn what_is_told_is_short_and_has_no_value() {
    let name = "é".repeat(5_000);
    let text = format!("{{\"{name}\":1,\"{}\":2,\"token\":\"hunter2\"}}", name.to_uppercase());
    let told = check(&raw(&text), &ArgumentsRead::default(), STRICT).unwrap_err().to_string();
    assert!(told.chars().count() < 1_000 && !told.contains("hunter2"), "{told}");
    let text = r#"{"n":9007199254740993}"#;
    let told = check(&raw(text), &ArgumentsRead::default(), EXACTLY).unwrap_err().to_string();
    assert!(!told.contains("90071"), "{told}");
    let steering = check(&raw("{\"a\\u001b[2J\":1,\"A\\u001b[2J\":2}"), &ArgumentsRead::default(), STRICT);
    assert!(!steering.unwrap_err().to_string().contains('\u{1b}'));
}

/// Each number asks what it is inside of: with a long name that is escaped, at more than gigabytes if that
/// were decoded each time.
#[test]
fn many_numbers_below_a_long_name_cost_one_look_at_it() {
    let (name, numbers) = ("A".repeat(128 * 1024), vec!["1e23"; 26_000].join(","));
    let text = format!("{{\"\\u0041{name}\":[{numbers}]}}");
    assert_eq!(place(&text, &ArgumentsRead::default(), STRICT), None);
    let inside = place(&text, &ArgumentsRead::default(), EXACTLY).expect("a double holds none of them");
    assert!(inside.starts_with("/AAAA"), "{inside}");
}
