//! A web page whose name was bound to the address of the metrics listener.

use airlock_tests::Setup;
use airlock_tests::airlock::free_address;
use airlock_tests::http::Request;

#[test]
fn a_page_does_not_read_the_metrics() {
    let address = free_address().expect("a port");
    let observability = format!("  metrics_listen: {address}\n  metrics_hosts: [scraped.internal.example]\n");
    let _airlock = Setup { observability, ..Setup::default() }.start();
    let status = |headers: &[(&str, &str)]| {
        let request = headers
            .iter()
            .fold(Request::get("/metrics"), |request, (name, value)| request.header(name, value));
        let answer = request.send(address).expect("an answer");
        let told = answer.text().contains("airlock_connections");
        assert_eq!(told, answer.status == 200, "{headers:?}: {}", answer.text());
        answer.status
    };
    assert_eq!(status(&[("host", "rebound.evil.example:9464")]), 403);
    assert_eq!(status(&[("origin", "https://evil.example")]), 403);
    assert_eq!(status(&[("sec-fetch-site", "cross-site")]), 403);
    assert_eq!(status(&[("host", "a"), ("host", "localhost")]), 400);
    for host in ["localhost:9464", "scraped.internal.example", "[::1]:9464"] {
        assert_eq!(status(&[("host", host)]), 200, "{host}");
    }
    assert_eq!(status(&[]), 200);
}
