//! The parts that every stage may look at: one immutable snapshot, shared by all workers.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::audit::AuditLog;
use crate::auth::Authenticator;
use crate::config::schema::Config;
use crate::kernel::KernelHalf;
use crate::limits::Limits;
use crate::limits::budget::Budget;
use crate::limits::fair::Places;
use crate::observe::metrics::Metrics;
use crate::policy::reload::InForce;
use crate::redaction::Redaction;
use crate::runtime::backend::Choice;
use crate::stops::Stops;
use crate::tool_locks::ToolLocks;
use crate::upstream::pool::Upstreams;

use super::origin::Origins;
use super::seal::Sealer;

/// The gateway.
pub struct Gateway {
    /// The configuration.
    pub config: Config,
    /// The URL of this host without a path, as clients know it.
    pub base_url: String,
    /// Which origins and hosts are let in.
    pub origins: Origins,
    /// Token verification.
    pub auth: Arc<Authenticator>,
    /// Trusted issuers, as metadata names them.
    pub issuers: Vec<String>,
    /// The policy in force.
    pub policy: InForce,
    /// The locks of tools, prompts and templates.
    pub tool_locks: Arc<ToolLocks>,
    /// The things that an operator has stopped.
    pub stops: Arc<Stops>,
    /// Redaction.
    pub redaction: Arc<Redaction>,
    /// True while the process drains: everything that would go on for long ends by itself.
    pub draining: watch::Sender<bool>,
    /// The limits on how fast something may be taken.
    pub limits: Limits,
    /// The limits on how much may be kept for whom.
    pub budget: Budget,
    /// The audit log.
    pub audit: AuditLog,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// The servers behind this door.
    pub upstreams: Upstreams,
    /// Places for the tasks that a stop would cancel.
    pub task_places: Places,
    /// Makes and opens the handles that clients bring back.
    pub sealer: Sealer,
    /// The kernel half.
    pub kernel: Arc<KernelHalf>,
    /// The kind of socket I/O.
    pub io: Choice,
}

impl Gateway {
    /// Tells of changes of lists that this host makes: another policy is in force, other locks, or a stop
    /// begins or ends. To be made before the first list is looked at.
    pub fn list_changes(&self) -> ListChanges {
        let (policy, locks) = (self.policy.changes(), self.tool_locks.changes());
        ListChanges { policy, locks, stops: self.stops.changes(), last: None }
    }
}

/// The time in which changes are told as one.
const SUMMED: Duration = Duration::from_secs(1);

/// Tells that lists may have become others.
pub struct ListChanges {
    policy: watch::Receiver<u64>,
    locks: watch::Receiver<u64>,
    stops: watch::Receiver<u64>,
    /// When the last one was told.
    last: Option<Instant>,
}

impl ListChanges {
    /// Waits for the next change; false where there will be none any more. Those that follow one another in
    /// less than [`SUMMED`] are one: a server may have its locks tell of something new at each look.
    pub async fn next(&mut self) -> bool {
        if let Some(last) = self.last {
            sleep_until(last + SUMMED).await;
        }
        let changed = tokio::select! {
            changed = self.policy.changed() => changed.is_ok(),
            changed = self.locks.changed() => changed.is_ok(),
            changed = self.stops.changed() => changed.is_ok(),
        };
        self.last = Some(Instant::now());
        changed
    }
}
