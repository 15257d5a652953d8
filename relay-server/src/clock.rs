//! The time as a relay takes it: what passed as far as it can know ([`hither_proto::timeline`]),
//! so that a clock that is set wrongly deletes no messages, spends no invitations and collects no
//! chunks.
//!
//! One clock for the process: a node begins it with its data folder, before anything is read. A
//! process that has none (tests of single parts, the operator's commands) takes the wall clock.

use hither_content::{KeptClock, read_clocks};
use std::path::Path;
use std::sync::OnceLock;

/// The file in the data folder that keeps it.
const FILE: &str = "clock";

static CLOCK: OnceLock<KeptClock> = OnceLock::new();

/// Begins the clock of this process, or goes on with the one that it has.
pub(crate) fn begin(data: &Path) {
    CLOCK.get_or_init(|| {
        let path = data.join(FILE);
        let kept = std::fs::read(&path).ok();
        let save = move |bytes: &[u8]| {
            let beside = path.with_extension("new");
            let written =
                std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, &path));
            written.map_err(|error| error.to_string())
        };
        KeptClock::new(kept.as_deref(), save)
    });
}

/// Keeps it: before the process ends.
pub(crate) fn keep() {
    if let Some(clock) = CLOCK.get() {
        clock.keep();
    }
}

/// The time, Unix milliseconds where the wall clock has always been right.
pub(crate) fn now_ms() -> u64 {
    CLOCK
        .get()
        .map_or_else(|| read_clocks().wall_ms, KeptClock::millis)
}
