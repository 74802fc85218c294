//! Limits: nobody takes more than a share, and nothing stays behind.

mod abandoned_connections_leave_nothing;
mod abandoned_sessions_leave_nothing;
mod blocks_reach_into_tls;
mod budgets_bound_a_day;
mod crowds_start_one_server;
mod memory_has_shares;
mod nobody_takes_more_than_a_share;
mod offenders_are_blocked;
mod offenders_packets_are_dropped;
mod operators_get_back_in;
mod stops_can_be_seen;
mod stops_end_what_runs;
mod stops_hold_at_once;
mod stops_hold_by_a_file;
mod streams_have_places;
mod unused_sessions_make_room;

use airlock_tests::http::Response;
use serde_json::json;

/// Checks that this is a refusal by that limit; gives the milliseconds to wait.
fn refused_by(response: &Response, limit: &str) -> u64 {
    assert_eq!(response.status, 429, "{}", response.text());
    let error = &response.answer()["error"];
    assert_eq!((&error["code"], &error["data"]["rule_id"]), (&json!(429), &json!(limit)), "{error}");
    let seconds: u64 = response.header("retry-after").expect("Retry-After").parse().expect("seconds");
    let millis = error["data"]["retry_after_ms"].as_u64().expect("milliseconds");
    assert!(seconds >= 1 && seconds == millis.div_ceil(1_000), "{seconds} s and {millis} ms");
    millis
}
