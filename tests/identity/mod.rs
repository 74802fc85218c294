//! Identity: nobody comes in without a good token, and everybody learns how to get one.

mod bound_tokens_need_their_key;
mod clients_get_in_by_themselves;
mod foreign_text_steers_no_log;
mod issuer;
mod lying_endpoints_gain_nothing;
mod memory_keeps_no_token;
mod nobody_comes_in_without_a_token;
mod servers_get_credentials_of_their_own;
mod tokens_come_in_one_way;

use airlock_tests::airlock::until;
use airlock_tests::{Airlock, Setup};
use serde_json::{Value, json};

use self::issuer::Issuer;

/// Airlock that trusts an issuer of the test's own, with this `rate_limiting.failed_auth`.
fn trusting(issuer: &Issuer, failed_auth: &Value) -> Airlock {
    Setup::default()
        .issuers(issuer.issuers())
        .with("rate_limiting", json!({"failed_auth": failed_auth}))
        .start()
}

/// The log, once these words are in it: it is written behind the answer.
fn told(airlock: &Airlock, words: &str) -> String {
    let log = until(|| Some(airlock.log()).filter(|log| log.contains(words)));
    log.unwrap_or_else(|| panic!("not told: {words}: {}", airlock.log()))
}
