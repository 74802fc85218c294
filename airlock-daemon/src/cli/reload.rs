//! The parts that change while calls go on: the policy, the packs of detectors, the tool locks and the
//! certificates, by SIGHUP and when their files change.

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::audit::{Event, Record};
use crate::http::Service;
use crate::observe::notify;
use crate::pipeline::{Gateway, record};
use crate::policy::reload::Reloaded;
use crate::policy::watch::Watch;
use crate::redaction::Reloaded as Packs;
use crate::tool_locks::Reloaded as Locks;

use super::certificates;

/// Puts other certificates in use, and another policy, other packs and other locks in force, when `asked`;
/// all but certificates also when those on disk have changed. Goes on for ever; `status` is what the service
/// manager is told.
pub(super) async fn keep(service: Arc<Service>, asked: Rc<Notify>, status: String) {
    let gateway = Arc::clone(&service.gateway);
    let mut files = Watch::new(&gateway.config.policy.path);
    let mut locked = Watch::new(gateway.tool_locks.path());
    let mut own = gateway.config.dlp.directory.as_deref().map(Watch::new);
    loop {
        tokio::select! {
            () = asked.notified() => {
                notify::reloading();
                let order = Record {
                    method: Some("reload".into()),
                    reason: Some("by SIGHUP, of which the kernel does not tell the sender".into()),
                    ..Record::new(Event::AdminCommand)
                };
                record::ordered(&gateway, None, order);
                if let Some(tls) = &service.door.tls {
                    certificates::look(tls, &gateway.metrics, true).await;
                }
                policy(&gateway, true).await;
                packs(&gateway, true).await;
                locks(&gateway, true).await;
                if let Some(drift) = service.file.drift() {
                    tracing::warn!("reload: {drift}");
                }
                notify::ready(&status);
            }
            () = files.changed() => policy(&gateway, false).await,
            () = locked.changed() => locks(&gateway, false).await,
            () = changed(own.as_mut()) => packs(&gateway, false).await,
        }
    }
}

/// Waits until packs should be read again: for ever where there are none of one's own.
async fn changed(own: Option<&mut Watch>) {
    match own {
        Some(files) => files.changed().await,
        None => std::future::pending().await,
    }
}

/// Puts the packs on disk in force, if they are good. Whatever comes of it is logged and on record.
async fn packs(gateway: &Arc<Gateway>, asked: bool) {
    let reading = Arc::clone(gateway);
    let reloaded = tokio::task::spawn_blocking(move || reading.redaction.reload(asked)).await;
    let (event, reason) = match reloaded {
        Ok(Ok(None)) => return,
        Ok(Ok(Some(Packs::Same))) => {
            tracing::info!("reload: the packs of detectors on disk are those in force");
            return;
        }
        Ok(Ok(Some(Packs::Changed))) => {
            let digest = gateway.redaction.status().digest.unwrap_or_default();
            tracing::info!(digest, "reload: other packs of detectors are in force");
            (Event::DlpLoaded, format!("packs {digest}"))
        }
        Ok(Err(error)) => (Event::DlpRejected, error),
        Err(_) => (Event::DlpRejected, "reading them broke off".to_owned()),
    };
    if event == Event::DlpRejected {
        tracing::error!("the packs in force stay, since those on disk are not good: {reason}");
    }
    // A full log is the writer's to tell.
    let _ = gateway.audit.record_done(Record { reason: Some(reason.into()), ..Record::new(event) });
}

/// Puts the tool locks on disk in force, if they are good. Whatever comes of it is logged and on record.
async fn locks(gateway: &Arc<Gateway>, asked: bool) {
    let reading = Arc::clone(gateway);
    let reloaded = tokio::task::spawn_blocking(move || reading.tool_locks.reload(asked)).await;
    let (event, reason) = match reloaded {
        Ok(Ok(None)) => return,
        Ok(Ok(Some(Locks::Same))) => {
            tracing::info!("reload: the tool locks on disk are those in force");
            return;
        }
        Ok(Ok(Some(Locks::Changed))) => {
            tracing::info!("reload: other tool locks are in force");
            (Event::ToolsLocked, format!("read from {}", gateway.tool_locks.path().display()))
        }
        Ok(Err(error)) => (Event::ToolLockRejected, error),
        Err(_) => (Event::ToolLockRejected, "reading them broke off".to_owned()),
    };
    if event == Event::ToolLockRejected {
        tracing::error!("the tool locks in force stay, since those on disk are not good: {reason}");
    }
    // A full log is the writer's to tell.
    let _ = gateway.audit.record_done(Record { reason: Some(reason.into()), ..Record::new(event) });
}

/// Puts the policy on disk in force, if it is good. Whatever comes of it is logged and on record. Files that
/// were tried before are tried again only when that was asked for.
async fn policy(gateway: &Arc<Gateway>, asked: bool) {
    let reading = Arc::clone(gateway);
    let attempt = move || {
        if asked { reading.policy.reload().map(Some) } else { reading.policy.reload_if_other() }
    };
    let reloaded = tokio::task::spawn_blocking(attempt).await;
    let digest = gateway.policy.load().digest().to_owned();
    let (event, reason) = match reloaded {
        Ok(Ok(None)) => return,
        Ok(Ok(Some(Reloaded::Same))) => {
            tracing::info!(digest, "reload: the policy on disk is the one in force");
            return;
        }
        Ok(Ok(Some(Reloaded::Changed))) => {
            tracing::info!(digest, "reload: another policy is in force");
            (Event::PolicyLoaded, format!("policy {digest}"))
        }
        Ok(Err(error)) => {
            rejected(gateway, &error.to_string());
            return;
        }
        Err(_) => {
            rejected(gateway, "reading it broke off");
            return;
        }
    };
    // A full log is the writer's to tell.
    let _ = gateway.audit.record_done(Record { reason: Some(reason.into()), ..Record::new(event) });
}

/// Raises the alarm: the policy on disk is not good.
pub(super) fn rejected(gateway: &Gateway, error: &str) {
    let engine = gateway.policy.load();
    let consequence = if engine.is_policy() {
        "the policy in force stays, since the one on disk is not good"
    } else {
        "no policy is in force and everything is refused, since the one on disk is not good"
    };
    tracing::error!(digest = engine.digest(), "{consequence}: {error}");
    let reason = if engine.is_policy() { error.to_owned() } else { format!("none is in force: {error}") };
    let _ =
        gateway.audit.record(Record { reason: Some(reason.into()), ..Record::new(Event::PolicyRejected) });
}
