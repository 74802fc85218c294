//! The file that stops everything, as it comes and goes.

use std::sync::Arc;

use crate::policy::watch::Watch;
use crate::stops::Stops;

/// Looks for the file whenever something happens in its directory. Goes on for ever.
pub(super) async fn keep(stops: Arc<Stops>) {
    let mut watch = Watch::at_once(stops.touch_file());
    loop {
        // Also before the first event: it may have come before it was watched for.
        stops.look();
        watch.changed().await;
    }
}
