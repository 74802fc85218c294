//! Prompts and templates are locked as tools are, and what comes after the first look at a server is held
//! back, whatever its kind.

use airlock_tests::Setup;
use airlock_tests::little::Little;
use airlock_tests::mcp::modern;
use serde_json::{Value, json};

use super::locked_house::{FIND, House, READ, answer, offer, offer_others};

#[test]
fn prompts_and_templates_are_locked_as_well() {
    let little = Little::start(answer);
    offer_others(&little, READ);
    let setup = Setup { upstreams: little.entry("docs").to_string(), ..Setup::default() };
    let house = House::with(little, setup, None);
    let nothing = || (Vec::new(), Vec::new());
    let read = || (vec!["read".to_owned()], vec!["read/{x}".to_owned()]);
    assert_eq!(house.others(), read());
    offer_others(&house.little, &READ.replace("Reads", "Writes"));
    assert_eq!(house.others(), nothing());
    let get = modern("/mcp/docs", 1, "prompts/get", &json!({"name": "read"}));
    let refused = house.send(&get);
    assert_eq!(refused["error"]["data"]["rule_id"], "tool_lock", "{refused}");
    for path in ["/mcp/docs", "/mcp"] {
        let is_merged = path == "/mcp";
        let [prompt, template, uri] = if is_merged {
            ["docs__read", "airlock+docs+read/{x}", "airlock+docs+file:///a"]
        } else {
            ["read", "read/{x}", "file:///a"]
        };
        for (reference, is_held) in [
            (json!({"type": "ref/prompt", "name": prompt}), true),
            (json!({"type": "ref/resource", "uri": template}), true),
            (json!({"type": "ref/resource", "uri": uri}), false),
        ] {
            let params = json!({"ref": reference, "argument": {"name": "x", "value": "d"}});
            let answer = house.send(&modern(path, 1, "completion/complete", &params));
            let rule = answer["error"]["data"]["rule_id"].as_str();
            assert_eq!(rule, is_held.then_some("tool_lock"), "{reference}: {answer}");
            assert_eq!(answer["result"]["completion"]["values"][0].is_null(), is_held, "{answer}");
        }
    }
    assert!(
        house.little.asked("completion/complete").iter().all(|seen| seen.body.to_string().contains("///a"))
    );
    // It had no tools when its prompts were looked at first, so none is trusted later.
    offer(&house.little, FIND);
    assert_eq!(house.listed(), Vec::<String>::new());
}

#[test]
fn a_kind_that_comes_later_is_held_back() {
    let house = House::new(READ, "");
    assert_eq!(house.listed(), ["read"]);
    let lock: Value = serde_json::from_str(&house.lock()).expect("JSON");
    let docs = &lock["upstreams"]["docs"];
    assert_eq!((&docs["prompts"], &docs["resource_templates"]), (&json!({}), &json!({})));
    house.airlock.audited(|record| record["reason"] == "trusted at first use: 0 of prompts/list");
    offer_others(&house.little, READ);
    assert_eq!(house.others(), (Vec::new(), Vec::new()));
    assert!(house.tools(&["diff"]).1.contains("docs/read (prompt): it is new"));
    let read = || (vec!["read".to_owned()], vec!["read/{x}".to_owned()]);
    assert!(house.tools(&["approve", "docs"]).0);
    assert_eq!(house.others(), read());

    // An older file does not say that all kinds were looked at.
    let old = house.lock();
    let mut old: Value = serde_json::from_str(&old).expect("JSON");
    for kind in ["prompts", "resource_templates"] {
        old["upstreams"]["docs"].as_object_mut().expect("an object").remove(kind);
    }
    let House { little, airlock, .. } = house;
    let upstreams = little.entry("docs").to_string();
    drop(airlock);
    let next = House::with(little, Setup { upstreams, ..Setup::default() }, Some(&old.to_string()));
    assert_eq!((next.listed(), next.others()), (vec!["read".to_owned()], (Vec::new(), Vec::new())));
    assert!(
        next.tools(&["diff"])
            .1
            .contains("is a prompt, and none was looked at when its server was locked; it is new")
    );
    assert!(next.tools(&["lock", "docs"]).0);
    assert_eq!(next.others(), read());
}
