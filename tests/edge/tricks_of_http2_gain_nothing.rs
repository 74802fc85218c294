//! HTTP/2 in the hands of somebody who means no good: each trick ends the connection or the request, and
//! nothing else.

use std::process::Command;

use airlock_tests::authority::Authority;
use airlock_tests::curl::{curl, shown};
use airlock_tests::http::Request;
use airlock_tests::mcp::modern_call;
use airlock_tests::{Setup, skip, start_on, tools};
use serde_json::{Value, json};

use super::{counted, with_metrics};

#[test]
fn no_trick_of_frames_gets_anywhere() {
    let python = match tools::python("python") {
        Ok(python) => python,
        Err(reason) => return skip(&reason),
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/edge/frames.py");
    let authority = Authority::create();
    let ca = shown(&authority.file("ca.pem"));
    let setup = Setup::default()
        .server("tls", authority.tls())
        .server("max_request_bytes", "32KiB")
        .server("timeouts", json!({"idle": "1s", "body": "500ms"}));
    let (metrics, setup) = with_metrics(setup);
    for io in ["epoll", "io_uring"] {
        let Some(airlock) = start_on(io, &setup) else { continue };
        let token = airlock.user();
        let call = modern_call("/mcp/docs", 1, "search_docs", &json!({"query": "roll back"})).bearer(&token);
        let run = |trick: &str| -> Value {
            let told = json!({"headers": call.headers, "body": String::from_utf8_lossy(&call.body)});
            let port = airlock.address().port().to_string();
            tools::told(Command::new(&python).args([script, &port, &ca, trick, &told.to_string()]))
        };
        // An honest call by the same means.
        assert_eq!(run("honest")["statuses"], json!({"1": "200"}), "{io}");
        // FRAME_SIZE_ERROR, PROTOCOL_ERROR and ENHANCE_YOUR_CALM of RFC 9113, section 7.
        for (trick, codes) in [
            ("oversized", &[6][..]),
            ("rapid_reset", &[11]),
            ("continuations", &[1, 11]),
            ("zero_window_update", &[1]),
            ("even_stream", &[1]),
            ("data_on_idle_stream", &[1]),
            ("window_overflow", &[3]),
            ("settings_flood", &[]),
        ] {
            let told = run(trick);
            let code = told["goaway"].as_i64();
            let ended = told["ended"] == json!(true);
            assert!(ended && code.is_none_or(|code| codes.contains(&code)), "{io} {trick}: {told}");
        }
        let refused = |trick: &str, status: &str| {
            let told = run(trick);
            assert_eq!(told["statuses"]["1"], status, "{io} {trick}: {told}");
        };
        // Frames that carry nothing end the connection; as many that have a reason do not.
        for idle in
            ["priority", "window", "unknown", "ping", "settings", "data", "padding", "trailers", "last"]
        {
            let told = run(&format!("flood_of_{idle}"));
            assert_eq!(told["ended"], json!(true), "{io} {idle}: {told}");
        }
        // Data beyond what the request may bring, and data that comes after its refusal, are a fault to h2
        // already.
        let line = "airlock_connections_ended_total{reason=\"frame_flood\"}";
        assert!(counted(&airlock, metrics, line, 8) >= 8);
        let told = run("busy");
        let answered = told["statuses"].as_object().expect("statuses");
        assert!(answered.len() == 400 && answered.values().all(|status| status == "200"), "{io}: {told}");
        refused("large_head", "431");
        refused("two_hosts", "400");
        refused("user_in_host", "400");
        refused("foreign_scheme", "400");
        refused("slow_body", "408");
        refused("flood_body", "413");
        // The answers wait for a window that the client does not open.
        let told = run("no_window");
        assert_eq!(told["ended"], json!(true), "{io}: {told}");
        assert!(counted(&airlock, metrics, "airlock_connections_ended_total{reason=\"stalled\"}", 1) >= 1);
        let told = run("idle");
        assert_eq!((&told["ended"], &told["goaway"]), (&json!(true), &json!(0)), "{io}: {told}");
        let alive = curl(airlock.address(), "https", &Request::get("/live"), &["--cacert", &ca]);
        assert_eq!(alive.status, 200, "{io}: and it still serves");
    }
}

/// HTTP/2 is offered by TLS alone: a listener without it does not guess.
#[test]
fn without_tls_there_is_no_http2() {
    let airlock = Setup::default().start();
    let known = curl(airlock.address(), "http", &Request::get("/live"), &["--http2-prior-knowledge"]);
    assert_eq!(known.status, 0, "{known:?}");
    let upgrade = curl(airlock.address(), "http", &Request::get("/live"), &["--http2"]);
    assert_eq!((upgrade.status, &*upgrade.version), (200, "1.1"), "{upgrade:?}");
}
