//! The engine as a whole.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use super::engine::PolicyEngine;
use super::*;
use crate::auth::principal::Principal;

mod helpers {
    use super::*;

    pub(super) fn shipped() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../policies")
    }

    pub(super) fn principal(tenant: Option<&str>, groups: &[&str]) -> Principal {
        Principal {
            subject: "alice".into(),
            tenant: tenant.map(str::to_owned),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            scopes: Vec::new(),
            issuer: "https://idp.example.com".into(),
            claims: serde_json::Map::new(),
            expires_at: 0,
        }
    }
}
use helpers::*;

#[test]
fn spike() {
    let report = run_tests(&shipped()).unwrap();
    println!("{report:#?}");
    let engine = PolicyEngine::load(&shipped()).unwrap();
    println!("{:?}", engine);
    assert!(report.failed.is_empty());
}

#[test]
fn spike2() {
    for body in [
        "deny contains {\"rule_id\": \"x\", \"reason\": \"y\"} if { some v in input.l; v + 1 > 5 }",
        "deny contains {\"rule_id\": \"x\", \"reason\": \"y\"} if { some v in input.l; {v} & {100} == {100} }",
        "deny contains {\"rule_id\": \"x\", \"reason\": \"y\"} if { some v in input.l; v & {100} == {100} }",
        "deny contains {\"rule_id\": \"x\", \"reason\": \"y\"} if { some v in input.l; startswith(v, \"sec\") }",
        "deny contains {\"rule_id\": \"x\", \"reason\": \"y\"} if { some v in input.l; v > 50 }",
        "deny contains {\"rule_id\": \"x\", \"reason\": \"y\"} if { some v in input.l; v.a.b == 3 }",
        "deny contains {\"rule_id\": \"x\", \"reason\": \"y\"} if { some v in input.l; some w in v; w == 3 }",
        "deny contains {\"rule_id\": \"x\", \"reason\": \"y\"} if { some v in input.l; every w in v { w == 3} }",
        "deny contains {\"rule_id\": \"x\", \"reason\": \"y\"} if { some v in input.l; 3 in v }",
        "deny contains {\"rule_id\": \"x\", \"reason\": \"y\"} if { some v in input.l; [a, b] := v; b == 3 }",
        "deny contains {\"rule_id\": \"x\", \"reason\": \"y\"} if { some [a, b] in input.l; b == 3 }",
        "deny contains {\"rule_id\": \"x\", \"reason\": \"y\"} if { some v in input.l; f(v) }\nf([a, b]) if b == 3",
        "deny contains {\"rule_id\": \"x\", \"reason\": \"y\"} if { some v in input.l; f(v) }\nf(a) := true if a == 100\nf(a) := false if a > 3",
        "deny contains {\"rule_id\": \"x\", \"reason\": \"y\"} if { some v in input.l; x := {v: 1}; x[100] == 1 }",
        "deny contains {\"rule_id\": \"x\", \"reason\": \"y\"} if { some v in input.l; x := {k: 1 | some k in v}; x[3] == 1 }",
        "deny contains {\"rule_id\": \"x\", \"reason\": \"y\"} if { some v in input.l; x := {1: k | some k in v}; x[1] == 3 }",
        "deny contains {\"rule_id\": \"x\", \"reason\": \"y\"} if { some v in input.l; -v == -100 }",
        "deny contains {\"rule_id\": \"x\", \"reason\": \"y\"} if { some v in input.l; sum(v) == 3 }",
        "deny contains {\"rule_id\": \"x\", \"reason\": \"y\"} if { some v in input.l; count(v) == 2 }",
        "deny contains {\"rule_id\": \"x\", \"reason\": \"y\"} if { some v in input.l; regex.match(v, \"secret\") }",
        "deny contains {\"rule_id\": \"x\", \"reason\": \"y\"} if { some v in input.l; sprintf(\"%d\", v) == \"3\" }",
        "deny contains {\"rule_id\": \"x\", \"reason\": v} if { some v in input.l }",
        "p[v] := 1 if { some v in input.l }\np[100] := 2 if { input.l }\ndeny contains {\"rule_id\": \"x\", \"reason\": \"y\"} if { p[100] }",
    ] {
        let src = format!("package airlock.authz\nimport rego.v1\nallow := true\n{body}\n");
        let mut e = regorus::Engine::new();
        e.add_policy("a.rego".into(), src).unwrap();
        let c = e.compile_with_entrypoint(&"data.airlock.authz.deny".into()).unwrap();
        let vmp = regorus::languages::rego::compiler::Compiler::compile_from_policy(&c, &["data.airlock.authz.deny"]);
        for input in ["{\"l\": [\"a\", 100, \"secret\", 100]}", "{\"l\": [null, [1,3], {\"a\": {\"b\": 3}}, [3], [1], 7]}", "{\"l\":[\"(\", \"secret\", [1,\"a\"], [1,2], [3]]}"] {
            let input = regorus::Value::from_json_str(input).unwrap();
            let i = c.eval_with_input(input.clone()).map(|v| v.to_string()).map_err(|e| e.to_string().lines().last().unwrap_or("").to_owned());
            let v = match &vmp {
                Ok(p) => {
                    let mut vm = regorus::rvm::vm::RegoVM::new();
                    vm.load_program(p.clone());
                    vm.set_data(regorus::Value::new_object()).unwrap();
                    vm.set_input(input);
                    vm.execute_entry_point_by_index(0).map(|v| v.to_string()).map_err(|e| e.to_string())
                }
                Err(e) => Err(format!("COMPILE {e}")),
            };
            let same = i.as_ref().ok() == v.as_ref().ok();
            println!("{} {body}\n    I {i:?}\n    V {v:?}", if same { "same" } else { "DIFF" });
        }
    }
}
