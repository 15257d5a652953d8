//! Sessions: what a node has put ephemerally is there only while the node lives.

use super::StateError;
use std::time::Duration;

/// Shortest time of silence that may end a session.
pub const MIN_TTL: Duration = Duration::from_millis(100);
/// Longest time of silence that may end a session.
pub const MAX_TTL: Duration = Duration::from_secs(3600);
/// Most sessions at a time.
pub const MAX_SESSIONS: usize = 1024;

/// Names a session; anyone of the fleet who knows it may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Session(pub u64);

/// Checks a session's time of silence.
pub(super) fn check_ttl(ttl: Duration) -> Result<(), StateError> {
    if (MIN_TTL..=MAX_TTL).contains(&ttl) {
        return Ok(());
    }
    Err(StateError::TooLarge {
        what: "a session's silence (ms)".into(),
        actual: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX),
        max: MAX_TTL.as_millis() as u64,
    })
}
