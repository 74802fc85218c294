//! The work of the first thread while the workers serve: keys, tokens for development, metrics, idle
//! sessions, and signals.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use super::development::Development;
use super::failure::Failure;
use super::touched;
use super::workers::Workers;
use crate::audit::denials;
use crate::cli::{certificates, reload};
use crate::http::admin::AdminSocket;
use crate::http::status::Started;
use crate::http::{Service, admin, health, metrics as metrics_listener};
use crate::observe::notify;
use crate::runtime::allocator;
use crate::upstream::transport::dial_in::DialIns;

/// How often sessions are looked through for idle ones.
const IDLE_SESSIONS_INTERVAL: Duration = Duration::from_secs(5);

/// How long READY waits for issuers and servers to be asked once.
const READY_TIMEOUT: Duration = Duration::from_secs(5);

/// The signals that the process answers to.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// The services of the first thread besides.
pub(super) struct Side {
    pub(super) metrics: Option<TcpListener>,
    pub(super) admin: Option<AdminSocket>,
    pub(super) dial_ins: DialIns,
    pub(super) development: Development,
}

/// Keys, tokens for development, metrics, idle sessions, and the signal that ends it all.
pub(super) async fn control(
    service: Arc<Service>,
    side: Side,
    addresses: &str,
    workers: &Workers,
    mut signals: Signals,
) -> Result<(), Failure> {
    let mut status = format!("listening on {addresses}");
    let started = Started::now();
    let Side { metrics, admin, dial_ins, development } = side;
    if let Some(url) = development.run() {
        let _ = write!(status, ", development issuer at {url}");
    }
    tokio::task::spawn_local(Arc::clone(&service.gateway.auth).run());
    tokio::task::spawn_local(Arc::clone(&service.gateway.stops).run_out());
    tokio::task::spawn_local(touched::keep(Arc::clone(&service.gateway.stops)));
    if let Some(tls) = &service.door.tls {
        certificates::introduce(tls, &service.gateway.metrics);
        tokio::task::spawn_local(certificates::watch(Arc::clone(tls), Arc::clone(&service.gateway.metrics)));
    }
    if let Some(listener) = metrics {
        if let Ok(address) = listener.local_addr() {
            let _ = write!(status, ", metrics at http://{address}/metrics");
        }
        let service = Arc::clone(&service);
        tokio::task::spawn_local(async move {
            if let Err(error) = metrics_listener::serve(listener, service).await {
                tracing::error!(%error, "the metrics listener has ended");
            }
        });
    }
    if let Some(socket) = admin {
        let service = Arc::clone(&service);
        tokio::task::spawn_local(async move {
            if let Err(error) = admin::serve(socket, service, started).await {
                tracing::error!(%error, "the admin interface has ended");
            }
        });
    }
    for (name, dial_in) in dial_ins {
        let audit = service.gateway.audit.clone();
        tokio::task::spawn_local(async move {
            if let Err(error) = dial_in.serve(audit).await {
                tracing::error!(upstream = name, %error, "the socket for a server that dials in has ended");
            }
        });
    }
    tracing::info!("{status}");
    notify::status(&status);
    let gateway = Arc::clone(&service.gateway);
    let said = status.clone();
    tokio::task::spawn_local(async move {
        // A unit that depends on this one should find keys and servers there; one that is away must not hold
        // it up for ever.
        let first = async {
            gateway.auth.first_round().await;
            gateway.upstreams.first_probe().await;
        };
        if tokio::time::timeout(READY_TIMEOUT, first).await.is_err() {
            tracing::warn!(
                "serving before every issuer and server has answered; `airlock status` names those that have not"
            );
        }
        notify::ready(&said);
    });
    tokio::task::spawn_local(Arc::clone(&service.gateway.kernel).forward_diagnostics());
    let kernel = Arc::clone(&service.gateway.kernel);
    tokio::task::spawn_local(async move {
        if let Some(early_drop) = kernel.early_drop() {
            early_drop.watch_interfaces().await;
        }
    });
    tokio::task::spawn_local(denials::record(
        Arc::clone(&service.gateway.kernel),
        service.gateway.audit.clone(),
        Arc::clone(&service.gateway.metrics),
    ));
    let asked = Rc::new(Notify::new());
    tokio::task::spawn_local(reload::keep(Arc::clone(&service), Rc::clone(&asked), status));
    let mut janitor = tokio::time::interval_at(
        tokio::time::Instant::now() + IDLE_SESSIONS_INTERVAL,
        IDLE_SESSIONS_INTERVAL,
    );
    let mut trouble = Vec::new();
    let mut most_kept = 0;
    loop {
        tokio::select! {
            () = workers.one_ended() => {
                return Err("a worker has ended; the log says why. The service is to be started again".into());
            }
            _ = signals.terminate.recv() => return Ok(()),
            _ = signals.interrupt.recv() => return Ok(()),
            _ = signals.hangup.recv() => asked.notify_one(),
            _ = janitor.tick() => {
                service.sessions.sweep();
                service.gateway.limits.sweep();
                for session in service.sessions.expire(service.gateway.config.server.timeouts.idle.0) {
                    service.gateway.upstreams.end_session(&session);
                }
                give_back(&service, &mut most_kept);
                tell(&service, &mut trouble);
            }
        }
    }
}

/// Gives memory back to the system once much less is kept for clients than there was.
fn give_back(service: &Service, most_kept: &mut usize) {
    const MUCH: usize = 16 * 1024 * 1024;
    let kept: usize = service.gateway.budget.stats().used.iter().sum();
    *most_kept = kept.max(*most_kept);
    if *most_kept - kept >= MUCH {
        *most_kept = kept;
        tokio::task::spawn_blocking(allocator::trim);
    }
}

/// Logs a change of what is not ready, once.
fn tell(service: &Arc<Service>, before: &mut Vec<(String, String)>) {
    let door = health::door(service).into_iter();
    let upstreams = health::upstreams(service).into_iter();
    let upstreams = upstreams.map(|(name, trouble)| (format!("upstream {name}"), trouble));
    let now: Vec<_> = door.chain(upstreams).filter_map(|(name, trouble)| Some((name, trouble?))).collect();
    for (name, trouble) in now.iter().filter(|(name, _)| !before.iter().any(|(other, _)| other == name)) {
        tracing::warn!("not ready: {name}: {trouble}");
    }
    for (name, _) in before.iter().filter(|(name, _)| !now.iter().any(|(other, _)| other == name)) {
        tracing::info!("ready: {name}");
    }
    *before = now;
}
