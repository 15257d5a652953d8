//! Waiting, always with a deadline.

use std::time::{Duration, Instant};

/// Longest wait for anything that is sure to happen.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks, where nothing tells when it happens.
const LOOK: Duration = Duration::from_millis(20);

/// Looks until there is something to see. For what no event announces.
#[track_caller]
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look)
}

/// The same with another patience.
#[track_caller]
pub fn within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(
            Instant::now() < deadline,
            "waited {patience:?} in vain: {what}"
        );
        std::thread::sleep(LOOK);
    }
}
