//! The wall clock as numbers. Deadlines are not counted on it: see `hither_content::KeptClock`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since the Unix epoch by the wall clock; zero for a clock that is set before it.
pub fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Unix time, seconds.
pub fn unix_seconds() -> u64 {
    since_epoch().as_secs()
}

/// Unix time, milliseconds.
pub fn unix_millis() -> u64 {
    u64::try_from(since_epoch().as_millis()).unwrap_or(u64::MAX)
}
