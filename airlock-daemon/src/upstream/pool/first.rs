//! The first start of a server: all who come meanwhile wait for the same, each for as long as it has.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::auth::principal::Token;
use crate::config::age::Age;
use crate::config::schema::UpstreamKind;
use crate::config::units::Period;
use crate::mcp::client::ClientCapabilities;

use super::super::error::UpstreamError;
use super::first_start::Verdict;
use super::opening::Opening;
use super::probe::Patience;
use super::{Caller, Owner, Upstream, Upstreams};
use crate::upstream::era::facts::Facts;

/// After a first start that failed, callers share its verdict for this long instead of starting another.
const BACK_OFF: Duration = Duration::from_secs(1);

/// A first start that somebody waits for.
enum Awaited {
    /// It is over: the server is known.
    Known(Arc<Facts>),
    /// It was begun for who waits.
    Own(watch::Receiver<Option<Verdict>>),
    /// It was begun for somebody else.
    Joined(watch::Receiver<Option<Verdict>>),
}

impl Upstreams {
    /// Waits until every upstream was asked once, well or not; one that is slow to answer is waited for no
    /// longer than a caller of it would.
    pub async fn first_probe(&self) {
        for upstream in &self.list {
            // The sender lives as long as the upstream.
            let _ = upstream.first.asked.subscribe().wait_for(|asked| *asked).await;
        }
    }
}

impl Upstream {
    /// Since when it starts and how long each answer may take, as a sentence; `None` before that.
    pub(super) fn starting(&self) -> Option<String> {
        let (age, limit) = (Age(self.first.began.get()?.elapsed()), Period(self.patience().answer));
        Some(format!("it is starting: it has had {age}, and {limit} for each answer"))
    }

    /// Asks the server what it is as soon as it can be asked: one that dials in, once it is there.
    pub async fn introduce(self: &Arc<Self>) {
        let Some(dial_in) = &self.dial_in else {
            // The reason of a failure is logged by the pool and shown by /ready.
            let _ = self.probe().await;
            return;
        };
        let mut arrivals = dial_in.arrivals();
        loop {
            let failed = dial_in.is_waited_at() && self.probe().await.is_err();
            // Services that depend on this daemon are not held up by a server that may itself depend on it.
            self.first.was_asked();
            if self.facts().is_some() {
                return;
            }
            if failed {
                sleep(BACK_OFF).await;
            } else if arrivals.changed().await.is_err() {
                return;
            }
        }
    }

    /// Asks the server once what it is, before the first call; a shared server's process is kept for the
    /// calls. It waits for as long as the start takes.
    ///
    /// # Errors
    /// The news for the operator; calls may still succeed later.
    pub async fn probe(self: &Arc<Self>) -> Result<Option<Arc<Facts>>, UpstreamError> {
        if self.is_for_each() {
            // Nothing can be presented before somebody calls.
            self.trouble.store(None);
            self.first.was_asked();
            return Ok(self.facts());
        }
        self.first_start(None).await.map(Some)
    }

    /// The same on behalf of a caller, who may be the first and waits as long as for a call: the start that
    /// it leaves goes on for the next one.
    ///
    /// # Errors
    /// As [`Upstream::probe`], and [`UpstreamError::Deadline`] after `timeout`.
    pub async fn probe_for(self: &Arc<Self>, caller: &Caller<'_>) -> Result<Arc<Facts>, UpstreamError> {
        let start = self.first_start(caller.token.clone().filter(|_| self.is_for_each()));
        timeout(self.timeout, start).await.unwrap_or_else(|_| Err(self.late("its start")))
    }

    async fn first_start(self: &Arc<Self>, token: Option<Arc<Token>>) -> Verdict {
        loop {
            let (mut awaited, is_own) = match self.awaited(token.clone())? {
                Awaited::Known(facts) => return Ok(facts),
                Awaited::Own(start) => (start, true),
                Awaited::Joined(start) => (start, false),
            };
            let verdict = match awaited.wait_for(Option::is_some).await {
                Ok(verdict) => verdict.clone(),
                Err(_) => None,
            };
            match verdict.unwrap_or_else(|| Err(self.broken_off())) {
                Err(error) if !is_own && !self.is_for_all(&error) => {}
                verdict => return verdict,
            }
        }
    }

    /// True where the failure of somebody's start is that of all who come: what one principal lacks, the next
    /// may have, and a server that was absent may have dialled in by now.
    fn is_for_all(&self, error: &UpstreamError) -> bool {
        let is_there_now = matches!(error, UpstreamError::Absent { .. }) && self.is_waited_at();
        !self.is_one_principals(error) && !is_there_now
    }

    /// The start that runs, or one that begins now.
    fn awaited(self: &Arc<Self>, token: Option<Arc<Token>>) -> Result<Awaited, UpstreamError> {
        let mut state = self.first.lock();
        if let Some(facts) = self.facts() {
            return Ok(Awaited::Known(facts));
        }
        // One whose worker has ended has no sender any more.
        if let Some(running) = state.running.as_ref().filter(|running| running.has_changed().is_ok()) {
            return Ok(Awaited::Joined(running.clone()));
        }
        if let Some((when, error)) = &state.failed
            && when.elapsed() < BACK_OFF
            && !self.breaker.is_open()
            && self.is_for_all(error)
        {
            return Err(error.clone());
        }
        self.refuse_when_closing()?;
        self.first.began.get_or_init(Instant::now);
        let (sender, running) = watch::channel(None);
        state.running = Some(running.clone());
        drop(state);
        let this = Arc::clone(self);
        // In a task of its own: a caller whose own deadline passes first must not keep it from being learned.
        tokio::task::spawn_local(async move {
            let verdict = this.start_first(token).await;
            let mut state = this.first.lock();
            state.running = None;
            state.failed = verdict.as_ref().err().map(|error| (Instant::now(), error.clone()));
            drop(state);
            sender.send_replace(Some(verdict));
        });
        Ok(Awaited::Own(running))
    }

    async fn start_first(&self, token: Option<Arc<Token>>) -> Verdict {
        // Nobody asks yet, so a legacy server is told of no client; its process ends again.
        let hub = self.places.hub(&Owner::Everyone, None);
        let capabilities = ClientCapabilities::default();
        let opening = Opening { hub, capabilities, token, patience: self.patience(), own: None };
        let opened = tokio::select! {
            opened = self.open(&opening) => opened,
            () = self.running.closing() => Err(self.broken_off()),
            never = self.tell_that_it_is_slow() => match never {},
        };
        self.first.was_asked();
        let opened = opened?;
        let facts = Arc::clone(&opened.1);
        if self.owner(&facts, None) == Some(Owner::Everyone) && !self.running.is_closing() {
            self.places.keep(Owner::Everyone, opened);
        }
        Ok(facts)
    }

    /// How long the first start may take over each answer. A process that is started here and ended for being
    /// slow would be as slow the next time, so it has all the time that a call can have; who waits for it has
    /// a deadline of its own.
    fn patience(&self) -> Patience {
        let is_started_here = self.config.kind == UpstreamKind::Stdio;
        Patience::new(self.timeout, if is_started_here { self.timeout_total } else { self.timeout })
    }

    /// Says so once the start has taken longer than a caller would wait; nobody waits for its end any more.
    async fn tell_that_it_is_slow(&self) -> Infallible {
        let patience = self.patience();
        sleep(patience.probe + self.timeout).await;
        tracing::warn!(
            upstream = %self.name,
            "the server is slow to start: it has {} for each answer, and calls wait {}",
            Period(patience.answer),
            Period(self.timeout)
        );
        self.first.was_asked();
        std::future::pending().await
    }
}
