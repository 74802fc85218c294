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

use self::issuer::Issuer;

/// Airlock that trusts an issuer of the test's own.
fn trusting(issuer: &Issuer, more: &str) -> Airlock {
    Setup { auth: Some(issuer.auth()), more: more.to_owned(), ..Setup::default() }.start()
}

/// The log, once these words are in it: it is written behind the answer.
fn told(airlock: &Airlock, words: &str) -> String {
    let log = until(|| Some(airlock.log()).filter(|log| log.contains(words)));
    log.unwrap_or_else(|| panic!("not told: {words}: {}", airlock.log()))
}
