//! Ends shares when their time is over, to the moment.

use crate::library::Library;
use std::sync::Arc;
use std::time::Duration;

/// How often expiry is looked at, at least.
const EXPIRY: Duration = Duration::from_secs(60);
/// Pause between two looks, at least, milliseconds: a share that could not be ended is tried again.
const MIN_EXPIRY: u64 = 20;

/// Works until it is dropped.
pub(crate) async fn run(library: Arc<Library>) {
    loop {
        let of = Arc::clone(&library);
        let next = tokio::task::spawn_blocking(move || of.end_expired())
            .await
            .unwrap_or(None);
        // A clock that is set notifies nobody: it is looked at now and then.
        let until = next.map_or(EXPIRY, |at| {
            Duration::from_millis(
                at.saturating_mul(1000)
                    .saturating_sub(library.time.millis())
                    .max(MIN_EXPIRY),
            )
        });
        tokio::select! {
            () = tokio::time::sleep(until.min(EXPIRY)) => {}
            () = library.ends_changed.notified() => {}
        }
    }
}
