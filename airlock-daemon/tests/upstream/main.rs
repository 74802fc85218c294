//! The side of the gateway that servers see, against servers that a test writes by hand, on both kinds of
//! socket I/O.

mod http;
mod lifecycle;
mod lines;
#[allow(dead_code, unreachable_pub, reason = "other tests use more of it")]
#[path = "../../../tests/src/little/server.rs"]
mod little;
mod modern;
mod notices;
mod questions;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use airlock::auth::principal::{Bearer, Identity, Principal};
use airlock::config::schema::Io;
use airlock::kernel::KernelHalf;
use airlock::limits::budget::Budget;
use airlock::mcp::client::{ClientCapabilities, ClientCapability};
use airlock::mcp::jsonrpc;
use airlock::observe::metrics::Metrics;
use airlock::runtime::backend::{Backend, choose};
use airlock::tool_locks::ToolLocks;
use airlock::upstream::message::notice::{Interest, Notice};
use airlock::upstream::message::reply::{Reply, Takes};
use airlock::upstream::pool::{Caller, Upstream, Upstreams};
use airlock::upstream::subscription::Subscription;
use airlock::upstream::transport::dial_in::DialIns;
use airlock::upstream::transport::handle::{Link, Pending};

use crate::lines::{Lines, legacy};

/// Nothing in a healthy run takes so long.
const EVENT_TIMEOUT: Duration = Duration::from_secs(20);

/// The interest of a legacy session.
const ALL: Interest = Interest { tools: true, prompts: true, resources: true, everything: true };

/// Runs a test on both kinds of I/O; where the host refuses a ring, the daemon would not use one either.
fn on_both(test: impl AsyncFn(Backend)) {
    Backend::Epoll.run(test(Backend::Epoll)).expect("a runtime");
    if choose(Io::IoUring).is_ok() {
        Backend::IoUring.run(test(Backend::IoUring)).expect("a ring");
    }
}

/// Runs a test on both kinds of I/O with a legacy server of lines, whose entry has `more` keys.
fn on_lines(more: &str, test: impl AsyncFn(Lines, Upstreams, Arc<Upstream>)) {
    on_both(async |backend| {
        let server = Lines::start(legacy);
        let (all, upstream) = gateway(backend, &server.upstream(&format!(", era: legacy{more}")), "");
        test(server, all, upstream).await;
    });
}

/// The gateway's half that looks at servers, with one upstream `x`.
fn gateway(backend: Backend, upstream: &str, server: &str) -> (Upstreams, Arc<Upstream>) {
    let text = format!(
        "auth: {{issuers: [{{issuer: \"https://idp.example.com\", audience: [x]}}]}}\nkernel: {{mode: \"off\"}}\n\
         server: {{{server}}}\nupstreams:\n  - {{name: x, {upstream}}}\n"
    );
    let config = airlock::config::from_text("test.yaml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    let kernel = KernelHalf::start(&config.kernel).expect("no kernel half");
    let metrics = Metrics::new();
    let upstreams = Upstreams::new(
        &config,
        &kernel,
        backend,
        &metrics,
        &DialIns::default(),
        &Budget::new(&config.limits.memory),
        &ToolLocks::off(&metrics),
    );
    let one = Arc::clone(upstreams.get("x").expect("it is configured"));
    (upstreams, one)
}

fn identity(subject: &str, tenant: Option<&str>) -> Identity {
    let principal = Principal::new(Bearer {
        subject: subject.into(),
        tenant: tenant.map(Into::into),
        groups: vec![],
        scopes: vec![],
        issuer: "https://idp".into(),
        claims: serde_json::Map::new(),
        expires_at: 0,
    });
    principal.identity().clone()
}

/// Alice, whose client can fill in forms.
fn alice(session: Option<&Arc<str>>) -> Caller<'_> {
    let capabilities = ClientCapabilities::default().with(ClientCapability::ElicitForm);
    Caller { identity: identity("alice", None), session, token: None, capabilities }
}

/// Sends a call that takes everything.
async fn call(link: &Link, tool: &str) -> Pending {
    let params = format!(r#"{{"name":"{tool}"}}"#);
    let sent = link.request(Takes::Everything, |id| jsonrpc::request(id, "tools/call", &params)).await;
    sent.expect("the link is alive")
}

/// Calls a tool as `caller` and waits for the result.
async fn called(upstream: &Arc<Upstream>, caller: &Caller<'_>, tool: &str) -> String {
    let (link, _) = upstream.link(caller).await.expect("a link");
    let mut pending = call(&link, tool).await;
    loop {
        match soon(pending.next()).await {
            Some(Reply::Result(result)) => return result,
            Some(Reply::Notification(..)) => {}
            other => panic!("{other:?}; {:?}", pending.ending()),
        }
    }
}

/// An event that happens soon in every healthy run.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(EVENT_TIMEOUT, what).await.expect("it takes too long")
}

/// Waits until there is an answer.
async fn until<T>(ask: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + EVENT_TIMEOUT;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "it takes too long");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The next notification of a subscription.
async fn notification(subscription: &mut Subscription) -> (String, String) {
    match soon(subscription.next()).await {
        Some(Notice::Notification(method, params)) => (method, params),
        other => panic!("{other:?}"),
    }
}

/// Nothing comes for a moment.
async fn silence(subscription: &mut Subscription) {
    let heard = tokio::time::timeout(Duration::from_millis(150), subscription.next()).await;
    assert!(heard.is_err(), "{heard:?}");
}
