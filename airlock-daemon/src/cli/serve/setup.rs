//! The parts that are set up before the first worker starts.

use std::net::TcpListener;
use std::sync::Arc;

use tokio::sync::watch;

use super::development::Development;
use super::failure::Failure;
use crate::audit::{AuditLog, AuditWriter, Event, Record};
use crate::auth::Authenticator;
use crate::call::tasks;
use crate::cli::reload;
use crate::config::schema::{Config, KernelMode, PolicyMode, UpstreamKind, Workers};
use crate::config::translators::Translators;
use crate::config::units::ByteSize;
use crate::config::{OnDisk, packs, schema};
use crate::downstream::sessions::Sessions;
use crate::http::admin::AdminSocket;
use crate::http::{Door, Service};
use crate::kernel::{KernelHalf, ROOT_BY_OMISSION, Spawner, confine_daemon};
use crate::limits::Limits;
use crate::limits::budget::Budget;
use crate::limits::keeper::Keeper;
use crate::observe::logging;
use crate::observe::metrics::Metrics;
use crate::pipeline::Gateway;
use crate::pipeline::forwarded::Proxies;
use crate::pipeline::origin::Origins;
use crate::pipeline::seal::Sealer;
use crate::policy::reload::{InForce, Options};
use crate::policy::vet::Vetting;
use crate::redaction::Redaction;
use crate::runtime::backend::Backend;
use crate::runtime::listener::Listener;
use crate::runtime::room::Room;
use crate::runtime::tls::Tls;
use crate::runtime::unix_socket::SocketFile;
use crate::runtime::{backend, listener};
use crate::stops::Stops;
use crate::tool_locks::ToolLocks;
use crate::upstream::credential::secret;
use crate::upstream::pool::Upstreams;
use crate::upstream::transport::dial_in::{self, DialIns};

/// The parts that are set up before the first worker starts.
pub(super) struct Server {
    pub(super) service: Arc<Service>,
    pub(super) writer: AuditWriter,
    pub(super) listeners: Vec<Listener>,
    pub(super) socket_file: Option<SocketFile>,
    pub(super) metrics: Option<TcpListener>,
    pub(super) admin: Option<AdminSocket>,
    pub(super) dial_ins: DialIns,
    pub(super) development: Development,
    pub(super) backend: Backend,
    pub(super) workers: usize,
}

impl Server {
    /// Everything that can fail, in the order in which an operator would look for the fault.
    pub(super) fn set_up(config: Config, on_disk: OnDisk, spawner: Spawner) -> Result<Self, Failure> {
        let io = backend::choose(config.server.io)?;
        tracing::info!(io = %io.backend, why = io.why, "socket I/O");
        let kernel = start_kernel(&config, spawner)?;
        nobody_is_root_by_omission(&config, &kernel)?;
        let tls = match &config.server.tls {
            Some(tls) => Some(Arc::new(Tls::load(tls).map_err(|fault| format!("server.tls.{fault}"))?)),
            None => None,
        };
        let (listeners, socket_file) = listener::open(&config.server)?;
        if let Some(early_drop) = kernel.early_drop() {
            let sockets: Vec<_> = listeners.iter().flat_map(Listener::tcp_addresses).collect();
            early_drop.set_sockets(&sockets)?;
        }
        // Sockets that were handed over are taken by now, so that the child that tries the policy inherits
        // none.
        let policy = InForce::start(Options {
            path: config.policy.path.clone(),
            vetting: Vetting::own_program(),
            cache_ttl: config.policy.decision_cache_ttl.map(|ttl| ttl.0),
        });
        let base_url = base_url(&config, &listeners);
        let development = Development::start(&config.auth, &base_url)?;
        let mut auth = config.auth.clone();
        auth.issuers.extend(development.issuer());
        let exchanges = |upstream: &schema::Upstream| {
            upstream.credential.as_ref().is_some_and(|credential| credential.token_exchange.is_some())
        };
        let exchanges = config.upstreams.iter().any(exchanges);
        let authenticator = Authenticator::new(&auth, &base_url, exchanges)?;
        let metrics_listener = match config.observability.metrics_listen {
            Some(address) => Some(listener::open_one(address)?),
            None => None,
        };
        let admin = AdminSocket::open(&config.observability.admin_listen)?;
        let dial_ins = dial_in::open_all(&config, &kernel)?;
        // Every socket is open and no worker has started.
        kernel.give_up_capabilities().map_err(|error| {
            format!(
                "capabilities that are of no use any more cannot be given up: {error}; allow capset and prctl"
            )
        })?;
        let metrics = Metrics::new();
        let redaction = Arc::new(redaction(&config, &metrics)?);
        // From before the first server starts.
        let logged = Arc::clone(&redaction);
        logging::filter_texts(Box::new(move |text| logged.logged(text)));
        let (audit, writer) = AuditLog::open(&config.audit)?;
        let rung = kernel.report().rung.and_then(|rung| serde_json::to_value(rung).ok());
        metrics.build_info(rung.as_ref().and_then(serde_json::Value::as_str).unwrap_or("none"));
        let workers = count(config.server.workers);
        audit.record(Record {
            reason: Some(format!("policy {}", policy.load().digest()).into()),
            ..Record::new(Event::Start)
        })?;
        let backend = io.backend;
        let budget = Budget::new(&config.limits.memory);
        let (most, most_of_one) = (config.server.max_connections, config.server.max_connections_per_address);
        let room = Room::new(most, most_of_one, Translators::new(&config.server.nat64_prefixes));
        let locks = ToolLocks::start(&config, &audit, &metrics);
        let upstreams = Upstreams::new(&config, &kernel, backend, &metrics, &dial_ins, &budget, &locks);
        let gateway = Arc::new(Gateway {
            redaction,
            base_url,
            origins: Origins::new(&config.server),
            auth: authenticator,
            issuers: auth.issuers.into_iter().map(|issuer| issuer.issuer).collect(),
            policy,
            tool_locks: locks,
            stops: Stops::start(&config, &audit),
            draining: watch::Sender::new(false),
            budget,
            limits: Limits::new(&config, Keeper::new(&kernel, &audit, &metrics, &room)),
            audit,
            upstreams,
            metrics,
            kernel,
            io,
            sealer: Sealer::new()?,
            task_places: tasks::places(),
            config,
        });
        if let Some(rejected) = gateway.policy.status().rejected {
            reload::rejected(&gateway, &rejected.error);
        }
        if gateway.config.policy.mode == PolicyMode::Shadow {
            tracing::warn!(
                "policy.mode is `shadow`: what the policy refuses is recorded and DONE ALL THE SAME"
            );
        }
        let door = Door { tls, room, proxies: Proxies::new(&gateway.config.server) };
        let sessions = Sessions::new(&gateway.budget, &gateway.config.limits.sessions);
        let service = Arc::new(Service { gateway, sessions, suspended: Arc::default(), door, file: on_disk });
        Ok(Self {
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

    /// Where it listens, as a person would write it into a client.
    pub(super) fn addresses(&self) -> String {
        let scheme = if self.service.door.tls.is_some() { "https" } else { "http" };
        let listed = self.listeners.iter().map(|listener| match listener {
            Listener::Tcp(_) => format!("{scheme}://{listener}"),
            Listener::Unix(_) => listener.to_string(),
        });
        listed.collect::<Vec<_>>().join(" ")
    }
}

/// Starts the kernel half, and puts the daemon under its own filter of system calls.
fn start_kernel(config: &Config, spawner: Spawner) -> Result<Arc<KernelHalf>, Failure> {
    // Cgroups and programs come first: no thread but this one may exist when the process moves.
    let mut kernel = config.kernel.clone();
    // Trusted proxies are never dropped: the misdeed of one client would take the proxy away from all of
    // them.
    kernel.xdp.allow.extend(config.server.trusted_proxies.iter().cloned());
    // The kernel knows an IPv6 source by its /64, which behind a translator is everybody.
    kernel.xdp.allow.extend(config.server.nat64_prefixes.iter().cloned());
    let kernel = KernelHalf::start_with(&kernel, Some(spawner))?;
    if config.kernel.mode != KernelMode::Off {
        // The programs are loaded and no socket is open; threads and processes to come inherit the filter.
        confine_daemon().map_err(|error| {
            format!(
                "the daemon's own filter of system calls: {error}; allow seccomp, or set kernel.mode: off"
            )
        })?;
    }
    Ok(kernel)
}

/// In mode `required` each server that would not be started later is named now.
fn nobody_is_root_by_omission(config: &Config, kernel: &KernelHalf) -> Result<(), Failure> {
    let started = config.upstreams.iter().filter(|upstream| upstream.kind == UpstreamKind::Stdio);
    let mut strict = started.filter(|_| config.kernel.mode == KernelMode::Required);
    match strict.find(|upstream| kernel.cage().is_root_by_omission(upstream.user.as_deref())) {
        Some(upstream) => Err(format!("upstream {}: {ROOT_BY_OMISSION}", upstream.name).into()),
        None => Ok(()),
    }
}

/// The detectors, compiled. Faults of packs were told with those of the configuration.
fn redaction(config: &Config, metrics: &Arc<Metrics>) -> Result<Redaction, Failure> {
    let key = config.dlp.hash_key_file.as_deref().map(secret::read).transpose();
    let key = key.map_err(|fault| format!("dlp.hash_key_file: {fault}"))?;
    let told = |faults: Vec<packs::Fault>| {
        faults.into_iter().map(|fault| fault.message).collect::<Vec<_>>().join("; ")
    };
    let packs =
        packs::load(&config.dlp, true).map_err(|faults| format!("dlp.directory: {}", told(faults)))?;
    let limits = [config.server.max_request_bytes, config.server.max_response_bytes];
    let limits = limits.map(ByteSize::as_usize);
    Ok(Redaction::new(&config.dlp, packs, key.as_deref().map(str::as_bytes), limits, metrics)?)
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

/// How many workers serve.
fn count(workers: Workers) -> usize {
    match workers {
        Workers::Count(count) => count,
        Workers::Auto => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    }
}
