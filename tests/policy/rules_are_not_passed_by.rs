//! Principals against a policy that says something else than it seems to.

use std::fs;
use std::process::Command;

use airlock_tests::mcp::{modern, modern_call};
use airlock_tests::{Airlock, Setup, tools};
use serde_json::{Value, json};

const HEAD: &str = "package airlock.authz\n\nimport rego.v1\n\ndefault allow := false\n\nallow if \"mcp.users\" in input.subject.groups\n\n";
/// On the side of `deny`, and by the beginning of a text: it does not stand every spelling, but none opens it
/// by its type.
const BY_PREFIX: &str = "deny contains {\"rule_id\": \"no-secrets\", \"reason\": \"not served\"} if {\n\tstartswith(input.call.arguments.path, \"/secret\")\n}\n";

fn start(rules: &str) -> Airlock {
    Setup { policy: format!("{HEAD}{rules}"), ..Setup::default() }.start()
}

/// Calls `read_file` with arguments as they are written; status, answer, and the id under which it is on
/// record.
fn read(airlock: &Airlock, arguments: &Value) -> (u16, Value, String) {
    let response = airlock.send(&modern_call("/mcp/docs", 1, "read_file", arguments).bearer(&airlock.user()));
    let id = response.header("x-correlation-id").expect("an id").to_owned();
    (response.status, response.answer(), id)
}

fn record(airlock: &Airlock, id: &str) -> Value {
    airlock.audited(|record| {
        record["correlation_id"] == *id && (record["event"] == "refusal" || record["event"] == "call.intent")
    })
}

#[test]
fn a_rule_is_not_passed_by_with_a_value_of_another_type() {
    let airlock = start(BY_PREFIX);
    for path in [json!(["/secret/key"]), json!({"x": "/secret/key"}), Value::Null, json!(7)] {
        let (status, answer, id) = read(&airlock, &json!({ "path": path }));
        assert_eq!(
            (status, &answer["error"]["data"]["rule_id"]),
            (403, &json!("policy_error")),
            "{path}: {answer}"
        );
        assert!(
            !answer.to_string().contains(".rego"),
            "the client is not told where the policy is: {answer}"
        );
        let record = record(&airlock, &id);
        let reason = record["reason"].as_str().expect("a reason");
        assert!(reason.contains("authz.rego:10:") && reason.contains("`startswith`"), "{record}");
        assert!(!record.to_string().contains("/secret/key"), "no argument is on record: {record}");
    }
    assert_eq!(read(&airlock, &json!({"path": "/secret/key"})).1["error"]["data"]["rule_id"], "no-secrets");
    assert_eq!(read(&airlock, &json!({"path": "deployment.md"})).0, 200);
}

#[test]
fn the_author_of_a_policy_is_told_of_such_a_rule() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("written");
    write("authz.rego", &format!("{HEAD}{BY_PREFIX}"));
    write(
        "authz_test.rego",
        "package airlock.authz_test\n\nimport data.airlock.authz\nimport rego.v1\n\ntest_list if count(authz.deny) == 0 with input as {\"call\": {\"arguments\": {\"path\": [\"/secret\"]}}}\n",
    );
    let input = json!({
        "subject": {"id": "a", "groups": ["mcp.users"]},
        "call": {"method": "tools/call", "upstream": "docs", "tool": "read_file", "arguments": {"path": ["/secret"]}},
    });
    write("input.json", &input.to_string());
    let told = |args: &[&str]| {
        let output = Command::new(tools::airlock())
            .args(["policy", args[0], "--path"])
            .arg(dir.path())
            .args(&args[1..])
            .output()
            .expect("the built airlock");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, text) = told(&["test"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("`policy_error`") && text.contains("authz.rego:10:") && text.contains("`startswith`"),
        "{text}"
    );
    let file = dir.path().join("input.json").display().to_string();
    let (code, text) = told(&["explain", "--input", &file]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.starts_with("denied by policy_error"), "{text}");
    assert!(text.contains("authz.rego:9: deny contains"), "what decided: {text}");
    assert!(text.contains("deny no-secrets: an error at line 10"), "{text}");
}

/// Sends the bytes of arguments as they are.
fn read_raw(airlock: &Airlock, arguments: &str) -> (u16, Value, String) {
    let mut request = modern_call("/mcp/docs", 1, "read_file", &json!("ARGUMENTS")).bearer(&airlock.user());
    let body = String::from_utf8(request.body).expect("text").replace("\"ARGUMENTS\"", arguments);
    request.body = body.into_bytes();
    let response = airlock.send(&request);
    let id = response.header("x-correlation-id").expect("an id").to_owned();
    (response.status, response.answer(), id)
}

const BY_NUMBER: &str = "deny contains {\"rule_id\": \"one\", \"reason\": \"not this one\"} if input.call.arguments.n == 9007199254740992\n";

#[test]
fn arguments_that_another_reader_understands_differently_are_refused() {
    let airlock = start(&format!("{BY_PREFIX}\n{BY_NUMBER}"));
    for (arguments, pointer) in [
        (r#"{"path":"deployment.md","Path":"/secret/x"}"#, "`/Path`"),
        (r#"{"path":"deployment.md","p\u0041th":"/secret/x"}"#, "`/pAth`"),
        (r#"{"path":"deployment.md","ｐath":"/secret/x"}"#, "`/ｐath`"),
        (r#"{"path":"deployment.md","x":[{"é":1,"e\u0301":2}]}"#, "`/x/0/e\u{301}`"),
        (r#"{"path":"deployment.md","n":9007199254740993}"#, "`/n`"),
        (r#"{"path":"deployment.md","n":-9007199254740993}"#, "`/n`"),
    ] {
        let (status, answer, id) = read_raw(&airlock, arguments);
        assert_eq!((status, &answer["error"]["code"]), (400, &json!(-32602)), "{arguments}: {answer}");
        let reason = answer["error"]["data"]["reason"].as_str().expect("a reason");
        assert!(reason.contains(pointer), "{arguments}: {reason}");
        let record = record(&airlock, &id);
        assert_eq!(record["reason"], json!(reason), "{record}");
        assert_eq!((&record["target"], &record["status"]), (&json!("read_file"), &json!(400)), "{record}");
        assert!(record.get("rule_id").is_none(), "no rule of the policy decided: {record}");
    }
    for arguments in [
        // Members that the policy does not read, and those that every reader reads alike.
        r#"{"path":"deployment.md","m":9007199254740993}"#,
        r#"{"path":"deployment.md","n":1e+21}"#,
        r#"{"path":"deployment.md","n":18446744073709551616}"#,
        r#"{"path":"deployment.md","m":1.7e18,"x":{"path":1},"y":{"Path":2}}"#,
    ] {
        let (status, answer, _) = read_raw(&airlock, arguments);
        assert_eq!(status, 200, "{arguments}: {answer}");
    }
    assert_eq!(
        read_raw(&airlock, r#"{"path":"deployment.md","n":9007199254740992.0}"#).1["error"]["data"]["rule_id"],
        "one"
    );
}

#[test]
fn who_wants_it_otherwise_can_say_so() {
    let setup = |more: &str| Setup {
        policy: format!("{HEAD}{BY_NUMBER}"),
        policy_keys: more.to_owned(),
        ..Setup::default()
    };
    let lenient = setup("  arguments: lenient\n").start();
    assert_eq!(read_raw(&lenient, r#"{"path":"deployment.md","Path":1}"#).0, 200);
    assert_eq!(read_raw(&lenient, r#"{"path":"deployment.md","n":9007199254740993}"#).0, 400);
    let exact = setup("  numbers: exact\n").start();
    assert_eq!(read_raw(&exact, r#"{"path":"deployment.md","m":9007199254740993}"#).0, 400);
    assert_eq!(read_raw(&exact, r#"{"path":"deployment.md","m":9007199254740994}"#).0, 200);
}

#[test]
fn many_and_long_names_cost_no_more_than_reading_them() {
    let airlock = start(BY_PREFIX);
    let members = |name: &dyn Fn(usize) -> String| -> String {
        let members: Vec<String> = (0..12_000).map(|n| format!(",{}:1", Value::from(name(n)))).collect();
        members.concat()
    };
    // All pairs of them would be 72 million.
    for (name, status) in [
        (&(|n| format!("member{n}")) as &dyn Fn(usize) -> String, 200),
        (&|n| format!("é{n}"), 200),
        (&|n| if n == 11_999 { "É0".to_owned() } else { format!("é{n}") }, 400),
    ] {
        let (found, answer, _) =
            read_raw(&airlock, &format!("{{\"path\":\"deployment.md\"{}}}", members(name)));
        assert_eq!(found, status, "{}", answer.to_string().chars().take(300).collect::<String>());
    }
}

/// Reads a resource; status and the id under which it is on record.
fn resource(airlock: &Airlock, uri: &str) -> (u16, String) {
    let request = modern("/mcp/docs", 1, "resources/read", &json!({ "uri": uri }));
    let response = airlock.send(&request.bearer(&airlock.user()));
    (response.status, response.header("x-correlation-id").expect("an id").to_owned())
}

/// The example that the documentation gives to a stranger.
fn documented(record: &Value, target: &str, arguments: &str) -> bool {
    let text = include_str!("../../docs/audit.md");
    let program =
        text.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a program");
    let status = Command::new("python3")
        .args(["-c", program, &record.to_string(), target, arguments])
        .stderr(std::process::Stdio::null())
        .status();
    status.expect("python3").success()
}

#[test]
fn a_record_is_bound_to_the_whole_of_its_call() {
    let airlock = start(
        "deny contains {\"rule_id\": \"none\", \"reason\": \"none\"} if input.call.method == \"resources/read\"\n",
    );
    let long = |tail: &str| format!("docs://{}/{tail}", "x".repeat(400));
    let uris = ["docs://x?a", "docs://x?b", "docs://x"]
        .map(str::to_owned)
        .into_iter()
        .chain([long("one"), long("two")]);
    let mut digests = std::collections::BTreeSet::new();
    for uri in uris {
        let (status, id) = resource(&airlock, &uri);
        assert_eq!(status, 403, "{uri}");
        let record = record(&airlock, &id);
        assert!(documented(&record, &uri, "{}"), "{uri}: {record}");
        assert!(!documented(&record, &format!("{uri} "), "{}"), "{uri}: {record}");
        assert!(!record.to_string().contains("?a"), "a query is on no record: {record}");
        let shown = record["target"].as_str().expect("a target");
        assert_eq!(record.get("target_bytes").is_some(), shown != uri, "{record}");
        assert_eq!(shown.contains('…'), shown != uri, "{record}");
        assert_eq!(uri.starts_with("docs://xxx"), shown.starts_with("docs://xxx"), "{record}");
        if uri.ends_with("two") {
            assert!(shown.ends_with("two"), "both ends are shown: {record}");
        }
        digests.insert(record["input_digest"].to_string());
    }
    assert_eq!(digests.len(), 5, "no two calls have one digest");
    let arguments = r#"{ "path" : "deployment.md" }"#;
    let (status, _, id) = read_raw(&airlock, arguments);
    let record = record(&airlock, &id);
    assert!(status == 200 && documented(&record, "read_file", arguments), "{record}");
    assert!(!documented(&record, "read_file", r#"{"path":"deployment.md"}"#), "{record}");
}

#[test]
fn nobody_judges_another_name_than_was_asked() {
    // The name that the record shows is allowed, the one that was asked for is not.
    let rules = "deny contains {\"rule_id\": \"query\", \"reason\": \"no queries\"} if {\n\tis_string(input.call.resource)\n\tcontains(input.call.resource, \"?key=\")\n}\n";
    let airlock = start(rules);
    let uri = "docs://x?key=1";
    let (status, id) = resource(&airlock, uri);
    assert_eq!(status, 403);
    record(&airlock, &id);
    let (policies, log) = (airlock.dir().join("policies"), airlock.dir().join("audit"));
    let arguments = airlock.dir().join("arguments.json");
    fs::write(&arguments, "{}").expect("written");
    let run = |args: &[&str]| {
        let output = Command::new(tools::airlock())
            .args(["policy", args[0], "--path"])
            .arg(&policies)
            .arg("--audit-dir")
            .arg(&log)
            .args(&args[1..])
            .output()
            .expect("the built airlock");
        let both = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(both).expect("UTF-8"))
    };
    let (code, told) = run(&["explain", "--correlation-id", &id]);
    assert_eq!(code, Some(2), "{told}");
    assert!(
        told.contains("undecided") && told.contains("input.call.resource") && told.contains("--target"),
        "{told}"
    );
    let file = arguments.display().to_string();
    let (code, told) = run(&["explain", "--correlation-id", &id, "--target", uri, "--arguments", &file]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("denied by query") && !told.contains("undecided"), "{told}");
    // One that could be meant by what is shown, and was not sent.
    let (code, told) =
        run(&["explain", "--correlation-id", &id, "--target", "docs://x?key=2", "--arguments", &file]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("digest"), "{told}");
    let (code, told) =
        run(&["explain", "--correlation-id", &id, "--target", "docs://y?key=1", "--arguments", &file]);
    assert!(code == Some(2) && told.contains("not the target of the call"), "{told}");
    let (code, told) = run(&["diff", "--json"]);
    let report: Value = serde_json::from_str(&told).unwrap_or_else(|_| panic!("{told}"));
    assert_eq!((code, &report["changed"], &report["open"]), (Some(0), &json!(0), &json!(1)), "{told}");
    let open = report["groups"][0]["open"].as_array().expect("parts");
    assert!(open.contains(&json!("call.resource")), "{told}");
}

#[test]
fn what_everybody_may_write_decides_nothing() {
    let dir = Setup { policy: format!("{HEAD}{BY_PREFIX}"), ..Setup::default() }.write().expect("written");
    let with_mode = |path: &str, mode: u32| {
        fs::set_permissions(dir.path().join(path), std::os::unix::fs::PermissionsExt::from_mode(mode))
            .expect("ours");
    };
    let check = || {
        let output = Command::new(tools::airlock())
            .args(["check", "--config"])
            .arg(dir.path().join("airlock.yaml"))
            .output()
            .expect("the built airlock");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(check().0, Some(0), "{}", check().1);
    for (path, mode, good) in [
        ("airlock.yaml", 0o646, 0o644),
        ("policies/authz.rego", 0o666, 0o644),
        ("policies", 0o1777, 0o755),
        ("", 0o777, 0o755),
    ] {
        with_mode(path, mode);
        let (code, told) = check();
        assert_eq!(code, Some(1), "{path} {mode:o}: {told}");
        assert!(told.contains("everybody on this host may") && told.contains("chmod o-w"), "{told}");
        with_mode(path, good);
    }
    with_mode("airlock.yaml", 0o646);
    let Err(failed) = airlock_tests::airlock::start_in(dir) else { panic!("it has started") };
    assert!(failed.log.contains("everybody on this host may write the file"), "{}", failed.log);
}
