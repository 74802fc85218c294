//! What becomes of an offender: the kernel drops its packets where it can, the audit log and the metrics say so.

use std::net::IpAddr;
use std::sync::Arc;

use crate::audit::{AuditLog, Event, Record, Verdict};
use crate::config::units::Period;
use crate::kernel::{DropError, EarlyDrop, KernelHalf, Reason};
use crate::observe::metrics::Metrics;

use super::offender::{Offence, OffenderSink};

/// Acts on offenders.
pub struct Keeper {
    kernel: Arc<KernelHalf>,
    audit: AuditLog,
    metrics: Arc<Metrics>,
}

impl Keeper {
    /// With the parts of the house that it tells.
    pub fn new(kernel: &Arc<KernelHalf>, audit: &AuditLog, metrics: &Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { kernel: Arc::clone(kernel), audit: audit.clone(), metrics: Arc::clone(metrics) })
    }

    /// The early drop, where an interface has it.
    fn early_drop(&self) -> Option<&EarlyDrop> {
        self.kernel.early_drop().filter(|early_drop| !early_drop.attached().is_empty())
    }

    /// Whether the kernel drops its packets from now on.
    fn drop_early(&self, offence: &Offence) -> bool {
        let Some(early_drop) = self.early_drop().filter(|_| offence.direct) else { return false };
        match early_drop.block(offence.address, offence.lasting, offence.reason) {
            Ok(()) => true,
            Err(error @ DropError::Protected { .. }) => {
                tracing::debug!("{error}; its requests are refused instead");
                false
            }
            Err(error) => {
                tracing::warn!("{error}; requests of {} are refused instead", offence.address);
                false
            }
        }
    }
}

impl OffenderSink for Keeper {
    fn offend(&self, offence: &Offence) {
        let in_kernel = self.drop_early(offence);
        let (did, word) = match offence.reason {
            Reason::FailedAuth => ("went on after too many tokens that were refused", "failed_auth"),
            _ => ("went on after too many requests", "rate_limit"),
        };
        let way =
            if in_kernel { "its packets are dropped by the kernel" } else { "its requests are refused" };
        let client = named(offence.address);
        let reason = format!("it {did}: {way} for {}", Period(offence.lasting));
        tracing::warn!("{client} is blocked: {reason}");
        self.metrics.address_blocked(word);
        let _ = self.audit.record_refusal(Record {
            client: Some(client.into()),
            decision: Some(Verdict::Deny),
            rule_id: Some("rate_limiting.kernel_drop".into()),
            reason: Some(reason.into()),
            ..Record::new(Event::AddressBlocked)
        });
    }

    fn forgive(&self, address: IpAddr) {
        // The kernel's drop ends by itself, and another that an operator asked for must stay.
        let client = named(address);
        tracing::info!("{client} is not blocked any more");
        let _ = self.audit.record_refusal(Record {
            client: Some(client.into()),
            reason: Some("its time is over".into()),
            ..Record::new(Event::AddressUnblocked)
        });
    }
}

/// The address, or the network that goes with it.
fn named(address: IpAddr) -> String {
    if address.is_ipv6() { format!("{address}/64") } else { address.to_string() }
}
