//! Cursors and tasks are their owner's: what one principal was given is worthless to another, at another
//! server, and for another use; and what nobody was given is no better.

mod cursors;
mod tasks_legacy;
pub(crate) mod tasks_modern;

use airlock_tests::Airlock;
use serde_json::Value;

/// Waits for the record of a refusal, and says why it was refused.
fn refused(airlock: &Airlock, method: &str, subject: &str) -> Value {
    airlock.audited(|record| {
        record["event"] == "refusal" && record["method"] == method && record["subject"] == subject
    })
}
