//! The envelope: what is accepted from a client is exactly one message, and every other reader sees the same
//! one.
#![no_main]

use airlock::mcp::{envelope, message};
use serde_json::Value;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        // Messages of servers go through a parser of its own.
        let _ = message::parse(text);
    }
    let Ok(accepted) = envelope::parse(data) else { return };
    let oracle: Value = serde_json::from_slice(data).expect("accepted, but not JSON to others");
    assert_eq!(oracle["jsonrpc"], "2.0");
    match (&accepted.method, oracle.get("method")) {
        (Some(ours), Some(theirs)) => assert_eq!(ours, theirs.as_str().expect("a string")),
        (None, None) => {}
        (ours, theirs) => panic!("method: {ours:?} and {theirs:?}"),
    }
    match (&accepted.id, oracle.get("id")) {
        (Some(ours), Some(theirs)) => {
            let ours: Value = serde_json::from_str(ours.as_json()).expect("an id is JSON");
            assert_eq!(&ours, theirs);
        }
        (None, None) => {}
        (ours, theirs) => panic!("id: {ours:?} and {theirs:?}"),
    }
    let written: Value = serde_json::from_str(&accepted.params.write()).expect("parameters are JSON");
    match oracle.get("params") {
        Some(params) if !params.is_null() => same(&written, params),
        _ => assert!(accepted.params.is_empty()),
    }
});

/// The members that are read are those that were sent, but for ones that are null: those may be left out,
/// here and in `_meta`.
fn same(read: &Value, sent: &Value) {
    let (read, sent) = (read.as_object().expect("an object"), sent.as_object().expect("an object"));
    assert!(read.keys().all(|name| sent.contains_key(name)));
    for (name, sent) in sent {
        match read.get(name) {
            Some(read) if name == "_meta" => same(read, sent),
            Some(read) => assert_eq!(read, sent),
            None => assert!(sent.is_null(), "{name} is gone"),
        }
    }
}
