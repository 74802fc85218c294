//! When processes begin and end, whose they are, and what is said when they end by themselves.

use std::sync::Arc;
use std::time::Duration;

use airlock::mcp::object::Object;
use airlock::upstream::UpstreamError;
use airlock::upstream::pool::Caller;
use serde_json::json;

use crate::lines::{Lines, legacy};
use crate::{ALL, alice, call, called, gateway, identity, on_both, on_lines, until};

/// The connection on which the newest call came.
fn newest(server: &Lines) -> usize {
    server.told("tools/call").last().expect("a call").connection
}

#[test]
fn a_session_whose_process_died_is_told_once() {
    on_lines("", async |server, all, upstream| {
        let session: Arc<str> = "s".into();
        let who = alice(Some(&session));
        called(&upstream, &who, "quick").await;
        let (link, _) = upstream.link(&who).await.expect("a link");
        server.hang_up();
        until(|| (!link.is_alive()).then_some(())).await;
        let lost = upstream.link(&who).await.err().expect("it is told");
        assert!(matches!(lost, UpstreamError::SessionLost { .. }), "{lost}");
        assert_eq!(lost.status().as_u16(), 404);
        called(&upstream, &who, "quick").await;

        // A session that ended before it was told leaves nothing behind.
        let (link, _) = upstream.link(&who).await.expect("a link");
        server.hang_up();
        until(|| (!link.is_alive()).then_some(())).await;
        all.end_session(&session);
        called(&upstream, &who, "quick").await;
    });
}

#[test]
fn an_end_for_idleness_is_no_loss() {
    on_both(async |backend| {
        let server = Lines::start(legacy);
        let (_all, upstream) = gateway(backend, &server.upstream(", era: legacy"), "timeouts: {idle: 100ms}");
        let session: Arc<str> = "s".into();
        let who = alice(Some(&session));
        called(&upstream, &who, "quick").await;
        let (link, _) = upstream.link(&who).await.expect("a link");
        until(|| (!link.is_alive()).then_some(())).await;
        let before = newest(&server);
        called(&upstream, &who, "quick").await;
        assert_ne!(newest(&server), before);

        // A client that watches a resource uses the process.
        let mut subscription = upstream.subscribe(&who, ALL).await.expect("a subscription");
        subscription.watch("a://b").await.expect("reached").expect("watched");
        let (link, _) = upstream.link(&who).await.expect("a link");
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert!(link.is_alive());
        drop(subscription);
        until(|| (!link.is_alive()).then_some(())).await;
    });
}

#[test]
fn a_process_is_its_owners() {
    on_both(async |backend| {
        let sessions = [Arc::<str>::from("s1"), Arc::<str>::from("s2")];
        for (isolation, shares) in [
            // Two principals never have one session.
            ("session", &[true, false][..]),
            ("subject", &[true, true, false, false]),
            ("tenant", &[true, true, true, false]),
        ] {
            let server = Lines::start(legacy);
            let more = format!(", era: legacy, isolation: {isolation}");
            let (_all, upstream) = gateway(backend, &server.upstream(&more), "");
            let who = |subject, tenant, session| Caller {
                identity: identity(subject, Some(tenant)),
                ..alice(Some(session))
            };
            called(&upstream, &who("alice", "acme", &sessions[0]), "quick").await;
            let hers = newest(&server);
            for (other, same) in [
                who("alice", "acme", &sessions[0]),
                who("alice", "acme", &sessions[1]),
                who("bob", "acme", &sessions[1]),
                who("bob", "other", &sessions[1]),
            ]
            .into_iter()
            .zip(shares)
            {
                called(&upstream, &other, "quick").await;
                assert_eq!(newest(&server) == hers, *same, "{isolation}");
            }
        }
    });
}

#[test]
fn without_a_tenant_a_process_is_the_subjects() {
    on_lines(", isolation: tenant", async |server, _all, upstream| {
        called(&upstream, &alice(None), "quick").await;
        let hers = newest(&server);
        called(&upstream, &Caller { identity: identity("bob", None), ..alice(None) }, "quick").await;
        assert_ne!(newest(&server), hers);
    });
}

#[test]
fn a_server_that_fails_to_start_is_left_alone_for_a_while() {
    on_both(async |backend| {
        let server = Lines::start(legacy);
        let missing = server.upstream(", era: legacy").replace("/s\"", "/missing\"");
        let (_all, upstream) = gateway(backend, &missing, "");
        let mut failures = 0;
        let open = loop {
            match upstream.link(&alice(None)).await {
                Err(open @ UpstreamError::CircuitOpen { .. }) => break open,
                // The verdict of a first start is shared for a second.
                Err(_) => failures += 1,
                Ok(_) => panic!("there is no server"),
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        };
        assert!(failures >= 5, "{failures}");
        assert_eq!((open.status().as_u16(), open.retry_after().is_some()), (503, true));
        assert!(open.to_string().contains("5 times in a row"), "{open}");
    });
}

#[test]
fn the_level_of_a_modern_call_is_told_once() {
    on_lines("", async |server, _all, upstream| {
        let (link, facts) = upstream.link(&alice(None)).await.expect("a link");
        for level in ["info", "info", "error", "info"] {
            let params = format!(r#"{{"_meta":{{"io.modelcontextprotocol/logLevel":"{level}"}}}}"#);
            let params = Object::parse(&params).expect("params");
            link.follow_level(&facts, "tools/call", &params).await;
            drop(call(&link, "quick").await);
        }
        link.follow_level(&facts, "tools/call", &Object::default()).await;
        server.until("tools/call", 4).await;
        let told: Vec<_> =
            server.told("logging/setLevel").iter().map(|seen| seen.message["params"].clone()).collect();
        assert_eq!(told, [json!({"level": "info"}), json!({"level": "error"}), json!({"level": "info"})]);
    });
}
