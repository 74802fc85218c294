//! An operator stops everything, or somebody or something, and it is stopped from that moment on: for whom
//! and where it was said, nowhere else, over restarts, until it is taken back.

use airlock_tests::airlock::{docs_upstream, run, stdio_upstream, until};
use airlock_tests::http::{Request, Response};
use airlock_tests::mcp::{Session, modern_call};
use airlock_tests::{Airlock, Setup, tools};
use serde_json::{Value, json};

/// A door before two servers, and its operator.
pub(super) struct Switch {
    pub(super) airlock: Airlock,
    pub(super) folder: tempfile::TempDir,
}

impl Switch {
    pub(super) fn new(upstreams: String) -> Self {
        Self::with(Setup { upstreams, ..Setup::default() })
    }

    pub(super) fn with(setup: Setup) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("admin.sock").display().to_string();
        Self { airlock: setup.observability("admin_listen", socket).start(), folder }
    }

    /// Two of the example server.
    fn docs() -> Self {
        Self::new(docs_upstream() + &more_docs())
    }

    pub(super) fn socket(&self) -> String {
        self.folder.path().join("admin.sock").display().to_string()
    }

    /// Runs a command of the operator: if it was carried out, and what it says.
    pub(super) fn order(&self, args: &[&str]) -> (bool, String) {
        let (done, said, errors) = run(&[args, &["--socket", &self.socket()]].concat());
        (done, said + &errors)
    }

    /// The same for one that has to be carried out.
    pub(super) fn well(&self, args: &[&str]) -> String {
        let (done, said) = self.order(args);
        assert!(done, "{args:?}: {said}\n{}", self.airlock.log());
        said
    }

    pub(super) fn stop(&self, what: &[&str]) -> String {
        self.well(&[&["stop"], what, &["--reason", "a leak"]].concat())
    }

    pub(super) fn resume(&self, what: &[&str]) -> String {
        self.well(&[&["resume"], what].concat())
    }

    /// The status of a call of the tool at the endpoint, and why it was refused.
    pub(super) fn call(&self, token: &str, path: &str, tool: &str) -> (u16, String) {
        outcome(&self.airlock.send(&search(path, tool).bearer(token)))
    }

    /// The things that are stopped.
    pub(super) fn stopped(&self) -> Vec<String> {
        let listed: Value = serde_json::from_str(&self.well(&["stops", "--json"])).expect("JSON");
        let stops = listed["stops"].as_array().expect("a list").clone();
        stops.iter().filter_map(|stop| Some(stop["what"].as_str()?.to_owned())).collect()
    }
}

pub(super) fn more_docs() -> String {
    stdio_upstream("more", &[&tools::built("docs-server").display().to_string()])
}

fn search(path: &str, tool: &str) -> Request {
    modern_call(path, 1, tool, &json!({"query": "revert", "path": "onboarding.md"}))
}

/// The status, and the reason of a refusal by a stop.
pub(super) fn outcome(response: &Response) -> (u16, String) {
    let data = &response.answer()["error"]["data"];
    let is_stop = data["rule_id"] == "stopped";
    let again = response.header("retry-after").is_some();
    assert_eq!(again, is_stop && response.status == 503, "{}", response.text());
    (
        response.status,
        if is_stop { data["reason"].as_str().unwrap_or_default().to_owned() } else { String::new() },
    )
}

fn served() -> (u16, String) {
    (200, String::new())
}

pub(super) fn refused(status: u16, what: &str) -> (u16, String) {
    (status, format!("the operator has stopped {what}: a leak"))
}

#[test]
fn a_stop_holds_for_whom_and_where_it_was_ordered_and_nowhere_else() {
    let switch = Switch::docs();
    let alice = switch.airlock.user();
    let again = switch.airlock.user();
    let [mallory, elsewhere] = switch.airlock.strangers();
    let tokens = [&alice, &again, &mallory, &elsewhere];
    let calls = [("/mcp/docs", "search_docs"), ("/mcp/docs", "read_file"), ("/mcp", "more__search_docs")];
    let outcomes = || tokens.map(|token| calls.map(|(path, tool)| switch.call(token, path, tool)));
    let everywhere = |outcome: &(u16, String)| [0; 3].map(|_| outcome.clone());
    let (well, everybody) = (everywhere(&served()), [0; 4].map(|_| everywhere(&served())));
    assert_eq!(outcomes(), everybody);
    let only = |places: [usize; 4], status: u16, what: &str| {
        places.map(|place| if place == 1 { everywhere(&refused(status, what)) } else { well.clone() })
    };
    let at = |places: [usize; 3], what: &str| {
        let each = places.map(|place| if place == 1 { refused(503, what) } else { served() });
        [0; 4].map(|_| each.clone())
    };
    for (what, expected) in [
        (&["--all"][..], only([1, 1, 1, 1], 503, "everything here")),
        (&["--tenant", "acme"], only([1, 1, 1, 0], 403, "this tenant")),
        (&["--principal", "alice"], only([1, 1, 0, 1], 403, "this account")),
        (&["--principal", "alice", "--tenant", "globex"], only([0, 0, 0, 1], 403, "this account")),
        (&["--token", &alice], only([1, 0, 0, 0], 403, "this token")),
        (&["--upstream", "docs"], at([1, 1, 0], "this server")),
        (&["--upstream", "more"], at([0, 0, 1], "this server")),
        (&["--tool", "docs/read_file"], at([0, 1, 0], "this tool")),
        (&["--tool", "more/search_docs"], at([0, 0, 1], "this tool")),
    ] {
        let said = switch.stop(what);
        assert!(said.starts_with("stopped: ") && said.ends_with(": a leak\n"), "{said}");
        assert_eq!(outcomes(), expected, "{what:?}");
        let said = switch.resume(what);
        assert!(said.starts_with("resumed: ") && !said.contains("still in force"), "{said}");
        assert_eq!(outcomes(), everybody, "{what:?} was taken back");
    }
    assert_eq!(switch.stopped(), Vec::<String>::new());
    let (done, said) = switch.order(&["resume", "--all"]);
    assert!(!done && said.contains("there is no stop of everything"), "{said}");
}

#[test]
fn a_stop_is_on_record_with_who_ordered_it_and_so_are_its_refusals() {
    let switch = Switch::docs();
    let alice = switch.airlock.user();
    let me = rustix::process::getuid().as_raw();
    switch.well(&["stop", "--principal", "alice", "--reason", "she left", "--for", "2h"]);
    let stopped = switch.airlock.audited(|record| record["event"] == "calls.stopped");
    assert_eq!((&stopped["subject"], &stopped["decision"]), (&json!("alice"), &json!("deny")), "{stopped}");
    assert_eq!(stopped["target"], "principal alice");
    assert_eq!(stopped["client"], format!("unix:{me}"));
    let reason = stopped["reason"].as_str().expect("a reason");
    assert!(reason.starts_with(&format!("user {me} (process ")), "{reason}");
    assert!(reason.ends_with(") ordered it for 2h: she left"), "{reason}");
    assert_eq!(switch.call(&alice, "/mcp/docs", "search_docs").0, 403);
    let refusal = switch.airlock.audited(|record| record["event"] == "refusal");
    assert_eq!((&refusal["stage"], &refusal["rule_id"]), (&json!("stopped"), &json!("stopped")), "{refusal}");
    assert_eq!(refusal["subject"], "alice");
    switch.resume(&["--principal", "alice"]);
    let resumed = switch.airlock.audited(|record| record["event"] == "calls.resumed");
    assert_eq!(resumed["target"], "principal alice");
    assert!(resumed["reason"].as_str().is_some_and(|why| why.contains("took the stop back")), "{resumed}");
}

#[test]
fn a_legacy_session_is_refused_as_a_whole_and_goes_on_afterwards() {
    let switch = Switch::docs();
    let token = switch.airlock.user();
    let mut session = Session::open(switch.airlock.address(), "/mcp/docs", &token).expect("a session");
    switch.stop(&["--upstream", "docs"]);
    for method in ["tools/list", "ping"] {
        let response = session.request(method, &json!({})).expect("an answer");
        assert_eq!(outcome(&response), refused(503, "this server"), "{method}");
    }
    let opened = Session::open(switch.airlock.address(), "/mcp/docs", &token).expect_err("it is stopped");
    assert!(opened.contains("a leak"), "{opened}");
    // At the other endpoint the rest goes on.
    Session::open(switch.airlock.address(), "/mcp", &token).expect("a session");
    switch.resume(&["--upstream", "docs"]);
    session.call("search_docs", &json!({"query": "revert"})).expect("the same session");
}

#[test]
fn what_nobody_knows_is_stopped_with_a_warning_and_what_makes_no_sense_is_refused() {
    let switch = Switch::docs();
    let said = switch.stop(&["--upstream", "dosc"]);
    assert!(said.contains("warning: no upstream `dosc` is configured; there are: docs, more"), "{said}");
    assert_eq!(switch.stopped(), ["upstream dosc"]);
    let said = switch.stop(&["--upstream", "docs"]);
    assert!(!said.contains("warning"), "{said}");
    let said = switch.resume(&["--upstream", "docs"]);
    assert!(said.contains("; one stop is still in force"), "{said}");
    for (args, why) in [
        (&["--upstream", "docs", "--reason", "a\nb"][..], "without line breaks"),
        (&["--upstream", "docs", "--reason", ""], "a reason of at most"),
        (&["--upstream", "", "--reason", "x"], "a name has to be"),
        (&["--upstream", "docs", "--reason", "x", "--for", "400d"], "a stop lasts between"),
        (&["--token", "sha256:7", "--reason", "x"], "64 small hexadecimal digits"),
        (&["--tool", "docs", "--reason", "x"], "such as `--tool docs/read_file`"),
        (&["--upstream", "docs"], "--reason"),
        (&["--reason", "x"], "--all"),
    ] {
        let (done, said) = switch.order(&[&["stop"], args].concat());
        assert!(!done && said.contains(why), "{args:?}: {said}");
    }
    assert_eq!(switch.stopped(), ["upstream dosc"]);
}

#[test]
fn a_stop_outlives_a_restart_until_its_time_is_over() {
    let mut switch = Switch::docs();
    let served = |switch: &Switch, tool| switch.call(&switch.airlock.user(), "/mcp/docs", tool).0;
    switch.stop(&["--upstream", "docs"]);
    switch.well(&["stop", "--tool", "docs/read_file", "--reason", "x", "--for", "1s"]);
    switch.airlock.restart();
    assert_eq!(served(&switch, "search_docs"), 503);
    let over = until(|| (switch.stopped() == ["upstream docs"]).then_some(()));
    assert!(over.is_some(), "{:?}", switch.stopped());
    let record = switch.airlock.audited(|record| record["event"] == "calls.resumed");
    assert_eq!(
        (&record["target"], &record["reason"]),
        (&json!("tool docs/read_file"), &json!("its time is over"))
    );
    switch.resume(&["--upstream", "docs"]);
    switch.airlock.restart();
    assert_eq!((served(&switch, "search_docs"), served(&switch, "read_file")), (200, 200));
}

#[test]
fn a_state_file_that_cannot_be_read_stops_everything_until_an_operator_says_otherwise() {
    let mut switch = Switch::docs();
    let path = switch.airlock.dir().join("stops.json");
    std::fs::write(&path, "<<<<<<< ours").expect("written");
    switch.airlock.restart();
    let token = switch.airlock.user();
    let (status, reason) = switch.call(&token, "/mcp/docs", "search_docs");
    assert_eq!(status, 503);
    assert!(reason.ends_with(": this host cannot read what its operator has stopped"), "{reason}");
    let (_, said) = switch.order(&["stops"]);
    assert!(said.contains("ALARM") && said.contains("stops.json is no list of stops"), "{said}");
    switch.resume(&["--all"]);
    assert_eq!(switch.call(&token, "/mcp/docs", "search_docs").0, 200);
    switch.airlock.restart();
    assert_eq!(switch.stopped(), Vec::<String>::new());
}
