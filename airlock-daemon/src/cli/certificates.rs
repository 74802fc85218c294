//! The certificate of the listeners, kept up to date: looked at from time to time and at SIGHUP, changed
//! without a connection noticing.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::observe::metrics::Metrics;
use crate::runtime::tls::{Reloaded, Tls, WARN_DAYS};

/// How often the files are looked at. They are compared by content, so links that are turned to another
/// directory count.
const EVERY: Duration = Duration::from_secs(3);

/// Says what is in use at the start.
pub(super) fn introduce(tls: &Tls, metrics: &Metrics) {
    let days = metrics.edge.certificate_days(tls.days_left());
    tracing::info!(days_left = days, "TLS on all TCP listeners");
    warn(tls, days);
}

/// Looks at the files for ever.
pub(super) async fn watch(tls: Arc<Tls>, metrics: Arc<Metrics>) {
    let mut last_days = metrics.edge.certificate_days(tls.days_left());
    loop {
        tokio::time::sleep(EVERY).await;
        look(&tls, &metrics, false).await;
        let days = metrics.edge.certificate_days(tls.days_left());
        if days != last_days {
            warn(&tls, days);
            last_days = days;
        }
    }
}

/// Looks at the files once; `at_once` when somebody says that they are all in place.
pub(super) async fn look(tls: &Arc<Tls>, metrics: &Metrics, at_once: bool) {
    let looking = Arc::clone(tls);
    match tokio::task::spawn_blocking(move || looking.reload(at_once)).await {
        Ok(Reloaded::Same) if at_once => tracing::info!("reload: the certificate on disk is the one in use"),
        Ok(Reloaded::Same | Reloaded::Unsettled) => {}
        Ok(Reloaded::Changed) => {
            let days = metrics.edge.certificate_days(tls.days_left());
            tracing::info!(days_left = days, "new connections get another certificate");
        }
        Ok(Reloaded::Refused(fault)) => {
            metrics.edge.certificate_refused();
            tracing::error!(
                "the certificate in use stays, since the files on disk are not good: server.tls.{fault}"
            );
        }
        Err(_) => tracing::error!("the certificate in use stays, since reading the files on disk broke off"),
    }
}

fn warn(tls: &Tls, days: i64) {
    let until = humantime::format_rfc3339_seconds(tls.expires());
    if tls.expires() <= SystemTime::now() {
        tracing::error!(
            "the certificate (server.tls.cert_file) has expired at {until}: clients refuse it. Put a new one in its place; it is \
             taken up without a restart"
        );
    } else if days < WARN_DAYS {
        tracing::warn!(
            "the certificate (server.tls.cert_file) expires at {until}, in {days} days. Put a new one in its place; it is taken \
             up without a restart"
        );
    }
}
