//! The daemon's long-running tasks: engine timer, incoming streams, discovery, new sessions,
//! expiry, relays, uploads, messages.

use crate::daemon::Daemon;
use hither_carrier::Discovery;
use hither_swarm::SwarmInputs;
use std::sync::Arc;
use std::time::Duration;

/// How often expiry is looked at, at least.
const EXPIRY: Duration = Duration::from_secs(60);
/// Pause between two looks, at least, milliseconds: a share that could not be ended is tried again.
const MIN_EXPIRY: u64 = 20;

/// Starts them all. Returns discovery, to be shut down with a goodbye.
pub(crate) fn start(daemon: &Arc<Daemon>, inputs: SwarmInputs) -> Option<Discovery> {
    let discovery = daemon.config.discovery;
    let discovery = daemon.swarm.run(inputs, discovery).unwrap_or_else(|error| {
        daemon.warnings.add(format!(
            "Devices on this network cannot be found: {error}. Tickets still work by address."
        ));
        None
    });
    daemon.tasks.spawn_forever(expire(Arc::clone(daemon)));
    daemon
        .tasks
        .spawn_forever(crate::health::run(Arc::clone(daemon)));
    daemon
        .tasks
        .spawn_forever(crate::rollback::run(Arc::clone(daemon)));
    crate::catalogue::start(daemon);
    daemon.relays.run();
    crate::store_upload::start(daemon);
    crate::index::start(daemon);
    crate::watch::start(daemon);
    crate::mail::start(daemon);
    discovery
}

/// Ends each share when its time is over, to the moment.
async fn expire(daemon: Arc<Daemon>) {
    loop {
        let of = Arc::clone(&daemon);
        let next = tokio::task::spawn_blocking(move || of.end_expired())
            .await
            .unwrap_or(None);
        // A clock that is set tells nobody: it is looked at now and then.
        let until = next.map_or(EXPIRY, |at| {
            Duration::from_millis(
                at.saturating_mul(1000)
                    .saturating_sub(daemon.time.millis())
                    .max(MIN_EXPIRY),
            )
        });
        tokio::select! {
            () = tokio::time::sleep(until.min(EXPIRY)) => {}
            () = daemon.ends_changed.notified() => {}
        }
    }
}
