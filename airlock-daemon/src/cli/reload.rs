//! SIGHUP: what can change while calls go on.

use std::sync::Arc;

use crate::audit::{Event, Record};
use crate::pipeline::Gateway;
use crate::policy::reload::Reloaded;

/// Puts the policy on disk in force, if it is good. Whatever comes of it is logged and on record.
pub(super) async fn policy(gateway: &Arc<Gateway>) {
    let reading = Arc::clone(gateway);
    let path = gateway.config.policy.path.clone();
    let reloaded = tokio::task::spawn_blocking(move || reading.policy.reload(&path)).await;
    let digest = gateway.policy.load().digest().to_owned();
    let (event, reason) = match reloaded {
        Ok(Ok(Reloaded::Same)) => {
            tracing::info!(digest, "reload: the policy on disk is the one in force");
            return;
        }
        Ok(Ok(Reloaded::Changed)) => {
            tracing::info!(digest, "reload: another policy is in force");
            (Event::PolicyLoaded, format!("policy {digest}"))
        }
        Ok(Err(error)) => {
            tracing::error!(
                digest,
                "reload: the policy in force stays, since the one on disk is not good: {error}"
            );
            (Event::PolicyRejected, error.to_string())
        }
        Err(_) => {
            tracing::error!(
                digest,
                "reload: the policy in force stays, since reading the one on disk broke off"
            );
            (Event::PolicyRejected, "reading it broke off".to_owned())
        }
    };
    // A full log is the writer's to tell.
    let _ = gateway.audit.record(Record { reason: Some(reason.into()), ..Record::new(event) });
}
