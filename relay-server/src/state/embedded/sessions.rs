//! Sessions and the keys they hold. All of it in memory: a restart ends every session.

use crate::state::{Entry, MAX_SESSIONS, Session, StateError};
use hither_util::sync::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::MutexGuard;
use std::time::Duration;
use tokio::time::Instant;

/// Most keys that sessions hold at a time (a fleet's devices online).
pub(super) const MAX_EPHEMERALS: usize = 1_000_000;

/// What a session holds.
#[derive(Debug, Clone)]
pub(super) struct HeldKey {
    pub entry: Entry,
    pub session: Session,
}

#[derive(Debug)]
struct Life {
    node: String,
    ttl: Duration,
    ends: Instant,
}

#[derive(Debug, Default)]
struct Inner {
    lives: HashMap<Session, Life>,
    held: BTreeMap<Vec<u8>, HeldKey>,
}

/// The sessions of now and what they hold. Only the writer changes what is held; anyone touches.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<Inner>);

impl Sessions {
    /// Begins a session and returns the node's earlier one, which the caller must end.
    pub(super) fn open(
        &self,
        session: Session,
        node: &str,
        ttl: Duration,
    ) -> Result<Option<Session>, StateError> {
        let mut inner = self.lock();
        let earlier = inner
            .lives
            .iter()
            .find(|(_, life)| life.node == node)
            .map(|(session, _)| *session);
        if earlier.is_none() && inner.lives.len() >= MAX_SESSIONS {
            return Err(StateError::Busy("sessions".into()));
        }
        if let Some(earlier) = earlier {
            inner.lives.remove(&earlier);
        }
        inner.lives.insert(
            session,
            Life {
                node: node.to_owned(),
                ttl,
                ends: Instant::now() + ttl,
            },
        );
        Ok(earlier)
    }

    pub(super) fn touch(&self, session: Session) -> Result<(), StateError> {
        let mut inner = self.lock();
        let life = inner.lives.get_mut(&session).ok_or(StateError::NoSession)?;
        life.ends = Instant::now() + life.ttl;
        Ok(())
    }

    pub(super) fn check(&self, session: Session) -> Result<(), StateError> {
        if self.lock().lives.contains_key(&session) {
            Ok(())
        } else {
            Err(StateError::NoSession)
        }
    }

    /// Ends a session. What it holds stays until it is removed (see [`Self::rows_of`]).
    pub(super) fn end(&self, session: Session) {
        self.lock().lives.remove(&session);
    }

    /// Ends every session that was silent for too long, and returns them.
    pub(super) fn take_silent(&self) -> Vec<Session> {
        let (mut inner, now) = (self.lock(), Instant::now());
        let silent: Vec<_> = inner
            .lives
            .iter()
            .filter(|(_, life)| life.ends <= now)
            .map(|(session, _)| *session)
            .collect();
        for session in &silent {
            inner.lives.remove(session);
        }
        silent
    }

    /// When the next session ends unless it is touched.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.lock().lives.values().map(|life| life.ends).min()
    }

    pub(super) fn get(&self, row: &[u8]) -> Option<HeldKey> {
        self.lock().held.get(row).cloned()
    }

    /// At most `limit` held keys that begin with `prefix`, from `from` on.
    pub(super) fn range(
        &self,
        prefix: &[u8],
        from: Bound<&[u8]>,
        limit: usize,
    ) -> Vec<(Vec<u8>, Entry)> {
        let inner = self.lock();
        let rows = inner.held.range::<[u8], _>((from, Bound::Unbounded));
        rows.take_while(|(row, _)| row.starts_with(prefix))
            .take(limit)
            .map(|(row, held)| (row.clone(), held.entry.clone()))
            .collect()
    }

    /// What a session holds. Looks at everything that is held: sessions end rarely.
    pub(super) fn rows_of(&self, session: Session) -> Vec<Vec<u8>> {
        let inner = self.lock();
        inner
            .held
            .iter()
            .filter(|(_, held)| held.session == session)
            .map(|(row, _)| row.clone())
            .collect()
    }

    pub(super) fn held(&self) -> usize {
        self.lock().held.len()
    }

    pub(super) fn apply(&self, changes: BTreeMap<Vec<u8>, Option<HeldKey>>) {
        if changes.is_empty() {
            return;
        }
        let mut inner = self.lock();
        for (row, held) in changes {
            match held {
                Some(held) => inner.held.insert(row, held),
                None => inner.held.remove(&row),
            };
        }
    }

    // No code that can panic leaves anything half done under this lock.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock()
    }
}
