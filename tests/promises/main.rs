//! The promises of Airlock, one file each, tested on the built program.

mod activation;
mod adversary;
mod alarms;
mod architecture;
mod audit;
mod bad_input;
mod batches;
mod breadth;
mod bridge;
mod browser;
mod check_host;
mod cold_starts;
mod comments;
mod crowd;
mod daemon_filter;
mod dial_in;
mod edge;
mod edge_of_http;
mod error_contract;
mod fds;
mod four_ways;
mod gone;
mod handles;
mod identity;
mod injection;
mod intent_first;
mod journal;
mod large_answers;
mod lifecycle;
mod limits;
mod listed;
mod listen;
mod long_calls;
mod machine;
mod merged;
mod metrics;
mod nspawn;
mod nulls;
mod oauth;
mod old_clients;
mod one_call;
mod ownership;
mod pages;
mod param_headers;
mod paths;
mod pinned;
mod policy;
mod policy_cli;
mod policy_load;
mod policy_messages;
mod policy_reload;
mod policy_shadow;
mod policy_tenants;
mod process_end;
mod questions;
mod readme;
mod real_clients;
mod real_servers;
mod safe_names;
mod shutdown;
mod smuggling;
mod soak;
mod spawner;
mod status;
mod streams;
mod transports;
mod upstream_try;
mod wrong_ids;

use airlock_tests::{Airlock, Setup, skip};

/// Starts the setup on the given kind of socket I/O. None, and the test is skipped, where the host has no `io_uring`.
fn start_on(io: &str, setup: &Setup) -> Option<Airlock> {
    match (Setup { io: io.to_owned(), ..setup.clone() }).try_start() {
        Ok(airlock) => Some(airlock),
        Err(failed) if io == "io_uring" && !host_has_io_uring() => {
            skip(&format!("no io_uring here: {}", failed.log.lines().last().unwrap_or_default()));
            None
        }
        Err(failed) => panic!("airlock did not start on {io} ({:?}):\n{}", failed.status, failed.log),
    }
}

/// The kernel's facts about itself, independently of the program under test.
fn host_has_io_uring() -> bool {
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    disabled.map_or(symbols.contains("io_uring_setup"), |value| value.trim() == "0")
}
