//! Everything that a server offers comes through the door, not tools alone: prompts, resources, templates,
//! completions and log levels, for clients of both eras, alone and merged; and all of it meets the policy.

use airlock_tests::airlock::{docs_upstream, stdio_upstream};
use airlock_tests::mcp::{Session, modern, modern_call, text};
use airlock_tests::{Airlock, Setup, skip, tools};
use serde_json::{Value, json};

mod client;
use client::Client;

/// A resource that the everything server has from its start.
const STATIC: &str = "demo://resource/static/document/architecture.md";
/// One that its template gives.
const DYNAMIC: &str = "demo://resource/dynamic/text/7";

/// Members of `mcp.users` may do everything, but one prompt, one resource of `beta`, and one template.
const POLICY: &str = r#"package airlock.authz
import rego.v1
default allow := false
allow if "mcp.users" in input.subject.groups
deny contains {"rule_id": "no_args_prompt", "reason": "not this prompt"} if input.call.prompt == "args-prompt"
deny contains {"rule_id": "no_blobs", "reason": "texts only"} if {
    is_string(input.call.resource)
    contains(input.call.resource, "/dynamic/blob/")
}
deny contains {"rule_id": "not_beta", "reason": "not from beta"} if {
    input.call.upstream == "beta"
    is_string(input.call.resource)
    endswith(input.call.resource, "architecture.md")
}
deny contains {"rule_id": "no_marketing", "reason": "not for marketing"} if {
    input.call.method == "completion/complete"
    startswith(input.call.arguments.value, "Mark")
}
"#;

/// The everything server twice, and one that has nothing but tools. None, and the test is skipped, where it
/// is not installed.
fn start() -> Option<Airlock> {
    let [node, script] = tools::in_node(tools::EVERYTHING).inspect_err(|reason| skip(reason)).ok()?;
    let command = [&*node, &script, "stdio"];
    let upstreams = stdio_upstream("alpha", &command) + &stdio_upstream("beta", &command) + &docs_upstream();
    Some(Setup { upstreams, policy: POLICY.to_owned(), ..Setup::default() }.start())
}

fn names(result: &Value, list: &str, member: &str) -> Vec<String> {
    let entries = result[list].as_array().unwrap_or_else(|| panic!("no {list}: {result}"));
    entries.iter().map(|entry| entry[member].as_str().expect(member).to_owned()).collect()
}

/// The prefixes of each endpoint for names and for URIs of `alpha`.
const ENDPOINTS: [(&str, &str, &str); 2] = [("/mcp/alpha", "", ""), ("/mcp", "alpha__", "airlock+alpha+")];

#[test]
fn prompts_come_through() {
    let Some(airlock) = start() else { return };
    let token = airlock.user();
    for (path, prefix, scheme) in ENDPOINTS {
        for mut client in Client::both(&airlock, &token, path) {
            let listed = names(&client.result("prompts/list", &Value::Null), "prompts", "name");
            assert!(listed.contains(&format!("{prefix}simple-prompt")), "{listed:?}");
            assert!(!listed.iter().any(|name| name.ends_with("args-prompt")), "{listed:?}");

            let got = client.result("prompts/get", &json!({"name": format!("{prefix}simple-prompt")}));
            assert_eq!(got["messages"][0]["role"], json!("user"), "{got}");
            let arguments = json!({"resourceType": "Text", "resourceId": "7"});
            let name = format!("{prefix}resource-prompt");
            let got = client.result("prompts/get", &json!({"name": name, "arguments": arguments}));
            let embedded = &got["messages"][1]["content"]["resource"];
            assert_eq!(embedded["uri"], json!(format!("{scheme}{DYNAMIC}")), "{got}");
            assert!(embedded["text"].as_str().is_some_and(|text| text.starts_with("Resource 7")), "{got}");

            let name = format!("{prefix}args-prompt");
            let (status, refused) =
                client.ask("prompts/get", &json!({"name": name, "arguments": {"city": "Bonn"}}));
            assert_eq!(status, 403, "{refused}");
            assert_eq!(refused["error"]["data"]["rule_id"], json!("no_args_prompt"), "{refused}");
            // The server's own words, for what only the server knows.
            let missing = format!("{prefix}no-such-prompt");
            let (status, unknown) = client.ask("prompts/get", &json!({"name": missing}));
            assert_eq!((status, &unknown["error"]["code"]), (200, &json!(-32_602)), "{unknown}");
            assert!(unknown["error"]["message"].as_str().is_some_and(|m| m.contains("no-such-prompt")));
        }
    }
}

#[test]
fn resources_and_templates_come_through() {
    let Some(airlock) = start() else { return };
    let token = airlock.user();
    for (path, prefix, scheme) in ENDPOINTS {
        for mut client in Client::both(&airlock, &token, path) {
            let listed = names(&client.result("resources/list", &Value::Null), "resources", "uri");
            assert!(listed.contains(&format!("{scheme}{STATIC}")), "{listed:?}");
            assert!(!listed.contains(&format!("airlock+beta+{STATIC}")), "{listed:?}");

            let templates = client.result("resources/templates/list", &Value::Null);
            let templates = names(&templates, "resourceTemplates", "uriTemplate");
            let template = format!("{scheme}demo://resource/dynamic/text/{{resourceId}}");
            assert!(templates.contains(&template), "{templates:?}");
            assert!(!templates.iter().any(|template| template.contains("/blob/")), "{templates:?}");

            for uri in [format!("{scheme}{STATIC}"), template.replace("{resourceId}", "7")] {
                let read = client.result("resources/read", &json!({"uri": uri}));
                assert_eq!(read["contents"][0]["uri"], json!(uri), "{read}");
                assert!(read["contents"][0]["text"].is_string(), "{read}");
            }
            let blob = format!("{scheme}demo://resource/dynamic/blob/7");
            let (status, refused) = client.ask("resources/read", &json!({"uri": blob}));
            assert_eq!(status, 403, "{refused}");
            assert_eq!(refused["error"]["data"]["rule_id"], json!("no_blobs"), "{refused}");

            let call = json!({"name": format!("{prefix}get-resource-links"), "arguments": {"count": 2}});
            let links = client.result("tools/call", &call);
            let link = format!("{scheme}demo://resource/dynamic/text/2");
            assert_eq!(links["content"][2]["uri"], json!(link), "{links}");
        }
    }
}

#[test]
fn completions_come_through() {
    let Some(airlock) = start() else { return };
    let token = airlock.user();
    for (path, prefix, scheme) in ENDPOINTS {
        for mut client in Client::both(&airlock, &token, path) {
            let prompt = json!({"type": "ref/prompt", "name": format!("{prefix}completable-prompt")});
            let mut complete = |reference: &Value, name: &str, value: &str, context: Value| {
                let argument = json!({"name": name, "value": value});
                let params = json!({"ref": reference, "argument": argument, "context": context});
                client.ask("completion/complete", &params)
            };
            let values = |(status, answer): (u16, Value)| {
                assert_eq!(status, 200, "{answer}");
                answer["result"]["completion"]["values"].clone()
            };
            assert_eq!(values(complete(&prompt, "department", "S", json!({}))), json!(["Sales", "Support"]));
            let context = json!({"arguments": {"department": "Sales"}});
            assert_eq!(values(complete(&prompt, "name", "E", context)), json!(["Eve"]));
            let uri = format!("{scheme}demo://resource/dynamic/text/{{resourceId}}");
            let template = json!({"type": "ref/resource", "uri": uri});
            assert_eq!(values(complete(&template, "resourceId", "42", json!({}))), json!(["42"]));

            let (status, refused) = complete(&prompt, "department", "Mark", json!({}));
            assert_eq!((status, &refused["error"]["data"]["rule_id"]), (403, &json!("no_marketing")));
            let two = json!({"type": "ref/prompt", "name": "x", "uri": "demo://x"});
            let (status, refused) = complete(&two, "department", "S", json!({}));
            assert_eq!((status, &refused["error"]["code"]), (400, &json!(-32_602)), "{refused}");
        }
    }
}

#[test]
fn a_uri_belongs_to_one_upstream() {
    let Some(airlock) = start() else { return };
    let token = airlock.user();
    for mut client in Client::both(&airlock, &token, "/mcp") {
        let not_found = if client.is_modern() { -32_602 } else { -32_002 };
        // Names of nobody: bare, of an upstream that is not there, and one prefix too few.
        for uri in [STATIC.to_owned(), format!("airlock+gamma+{STATIC}"), format!("alpha+{STATIC}")] {
            assert_eq!(client.error("resources/read", &json!({"uri": uri})), (200, not_found), "{uri}");
        }
        // The same resource by the other upstream's name is the other upstream's to give, and here it may
        // not.
        let read = client.result("resources/read", &json!({"uri": format!("airlock+alpha+{STATIC}")}));
        assert_eq!(read["contents"][0]["uri"], json!(format!("airlock+alpha+{STATIC}")));
        let (status, refused) =
            client.ask("resources/read", &json!({"uri": format!("airlock+beta+{STATIC}")}));
        assert_eq!((status, &refused["error"]["data"]["rule_id"]), (403, &json!("not_beta")), "{refused}");
        // `beta` is asked for what reads like alpha's; it has no such resource.
        let nested = format!("airlock+beta+airlock+alpha+{DYNAMIC}");
        assert_eq!(client.error("resources/read", &json!({"uri": nested})).0, 200);
        // A server without resources is not asked at all.
        let docs = client.error("resources/read", &json!({"uri": format!("airlock+docs+{DYNAMIC}")}));
        assert_eq!(docs, (if client.is_modern() { 404 } else { 200 }, -32_601));
    }
    for mut client in Client::both(&airlock, &token, "/mcp/alpha") {
        let merged = json!({"uri": format!("airlock+alpha+{DYNAMIC}")});
        assert_eq!(client.error("resources/read", &merged).0, 200, "names of the other endpoint");
    }
}

#[test]
fn what_a_server_does_not_offer_is_not_offered() {
    let Some(airlock) = start() else { return };
    let token = airlock.user();
    let all = json!({"tools": {"listChanged": true}, "prompts": {"listChanged": true},
        "resources": {"subscribe": true, "listChanged": true}, "completions": {}, "logging": {}});
    // The server's tasks are those of the legacy era.
    let mut with_tasks = all.clone();
    with_tasks["tasks"] = json!({"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}});
    let tools = json!({"tools": {}});
    for (path, to_modern, to_legacy) in
        [("/mcp", &all, &with_tasks), ("/mcp/alpha", &all, &with_tasks), ("/mcp/docs", &tools, &tools)]
    {
        let [mut modern, legacy] = Client::both(&airlock, &token, path);
        assert_eq!(&modern.result_of_discover()["capabilities"], to_modern, "{path}");
        let Client::Legacy { session, .. } = &legacy else { panic!("the second is legacy") };
        assert_eq!(&session.initialized["capabilities"], to_legacy, "{path}");
    }
    for mut client in Client::both(&airlock, &token, "/mcp/docs") {
        let status = if client.is_modern() { 404 } else { 200 };
        for (method, params) in [
            ("prompts/list", Value::Null),
            ("prompts/get", json!({"name": "x"})),
            ("resources/list", Value::Null),
            ("resources/templates/list", Value::Null),
            ("resources/read", json!({"uri": DYNAMIC})),
            ("completion/complete", json!({"ref": {"type": "ref/prompt", "name": "x"}, "argument": {}})),
            ("logging/setLevel", json!({"level": "info"})),
            ("resources/subscribe", json!({"uri": DYNAMIC})),
        ] {
            assert_eq!(client.error(method, &params), (status, -32_601), "{method}");
        }
    }
}

#[test]
fn a_log_level_is_set_by_legacy_clients_only() {
    let Some(mut airlock) = start() else { return };
    let token = airlock.user();
    for path in ["/mcp", "/mcp/alpha"] {
        let [mut modern, mut legacy] = Client::both(&airlock, &token, path);
        assert_eq!(modern.error("logging/setLevel", &json!({"level": "info"})), (404, -32_601));
        assert_eq!(legacy.result("logging/setLevel", &json!({"level": "warning"})), json!({}));
        for level in [json!("loud"), json!("INFO"), json!(3), Value::Null] {
            assert_eq!(legacy.error("logging/setLevel", &json!({"level": level})), (200, -32_602), "{level}");
        }
    }
    let told = |record: &Value| {
        record["event"] == json!("call.outcome") && record["method"] == json!("logging/setLevel")
    };
    // All records are written before the end.
    assert!(airlock.stop().success(), "{}", airlock.log());
    let records = airlock.audit();
    for (upstream, is_told) in [("alpha", true), ("beta", true), ("docs", false)] {
        let found = records.iter().any(|record| told(record) && record["upstream"] == json!(upstream));
        assert_eq!(found, is_told, "{upstream}: {records:#?}");
    }
}

#[test]
fn the_name_in_the_head_is_the_one_in_the_body() {
    let Some(airlock) = start() else { return };
    let token = airlock.user();
    for (method, params) in [
        ("prompts/get", json!({"name": "simple-prompt"})),
        ("resources/read", json!({"uri": DYNAMIC})),
        ("tools/call", json!({"name": "echo", "arguments": {"message": "x"}})),
    ] {
        let good = modern("/mcp/alpha", 4, method, &params).bearer(&token);
        assert_eq!(airlock.send(&good).status, 200, "{method}");
        for other in [None, Some("something-else")] {
            let mut bad = good.clone();
            bad.headers.retain(|(name, _)| name != "mcp-name");
            let bad = other.map_or(bad.clone(), |name| bad.header("mcp-name", name));
            let response = airlock.send(&bad);
            assert_eq!(response.status, 400, "{method}: {}", response.text());
            assert_eq!(response.answer()["error"]["code"], json!(-32_020), "{method}");
        }
    }
}

#[test]
fn intent_and_outcome_of_each_kind_are_on_record_and_queries_are_not() {
    let Some(mut airlock) = start() else { return };
    let token = airlock.user();
    let uri = format!("airlock+alpha+{DYNAMIC}?token=hush");
    airlock.send(&modern("/mcp", 1, "resources/read", &json!({"uri": uri})).bearer(&token));
    airlock.send(&modern("/mcp", 2, "prompts/get", &json!({"name": "alpha__simple-prompt"})).bearer(&token));
    airlock.send(&modern_call("/mcp", 3, "alpha__echo", &json!({"message": "x"})).bearer(&token));
    // That there was a query is said, what it said is not.
    let read = format!("{DYNAMIC}?…");
    for (method, target) in
        [("resources/read", read.as_str()), ("prompts/get", "simple-prompt"), ("tools/call", "echo")]
    {
        for event in ["call.intent", "call.outcome"] {
            let record = airlock
                .audited(|record| record["event"] == json!(event) && record["method"] == json!(method));
            assert_eq!(record["target"], json!(target), "{record}");
            assert_eq!(record["upstream"], json!("alpha"), "{record}");
        }
    }
    // All records are written before the end.
    assert!(airlock.stop().success(), "{}", airlock.log());
    assert!(!format!("{:?}", airlock.audit()).contains("hush"));
}

/// A server of the Python SDK, once held to each era. None, and the test is skipped, where the SDK is not
/// installed.
fn start_notes() -> Option<Airlock> {
    let python = match tools::python("python") {
        Ok(python) => python.display().to_string(),
        Err(reason) => {
            skip(&reason);
            return None;
        }
    };
    let script =
        concat!(env!("CARGO_MANIFEST_DIR"), "/protocol/eras/every_offer_comes_through/notes_server.py");
    let upstream = |name, era| stdio_upstream(name, &[&python, script]) + &format!("    era: {era}\n");
    let upstreams = upstream("new", "modern") + &upstream("old", "legacy");
    Some(Setup { upstreams, ..Setup::default() }.start())
}

#[test]
fn all_four_pairs_of_eras_get_the_same() {
    let Some(airlock) = start_notes() else { return };
    let token = airlock.user();
    for upstream in ["new", "old"] {
        let own = format!("/mcp/{upstream}");
        for (path, prefix, scheme) in [
            (own.as_str(), String::new(), String::new()),
            ("/mcp", format!("{upstream}__"), format!("airlock+{upstream}+")),
        ] {
            for mut client in Client::both(&airlock, &token, path) {
                let prompts = names(&client.result("prompts/list", &Value::Null), "prompts", "name");
                let brief = format!("{prefix}brief");
                assert!(prompts.contains(&brief), "{prompts:?}");
                let params = json!({"name": brief, "arguments": {"day": "monday"}});
                let got = client.result("prompts/get", &params);
                assert_eq!(got["messages"][0]["content"]["text"], json!("Tell me about monday."), "{got}");

                let uris = names(&client.result("resources/list", &Value::Null), "resources", "uri");
                let uri = format!("{scheme}notes://today");
                assert!(uris.contains(&uri), "{uris:?}");
                let templates = client.result("resources/templates/list", &Value::Null);
                let templates = names(&templates, "resourceTemplates", "uriTemplate");
                let template = format!("{scheme}notes://{{day}}/summary");
                assert!(templates.contains(&template), "{templates:?}");
                let expanded = template.replace("{day}", "sunday");
                for (uri, text) in [(uri, "rain"), (expanded, "the summary of sunday")] {
                    let read = client.result("resources/read", &json!({"uri": uri}));
                    assert_eq!(read["contents"][0]["uri"], json!(uri), "{read}");
                    assert_eq!(read["contents"][0]["text"], json!(text), "{read}");
                }
                // The server is asked by its own template's name, and its era's error gets the client's code.
                let reference = json!({"type": "ref/resource", "uri": template});
                let params = json!({"ref": reference, "argument": {"name": "day", "value": "su"}});
                let completed = client.result("completion/complete", &params);
                let expected = json!(["notes://{day}/summary sunday"]);
                assert_eq!(completed["completion"]["values"], expected, "{completed}");
                let missing = format!("{scheme}notes://nowhere");
                let (status, code) = client.error("resources/read", &json!({"uri": missing}));
                assert_eq!(status, 200);
                let legacy_pair = !client.is_modern() && upstream == "old";
                assert!(code == -32_602 || legacy_pair && code == -32_002, "{code}");
            }
        }
    }
}

#[test]
fn a_log_level_reaches_a_modern_server_with_each_call() {
    let Some(airlock) = start_notes() else { return };
    let token = airlock.user();
    for (path, tool) in [("/mcp/new", "level"), ("/mcp", "new__level")] {
        let level = json!({"io.modelcontextprotocol/logLevel": "notice"});
        for (meta, expected) in [(json!({}), "None"), (level, "notice")] {
            let params = json!({"name": tool, "arguments": {}, "_meta": meta});
            let answer = airlock.send(&modern(path, 1, "tools/call", &params).bearer(&token)).answer();
            assert_eq!(text(&answer["result"]), expected, "{answer}");
        }
        let mut session = Session::open(airlock.address(), path, &token).expect("a session");
        assert_eq!(text(&session.call(tool, &json!({})).expect("a call")), "None");
        session.result("logging/setLevel", &json!({"level": "error"})).expect("a level");
        assert_eq!(text(&session.call(tool, &json!({})).expect("a call")), "error");
        let mut other = Session::open(airlock.address(), path, &token).expect("a session");
        assert_eq!(text(&other.call(tool, &json!({})).expect("a call")), "None", "not of this session");
    }
}
