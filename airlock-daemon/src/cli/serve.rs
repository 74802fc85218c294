//! `airlock serve`: everything is set up in one thread, then the workers start, and the first thread keeps the house.

use std::cell::Cell;
use std::error::Error;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};

use crate::audit::{AuditLog, AuditWriter, Event, Record};
use crate::auth::Authenticator;
use crate::auth::development::DevelopmentIssuer;
use crate::config;
use crate::config::schema::{Config, PolicyMode, Workers};
use crate::face::session::Sessions;
use crate::http::admin::{self, AdminSocket};
use crate::http::{Door, Service, connection, health, metrics as metrics_listener};
use crate::kernel::KernelHalf;
use crate::limits::Limits;
use crate::limits::keeper::Keeper;
use crate::observe::metrics::Metrics;
use crate::observe::{denials, logging, notify};
use crate::pipeline::Gateway;
use crate::pipeline::admit::Origins;
use crate::pipeline::forwarded::Proxies;
use crate::pipeline::parked::Parked;
use crate::pipeline::seal::Sealer;
use crate::policy::reload::{InForce, Options};
use crate::policy::vet::{Vetting, WORKER_STACK};
use crate::runtime::backend::{self, Backend};
use crate::runtime::listener::{self, Listener};
use crate::runtime::room::Room;
use crate::runtime::tls::Tls;
use crate::runtime::unix_socket::SocketFile;
use crate::runtime::worker::{self, Phase, Remote};
use crate::upstream::dial_in::{self, DialIns};
use crate::upstream::pool::Upstreams;

use super::{certificates, reload};

/// How often sessions are looked through for idle ones.
const JANITOR: Duration = Duration::from_secs(5);

/// How long READY waits for issuers and servers to be asked once.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long servers have at shutdown, more than the grace that each one has.
const SETTLE: Duration = Duration::from_secs(5);

/// Arguments of `airlock serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file.
    #[arg(long, default_value = "/etc/airlock/airlock.yaml")]
    config: PathBuf,
}

type Failure = Box<dyn Error + Send + Sync>;

/// Runs the command.
pub fn run(args: &Args) -> ExitCode {
    let config = match config::load(&args.config) {
        Ok(config) => config,
        Err(diagnostics) => {
            eprint!("{diagnostics}");
            return ExitCode::from(2);
        }
    };
    match serve(config, &args.config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            eprintln!("airlock: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What is set up before the first worker starts.
struct House {
    service: Arc<Service>,
    writer: AuditWriter,
    listeners: Vec<Listener>,
    socket_file: Option<SocketFile>,
    metrics: Option<TcpListener>,
    admin: Option<AdminSocket>,
    dial_ins: DialIns,
    development: Option<Arc<DevelopmentIssuer>>,
    backend: Backend,
    workers: usize,
}

fn serve(config: Config, file: &Path) -> Result<(), Failure> {
    logging::init(&config.observability.log)?;
    let house = set_up(config, file)?;
    let service = Arc::clone(&house.service);
    let addresses = addresses(&house);
    // The first thing that can be asked of a service is to end: it is heard from here on.
    // A policy is compiled on its threads: with more room than the child had that tried it.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().thread_stack_size(WORKER_STACK).build()?;
    let signals = {
        let _entered = runtime.enter();
        Signals::listen()?
    };
    let crew = Crew::new(house.workers);
    let mut threads = Vec::with_capacity(house.workers);
    for number in 0..house.workers {
        let listeners = house.listeners.iter().map(Listener::share).collect::<Result<_, _>>()?;
        threads.push(start_worker(number, house.backend, listeners, Arc::clone(&service), crew.clone())?);
    }
    drop(house.listeners);

    let local = tokio::task::LocalSet::new();
    let side = Side {
        metrics: house.metrics,
        admin: house.admin,
        dial_ins: house.dial_ins,
        development: house.development,
    };
    let keeping = keep_house(Arc::clone(&service), side, &addresses, &crew, signals);
    let result = local.block_on(&runtime, async {
        let result = keeping.await;
        notify::stopping("finishing calls in flight");
        tracing::info!("stopping: no new connections, calls in flight are finished");
        crew.phase.send_replace(Phase::Draining);
        // Nobody who looks for the socket from here on is to find one that is not listened on.
        drop(house.socket_file);
        service.gateway.draining.send_replace(true);
        // Keys and metrics are served on while calls are finished.
        crew.all_ended().await;
        result
    });
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a worker panicked");
        }
    }
    let _ = service.gateway.audit.record(Record::new(Event::Stop));
    house.writer.join()?;
    if result.is_ok() {
        service.gateway.kernel.end();
    }
    result
}

/// Where it listens, as a person would write it into a client.
fn addresses(house: &House) -> String {
    let scheme = if house.service.door.tls.is_some() { "https" } else { "http" };
    let listed = house.listeners.iter().map(|listener| match listener {
        Listener::Tcp(_) => format!("{scheme}://{listener}"),
        Listener::Unix(_) => listener.to_string(),
    });
    listed.collect::<Vec<_>>().join(" ")
}

/// Everything that can fail, in the order in which an operator would look for the fault.
fn set_up(config: Config, file: &Path) -> Result<House, Failure> {
    let io = backend::choose(config.server.io)?;
    tracing::info!(io = %io.backend, why = io.why, "socket I/O");
    // Cgroups and programs come first: no thread but this one may exist when the process moves.
    let mut kernel = config.kernel.clone();
    // What a proxy's clients do must never take the proxy away from all of them.
    kernel.xdp.allow.extend(config.server.trusted_proxies.iter().cloned());
    let kernel = KernelHalf::start(&kernel)?;
    kernel.hide(config::own_files(&config, file));
    let tls = match &config.server.tls {
        Some(tls) => Some(Arc::new(Tls::load(tls).map_err(|fault| format!("server.tls.{fault}"))?)),
        None => None,
    };
    let (listeners, socket_file) = listener::open(&config.server)?;
    if let Some(early_drop) = kernel.early_drop() {
        let ports: Vec<_> =
            listeners.iter().filter_map(|listener| Some(listener.tcp_address()?.port())).collect();
        early_drop.set_ports(&ports)?;
    }
    // Sockets that were handed over are taken by now, so that the child that tries the policy inherits none.
    let policy = InForce::start(Options {
        path: config.policy.path.clone(),
        vetting: Vetting::own_program(),
        cache_ttl: config.policy.decision_cache_ttl.map(|ttl| ttl.0),
    });
    let base_url = base_url(&config, &listeners);
    let development = match &config.auth.development_issuer {
        Some(development) => Some(DevelopmentIssuer::start(development, format!("{base_url}/mcp"))?),
        None => None,
    };
    let mut auth = config.auth.clone();
    auth.issuers.extend(development.as_ref().map(|issuer| issuer.issuer()));
    let authenticator = Authenticator::new(&auth, &base_url)?;
    let metrics_listener = match config.observability.metrics_listen {
        Some(address) => Some(listener::open_one(address)?),
        None => None,
    };
    let admin = config.observability.admin_listen.as_deref().map(AdminSocket::open).transpose()?;
    let dial_ins = dial_in::open_all(&config, &kernel)?;
    let (audit, writer) = AuditLog::open(&config.audit)?;
    let metrics = Metrics::new();
    let rung = kernel.report().rung.and_then(|rung| serde_json::to_value(rung).ok());
    metrics.build_info(rung.as_ref().and_then(serde_json::Value::as_str).unwrap_or("none"));
    let workers = match config.server.workers {
        Workers::Count(count) => count,
        Workers::Auto => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    };
    audit.record(Record {
        reason: Some(format!("policy {}", policy.load().digest()).into()),
        ..Record::new(Event::Start)
    })?;
    let backend = io.backend;
    let room = Room::new(config.server.max_connections, config.server.max_connections_per_address);
    let gateway = Arc::new(Gateway {
        base_url,
        origins: Origins::new(&config.server),
        auth: authenticator,
        issuers: auth.issuers.into_iter().map(|issuer| issuer.issuer).collect(),
        policy,
        draining: watch::Sender::new(false),
        parked: Parked::default(),
        limits: Limits::new(&config, Keeper::new(&kernel, &audit, &metrics, &room)),
        audit,
        upstreams: Upstreams::new(&config, &kernel, backend, &metrics, &dial_ins),
        metrics,
        kernel,
        io,
        sealer: Sealer::new()?,
        config,
    });
    if let Some(rejected) = gateway.policy.status().rejected {
        reload::rejected(&gateway, &rejected.error);
    }
    if gateway.config.policy.mode == PolicyMode::Shadow {
        tracing::warn!("policy.mode is `shadow`: what the policy refuses is recorded and DONE ALL THE SAME");
    }
    let server = &gateway.config.server;
    let door = Door { tls, room, proxies: Proxies::new(server) };
    let service = Arc::new(Service { gateway, sessions: Sessions::default(), door });
    Ok(House {
        service,
        writer,
        listeners,
        socket_file,
        metrics: metrics_listener,
        admin,
        dial_ins,
        development,
        backend,
        workers,
    })
}

/// The URL of this host without a path: configured, or the first address that is listened on.
fn base_url(config: &Config, listeners: &[Listener]) -> String {
    if let Some(url) = &config.server.public_url {
        return url.trim_end_matches('/').to_owned();
    }
    let scheme = if config.server.tls.is_some() { "https" } else { "http" };
    match listeners.iter().find_map(Listener::tcp_address) {
        Some(address) => format!("{scheme}://{address}"),
        // The host that clients of a unix socket name.
        None => "http://localhost".to_owned(),
    }
}

/// The workers: where they are in their lives, seen from outside and from each other.
#[derive(Clone)]
struct Crew {
    size: usize,
    phase: Arc<watch::Sender<Phase>>,
    /// How many have no connection left.
    drained: Arc<watch::Sender<usize>>,
    /// How many have ended, however.
    ended: Arc<watch::Sender<usize>>,
}

impl Crew {
    fn new(size: usize) -> Self {
        let phase = Arc::new(watch::Sender::new(Phase::Running));
        Self { size, phase, drained: Arc::default(), ended: Arc::default() }
    }

    /// Waits until no worker has a connection left, or `limit` has passed: servers live on the worker that started them.
    async fn all_drained(&self, limit: Duration) {
        let mut drained = self.drained.subscribe();
        let _ = tokio::time::timeout(limit, drained.wait_for(|count| *count >= self.size)).await;
    }

    async fn all_ended(&self) {
        let _ = self.ended.subscribe().wait_for(|count| *count >= self.size).await;
    }

    /// Waits until one has ended, which none may before the process drains.
    async fn one_ended(&self) {
        let _ = self.ended.subscribe().wait_for(|count| *count > 0).await;
    }
}

/// The signals that the process answers to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// A worker's place in the crew; given up also by a panic.
struct Shift {
    crew: Crew,
    is_drained: Cell<bool>,
}

impl Shift {
    fn drained(&self) {
        if !self.is_drained.replace(true) {
            self.crew.drained.send_modify(|count| *count += 1);
        }
    }
}

impl Drop for Shift {
    fn drop(&mut self) {
        self.drained();
        self.crew.ended.send_modify(|count| *count += 1);
    }
}

fn start_worker(
    number: usize,
    backend: Backend,
    listeners: Vec<Listener>,
    service: Arc<Service>,
    crew: Crew,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    let thread = std::thread::Builder::new().name(format!("worker-{number}")).stack_size(WORKER_STACK);
    thread.spawn(move || {
        let shift = Shift { crew, is_drained: Cell::new(false) };
        let timeouts = &service.gateway.config.server.timeouts;
        let (drain, stalled) = (timeouts.drain.0, timeouts.idle.0);
        let life = async {
            let phase = shift.crew.phase.subscribe();
            if number == 0 {
                probe_all(&service, &phase);
            }
            let serve = {
                let (service, phase) = (Arc::clone(&service), phase.clone());
                move |stream, remote: Remote| {
                    connection::serve(Arc::clone(&service), stream, remote, phase.clone())
                }
            };
            let left = worker::run(backend, listeners, stalled, phase, drain, serve).await;
            shift.drained();
            shift.crew.all_drained(left).await;
            service.gateway.upstreams.end_all(SETTLE).await;
        };
        if let Err(error) = backend.run(life) {
            tracing::error!(%error, "a worker could not start");
        }
    })
}

/// Asks every upstream what it is, each in a task of its own on this worker.
fn probe_all(service: &Arc<Service>, phase: &watch::Receiver<Phase>) {
    for upstream in service.gateway.upstreams.iter() {
        let (upstream, mut phase) = (Arc::clone(upstream), phase.clone());
        tokio::task::spawn_local(async move {
            tokio::select! {
                () = upstream.introduce() => {}
                _ = phase.wait_for(|phase| *phase == Phase::Draining) => {}
            }
        });
    }
}

/// What the first thread serves besides.
struct Side {
    metrics: Option<TcpListener>,
    admin: Option<AdminSocket>,
    dial_ins: DialIns,
    development: Option<Arc<DevelopmentIssuer>>,
}

/// Keys, tokens for development, metrics, idle sessions, and the signal that ends it all.
async fn keep_house(
    service: Arc<Service>,
    side: Side,
    addresses: &str,
    crew: &Crew,
    mut signals: Signals,
) -> Result<(), Failure> {
    let mut status = format!("listening on {addresses}");
    let started = Instant::now();
    let Side { metrics, admin, dial_ins, development } = side;
    if let Some(issuer) = development {
        let _ = write!(status, ", development issuer at {}", issuer.url());
        tokio::task::spawn_local(async move {
            if let Err(error) = issuer.run().await {
                tracing::error!(%error, "the development issuer has ended");
            }
        });
    }
    tokio::task::spawn_local(Arc::clone(&service.gateway.auth).run());
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
        // What depends on this unit should find keys and servers there; one that is away must not hold it up for ever.
        let first = async {
            gateway.auth.first_round().await;
            gateway.upstreams.first_probe().await;
        };
        if tokio::time::timeout(PATIENCE, first).await.is_err() {
            tracing::warn!(
                "serving before every issuer and server has answered; /ready names those that have not"
            );
        }
        notify::ready(&said);
    });
    tokio::task::spawn_local(Arc::clone(&service.gateway.kernel).forward_diagnostics());
    tokio::task::spawn_local(Arc::clone(&service.gateway.kernel).watch_interfaces());
    tokio::task::spawn_local(denials::record(
        Arc::clone(&service.gateway.kernel),
        service.gateway.audit.clone(),
        Arc::clone(&service.gateway.metrics),
    ));
    let asked = Rc::new(Notify::new());
    tokio::task::spawn_local(reload::keep(Arc::clone(&service), Rc::clone(&asked), status));
    let mut janitor = tokio::time::interval_at(tokio::time::Instant::now() + JANITOR, JANITOR);
    let mut trouble = Vec::new();
    loop {
        tokio::select! {
            () = crew.one_ended() => {
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
                tell(&service, &mut trouble);
            }
        }
    }
}

/// Logs a change of what is not ready, once.
fn tell(service: &Arc<Service>, before: &mut Vec<(String, String)>) {
    let now: Vec<_> =
        health::parts(service).into_iter().filter_map(|(name, trouble)| Some((name, trouble?))).collect();
    for (name, trouble) in now.iter().filter(|part| !before.contains(part)) {
        tracing::warn!("not ready: {name}: {trouble}");
    }
    for (name, _) in before.iter().filter(|(name, _)| !now.iter().any(|(other, _)| other == name)) {
        tracing::info!("ready: {name}");
    }
    *before = now;
}
