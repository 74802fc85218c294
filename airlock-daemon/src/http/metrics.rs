//! `/metrics`, on a listener of its own, served by the control thread.

use std::convert::Infallible;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::kernel::EarlyDrop;
use crate::limits::budget::level::What;
use crate::observe::metrics::{AuditFigures, CONTENT_TYPE, PolicyFigures};
use crate::pipeline::Gateway;
use crate::pipeline::origin::Origins;

use super::Service;
use super::body::{Body, json};
use super::nowhere::not_found;

/// Serves until the process ends.
///
/// # Errors
/// When the listener cannot be used.
pub async fn serve(listener: TcpListener, service: Arc<Service>) -> std::io::Result<()> {
    /// How long a scraper may take to send its head.
    const HEAD: Duration = Duration::from_secs(5);
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let origins = Rc::new(Origins::of_metrics(&service.gateway.config));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the metrics listener cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (service, origins) = (Arc::clone(&service), Rc::clone(&origins));
        tokio::task::spawn_local(async move {
            let answers = service_fn(|request| {
                let answer = answer(&service, &origins, &request);
                async move { Ok::<_, Infallible>(answer) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD);
            if let Err(error) = http.serve_connection(TokioIo::new(stream), answers).await {
                tracing::trace!(%error, "a metrics connection ended early");
            }
        });
    }
}

fn answer(service: &Service, origins: &Origins, request: &Request<Incoming>) -> Response<Body> {
    if let Err(refusal) = origins.admit(request.uri(), request.headers()) {
        return json(refusal.status, serde_json::json!({ "error": refusal.reason }).to_string());
    }
    if request.uri().path() != "/metrics" || request.method() != Method::GET {
        return not_found();
    }
    let gateway = &service.gateway;
    take_figures(gateway);
    let mut response = Response::new(Body::text(gateway.metrics.encode()));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    response
}

/// Brings the metrics up to what is counted elsewhere.
fn take_figures(gateway: &Gateway) {
    let metrics = &gateway.metrics;
    metrics.limits.stops(gateway.stops.in_force().counts());
    let audit = gateway.audit.stats();
    metrics.audit.figures(&AuditFigures {
        records: audit.records,
        waited: audit.waited,
        refused: audit.refused,
        store_failures: audit.store_failures,
        journal_failures: audit.journal_failures,
        strangers_untold: audit.strangers_untold,
        queued: audit.queued,
        healthy: audit.healthy,
    });
    let limits = gateway.limits.stats();
    metrics.limits.figures(limits.keys.iter().map(|(limit, count)| (limit.name(), *count)), limits.blocked);
    let kept = gateway.budget.stats();
    let used = What::ALL.iter().map(|what| what.name()).zip(kept.used);
    metrics.limits.kept(used, kept.given_up, kept.refused);
    if let Some(Ok(counted)) = gateway.kernel.early_drop().map(EarlyDrop::counters) {
        metrics.limits.early_drop(counted.iter().map(|(verdict, count)| (verdict.name(), *count)));
    }
    let packs = gateway.redaction.status();
    metrics.packs.figures(packs.rejected.is_some(), packs.loaded, packs.rejections);
    let policy = gateway.policy.status();
    metrics.policy.figures(PolicyFigures {
        digest: policy.digest,
        engine: policy.engine,
        rejected: policy.rejected.is_some(),
        loaded: policy.loaded,
        rejections: policy.rejections,
        hits: policy.cache.hits,
        misses: policy.cache.misses,
    });
}
