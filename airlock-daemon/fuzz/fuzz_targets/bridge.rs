//! A legacy server's transcript, a message a line, as two principals get it: what names a task names it for
//! each of them alone, questions come out as they went in, and nothing of it panics.
#![no_main]

use std::sync::OnceLock;

use airlock::auth::principal::{Bearer, Principal};
use airlock::call::required;
use airlock::mcp::client::ClientCapabilities;
use airlock::mcp::message::{self, Incoming};
use airlock::pipeline::handle::task::Ids;
use airlock::pipeline::methods::table::TOOLS_CALL;
use airlock::pipeline::seal::Sealer;
use serde_json::Value;

fn principal(subject: &str) -> Principal {
    Principal::new(Bearer {
        subject: subject.into(),
        tenant: None,
        groups: Vec::new(),
        scopes: Vec::new(),
        issuer: "https://idp.example".into(),
        claims: serde_json::Map::new(),
        expires_at: 0,
    })
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    static SEALER: OnceLock<Sealer> = OnceLock::new();
    let sealer = SEALER.get_or_init(|| Sealer::new().expect("random numbers"));
    let (alice, mallory) = (principal("alice"), principal("mallory"));
    let (hers, theirs) = (Ids::new(sealer, &alice, "docs", false), Ids::new(sealer, &mallory, "docs", false));
    let Ok(transcript) = std::str::from_utf8(data) else { return };
    for line in transcript.lines() {
        let Ok(incoming) = message::parse(line) else { continue };
        match incoming {
            Incoming::Notification { method, params } | Incoming::Request { method, params, .. } => {
                let params = params.map_or("{}", |params| params.get());
                let Ok(said) = hers.said(&method, params.to_owned()) else { continue };
                if method == "notifications/tasks/status" {
                    worthless(&serde_json::from_str(&said).unwrap_or_default(), &hers, &theirs);
                }
            }
            Incoming::Answer { outcome: Ok(result), .. } => {
                let can = ClientCapabilities::default();
                if let Ok(named) = hers.result(&TOOLS_CALL, can, result.get().to_owned()) {
                    let named: Value = serde_json::from_str(&named).unwrap_or_default();
                    worthless(&named["task"], &hers, &theirs);
                }
                asked(result.get());
            }
            Incoming::Answer { .. } | Incoming::TooDeep { .. } | Incoming::Unfit { .. } => {}
        }
    }
});

/// The name of a task opens for the one whose it is, and for nobody else.
fn worthless(task: &Value, hers: &Ids<'_>, theirs: &Ids<'_>) {
    if let Some(handle) = task["taskId"].as_str() {
        assert!(hers.open(handle).is_ok() && theirs.open(handle).is_err(), "{task}");
    }
}

/// A question of a server is the same when it is written for a client and read again.
fn asked(result: &str) {
    let Ok(Some(required)) = required::read(result) else { return };
    let written = required::write(&required.entries, "state");
    let again = required::read(&written).expect("well-formed").expect("asks");
    let all = |required: &required::Required| {
        let each = |entry: &required::Entry| (entry.key.clone(), entry.method.clone(), entry.params.clone());
        required.entries.iter().map(each).collect::<Vec<_>>()
    };
    assert_eq!(all(&required), all(&again));
}
