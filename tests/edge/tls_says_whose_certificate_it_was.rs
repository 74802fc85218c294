//! TLS: what is spoken, what is not, and whose certificate it was.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use airlock_tests::authority::Authority;
use airlock_tests::curl::{curl, shown};
use airlock_tests::http::{Request, connect};
use airlock_tests::little::{Little, chatty};
use airlock_tests::mcp::{modern, modern_call};
use airlock_tests::{Airlock, Setup, skip, start_on, tools};
use serde_json::json;

use super::{counted, with_metrics};

fn call(token: &str) -> Request {
    modern_call("/mcp/docs", 1, "search_docs", &json!({"query": "roll back"})).bearer(token)
}

#[test]
fn a_call_goes_through_over_either_version_of_http() {
    let authority = Authority::create();
    let setup = Setup::default().server("tls", authority.tls());
    let ca = shown(&authority.file("ca.pem"));
    for io in ["epoll", "io_uring"] {
        let Some(airlock) = start_on(io, &setup) else { continue };
        let token = airlock.user();
        for (option, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
            let done = curl(airlock.address(), "https", &call(&token), &["--cacert", &ca, option]);
            assert_eq!((done.status, &*done.version), (200, version), "{io}: {done:?}");
            assert!(done.body.contains("deployment.md"), "{done:?}");
            let unknown = curl(airlock.address(), "https", &call(&token), &[option]);
            assert_eq!(unknown.status, 0, "an authority that curl does not know: {unknown:?}");
            // Events of a legacy session, to the end of its stream.
            let opened = curl(
                airlock.address(),
                "https",
                &Request::post(
                    "/mcp/docs",
                    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": "2025-03-26",
                        "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}})
                    .to_string(),
                )
                .bearer(&token),
                &["--cacert", &ca, option, "--dump-header", "-"],
            );
            let session = opened
                .body
                .lines()
                .find_map(|line| line.strip_prefix("mcp-session-id: "))
                .expect("a session");
            let batch = json!([{"jsonrpc": "2.0", "id": 1, "method": "ping"},
                {"jsonrpc": "2.0", "id": 2, "method": "tools/call",
                 "params": {"name": "search_docs", "arguments": {"query": "roll back"}}}]);
            let request = Request::post("/mcp/docs", batch.to_string()).bearer(&token);
            let request = request.header("mcp-session-id", session.trim());
            let streamed = curl(airlock.address(), "https", &request, &["--cacert", &ca, option]);
            assert_eq!((streamed.status, &*streamed.version), (200, version), "{streamed:?}");
            assert!(streamed.body.contains("deployment.md"), "{streamed:?}");
        }
        let refused = curl(airlock.address(), "https", &call("rubbish"), &["--cacert", &ca]);
        let named = format!("https://{}/.well-known/oauth-protected-resource/mcp/docs", airlock.address());
        assert_eq!(refused.status, 401, "{refused:?}; log:\n{}", airlock.log());
        let metadata = Request::get("/.well-known/oauth-protected-resource/mcp/docs");
        let metadata = curl(airlock.address(), "https", &metadata, &["--cacert", &ca]);
        assert!(
            metadata.body.contains(&named.replace("/.well-known/oauth-protected-resource", "")),
            "{metadata:?}"
        );
        let plain = connect(airlock.address()).and_then(|mut stream| {
            stream.write_all(&Request::get("/live").bytes(airlock.address()))?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).map(|_| answer)
        });
        assert!(!plain.unwrap_or_default().starts_with(b"HTTP"), "nothing is served without TLS");
    }
}

#[test]
fn a_client_that_knows_the_authority_comes_in() {
    let python = match tools::python("python") {
        Ok(python) => python,
        Err(reason) => return skip(&reason),
    };
    let authority = Authority::create();
    let airlock = Setup::default().server("tls", authority.tls()).start();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/plain.py");
    for (mode, revision) in [("auto", "2026-07-28"), ("legacy", "2025-11-25")] {
        let url = format!("https://localhost:{}/mcp/docs", airlock.address().port());
        let mut client = Command::new(&python);
        client.arg(&script).args([&url, &airlock.user(), mode, "search_docs", r#"{"query": "roll back"}"#]);
        let told = tools::told(client.env("SSL_CERT_FILE", authority.file("ca.pem")));
        assert_eq!(told["revision"], revision);
        assert!(told["text"].as_str().is_some_and(|text| text.contains("deployment.md")), "{told}");
    }
}

#[test]
fn events_stream_over_either_version_of_http() {
    let authority = Authority::create();
    let server = Little::start(chatty);
    let upstreams = server.entry("chatty").with("era", "modern").to_string();
    let setup = Setup { upstreams, ..Setup::default() }.server("tls", authority.tls());
    let ca = shown(&authority.file("ca.pem"));
    for io in ["epoll", "io_uring"] {
        let Some(airlock) = start_on(io, &setup) else { continue };
        let params = json!({"name": "count", "arguments": {}, "_meta": {"progressToken": "t"}});
        let request = modern("/mcp/chatty", 1, "tools/call", &params).bearer(&airlock.user());
        for (option, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
            let told = curl(airlock.address(), "https", &request, &["--cacert", &ca, option]);
            assert_eq!((told.status, &*told.version), (200, version), "{io}: {told:?}");
            let events: Vec<_> = told.body.lines().filter(|line| line.starts_with("data: ")).collect();
            assert_eq!(events.len(), 6, "{io}: five times progress, then the answer: {told:?}");
            assert!(events[4].contains("\"progress\":5") && events[5].contains("counted"), "{told:?}");
        }
    }
}

/// The verdict of `openssl s_client` on the listener: whether there was a session, and all it said.
fn s_client(airlock: &Airlock, options: &[&str]) -> (bool, String) {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &airlock.address().to_string()]).args(options);
    let output = command.stdin(Stdio::null()).output().expect("openssl is installed");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success() && !text.contains("Cipher is (NONE)"), text)
}

#[test]
fn old_versions_and_weak_ciphers_are_not_spoken() {
    let authority = Authority::create();
    let airlock = Setup::default().server("tls", authority.tls()).start();
    let weak = |list: &'static str| ["-tls1_2", "-cipher", list];
    for refused in [
        &["-tls1", "-cipher", "ALL:@SECLEVEL=0"][..],
        &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
        &weak("AES128-SHA:AES256-SHA:AES128-GCM-SHA256:@SECLEVEL=0"),
        &weak("ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384:@SECLEVEL=0"),
        &weak("aNULL:eNULL:@SECLEVEL=0"),
        &["-alpn", "h3"],
    ] {
        let (good, text) = s_client(&airlock, refused);
        assert!(!good, "{refused:?}: {text}");
    }
    for (spoken, shown) in [
        (&["-tls1_2"][..], "TLSv1.2"),
        (&["-tls1_3"], "TLSv1.3"),
        (&["-alpn", "h2,http/1.1"], "ALPN protocol: h2"),
        (&["-alpn", "http/1.1"], "ALPN protocol: http/1.1"),
        (&["-alpn", "h3,http/1.1"], "ALPN protocol: http/1.1"),
    ] {
        let (good, text) = s_client(&airlock, spoken);
        assert!(good && text.contains(shown), "{spoken:?}: {text}");
    }
}

#[test]
fn a_policy_sees_whose_certificate_it_was() {
    let authority = Authority::create();
    authority.write("agent", &authority.client("spiffe://acme.example/agent"));
    authority.write("other", &authority.client("spiffe://acme.example/other"));
    authority.write("strange", &Authority::create().client("spiffe://acme.example/agent"));
    let policy = "package airlock.authz\n\nimport rego.v1\n\ndefault allow := false\n\n\
        allow if input.client.certificate == \"spiffe://acme.example/agent\"\n\n\
        allow if {\n    input.client.certificate == null\n    input.subject.id == \"bob\"\n}\n";
    let ca = shown(&authority.file("ca.pem"));
    for mode in ["required", "optional"] {
        let setup = Setup { policy: policy.to_owned(), ..Setup::default() };
        let airlock = setup.server("tls", authority.mutual_tls(mode)).start();
        let tokens = [airlock.user(), airlock.token("bob", "acme", &["mcp.users"])];
        for http in ["--http2", "--http1.1"] {
            let ask = |token: &str, who: Option<&str>| {
                let (cert, key) = who.map_or_else(Default::default, |who| {
                    (
                        shown(&authority.file(&format!("{who}.pem"))),
                        shown(&authority.file(&format!("{who}.key"))),
                    )
                });
                let with = ["--cert", &cert, "--key", &key];
                let mut options = vec!["--cacert", &ca, http];
                options.extend(who.iter().flat_map(|_| with));
                curl(airlock.address(), "https", &call(token), &options).status
            };
            assert_eq!(ask(&tokens[0], Some("agent")), 200, "{mode} {http}");
            assert_eq!(ask(&tokens[0], Some("other")), 403, "{mode} {http}");
            assert_eq!(ask(&tokens[0], Some("strange")), 0, "{mode} {http}: signed by nobody we know");
            assert_eq!(ask("rubbish", Some("agent")), 401, "{mode} {http}: a certificate is no token");
            let without = if mode == "required" { [0, 0] } else { [403, 200] };
            assert_eq!([ask(&tokens[0], None), ask(&tokens[1], None)], without, "{mode} {http}");
        }
    }
}

#[test]
fn handshakes_that_fail_are_cheap_and_counted() {
    let authority = Authority::create();
    let setup =
        Setup::default().server("tls", authority.tls()).server("timeouts", json!({"header": "300ms"}));
    let (metrics, setup) = with_metrics(setup);
    for io in ["epoll", "io_uring"] {
        let Some(airlock) = start_on(io, &setup) else { continue };
        let count = |reason: &str, least| {
            let line = format!("airlock_tls_handshakes_failed_total{{reason=\"{reason}\"}}");
            counted(&airlock, metrics, &line, least)
        };
        // Silent, then a client that is nothing but silent after its first byte.
        for said in [&b""[..], b"\x16\x03\x01"] {
            let mut stream = connect(airlock.address()).expect("a connection");
            stream.write_all(said).expect("sent");
            let mut rest = Vec::new();
            // A reset is an end as well.
            let _ = stream.read_to_end(&mut rest);
            assert!(!rest.starts_with(b"HTTP"));
        }
        assert_eq!(count("timeout", 2), 2);
        let mut stream = connect(airlock.address()).expect("a connection");
        stream.write_all(&Request::get("/live").bytes(airlock.address())).expect("sent");
        let _ = stream.read_to_end(&mut Vec::new());
        assert_eq!(count("malformed", 1), 1);
        assert!(!s_client(&airlock, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]).0);
        assert_eq!(count("incompatible", 1), 1);
        assert!(counted(&airlock, metrics, "airlock_tls_certificate_days_left", 300) >= 300);
    }
}

#[test]
fn a_pair_that_cannot_work_is_told_at_its_place() {
    let authority = Authority::create();
    let tls = authority.tls();
    std::fs::write(authority.file("host.key"), authority.host().1).expect("written");
    let failed = Setup::default().server("tls", tls).try_start().map(drop).expect_err("another key");
    assert!(
        failed.log.contains("airlock.yaml:") && failed.log.contains("is not that of the first certificate"),
        "{}",
        failed.log
    );
    assert!(failed.log.contains("help:"), "{}", failed.log);
}
