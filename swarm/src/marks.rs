//! Shares that something is to be done about: a set that one side adds to and another one takes.

use hither_proto::ShareId;
use hither_util::sync::Mutex;
use std::collections::HashSet;
use std::sync::MutexGuard;
use tokio::sync::Notify;

/// A set of marked shares. A share that is marked twice before it is taken is in it once, so that
/// it is never larger than the number of shares.
#[derive(Debug, Default)]
pub struct Marks {
    shares: Mutex<HashSet<ShareId>>,
    marked: Notify,
}

impl Marks {
    fn lock(&self) -> MutexGuard<'_, HashSet<ShareId>> {
        self.shares.lock()
    }

    /// Marks a share, and wakes whoever waits for one.
    pub fn mark(&self, share: ShareId) {
        self.lock().insert(share);
        self.marked.notify_one();
    }

    /// Waits until a share was marked since this was waited for last.
    pub async fn marked(&self) {
        self.marked.notified().await;
    }

    /// Takes all marks away, and returns them.
    pub fn take(&self) -> HashSet<ShareId> {
        std::mem::take(&mut *self.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_mark_from_before_is_not_missed_and_is_taken_once() {
        let marks = Marks::default();
        let share = ShareId::new([1; 16]);
        marks.mark(share);
        marks.mark(share);
        marks.marked().await;
        assert_eq!(marks.take(), HashSet::from([share]));
        assert!(marks.take().is_empty());
    }
}
