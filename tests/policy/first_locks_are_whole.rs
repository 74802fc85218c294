//! All that a server lists at its first use becomes its lock at once. A list that it does not say counts as
//! one that was not looked at.

use std::io;
use std::net::TcpStream;
use std::sync::{Mutex, PoisonError};

use airlock_tests::airlock::until;
use airlock_tests::little::{Book, Little, Seen, write_json};
use airlock_tests::mcp::{modern, modern_call};
use airlock_tests::{Airlock, Setup};
use serde_json::{Value, json};

use super::locked_house::{House, READ, answer, held, offer, offer_others};

/// A server that has no answer to one list until it is asked for the others, fails at its prompts, and has no
/// templates.
fn grudging(seen: &Seen, stream: &mut TcpStream, book: &Mutex<Book>) -> io::Result<()> {
    let is_asked = |method: &str| {
        let book = book.lock().unwrap_or_else(PoisonError::into_inner);
        book.seen.iter().any(|seen| seen.rpc() == method)
    };
    match seen.rpc() {
        "tools/list" => {
            until(|| is_asked("resources/templates/list").then_some(()));
            answer(seen, stream, book)
        }
        "prompts/list" => {
            let error = json!({"code": -32_603, "message": "out of order"});
            let message = json!({"jsonrpc": "2.0", "id": seen.body["id"], "error": error});
            write_json(stream, &message.to_string())
        }
        "resources/templates/list" => write_json(stream, &seen.no_such_method()),
        _ => answer(seen, stream, book),
    }
}

fn grudging_house() -> House {
    let little = Little::start(grudging);
    offer(&little, READ);
    let upstreams = little.entry("docs").with("timeout", "5s").to_string();
    House::with(little, Setup { upstreams, ..Setup::default() }, None)
}

fn locked(airlock: &Airlock) -> Value {
    let text = std::fs::read_to_string(airlock.dir().join("tools.lock")).expect("a lock file");
    serde_json::from_str::<Value>(&text).expect("JSON")["upstreams"]["docs"].take()
}

#[test]
fn all_lists_are_asked_for_at_once_and_each_is_locked_as_what_was_said_of_it() {
    // By a list, and by a call.
    for first in ["tools/list", "tools/call"] {
        let house = grudging_house();
        match first {
            "tools/list" => {
                let listed = house.send(&modern("/mcp/docs", 1, first, &Value::Null));
                assert_eq!(listed["result"]["tools"][0]["name"], "read", "{listed}");
            }
            _ => assert_eq!(house.call("read"), (200, None)),
        }
        let lock = locked(&house.airlock);
        assert_eq!(lock["tools"]["read"]["definition"]["description"], "Reads a file.", "{lock}");
        assert_eq!((&lock["prompts"], &lock["resource_templates"]), (&Value::Null, &json!({})), "{lock}");
        assert!(
            house.airlock.logs("prompts/list was not looked at, so what it says later is held back"),
            "{}",
            house.airlock.log()
        );
    }
}

/// A server that says the beginning of its tools, and of the rest nothing until there is an offer.
fn broken(seen: &Seen, stream: &mut TcpStream, book: &Mutex<Book>) -> io::Result<()> {
    match (seen.rpc(), seen.body["params"]["cursor"].as_str()) {
        ("tools/list", None) => {
            let tool: Value = serde_json::from_str(READ).expect("a tool");
            let page = json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "public",
                "tools": [tool], "nextCursor": "more"});
            write_json(stream, &seen.result(&page))
        }
        ("tools/list", Some(_)) => write_json(stream, &seen.no_such_method()),
        _ => answer(seen, stream, book),
    }
}

#[test]
fn a_first_lock_that_fails_is_told_of_and_not_tried_with_each_page() {
    let little = Little::start(broken);
    offer_others(&little, READ);
    let setup = Setup { upstreams: little.entry("docs").to_string(), ..Setup::default() };
    let house = House::with(little, setup, None);
    for _ in 0..3 {
        let listed = house.send(&modern("/mcp/docs", 1, "tools/list", &Value::Null));
        assert_eq!(listed["result"]["tools"], json!([]), "{listed}");
    }
    let asked = ["tools/list", "prompts/list"].map(|list| house.little.asked(list).len());
    assert_eq!(asked, [5, 1], "one attempt for all");
    let alarms = house.status()["alarms"].to_string();
    assert!(
        alarms.contains("nothing of upstream docs is locked, since it has no tools/list any more"),
        "{alarms}"
    );
    assert!(alarms.contains("the tool `read` cannot be locked, since it has no tools/list"), "{alarms}");
    assert_eq!(house.call("read"), held());
}

#[test]
fn a_server_whose_lock_is_removed_is_locked_anew_by_the_next_call() {
    let house = House::new(READ, "");
    assert_eq!(house.call("read"), (200, None));
    std::fs::remove_file(house.airlock.dir().join("tools.lock")).expect("removed");
    house.airlock.signal(rustix::process::Signal::HUP);
    house
        .airlock
        .audited(|record| record["reason"].as_str().is_some_and(|why| why.starts_with("read from ")));
    assert_eq!(house.call("read"), (200, None));
    assert_eq!(locked(&house.airlock)["tools"]["read"]["definition"]["name"], "read");

    let house = House::new(READ, "tool_lock: {mode: approve}\n");
    assert_eq!(house.listed(), Vec::<String>::new());
    let refused = house.send(&modern_call("/mcp/docs", 1, "read", &json!({})));
    let why = "its server has no lock yet, and the operator of this host has to approve it, or";
    assert!(refused["error"]["message"].as_str().is_some_and(|told| told.contains(why)), "{refused}");
}
