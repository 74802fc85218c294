//! Refusals of the kernel to pinned servers go to the audit log, the metrics and the log.

use std::sync::Arc;

use crate::audit::{AuditLog, Event, Record, Verdict};
use crate::kernel::{Denied, KernelHalf};
use crate::observe::metrics::Metrics;

/// A process that Airlock did not start, but that is in its cage.
const NOBODYS: &str = "-";

/// Records each refusal, for ever; run it on the control thread.
pub async fn record(kernel: Arc<KernelHalf>, audit: AuditLog, metrics: Arc<Metrics>) {
    let tell = |denied: Denied| {
        let upstream = denied.upstream.as_deref().unwrap_or(NOBODYS);
        let (hook, target) = (denied.hook.name(), denied.target());
        let (program, unit) = (denied.comm.as_str(), denied.unit.as_deref());
        tracing::warn!(
            upstream,
            unit,
            pid = denied.pid,
            uid = denied.uid,
            program,
            hook,
            target,
            "the kernel refused something to a pinned server"
        );
        metrics.kernel_denied(upstream, hook);
        // A queue that is full has said so itself.
        let record = Record::kernel_denied(upstream, denied.pid, program, hook, &target);
        let _ = audit.record_refusal(Record { unit: denied.unit, ..record });
    };
    let lose = |count: u64| {
        tracing::warn!(count, "refusals of the kernel that came too fast to be told one by one");
        metrics.kernel_denied_untold(count);
        let _ = audit.record_refusal(Record {
            decision: Some(Verdict::Deny),
            rule_id: Some("kernel.pin".into()),
            reason: Some(format!("{count} more refusals came too fast to be told one by one").into()),
            ..Record::new(Event::KernelDenied)
        });
    };
    kernel.cage().watch_denials(tell, lose).await;
}
