//! Opening a link of any transport, and the words for what went wrong.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::config::schema::{EraChoice, Framing, Isolation, KernelMode, PinNetwork, UpstreamKind};
use crate::config::units::Period;
use crate::mcp::capability::Capability;
use crate::mcp::revision::Era;

use super::super::credential::Presents;
use super::super::error::{How, UpstreamError};
use super::breaker::Verdict;
use super::opening::Opening;
use super::places::{LinkSlot, Opened};
use super::probe::{self, Failure};
use super::{Owner, Upstream};
use crate::upstream::era::facts::{Facts, MAX_INSTRUCTIONS};
use crate::upstream::message::reply::Ending;
use crate::upstream::transport::connect::Endpoint;
use crate::upstream::transport::handle::Link;
use crate::upstream::transport::http::HttpLink;
use crate::upstream::transport::stdio::Start;
use crate::upstream::transport::{unix, watched};

/// Programs that fetch what they run.
const DOWNLOADERS: [&str; 8] = ["bunx", "npm", "npx", "pipx", "pnpm", "uv", "uvx", "yarn"];

impl Upstream {
    /// Opens a link, unless too many starts have failed of late.
    pub(super) async fn open(&self, opening: &Opening) -> Result<Opened, UpstreamError> {
        let attempt = self.breaker.admit(&self.name)?;
        let result = self.open_now(opening).await;
        match &result {
            Ok(_) => attempt.succeeded(),
            // It says nothing of the server, and what one principal lacks another may have.
            Err(error) if self.is_one_principals(error) => drop(attempt),
            // Nothing was tried.
            Err(UpstreamError::Absent { .. }) => drop(attempt),
            Err(error) => {
                if attempt.failed(error) == Verdict::Opened {
                    self.metrics.circuit_opened();
                }
            }
        }
        result
    }

    /// Opens a link and shakes hands. A server that hangs up on the probe is tried again as a legacy one; one
    /// that does not answer as it did before is asked anew what it is.
    async fn open_now(&self, opening: &Opening) -> Result<Opened, UpstreamError> {
        let sure = !self.doubtful.load(Ordering::Acquire);
        let known = self.facts().filter(|_| sure).map(|facts| opening.own.unwrap_or(facts.era));
        let era = match (self.config.era, known) {
            (EraChoice::Auto, Some(Era::Modern)) => EraChoice::Modern,
            (EraChoice::Auto, Some(Era::Legacy)) => EraChoice::Legacy,
            (era, _) => era,
        };
        let mut result = self.open_as(era, opening).await;
        if self.config.era == EraChoice::Auto {
            result = match result {
                Err(UpstreamError::Ended { .. } | UpstreamError::Closed { .. }) if era == EraChoice::Auto => {
                    self.open_as(EraChoice::Legacy, opening).await
                }
                Err(UpstreamError::Protocol { .. }) if era != EraChoice::Auto => {
                    self.open_as(EraChoice::Auto, opening).await
                }
                result => result,
            };
        }
        match &result {
            Ok((link, facts)) => {
                if facts.era == Era::Legacy {
                    watched::again(link, &self.name, &opening.hub);
                }
                self.learned(facts, opening);
                self.doubtful.store(false, Ordering::Release);
                self.trouble.store(None);
            }
            // Its presence is looked for anew each time.
            Err(error @ UpstreamError::Absent { .. }) => tracing::warn!("{error}"),
            // Others may be let in.
            Err(error) if self.is_one_principals(error) => tracing::warn!("{error}"),
            Err(error) => {
                tracing::warn!("{error}");
                if matches!(error, UpstreamError::Protocol { .. } | UpstreamError::Deadline { .. }) {
                    // Perhaps it was replaced by one of the other era: the next start asks. A process that
                    // runs meanwhile goes on.
                    self.doubtful.store(true, Ordering::Release);
                }
                self.trouble.store(Some(Arc::new(error.without_name())));
            }
        }
        result
    }

    /// True where a failure may be one principal's alone: the server knows each apart, and was reached.
    pub(super) fn is_one_principals(&self, error: &UpstreamError) -> bool {
        self.is_for_each()
            && matches!(error, UpstreamError::Credential { .. } | UpstreamError::Protocol { .. })
    }

    /// The facts that are true of the server whoever asks: what it says to one principal is nobody else's.
    pub(super) fn in_general(&self, facts: &Arc<Facts>) -> Arc<Facts> {
        if !self.is_for_each() || facts.instructions.is_none() {
            return Arc::clone(facts);
        }
        Arc::new(Facts { instructions: None, ..facts.as_ref().clone() })
    }

    /// Leaves out what one principal could take from another: who may list the tasks of a server that does
    /// not tell its clients apart may follow them all. A legacy server over HTTP may keep one list for all of
    /// its sessions.
    fn kept_apart(&self, mut facts: Facts) -> Facts {
        if facts.era == Era::Legacy {
            let several = self.config.isolation == Some(Isolation::Tenant);
            if several || self.config.kind != UpstreamKind::Stdio {
                facts.offers = facts.offers.less(Capability::TasksList);
            }
            if several {
                for capability in [Capability::Tasks, Capability::TasksCancel, Capability::TaskCalls] {
                    facts.offers = facts.offers.less(capability);
                }
            }
        }
        facts
    }

    /// The facts that are kept of a server for as long as its link: no more than what is already known of it
    /// where that is the same, and no instructions without end.
    fn kept(&self, mut facts: Facts) -> Arc<Facts> {
        if let Some(text) = facts.instructions.take_if(|text| text.len() > MAX_INSTRUCTIONS) {
            tracing::warn!(
                upstream = %self.name, bytes = text.len(),
                "the server's instructions are left out: they are longer than {MAX_INSTRUCTIONS} bytes"
            );
        }
        self.facts().filter(|known| **known == facts).unwrap_or_else(|| Arc::new(facts))
    }

    /// Opens a link for all who wait at this place, in a task of its own: a caller that goes away, or whose
    /// deadline passes, neither hides how it ended nor takes from the next caller the server that was slow to
    /// start.
    pub(super) async fn open_for_all_who_wait<'a>(
        self: &Arc<Self>,
        slot: &'a LinkSlot,
        opening: Opening,
    ) -> Result<&'a Opened, UpstreamError> {
        if let Some(opened) = slot.get() {
            return Ok(opened);
        }
        let (this, place) = (Arc::clone(self), Arc::clone(slot));
        let opened = tokio::task::spawn_local(async move {
            let hub = Arc::clone(&opening.hub);
            tokio::select! {
                opened = place.get_or_try_init(|| this.open(&opening)) => opened.map(|_| ()),
                // Its session has ended, and with that its place among the processes.
                () = hub.closed() => Err(this.broken_off()),
            }
        });
        opened.await.unwrap_or_else(|_| Err(self.broken_off()))?;
        slot.get().ok_or_else(|| self.broken_off())
    }

    /// The error for a start whose task did not end as it should.
    pub(super) fn broken_off(&self) -> UpstreamError {
        self.ended(&Ending { how: How::plain("its start was broken off"), ..Ending::default() })
    }

    /// True where the server is known to be one that all callers share.
    fn serves_everyone(&self) -> bool {
        self.facts().is_some_and(|facts| self.owner(&facts, None) == Some(Owner::Everyone))
    }

    pub(super) async fn open_as(&self, era: EraChoice, opening: &Opening) -> Result<Opened, UpstreamError> {
        let hub = &opening.hub;
        // Only what is asked to be as it was known to be is kept for everyone.
        let stays = era == EraChoice::Modern && self.serves_everyone();
        let idle = (!stays).then_some(self.idle);
        let (link, framing) = match self.config.kind {
            UpstreamKind::Stdio => {
                let start = Start {
                    config: &self.config,
                    name: &self.name,
                    kernel: &self.kernel,
                    backend: self.backend,
                    limit: self.limit,
                    counted: (self.metrics.process(), self.running.start()),
                    idle,
                    hub,
                };
                (start.open().await?, None)
            }
            UpstreamKind::DialIn => {
                let dial_in = self.dial_in.as_ref().ok_or_else(|| UpstreamError::Start {
                    upstream: self.name.to_string(),
                    detail: "its socket is not open".to_owned(),
                })?;
                let limits = (self.connect, self.limit);
                (dial_in.link(self.backend, limits, idle, hub, self.running.start()).await?, None)
            }
            UpstreamKind::Http => {
                let presents = self.presents(opening);
                (
                    Link::Http(HttpLink::start(self.endpoint()?, presents, idle, hub, self.running.start())),
                    None,
                )
            }
            UpstreamKind::Unix => {
                let endpoint = self.endpoint()?;
                let framing = self.framing(&endpoint).await?;
                let link = match framing {
                    Framing::Http => {
                        let presents = self.presents(opening);
                        Link::Http(HttpLink::start(endpoint, presents, idle, hub, self.running.start()))
                    }
                    Framing::Ndjson | Framing::Auto => {
                        unix::open(&endpoint, idle, hub, self.running.start()).await?
                    }
                };
                (link, Some(framing))
            }
        };
        let shaken = probe::handshake(&link, era, opening.patience, opening.capabilities).await;
        // A verdict that led nowhere is not kept: the server may have been slow to answer, or another one by
        // now.
        self.framing.store(framing.filter(|_| shaken.is_ok()).map(Arc::new));
        match shaken {
            Ok(facts) => Ok((link, self.kept(self.kept_apart(facts)))),
            Err(failure) => Err(self.explain(&link, failure)),
        }
    }

    fn presents(&self, opening: &Opening) -> Option<Presents> {
        let credential = self.credential.as_ref().map(Arc::clone)?;
        Some(Presents::new(credential, opening.token.clone()))
    }

    fn endpoint(&self) -> Result<Arc<Endpoint>, UpstreamError> {
        let missing = || "it has no address".to_owned();
        self.endpoint
            .clone()
            .unwrap_or_else(|| Err(missing()))
            .map_err(|detail| UpstreamError::Start { upstream: self.name.to_string(), detail })
    }

    /// The framing on the socket: configured, remembered, or found out.
    async fn framing(&self, endpoint: &Endpoint) -> Result<Framing, UpstreamError> {
        match (self.config.framing, self.framing.load_full()) {
            (Framing::Auto, Some(known)) => Ok(*known),
            (Framing::Auto, None) => unix::framing(endpoint).await,
            (fixed, _) => Ok(fixed),
        }
    }

    fn explain(&self, link: &Link, failure: Failure) -> UpstreamError {
        let upstream = self.name.to_string();
        let ending = link.ending();
        let is_started_here = self.endpoint.is_none() && self.dial_in.is_none();
        let rubbish = |text: &str| {
            if is_started_here {
                format!(
                    "it printed `{text}` on its standard output, where only MCP messages may go; let it log to standard error"
                )
            } else {
                format!("it sent `{text}`, which is no MCP message")
            }
        };
        match failure {
            Failure::Ended => match &ending.rubbish {
                Some(text) => {
                    UpstreamError::Protocol { upstream, detail: format!("{}, then ended", rubbish(text)) }
                }
                None => self.ended(&ending),
            },
            Failure::Failed(error) => error,
            Failure::Wrong(detail) => UpstreamError::Protocol { upstream, detail },
            Failure::Silent(what, limit) => match &ending.rubbish {
                Some(text) => UpstreamError::Protocol { upstream, detail: rubbish(text) },
                None => match self.kernel.cage().refused(&self.name).filter(|_| is_started_here) {
                    // It may wait for ever for what it is refused.
                    Some(refused) => {
                        // It may be one of the other era by now as well: the next start asks.
                        self.doubtful.store(true, Ordering::Release);
                        UpstreamError::Start {
                            upstream,
                            detail: format!(
                                "it did not answer {what} within {}, and the kernel refused it {refused}. {}",
                                Period(limit),
                                self.remedy()
                            ),
                        }
                    }
                    None => self.silent(what, limit),
                },
            },
        }
    }

    /// The remedy for a server that is started here and does not live.
    fn remedy(&self) -> String {
        let program = self.config.command.first().map(Path::new).and_then(Path::file_name);
        let program = program.unwrap_or_default().to_string_lossy();
        let is_caged =
            self.config.pin.network == PinNetwork::None && self.kernel.report().mode != KernelMode::Off;
        if is_caged && DOWNLOADERS.contains(&&*program) {
            return format!(
                "`{program}` downloads, and a caged server has no network: install the package, and name its own program in \
                 `command`"
            );
        }
        if self.kernel.cage().refused(&self.name).is_some_and(|refused| refused.is_of_network()) {
            return "A caged server has no network: configure it to do without, or run it as a unit of its own (`type: http`, \
                    `unix` or `dial_in`)"
                .to_owned();
        }
        format!("`airlock upstream try {}` runs it in its cage and shows all that it says", self.name)
    }

    /// The error for a server that did not answer a request in time.
    pub fn late(&self, what: &str) -> UpstreamError {
        self.silent(what, self.timeout)
    }

    /// The same for one that has reported progress all the time.
    pub fn late_in_all(&self, what: &str) -> UpstreamError {
        self.silent(what, self.timeout_total)
    }

    fn silent(&self, what: &str, limit: Duration) -> UpstreamError {
        UpstreamError::Deadline {
            upstream: self.name.to_string(),
            what: what.to_owned(),
            limit: Period(limit).to_string(),
            key: match &self.config {
                _ if limit > self.timeout => "upstreams[].timeout_total",
                config if config.timeout.is_some() => "upstreams[].timeout",
                _ => "server.timeouts.upstream",
            },
        }
    }

    /// The error for a server that ended, as the link tells it.
    pub fn ended(&self, ending: &Ending) -> UpstreamError {
        if let Some(error) = &ending.error {
            return error.clone();
        }
        // Only what is started here has words that are known.
        let how = &ending.how;
        if let Some(dial_in) = &self.dial_in {
            return UpstreamError::Closed {
                upstream: self.name.to_string(),
                place: dial_in.path().display().to_string(),
                detail: format!("closed its connection{how}"),
            };
        }
        match &self.endpoint {
            Some(Ok(endpoint)) => endpoint.closed(format!("closed the connection{how}")),
            _ => UpstreamError::Ended {
                upstream: self.name.to_string(),
                how: how.clone(),
                remedy: format!(". {}", self.remedy()),
            },
        }
    }
}
