//! The escape suite: a row of attempts to get out of the cage, each a process of its own, each made as root
//! and as nobody, and each made once more without a cage to see that it would work.
//!
//! A harness of its own, because an attempt has to be a process with one thread.

mod attempt;
mod attempts;
mod harness;
mod inside;
mod outside;
mod raw;
mod suite;
mod table;

#[path = "../../../tests/src/shown.rs"]
mod shown;
#[path = "../../../tests/src/skip.rs"]
mod skipping;
#[allow(dead_code, reason = "its cgroups are looked for as other tests do, and it has no slice")]
#[path = "../../../tests/src/slice.rs"]
mod slices;

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Ok(name) = std::env::var(inside::ATTEMPT) {
        return inside::act(&name);
    }
    let halves = std::sync::Arc::new(suite::Halves::default());
    let mut tests: Vec<harness::Test> = attempts::GROUPS
        .iter()
        .map(|(name, attempts)| {
            let halves = std::sync::Arc::clone(&halves);
            harness::Test { name, run: Box::new(move || suite::run(name, &attempts(), &halves)) }
        })
        .collect();
    tests.push(harness::Test {
        name: "there_are_enough_attempts_and_no_two_of_a_name",
        run: Box::new(table::complete),
    });
    tests.push(harness::Test { name: "a_guest_is_sealed", run: Box::new(suite::sealed) });
    tests.push(harness::Test { name: "page_shows_every_attempt", run: Box::new(table::in_page) });
    harness::run(&tests)
}
