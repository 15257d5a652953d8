//! The loop around the engine: one lock, one clock, commands out in order.
//!
//! Every event calls [`Core::with`]; the engine's commands are handed to [`Routes`] before the lock
//! is released, so that they reach their channels in the order in which the engine gave them.
//! Invariant: nothing behind [`Routes::dispatch`] calls back into the core or blocks.

use crate::clock::Clock;
use crate::routes::Routes;
use hither_engine::{Engine, EngineConfig, Time};
use hither_proto::DeviceId;
use hither_util::sync::Mutex;
use tokio::sync::Notify;

struct CoreState {
    engine: Engine,
    /// When the timer will wake up.
    armed: Option<Time>,
}

/// The engine with its clock and the ways out.
pub struct Core {
    state: Mutex<CoreState>,
    /// The time that the engine is given.
    pub clock: Clock,
    /// The routes of the engine's commands.
    pub routes: Routes,
    rearm: Notify,
}

impl Core {
    pub(crate) fn new(device: DeviceId, routes: Routes) -> Self {
        let engine = Engine::new(EngineConfig::new(device));
        Self {
            state: Mutex::new(CoreState {
                engine,
                armed: None,
            }),
            clock: Clock::start(),
            routes,
            rearm: Notify::new(),
        }
    }

    /// Runs `change` on the engine and does what it then wants done.
    pub fn with<R>(&self, change: impl FnOnce(&mut Engine, Time) -> R) -> R {
        let mut state = self.state.lock();
        let now = self.clock.now();
        let result = change(&mut state.engine, now);
        while let Some(command) = state.engine.poll_command() {
            self.routes.dispatch(command);
        }
        let next = state.engine.poll_timeout(now);
        if next.is_some_and(|next| state.armed.is_none_or(|armed| next < armed)) {
            state.armed = next;
            self.rearm.notify_one();
        }
        result
    }

    /// Wakes the engine whenever it requested that. Ends only when dropped.
    pub(crate) async fn run_timer(&self) {
        loop {
            let next = {
                let mut state = self.state.lock();
                state.armed = state.engine.poll_timeout(self.clock.now());
                state.armed
            };
            match next {
                Some(at) => {
                    let sleep = tokio::time::sleep_until(self.clock.instant(at).into());
                    tokio::select! {
                        () = sleep => self.with(|engine, now| engine.handle_timeout(now)),
                        () = self.rearm.notified() => {}
                    }
                }
                None => self.rearm.notified().await,
            }
        }
    }
}
