//! Being interrupted by the user (Ctrl-C) or asked to end (SIGTERM).

use hither_api::{ApiError, ErrorCode};
use tokio::signal::unix::{SignalKind, signal};

/// Returns when the user interrupts; never, when signals cannot be watched (they then end the
/// program at once).
pub async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// How a command ends that was interrupted.
pub fn stopped() -> ApiError {
    ApiError::new(ErrorCode::Interrupted, "Stopped.")
}
