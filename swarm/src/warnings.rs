//! The warnings for the user about this run of the daemon; shown by `hither status` and `doctor`.

use hither_util::sync::Mutex;
use std::sync::{Arc, MutexGuard};

/// Most warnings that are kept.
const MAX_WARNINGS: usize = 100;

/// The warnings of this run, each once. A clone is another handle on the same.
#[derive(Debug, Clone, Default)]
pub struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock()
    }

    /// Logs a warning and keeps it, unless it is kept already or there are 100 already.
    pub fn add(&self, warning: String) {
        tracing::warn!("{warning}");
        let mut warnings = self.lock();
        if warnings.len() < MAX_WARNINGS && !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }

    /// All of them, the oldest first.
    pub fn all(&self) -> Vec<String> {
        self.lock().clone()
    }
}
