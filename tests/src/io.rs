//! Kinds of socket I/O, which a test runs on one after the other.

use crate::{Airlock, Setup, skip};

/// Starts the setup on the given kind of socket I/O. None, and the test is skipped, where the host has no
/// `io_uring`.
pub fn start_on(io: &str, setup: &Setup) -> Option<Airlock> {
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
