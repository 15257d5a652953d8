//! A session that is kept alive.

use super::{Session, State, StateError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Touches a session three times within its time of silence, until it is closed or dropped. After a
/// drop the session ends by silence.
#[derive(Debug)]
pub struct Lease {
    session: Session,
    lost: watch::Receiver<bool>,
    _stop: DropGuard,
}

impl Lease {
    /// Opens a session for `node` (see [`State::open_session`]) and keeps it alive.
    pub async fn open(
        state: Arc<dyn State>,
        node: &str,
        ttl: Duration,
    ) -> Result<Self, StateError> {
        let session = state.open_session(node, ttl).await?;
        let stop = CancellationToken::new();
        let (tell, lost) = watch::channel(false);
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = keep(state.as_ref(), session, ttl / 3) => { tell.send_replace(true); }
            }
        });
        Ok(Self {
            session,
            lost,
            _stop: stop.drop_guard(),
        })
    }

    /// The session.
    pub fn session(&self) -> Session {
        self.session
    }

    /// Waits until the session has ended although this lease was held: what it held is gone and
    /// must be put anew in another session.
    pub async fn lost(&self) {
        let mut lost = self.lost.clone();
        // An error means that the task was stopped, which only dropping this lease does.
        let _ = lost.wait_for(|lost| *lost).await;
    }
}

/// Touches a session every `pause`; returns when it has ended. A state that cannot be reached is
/// tried again: the session may outlive that.
async fn keep(state: &dyn State, session: Session, pause: Duration) {
    let mut ticks = tokio::time::interval(pause);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // An answer that takes longer than a tick must not keep the next touch from being sent.
        match tokio::time::timeout(pause, state.touch_session(session)).await {
            Ok(Err(StateError::NoSession | StateError::Closed)) => return,
            Ok(Err(error)) => tracing::debug!(%error, "the session could not be touched"),
            Ok(Ok(())) | Err(_) => {}
        }
    }
}
