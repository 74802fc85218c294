//! Another policy takes over between two calls, a bad one does not, and without a good one nothing is
//! allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;

use airlock_tests::airlock::{POLICY, free_address, run, until};
use airlock_tests::http::{Request, connect, read_response};
use airlock_tests::mcp::{modern, modern_call, tool_names};
use airlock_tests::{Airlock, Setup};
use rustix::process::Signal;
use serde_json::{Value, json};

const CALLS: usize = 10_000;
const RELOADS: u32 = 100;
const CALLERS: usize = 4;

/// Puts a whole text in the place of another, as a careful editor does.
fn put(file: &Path, text: &str) {
    let beside = file.with_extension("new");
    std::fs::write(&beside, text).expect("written");
    std::fs::rename(&beside, file).expect("renamed");
}

/// The digest of the policy in force, as `/info` tells it.
fn digest(airlock: &Airlock) -> String {
    let info: Value =
        serde_json::from_slice(&airlock.send(&Request::get("/info").bearer(&airlock.user())).body)
            .expect("JSON");
    info["policy"].as_str().expect("a digest").to_owned()
}

fn ready(airlock: &Airlock) -> (u16, Value) {
    let response = airlock.send(&Request::get("/ready"));
    (response.status, serde_json::from_slice(&response.body).expect("JSON"))
}

fn search(airlock: &Airlock, token: &str) -> (u16, Value) {
    let request = modern_call("/mcp/docs", 1, "search_docs", &json!({"query": "revert"}));
    let response = airlock.send(&request.bearer(token));
    (response.status, response.answer())
}

/// A policy whose every word says which one it is: even ones allow, odd ones refuse.
fn numbered(version: u32) -> String {
    let head = "package airlock.authz\n\nimport rego.v1\n";
    if version.is_multiple_of(2) {
        format!("{head}allow := true\nrule_id := \"v{version}\"\nreason := \"r{version}\"\n")
    } else {
        format!(
            "{head}allow := true\nname := \"v{version}\"\nwhy := \"r{version}\"\n\
             deny contains {{\"rule_id\": name, \"reason\": why}} if input.call.tool == \"search_docs\"\n"
        )
    }
}

#[test]
fn ten_thousand_calls_during_a_hundred_reloads_meet_one_policy_each() {
    let airlock = Setup { policy: numbered(0), log: "info".to_owned(), ..Setup::default() }.start();
    let token = airlock.user();
    assert_eq!(search(&airlock, &token).0, 200);
    let request =
        modern_call("/mcp/docs", 1, "search_docs", &json!({"query": "no such words"})).bearer(&token);
    let request = request.header("connection", "keep-alive").bytes(airlock.address());
    let file = airlock.dir().join("policies/authz.rego");
    let answers: Vec<(u16, Value, String)> = std::thread::scope(|scope| {
        let (airlock, request) = (&airlock, &request);
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                scope.spawn(move || {
                    let mut stream = connect(airlock.address()).expect("a connection");
                    let ask = |_| {
                        stream.write_all(request).expect("sent");
                        let response = read_response(&mut stream).expect("an answer");
                        let id = response.header("x-correlation-id").unwrap_or_default().to_owned();
                        (response.status, response.answer()["error"]["data"].clone(), id)
                    };
                    (0..CALLS / CALLERS).map(ask).collect::<Vec<_>>()
                })
            })
            .collect();
        let mut before = digest(airlock);
        for version in 1..=RELOADS {
            put(&file, &numbered(version));
            airlock.signal(Signal::HUP);
            let after = until(|| Some(digest(airlock)).filter(|after| *after != before));
            before = after.unwrap_or_else(|| panic!("version {version} is not loaded\n{}", airlock.log()));
        }
        callers.into_iter().flat_map(|caller| caller.join().expect("answers")).collect()
    });
    assert_eq!(answers.len(), CALLS);
    // A refusal names the rule and the reason of one odd version.
    let mut versions = BTreeSet::new();
    let mut allowed = BTreeSet::new();
    for (status, data, id) in answers {
        if status == 200 {
            allowed.insert(id);
            continue;
        }
        assert_eq!(status, 403, "{data}");
        let rule = data["rule_id"].as_str().and_then(|rule| rule.strip_prefix('v')).expect("a rule");
        assert_eq!(data["reason"], json!(format!("r{rule}")), "{data}");
        let version: u32 = rule.parse().expect("a number");
        assert!(!version.is_multiple_of(2), "{data}");
        versions.insert(version);
    }
    // Every call that was allowed was allowed by an even version, and both its records are there.
    let mut intents = BTreeMap::new();
    let complete = until(|| {
        let records = airlock.audit();
        intents = records
            .iter()
            .filter(|record| record["event"] == "call.intent")
            .map(|record| {
                (record["correlation_id"].as_str().unwrap_or_default().to_owned(), record["rule_id"].clone())
            })
            .collect();
        allowed.iter().all(|id| intents.contains_key(id)).then_some(())
    });
    assert!(complete.is_some(), "an allowed call has no record");
    for id in &allowed {
        let rule = intents[id].as_str().and_then(|rule| rule.strip_prefix('v')).expect("a rule");
        let version: u32 = rule.parse().expect("a number");
        assert!(version.is_multiple_of(2), "{version}");
        versions.insert(version);
    }
    println!("{} versions decided, {} calls were allowed", versions.len(), allowed.len());
    assert!(versions.len() > 10, "{versions:?}");
}

#[test]
fn files_that_change_are_noticed_and_a_bad_one_raises_an_alarm() {
    let address = free_address().expect("a port");
    let setup = Setup::default().observability("metrics_listen", address);
    let airlock = setup.start();
    let token = airlock.user();
    let metrics = || Request::get("/metrics").send(address).expect("an answer").text();
    let counted = |line: &str| until(|| metrics().lines().any(|found| found == line).then_some(()));
    let file = airlock.dir().join("policies/authz.rego");
    let first = digest(&airlock);
    assert_eq!(search(&airlock, &token).0, 200);
    assert!(counted("airlock_policy_rejected 0").is_some());

    // A policy that does not compile changes nothing, and says where it is wrong.
    put(&file, "package airlock.authz\n\nallow if {");
    let record = airlock.audited(|record| record["event"] == "policy.rejected");
    assert!(record["reason"].as_str().is_some_and(|reason| reason.contains("authz.rego:3")), "{record}");
    assert!(counted("airlock_policy_rejected 1").is_some(), "{}", metrics());
    assert!(counted("airlock_policy_rejections_total 1").is_some(), "{}", metrics());
    let info = format!("airlock_policy_info{{digest=\"{first}\",engine=\"bytecode\"}} 1");
    assert!(counted(&info).is_some(), "{}", metrics());
    assert_eq!((digest(&airlock), search(&airlock, &token).0), (first.clone(), 200));
    assert_eq!(ready(&airlock).0, 200, "the last good policy decides");
    assert!(airlock.logs("ERROR") && airlock.logs("the policy in force stays"));

    // One that ends the process that tries it.
    put(&file, "package airlock.authz\nimport rego.v1\nallow if count(numbers.range(1, 4000000000)) > 1\n");
    let record = airlock.audited(|record| {
        record["event"] == "policy.rejected"
            && record["reason"].as_str().is_some_and(|reason| reason.contains("exhausts"))
    });
    println!("{}", record["reason"]);
    assert_eq!(search(&airlock, &token).0, 200, "and the daemon lives on");

    // The good one put back in place ends the alarm, another one takes over; nobody sent a signal.
    std::fs::write(&file, POLICY).expect("written");
    assert!(counted("airlock_policy_rejected 0").is_some(), "{}", metrics());
    assert_eq!(digest(&airlock), first);
    let narrow = POLICY.replace("\"mcp.users\" in input.subject.groups", "input.call.tool == \"read_file\"");
    std::fs::write(&file, narrow).expect("written");
    assert!(until(|| (digest(&airlock) != first).then_some(())).is_some(), "{}", airlock.log());
    assert_eq!(search(&airlock, &token).0, 403, "no decision of the policy before is found");

    // A link to a release is swapped.
    let policies = airlock.dir().join("policies");
    let release = airlock.dir().join("release-2");
    std::fs::create_dir(&release).expect("made");
    std::fs::write(release.join("authz.rego"), POLICY).expect("written");
    std::fs::rename(&policies, airlock.dir().join("release-1")).expect("renamed");
    std::os::unix::fs::symlink("release-2", &policies).expect("linked");
    assert!(until(|| (digest(&airlock) == first).then_some(())).is_some(), "{}", airlock.log());
    assert_eq!(search(&airlock, &token).0, 200);
}

#[test]
fn without_a_good_policy_everything_is_refused_until_there_is_one() {
    let policy = "package airlock.authz\n\nimport rego.v1\n\nallow if {\n".to_owned();
    let airlock = Setup { policy, only_listening: true, ..Setup::default() }.start();
    let config = airlock.config().display().to_string();
    let (well, out, err) = run(&["check", "--config", &config]);
    assert!(!well && (out + &err).contains("authz.rego:6"), "the same file is not good for `airlock check`");
    let record = airlock.audited(|record| record["event"] == "policy.rejected");
    assert!(record["reason"].as_str().is_some_and(|reason| reason.contains("authz.rego:")), "{record}");
    assert!(airlock.logs("authz.rego:6"), "{}", airlock.log());
    let (status, parts) = ready(&airlock);
    assert_eq!((status, &parts["parts"]["policy"]), (503, &json!("not ready")), "{parts}");
    // Everybody is who the token says, and may do nothing.
    let token = until(|| airlock.mint("alice").ok()).expect("a token");
    let (status, answer) = search(&airlock, &token);
    assert_eq!((status, &answer["error"]["data"]["rule_id"]), (403, &json!("no_policy")), "{answer}");
    let list = airlock.send(&modern("/mcp", 1, "tools/list", &Value::Null).bearer(&token));
    assert_eq!(tool_names(&list.answer()["result"]), Vec::<String>::new(), "{}", list.text());

    put(&airlock.dir().join("policies/authz.rego"), POLICY);
    let ready = until(|| (ready(&airlock).0 == 200).then_some(()));
    assert!(ready.is_some(), "{}", airlock.log());
    assert_eq!(search(&airlock, &token).0, 200);
    let (well, out, err) = run(&["check", "--config", &config]);
    assert!(well, "{out}{err}");
}
