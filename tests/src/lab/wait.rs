//! Waiting, always with a deadline.

use std::time::{Duration, Instant};

/// Longest wait for anything that is sure to happen.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks, where nothing tells when it happens.
const LOOK: Duration = Duration::from_millis(20);

/// Looks until there is something to see. For what no event announces.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}");
        std::thread::sleep(LOOK);
    }
}
