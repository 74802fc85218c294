//! Airlock as the client that the conformance suite tests: `gateway-client URL` starts Airlock before the
//! server at the URL and does, as a legacy client of Airlock, what the scenario wants to see arrive at the
//! server. `GATEWAY_CLIENT_ERA` names the era in which Airlock speaks to that.
//!
//! A legacy client sends none of the headers that the server's revision wants: what arrives is Airlock's own
//! doing.

use std::process::ExitCode;

use airlock_tests::mcp::Session;
use airlock_tests::{Airlock, Setup};
use serde_json::{Map, Value, json};

/// Members may do everything: this is not about the policy.
const POLICY: &str = "package airlock.authz\nimport rego.v1\ndefault allow := false\n\
                      allow if \"mcp.users\" in input.subject.groups\n";

fn main() -> ExitCode {
    let Some(url) = std::env::args().nth(1) else {
        eprintln!("usage: gateway-client URL");
        return ExitCode::from(2);
    };
    let era = std::env::var("GATEWAY_CLIENT_ERA").unwrap_or_else(|_| "auto".to_owned());
    let upstreams = format!("  - {{name: server, type: http, era: {era}, url: \"{url}\"}}\n");
    let setup = Setup { upstreams, policy: POLICY.to_owned(), kernel: "off".to_owned(), ..Setup::default() };
    let airlock = setup.start();
    let told = walk(&airlock);
    println!("{}", airlock.log());
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gateway-client: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Uses everything that the server offers once, or what the scenario asks for by name.
fn walk(airlock: &Airlock) -> Result<(), String> {
    let mut session = Session::open(airlock.address(), "/mcp/server", &airlock.user())?;
    let listed = session.result("tools/list", &Value::Null)?;
    // A call that the server refuses is for the suite to judge.
    let shown = |what: &str, result: Result<Value, String>| println!("{what}: {result:?}");
    for call in wanted(&listed) {
        let result = session.result("tools/call", &call);
        shown(&format!("tools/call {call}"), result);
    }
    let first = |result: &Result<Value, String>, list: &str| {
        result.as_ref().ok().map(|result| result[list][0].clone()).filter(|entry| !entry.is_null())
    };
    let resources = session.result("resources/list", &Value::Null);
    if let Some(resource) = first(&resources, "resources") {
        let result = session.result("resources/read", &json!({"uri": resource["uri"]}));
        shown("resources/read", result);
    }
    let prompts = session.result("prompts/list", &Value::Null);
    if let Some(prompt) = first(&prompts, "prompts") {
        let names = prompt["arguments"].as_array().cloned().unwrap_or_default();
        let arguments: Map<String, Value> = names
            .iter()
            .filter_map(|argument| Some((argument["name"].as_str()?.to_owned(), json!("a value"))))
            .collect();
        let params = json!({"name": prompt["name"], "arguments": arguments});
        shown("prompts/get", session.result("prompts/get", &params));
    }
    Ok(())
}

/// The calls that the suite names in the environment, or one of each tool with arguments after its schema.
fn wanted(listed: &Value) -> Vec<Value> {
    let context = std::env::var("MCP_CONFORMANCE_CONTEXT").unwrap_or_default();
    let context: Value = serde_json::from_str(&context).unwrap_or_default();
    if let Some(calls) = context["toolCalls"].as_array() {
        return calls.clone();
    }
    let tools = listed["tools"].as_array().cloned().unwrap_or_default();
    let call = |tool: &Value| {
        let properties = tool["inputSchema"]["properties"].as_object().cloned().unwrap_or_default();
        let value = |schema: &Value| match schema["type"].as_str() {
            Some("number" | "integer") => json!(5),
            Some("boolean") => json!(true),
            Some("object") => json!({}),
            Some("array") => json!([]),
            _ => json!("a value"),
        };
        let mut arguments: Map<String, Value> =
            properties.iter().map(|(name, schema)| (name.clone(), value(schema))).collect();
        // One scenario wants to have the schema of its first tool back, to see that it came through whole.
        if let Some(schema) = arguments.get_mut("schema") {
            *schema = tools[0]["inputSchema"].clone();
        }
        json!({"name": tool["name"], "arguments": arguments})
    };
    tools.iter().map(call).collect()
}
