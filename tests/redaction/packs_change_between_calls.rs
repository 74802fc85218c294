//! Packs of one's own take over between two calls, and packs that are not good do not: those before them
//! stay in force, and an alarm is raised.

use std::path::Path;

use airlock_tests::airlock::{free_address, run, until};
use airlock_tests::http::Request;
use airlock_tests::mcp::modern_call;
use airlock_tests::{Airlock, Setup, Upstream};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Puts a whole text in the place of another, as a careful editor does.
fn put(file: &Path, text: &str) {
    let beside = file.with_extension("new");
    std::fs::write(&beside, text).expect("written");
    std::fs::rename(&beside, file).expect("renamed");
}

/// A pack in the place of the one for payments, that finds badges of this kind.
fn badges(kind: &str) -> String {
    format!(
        "pack: payment\ndetectors:\n  - name: badge\n    about: Badges\n    pattern: '{kind}-[0-9]{{6}}'\n    \
         positive: ['{kind}-000042']\n    negative: ['{kind}-1']\n"
    )
}

/// The names of arguments that reach the server.
fn heard(airlock: &Airlock, token: &str) -> Value {
    let arguments = json!({"AC-000042": 1, "BD-000042": 2, "4111 1111 1111 1111": 3});
    let answer = airlock.send(&modern_call("/mcp/leaky", 1, "heard", &arguments).bearer(token)).answer();
    answer["result"]["structuredContent"]["keys"].clone()
}

#[test]
fn good_packs_take_over_and_bad_ones_raise_an_alarm() {
    let packs = tempfile::tempdir().expect("a directory");
    let file = packs.path().join("payment.yaml");
    put(&file, &badges("AC"));
    let address = free_address().expect("a port");
    let server = include_str!("leaky_server.py");
    let admin = packs.path().join("admin.sock");
    let airlock = Setup {
        upstreams: Upstream::stdio("leaky", &["python3", "-c", server]).with("era", "legacy").to_string(),
        more: format!(
            "dlp:\n  directory: {:?}\n  rules: [{{detector: badge, action: redact}}]\n",
            packs.path()
        ),
        log: "info".to_owned(),
        ..Setup::default()
    }
    .observability("metrics_listen", address)
    .observability("admin_listen", &admin)
    .start();
    let token = airlock.user();
    let metrics = || Request::get("/metrics").send(address).expect("an answer").text();
    let counted = |line: &str| until(|| metrics().lines().any(|found| found == line).then_some(()));
    let status = || {
        let (quiet, out, err) = run(&["status", "--json", "--socket", &admin.display().to_string()]);
        let told: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
        (quiet, told)
    };
    // One's own pack takes the place of the one that comes with Airlock: cards pass now.
    let redacted = "[redacted:badge]";
    assert_eq!(heard(&airlock, &token), json!(["4111 1111 1111 1111", "BD-000042", redacted]));
    let (_, told) = status();
    let pack =
        told["redaction"]["packs"].as_array().expect("a list").iter().find(|one| one["name"] == "payment");
    assert_eq!(pack, Some(&json!({"name": "payment", "file": file, "detectors": 1, "on": true})), "{told}");

    // Another one takes over by itself, and is on record.
    put(&file, &badges("BD"));
    let record = airlock.audited(|record| record["event"] == "dlp.loaded");
    assert!(record["reason"].as_str().is_some_and(|reason| reason.starts_with("packs ")), "{record}");
    assert_eq!(heard(&airlock, &token), json!(["4111 1111 1111 1111", "AC-000042", redacted]));
    assert!(counted("airlock_dlp_loads_total 2").is_some(), "{}", metrics());

    // One that fails its own example is refused with file, line and example; the one before stays.
    put(&file, &badges("AC").replace("AC-000042'", "AC-42'"));
    let record = airlock.audited(|record| record["event"] == "dlp.rejected");
    let reason = record["reason"].as_str().expect("a reason");
    assert!(reason.contains("payment.yaml:6: ") && reason.contains("\"AC-42\""), "{record}");
    assert_eq!(heard(&airlock, &token), json!(["4111 1111 1111 1111", "AC-000042", redacted]));
    assert!(counted("airlock_dlp_rejected 1").is_some(), "{}", metrics());
    assert!(counted("airlock_dlp_rejections_total 1").is_some(), "{}", metrics());
    assert!(airlock.logs("the packs in force stay"), "{}", airlock.log());
    let (quiet, told) = status();
    let alarms = told["alarms"].to_string();
    assert!(!quiet && alarms.contains("redaction: ") && alarms.contains("payment.yaml:6"), "{alarms}");

    // So is one without the detector that a rule names.
    put(&file, &badges("AC").replace("name: badge", "name: other"));
    airlock.signal(Signal::HUP);
    airlock.audited(|record| {
        record["event"] == "dlp.rejected" && record["reason"].to_string().contains("`badge`, which is gone")
    });
    assert_eq!(heard(&airlock, &token), json!(["4111 1111 1111 1111", "AC-000042", redacted]));

    // The good one again ends the alarm.
    put(&file, &badges("BD"));
    assert!(counted("airlock_dlp_rejected 0").is_some(), "{}", metrics());
    assert!(!status().1["alarms"].to_string().contains("redaction: "));
}
