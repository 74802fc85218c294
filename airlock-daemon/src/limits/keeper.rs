//! The fate of an address that is blocked: the kernel drops its packets where it can, its connections end,
//! the audit log and the metrics say so.

use std::net::{IpAddr, Shutdown};
use std::sync::Arc;
use std::time::Duration;

use crate::audit::{AuditLog, Event, Record, Verdict};
use crate::config::units::Period;
use crate::kernel::{DropError, EarlyDrop, KernelHalf, Reason};
use crate::observe::metrics::Metrics;
use crate::runtime::room::Room;

use super::Limit;
use super::block::named;
use super::early::Early;
use super::offender::{Offence, OffenderSink};
use super::orders::Order;

/// Acts on offenders.
pub struct Keeper {
    kernel: Arc<KernelHalf>,
    audit: AuditLog,
    metrics: Arc<Metrics>,
    room: Arc<Room>,
}

impl Keeper {
    /// With the parts of the house that it tells.
    pub fn new(
        kernel: &Arc<KernelHalf>,
        audit: &AuditLog,
        metrics: &Arc<Metrics>,
        room: &Arc<Room>,
    ) -> Arc<Self> {
        let (kernel, metrics, room) = (Arc::clone(kernel), Arc::clone(metrics), Arc::clone(room));
        Arc::new(Self { kernel, audit: audit.clone(), metrics, room })
    }

    /// The early drop, where an interface has it.
    fn early_drop(&self) -> Option<&EarlyDrop> {
        self.kernel.early_drop().filter(|early_drop| !early_drop.attached().is_empty())
    }

    /// True where the kernel drops its packets from now on.
    fn drop_early(&self, address: IpAddr, lasting: Duration, reason: Reason) -> bool {
        let Some(early_drop) = self.early_drop() else { return false };
        match early_drop.block(address, lasting, reason) {
            Ok(()) => true,
            Err(error @ DropError::Protected { .. }) => {
                tracing::debug!("{error}; its requests are refused instead");
                false
            }
            Err(error) => {
                tracing::warn!("{error}; requests of {address} are refused instead");
                false
            }
        }
    }
}

impl OffenderSink for Keeper {
    fn offend(&self, offence: &Offence) {
        let in_kernel = offence.direct && self.drop_early(offence.address, offence.lasting, offence.reason);
        if offence.direct {
            // Where answers still arrive, the one that tells of the block is let through.
            let how = if in_kernel { Shutdown::Both } else { Shutdown::Read };
            self.room.shut(offence.address, how);
        }
        let (did, word) = match offence.reason {
            Reason::FailedAuth => ("went on after too many tokens that were refused", "failed_auth"),
            _ => ("went on after too many requests", "rate_limit"),
        };
        let way =
            if in_kernel { "its packets are dropped by the kernel" } else { "its requests are refused" };
        let client = named(offence.address);
        let reason = format!("it {did}: {way} for {}", Period(offence.lasting));
        tracing::warn!("{client} is blocked: {reason}");
        self.metrics.limits.address_blocked(word);
        let _ = self.audit.record_refusal(Record {
            client: Some(client.into()),
            decision: Some(Verdict::Deny),
            rule_id: Some("rate_limiting.kernel_drop".into()),
            reason: Some(reason.into()),
            ..Record::new(Event::AddressBlocked)
        });
    }

    fn forgive(&self, address: IpAddr) {
        self.lifted(address, "its time is over");
    }

    fn ordered(&self, order: &Order, lasting: Duration, in_all: Duration) {
        let in_kernel = self.drop_early(order.address, in_all, Reason::Operator);
        let ended = self.room.shut(order.address, Shutdown::Both);
        let way =
            if in_kernel { "its packets are dropped by the kernel" } else { "its requests are refused" };
        let client = named(order.address);
        let words = if order.reason.is_empty() { "" } else { ": " };
        let reason =
            format!("user {} ordered it; {way} for {}{words}{}", order.by, Period(lasting), order.reason);
        tracing::warn!(connections = ended, "{client} is blocked: {reason}");
        self.metrics.limits.address_blocked("operator");
        let _ = self.audit.record_refusal(Record {
            client: Some(client.into()),
            decision: Some(Verdict::Deny),
            rule_id: Some(Limit::Ordered.name().into()),
            reason: Some(reason.into()),
            ..Record::new(Event::AddressBlocked)
        });
    }

    fn lifted(&self, address: IpAddr, why: &str) {
        let client = named(address);
        tracing::info!("{client} is not blocked any more: {why}");
        let _ = self.audit.record_refusal(Record {
            client: Some(client.into()),
            reason: Some(why.into()),
            ..Record::new(Event::AddressUnblocked)
        });
    }

    fn release(&self, address: IpAddr) {
        if let Some(early_drop) = self.early_drop()
            && let Err(error) = early_drop.unblock(address)
        {
            tracing::warn!("{error}; packets of {address} are dropped until the time is over that was given");
        }
    }

    fn early(&self, address: IpAddr) -> Option<Early> {
        let early_drop = self.early_drop()?;
        let found = early_drop.find(address).ok()??;
        let interfaces = early_drop.attached().into_iter().map(|place| place.interface).collect();
        Some(Early { interfaces, packets: found.packets })
    }
}
