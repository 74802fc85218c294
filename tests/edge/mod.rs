//! The edge: TLS, HTTP/2, the unix socket, proxies in front, and clients that mean no good.

mod activation_loses_no_connection;
mod ambiguous_requests_are_refused;
mod certificates_change_under_load;
mod every_name_is_as_good;
mod networks_do_not_take_all_places;
mod no_request_hides_in_another;
mod pages_block_no_visitor;
mod pages_in_browsers_are_clients;
mod pages_read_no_metrics;
mod proxies_name_their_client;
mod refused_bodies_are_answered;
mod slow_clients_are_let_go;
mod tls_says_whose_certificate_it_was;
mod translators_hide_nobody;
mod tricks_of_http2_gain_nothing;
mod unix_sockets_tell_the_user;

use std::net::SocketAddr;

use airlock_tests::airlock::{free_address, until};
use airlock_tests::http::Request;
use airlock_tests::{Airlock, Setup};

/// A listener for metrics, and the setup that opens it.
fn with_metrics(setup: Setup) -> (SocketAddr, Setup) {
    let address = free_address().expect("a port");
    (address, setup.observability("metrics_listen", address))
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
