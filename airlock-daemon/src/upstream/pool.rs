//! The pool says whose server is whose.
//!
//! A legacy server keeps state in its process, so a process belongs to one session, one principal or, where
//! the operator says so, one tenant; never to two tenants. A modern server stands on no connection, so one
//! process may serve all.

mod breaker;
mod era;
mod first;
mod first_start;
mod legacy_too;
mod open;
mod opening;
mod places;
pub mod probe;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::auth::principal::{Identity, Token};
use crate::config::schema::{self, Framing, Isolation, UpstreamKind};
use crate::kernel::KernelHalf;
use crate::limits::budget::{Account, Budget};
use crate::limits::fair::{self, Full, Seat};
use crate::mcp::client::{ClientCapabilities, ClientCapability};
use crate::mcp::revision::Era;
use crate::observe::metrics::{Metrics, UpstreamMetrics};
use crate::runtime::backend::Backend;
use crate::tool_locks::{Guard, ToolLocks};

use self::breaker::Breaker;
use self::first_start::First;
use self::opening::Opening;
use self::places::{Owner, Places, is_lost};
use self::probe::Patience;
use super::credential::Credential;
use super::era::facts::Facts;
use super::error::{How, UpstreamError};
use super::hub::Hub;
use super::lists::left_out::Remembered;
use super::lists::schemas::Schemas;
use super::transport::connect::{Endpoint, Limits};
use super::transport::dial_in::{DialIn, DialIns};
use super::transport::handle::Link;
use super::transport::processes::Running;

/// Most subscriptions to one upstream.
const MAX_SUBSCRIPTIONS: usize = 1024;
/// Most subscriptions of one principal to one upstream.
const MAX_SUBSCRIPTIONS_EACH: usize = 64;

/// The fault of a server of which nothing is known.
const NOT_ASKED: &str = "it has not been asked yet";

/// Most starts for one call: a server that answers its handshake and ends is not started for as long as the
/// call has.
const MAX_STARTS: u32 = 3;

/// The client that asks for a process.
pub struct Caller<'a> {
    /// The verified principal.
    pub identity: Identity,
    /// The legacy session, where there is one.
    pub session: Option<&'a Arc<str>>,
    /// The principal's own token, for what can be had in exchange for it.
    pub token: Option<Arc<Token>>,
    /// The client's abilities for a server.
    pub capabilities: ClientCapabilities,
}

/// One configured upstream.
pub struct Upstream {
    /// Its name.
    pub name: Arc<str>,
    /// Its configuration.
    pub config: schema::Upstream,
    /// Deadline of one call.
    pub timeout: Duration,
    /// The same where the server reports progress all the time.
    pub timeout_total: Duration,
    kernel: Arc<KernelHalf>,
    backend: Backend,
    /// Where it listens, where it is not started here; or why that cannot be used.
    endpoint: Option<Result<Arc<Endpoint>, String>>,
    /// Where it dials in, where it is one that does.
    dial_in: Option<Arc<DialIn>>,
    /// The credential for it.
    credential: Option<Arc<Credential>>,
    /// The framing on its unix socket, as long as that led to a handshake.
    framing: ArcSwapOption<Framing>,
    pub(super) limit: usize,
    /// How long one that dials in is waited for.
    connect: Duration,
    idle: Duration,
    facts: ArcSwapOption<Facts>,
    /// The same for legacy clients, where it is a modern server that speaks their era as well.
    legacy: ArcSwapOption<Facts>,
    /// Set once it was asked for that.
    legacy_asked: legacy_too::Asked,
    /// The last start failed in a way that lets doubt that the server is what it was.
    doubtful: AtomicBool,
    /// Why it cannot be used, after the last attempt; empty when it can.
    trouble: ArcSwapOption<String>,
    first: First,
    places: Places,
    breaker: Breaker,
    /// Places for subscriptions.
    subscribed: fair::Places,
    /// The facts on its tools.
    pub schemas: Schemas,
    /// Compares what it lists with its locks.
    pub(super) guard: Guard,
    /// Names of its tools at the merged endpoint.
    pub tool_names: Schemas,
    /// Names of its prompts there.
    pub prompt_names: Schemas,
    pub(super) left_out: Remembered,
    /// Advice to the operator on its tools.
    pub(super) advice: ArcSwap<Vec<String>>,
    metrics: Arc<UpstreamMetrics>,
    running: Running,
}

/// All configured upstreams, in the order of the configuration.
pub struct Upstreams {
    list: Vec<Arc<Upstream>>,
    running: Running,
}

impl Upstreams {
    /// Sets them up; starts nothing. `dial_ins` has a socket for each that dials in; what is
    /// read of servers for one principal is charged to `budget`, and `locks` hold what they list.
    pub fn new(
        config: &schema::Config,
        kernel: &Arc<KernelHalf>,
        backend: Backend,
        metrics: &Metrics,
        dial_ins: &DialIns,
        budget: &Budget,
        locks: &Arc<ToolLocks>,
    ) -> Self {
        let running = Running(Arc::default());
        let each = |upstream: &schema::Upstream| {
            let name: Arc<str> = upstream.name.as_str().into();
            let metrics = metrics.upstream(&upstream.name);
            let guard = Guard::new(locks, upstream);
            Arc::new(Upstream {
                endpoint: endpoint(upstream, &name, backend, &config.server),
                dial_in: dial_ins.get(&upstream.name).cloned(),
                credential: Credential::new(upstream).map(Arc::new),
                framing: ArcSwapOption::empty(),
                name,
                config: upstream.clone(),
                timeout: upstream.timeout(config.server.timeouts.upstream).0,
                timeout_total: upstream.timeout_total(config.server.timeouts.upstream).0,
                kernel: Arc::clone(kernel),
                backend,
                limit: config.server.max_response_bytes.as_usize(),
                connect: config.server.timeouts.connect.0,
                idle: config.server.timeouts.idle.0,
                facts: ArcSwapOption::empty(),
                legacy: ArcSwapOption::empty(),
                legacy_asked: legacy_too::Asked::default(),
                doubtful: AtomicBool::new(false),
                trouble: ArcSwapOption::new(Some(Arc::new(NOT_ASKED.to_owned()))),
                first: First::default(),
                places: Places::new(&config.limits.processes, budget, guard.changed()),
                breaker: Breaker::default(),
                subscribed: fair::Places::new(fair::Shares {
                    total: MAX_SUBSCRIPTIONS,
                    per_tenant: None,
                    per_principal: MAX_SUBSCRIPTIONS_EACH,
                }),
                schemas: Schemas::default(),
                guard,
                tool_names: Schemas::of_names(config.merged.names, &upstream.name),
                prompt_names: Schemas::of_names(config.merged.names, &upstream.name),
                left_out: Remembered::new(&metrics),
                advice: ArcSwap::default(),
                metrics,
                running: running.clone(),
            })
        };
        Self { list: config.upstreams.iter().map(each).collect(), running }
    }

    /// The upstream of a name.
    pub fn get(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.list.iter().find(|upstream| *upstream.name == *name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.list.iter()
    }

    /// Ends the processes and subscriptions of a session that has ended, and forgets it.
    pub fn end_session(&self, session: &Arc<str>) {
        for upstream in &self.list {
            upstream.places.end_session(session);
        }
    }

    /// Ends all processes and waits until the last is gone, at most `limit`; a call that still holds one
    /// keeps it.
    pub async fn end_all(&self, limit: Duration) {
        self.running.0.send_modify(|state| state.closing = true);
        for upstream in &self.list {
            upstream.places.clear();
        }
        let mut state = self.running.0.subscribe();
        let gone = state.wait_for(|state| state.processes == 0);
        if tokio::time::timeout(limit, gone).await.is_err() {
            tracing::warn!("server processes were still running at the end; their cgroups are killed");
        }
    }
}

/// The address of an upstream that is not started here.
fn endpoint(
    upstream: &schema::Upstream,
    name: &Arc<str>,
    backend: Backend,
    server: &schema::Server,
) -> Option<Result<Arc<Endpoint>, String>> {
    let limits = Limits {
        connect: server.timeouts.connect.0,
        call: upstream.timeout(server.timeouts.upstream).0,
        idle: server.timeouts.idle.0,
        message: server.max_response_bytes.as_usize(),
    };
    match (upstream.kind, &upstream.socket, &upstream.url) {
        (UpstreamKind::Unix, Some(socket), _) => {
            Some(Ok(Arc::new(Endpoint::unix(name, backend, limits, socket))))
        }
        (UpstreamKind::Http, _, Some(url)) => Some(Endpoint::url(name, backend, limits, url).map(Arc::new)),
        _ => None,
    }
}

impl Upstream {
    /// The facts on the server; `None` until it has answered once.
    pub fn facts(&self) -> Option<Arc<Facts>> {
        self.facts.load_full()
    }

    /// Why the upstream cannot be used, as far as is known.
    pub fn trouble(&self) -> Option<Arc<String>> {
        let Some(dial_in) = &self.dial_in else {
            let trouble = self.trouble.load_full();
            let is_news = trouble.as_deref().is_some_and(|trouble| trouble == NOT_ASKED);
            return self.starting().filter(|_| is_news).map(Arc::new).or(trouble);
        };
        // A dialler is seen without asking it anything.
        let is_there = dial_in.is_waited_at() || self.places.is_any_alive();
        if is_there { self.trouble.load_full() } else { Some(Arc::new(dial_in.absent().without_name())) }
    }

    /// True where it is a server that dials in and one waits to be used.
    fn is_waited_at(&self) -> bool {
        self.dial_in.as_ref().is_some_and(|dial_in| dial_in.is_waited_at())
    }

    /// True where each principal presents something of its own to the server.
    pub(super) fn is_for_each(&self) -> bool {
        self.credential.as_ref().is_some_and(|credential| credential.is_for_each())
    }

    /// The process that serves this caller, started if need be.
    ///
    /// # Errors
    /// When it cannot be started, does not speak MCP, or there are too many; and once
    /// [`UpstreamError::SessionLost`] when the process of a legacy session ended by itself since the
    /// session's last call.
    pub async fn link(self: &Arc<Self>, caller: &Caller<'_>) -> Result<(Link, Arc<Facts>), UpstreamError> {
        let mut facts = self.facts_of(caller).await?;
        let mut starts = 0;
        loop {
            starts += 1;
            let owner = self.owner(&facts, Some(caller)).unwrap_or(Owner::Everyone);
            if let Owner::Session(session) = &owner
                && self.places.tell_lost(session)
            {
                return Err(self.session_lost(How::default()));
            }
            self.refuse_when_closing()?;
            let attempt = || self.places.slot(&self.name, &owner, Some(&caller.identity));
            let slot = fair::soon(attempt, |error| matches!(error, UpstreamError::Busy { .. })).await?;
            if slot.get().is_none() {
                // The program that starts now may be another than the one before.
                self.guard.forget(self.lists_of(caller).as_ref());
            }
            match self.open_for_all_who_wait(&slot, self.opening(&owner, caller, facts.era)).await {
                Ok((link, own)) if link.is_alive() => {
                    if self.owner(own, Some(caller)).as_ref() == Some(&owner) {
                        if owner.are_several() {
                            link.briefing().serves(&caller.identity);
                        }
                        let link =
                            link.on_behalf_of(caller.token.clone(), self.places.account(&caller.identity));
                        return Ok((link, Arc::clone(own)));
                    }
                    // It has turned out to be of the other era: not for those who share this place.
                    facts = Arc::clone(own);
                    self.places.forget(&owner, &slot);
                    if starts >= MAX_STARTS {
                        let detail = "it speaks another era with each start".to_owned();
                        return Err(UpstreamError::Protocol { upstream: self.name.to_string(), detail });
                    }
                }
                Ok(opened) => {
                    let first = self.places.forget(&owner, &slot);
                    if first && matches!(owner, Owner::Session(_)) && is_lost(opened) {
                        let how = opened.0.ending().how;
                        return Err(self.session_lost(how));
                    }
                    if starts >= MAX_STARTS {
                        return Err(self.ended(&opened.0.ending()));
                    }
                }
                Err(error) => {
                    self.places.forget(&owner, &slot);
                    return Err(error);
                }
            }
        }
    }

    fn opening(&self, owner: &Owner, caller: &Caller<'_>, era: Era) -> Opening {
        let token = caller.token.clone();
        // It is known to work, and may be slow to start: those who call meanwhile have deadlines of their
        // own.
        let patience = Patience::new(self.timeout, self.timeout_total);
        Opening {
            hub: self.places.hub(owner, Some(&caller.identity)),
            capabilities: caller.capabilities,
            token,
            patience,
            own: Some(era),
        }
    }

    fn session_lost(&self, how: How) -> UpstreamError {
        tracing::warn!(upstream = %self.name, "the process of a session has ended by itself{how}; the session is told");
        UpstreamError::SessionLost { upstream: self.name.to_string(), how }
    }

    /// The process that serves this caller, where one runs.
    pub(super) fn running_link(&self, caller: &Caller<'_>) -> Option<Link> {
        self.places.live(&self.owner(self.facts_for(caller.era()).as_deref()?, Some(caller))?)
    }

    /// The listeners to the server of this caller outside of calls.
    pub(super) fn hub(&self, facts: &Facts, caller: &Caller<'_>) -> Arc<Hub> {
        let owner = self.owner(facts, Some(caller)).unwrap_or(Owner::Everyone);
        self.places.hub(&owner, Some(&caller.identity))
    }

    /// The account of a principal, to which is charged what waits for it.
    pub(super) fn account(&self, principal: &Identity) -> Account {
        self.places.account(principal)
    }

    /// Counts a subscription of a principal's for as long as the answer is held.
    ///
    /// # Errors
    /// When there are too many, or the gateway shuts down.
    pub(super) fn seat(&self, identity: &Identity) -> Result<Seat, UpstreamError> {
        self.refuse_when_closing()?;
        self.subscribed.enter(identity).map_err(|full| {
            let (what, limit) = match full {
                Full::All(limit) => ("subscriptions", limit),
                Full::Tenant(limit) => ("subscriptions of this tenant", limit),
                Full::Principal(limit) => ("subscriptions of this principal", limit),
            };
            UpstreamError::Busy { upstream: self.name.to_string(), what, limit }
        })
    }

    fn refuse_when_closing(&self) -> Result<(), UpstreamError> {
        if self.running.is_closing() {
            let detail = "the gateway is shutting down".to_owned();
            return Err(UpstreamError::Start { upstream: self.name.to_string(), detail });
        }
        Ok(())
    }

    /// The owner of the process that serves `caller`; `None` when it depends on the caller and there is none.
    fn owner(&self, facts: &Facts, caller: Option<&Caller<'_>>) -> Option<Owner> {
        let isolation = self.config.isolation.unwrap_or(match facts.era {
            Era::Modern if self.is_for_each() => Isolation::Subject,
            Era::Modern => Isolation::Shared,
            Era::Legacy => Isolation::Session,
        });
        if isolation == Isolation::Shared && facts.era == Era::Modern {
            return Some(Owner::Everyone);
        }
        let caller = caller?;
        // A modern server is told with each request what the client can do, and a legacy one never of tasks.
        let capabilities = match facts.era {
            Era::Modern => ClientCapabilities::default(),
            Era::Legacy => caller.capabilities.without(ClientCapability::Tasks),
        };
        Some(match (isolation, caller.session, caller.identity.tenant()) {
            (Isolation::Session, Some(session), _) => Owner::Session(Arc::clone(session)),
            (Isolation::Tenant, _, Some(tenant)) => {
                Owner::Tenant(caller.identity.issuer().into(), tenant.into(), capabilities)
            }
            // Without a session or a tenant there is still a subject.
            _ => Owner::Subject(caller.identity.clone(), capabilities),
        })
    }
}
