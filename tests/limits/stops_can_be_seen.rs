//! Nobody has to guess what is stopped: `/ready`, `airlock status`, its alarms and the metrics say so.

use airlock_tests::Setup;
use airlock_tests::airlock::{docs_upstream, free_address, until};
use airlock_tests::http::Request;
use serde_json::{Value, json};

use super::stops_hold_at_once::{Switch, more_docs};

#[test]
fn a_stop_is_told_wherever_one_looks() {
    let metrics = free_address().expect("a port");
    let setup = Setup { upstreams: docs_upstream() + &more_docs(), ..Setup::default() };
    let switch = Switch::with(setup.observability("metrics_listen", metrics));
    let status = || -> Value {
        let (_, said) = switch.order(&["status", "--json"]);
        serde_json::from_str(&said).expect("JSON")
    };
    let ready = |query: &str| {
        let response = switch.airlock.send(&Request::get(&format!("/ready{query}")));
        let body: Value = serde_json::from_slice(&response.body).expect("JSON");
        (response.status, body)
    };
    let counted = |kind: &str| {
        let text = Request::get("/metrics").send(metrics).expect("metrics").text();
        let start = format!("airlock_stops{{kind=\"{kind}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&start)?.parse::<u32>().ok())
    };
    until(|| (status()["state"] == "ready").then_some(())).expect("both servers have been asked");
    let quiet = status()["alarms"].as_array().cloned().expect("a list");
    for (what, kind, state) in [
        (&["--all"][..], "all", "not_ready"),
        (&["--upstream", "docs"], "upstream", "degraded"),
        (&["--tool", "docs/read_file"], "tool", "ready"),
        (&["--tenant", "acme"], "tenant", "ready"),
        (&["--principal", "alice"], "principal", "ready"),
        (&["--token", "t-1"], "token", "ready"),
    ] {
        assert_eq!(counted(kind), Some(0));
        switch.stop(what);
        assert_eq!(counted(kind), Some(1));
        let told = status();
        assert_eq!((&told["state"], &told["stops"][0]["target"]["kind"]), (&json!(state), &json!(kind)));
        assert_eq!(told["stops"][0]["reason"], "a leak");
        let alarms = told["alarms"].as_array().expect("a list");
        assert_eq!(alarms.len(), quiet.len() + 1, "{alarms:?}");
        assert!(
            alarms.iter().any(|alarm| alarm.to_string().contains(": a leak (`airlock stops`)")),
            "{alarms:?}"
        );
        let (well, table) = switch.order(&["status"]);
        let line = table.lines().find(|line| line.starts_with("stopped   ")).expect("a line");
        assert!(!well && line.contains(" since ") && line.ends_with(": a leak"), "{table}");
        assert_eq!(switch.well(&["stops"]).trim_end(), line.trim_start_matches("stopped   "));

        let door = ready("");
        assert_eq!(door.0, if kind == "all" { 503 } else { 200 }, "{door:?}");
        assert_eq!(door.1["parts"]["stopped"] == "not ready", kind == "all", "{door:?}");
        assert!(!door.1.to_string().contains("a leak"), "strangers are not told why: {door:?}");
        let docs = ready("?upstream=docs");
        assert_eq!(docs.0, if ["all", "upstream"].contains(&kind) { 503 } else { 200 }, "{docs:?}");
        assert_eq!(ready("?upstream=more").0, door.0);
        switch.resume(what);
        assert_eq!((ready("?upstream=docs").0, status()["stops"].clone()), (200, json!([])));
    }
    assert_eq!(switch.well(&["stops"]), "nothing is stopped\n");
}
