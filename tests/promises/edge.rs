//! The edge: TLS, HTTP/2, the unix socket, proxies in front, and clients that mean no good.

#[path = "edge/hostile.rs"]
mod hostile;
#[path = "edge/http2.rs"]
mod http2;
#[path = "edge/names.rs"]
mod names;
#[path = "edge/parsing.rs"]
mod parsing;
#[path = "edge/proxies.rs"]
mod proxies;
#[path = "edge/refused_bodies.rs"]
mod refused_bodies;
#[path = "edge/swap.rs"]
mod swap;
#[path = "edge/tls.rs"]
mod tls;
#[path = "edge/unix.rs"]
mod unix;

use std::net::SocketAddr;

use airlock_tests::airlock::{free_address, until};
use airlock_tests::http::Request;
use airlock_tests::{Airlock, Setup};

/// A listener for metrics, and the setup that opens it.
fn with_metrics(setup: Setup) -> (SocketAddr, Setup) {
    let address = free_address().expect("a port");
    let observability = format!("  metrics_listen: {address}\n");
    (address, Setup { observability, ..setup })
}

/// Waits until a line of the metrics that begins so has at least that value; the value.
fn counted(airlock: &Airlock, metrics: SocketAddr, line: &str, least: i64) -> i64 {
    let value = || {
        let text = Request::get("/metrics").send(metrics).ok()?.text();
        text.lines()
            .find_map(|found| found.strip_prefix(line)?.trim().parse().ok())
            .filter(|value| *value >= least)
    };
    until(value).unwrap_or_else(|| panic!("`{line}` does not reach {least}; log:\n{}", airlock.log()))
}
