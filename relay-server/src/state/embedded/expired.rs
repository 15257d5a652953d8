//! How many items have expired and were removed, for whoever counts them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Is told how many more.
type Report = Box<dyn Fn(u64) + Send + Sync>;

/// A count that is handed on.
#[derive(Default)]
pub(super) struct Expired {
    /// Not handed on yet: nobody has asked for it.
    pending: AtomicU64,
    report: OnceLock<Report>,
}

impl Expired {
    /// So many more were removed, durably.
    pub(super) fn add(&self, count: u64) {
        self.pending.fetch_add(count, Ordering::Relaxed);
        self.hand_on();
    }

    /// Hands the count on from now on, with what was counted before; the first call counts.
    pub(super) fn report_to(&self, report: Report) {
        let _ = self.report.set(report);
        self.hand_on();
    }

    fn hand_on(&self) {
        if let Some(report) = self.report.get() {
            match self.pending.swap(0, Ordering::Relaxed) {
                0 => {}
                count => report(count),
            }
        }
    }
}
