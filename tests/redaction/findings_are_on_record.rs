//! Findings in the answer to a list, in instructions and in what a server says outside of calls have a record
//! of their own, without the text.

use airlock_tests::Airlock;
use airlock_tests::events::Events;
use airlock_tests::mcp::{LEGACY, Session, modern};
use serde_json::{Value, json};

use super::arguments_are_looked_through::{SECRET, leaky};

/// The record of what was found in this.
fn found(airlock: &Airlock, method: &str) -> Value {
    airlock.audited(|record| record["event"] == "dlp.found" && record["method"] == method)
}

#[test]
fn lists_and_instructions_have_a_record_of_what_was_found() {
    let mut airlock = leaky("");
    let token = airlock.user();
    for path in ["/mcp/leaky", "/mcp"] {
        let list = modern(path, 2, "tools/list", &json!({})).bearer(&token);
        assert_eq!(airlock.send(&list).status, 200);
    }
    let discover = modern("/mcp/leaky", 2, "server/discover", &json!({})).bearer(&token);
    airlock.send(&discover).answer();
    let record = found(&airlock, "tools/list");
    for (member, value) in [
        ("upstream", json!("leaky")),
        ("redactions", json!({"github-token": 5})),
        ("decision", json!("allow")),
    ] {
        assert_eq!(record[member], value, "{record}");
    }
    // It belongs to the list that is on record.
    let list = airlock.audited(|record| record["event"] == "list");
    assert_eq!(
        (&record["correlation_id"], &record["subject"]),
        (&list["correlation_id"], &list["subject"]),
        "{record}"
    );
    assert_eq!(found(&airlock, "server/discover")["redactions"], json!({"github-token": 1}));
    assert!(airlock.stop().success());
    let lists = airlock.audit().into_iter().filter(|record| record["event"] == "dlp.found");
    assert_eq!(lists.filter(|record| record["method"] == "tools/list").count(), 2, "one for each list");
    assert!(!airlock.log().contains(SECRET) && !format!("{:?}", airlock.audit()).contains(SECRET));
}

#[test]
fn what_is_said_outside_of_calls_has_a_record_of_what_was_found() {
    let mut airlock = leaky("");
    let token = airlock.user();
    let can = json!({"elicitation": {}});
    let mut session =
        Session::open_as(airlock.address(), "/mcp/leaky", &token, LEGACY, &can).expect("a session");
    session.notify("notifications/initialized").expect("taken");
    let mut events = Events::open(airlock.address(), &session.listen(None)).expect("a stream");
    for said in ["notifications/message", "notifications/tasks/status", "elicitation/create"] {
        session.call("aside", &json!({"method": said})).expect("a result");
        let message = events.message().expect("a message");
        assert_eq!(message["method"], said, "{message}");
        let record = found(&airlock, said);
        assert_eq!(record["redactions"], json!({"github-token": 1}), "{record}");
        assert_eq!(record["upstream"], "leaky", "{record}");
        if said == "elicitation/create" {
            let answer = json!({"jsonrpc": "2.0", "id": message["id"],
                "result": {"action": "accept", "content": {"key": [SECRET, SECRET]}}});
            assert_eq!(airlock.send(&session.prepare(&answer)).status, 202);
            airlock.audited(|record| record["redactions"] == json!({"github-token": 2}));
        }
    }
    assert!(airlock.stop().success());
    assert!(!format!("{:?}", airlock.audit()).contains(SECRET));
}

#[test]
fn entries_and_messages_that_are_left_out_are_on_record() {
    let airlock = leaky("dlp: {response: block}\n");
    let token = airlock.user();
    let list = modern("/mcp/leaky", 2, "tools/list", &json!({})).bearer(&token);
    assert_eq!(airlock.send(&list).answer()["result"]["tools"], json!([]));
    let mut session = Session::open(airlock.address(), "/mcp/leaky", &token).expect("a session");
    session.notify("notifications/initialized").expect("taken");
    let _events = Events::open(airlock.address(), &session.listen(None)).expect("a stream");
    session.call("aside", &json!({"method": "notifications/message"})).expect("a result");
    for method in ["tools/list", "notifications/message"] {
        let record = found(&airlock, method);
        let reason = record["reason"].as_str().unwrap_or_default();
        assert_eq!(
            (&record["decision"], &record["stage"], &record["rule_id"]),
            (&json!("deny"), &json!("redact"), &json!("github-token")),
            "{record}"
        );
        assert!(reason.contains("the detector `github-token` does not let pass"), "{record}");
    }
}
