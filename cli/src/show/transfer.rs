//! What a transfer is doing.

use hither_api::{Phase, TransferInfo};

/// A phase in one word.
pub const fn phase_words(phase: Phase) -> &'static str {
    match phase {
        Phase::Reading => "reading",
        Phase::Connecting => "connecting",
        Phase::Offered => "offered",
        Phase::Comparing => "comparing",
        Phase::Fetching => "fetching",
        Phase::Writing => "writing",
        Phase::Uploading => "uploading",
        Phase::Waiting => "waiting",
        Phase::Following => "following",
        Phase::Paused => "paused",
        Phase::Done => "done",
        Phase::Failed => "failed",
    }
}

/// A phase with how much of it is done.
pub fn state(transfer: &TransferInfo) -> String {
    let words = phase_words(transfer.phase);
    let counts = matches!(
        transfer.phase,
        Phase::Comparing | Phase::Fetching | Phase::Waiting | Phase::Paused
    );
    match transfer
        .bytes
        .saturating_mul(100)
        .checked_div(transfer.total)
    {
        Some(percent) if counts => format!("{words} {}%", percent.min(100)),
        _ => words.into(),
    }
}
