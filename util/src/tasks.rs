//! The tasks of one service: spawned here, ended together, waited for.

use std::future::Future;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a stop waits for tasks to end by themselves.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Tasks that end together. Their number is bounded by those who spawn. A clone is another handle
/// on the same tasks.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    /// Is cancelled when the tasks are to end.
    pub token: CancellationToken,
}

impl Tasks {
    /// No tasks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Spawns a task that ends by itself, soon after `token` is cancelled.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(task);
    }

    /// Spawns a task that is dropped when `token` is cancelled.
    pub fn spawn_forever(&self, task: impl Future<Output = ()> + Send + 'static) {
        let token = self.token.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                () = task => {}
                () = token.cancelled() => {}
            }
        });
    }

    /// Asks all tasks to end and waits for them, up to 5 s. Those that are still there then are
    /// left to the runtime.
    pub async fn stop(&self) {
        self.token.cancel();
        self.tracker.close();
        let ended = tokio::time::timeout(STOP_PATIENCE, self.tracker.wait()).await;
        if ended.is_err() {
            tracing::warn!(tasks = self.tracker.len(), "some tasks did not end in time");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_tasks_and_waits_no_longer_than_its_patience() {
        let tasks = Tasks::new();
        tasks.spawn_forever(std::future::pending());
        let begun = tokio::time::Instant::now();
        tasks.stop().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let stubborn = Tasks::new();
        stubborn.spawn(std::future::pending());
        stubborn.stop().await;
        assert_eq!(begun.elapsed(), STOP_PATIENCE);
    }
}
