//! Turns to look through the lists of uploads.
//!
//! Looking through a long list takes memory and time. Invariants: at most [`AT_ONCE`] lists are
//! looked through at a time, at most one of each user, who waits for nobody else's as long as there
//! are fewer users than that; whoever is in line is served in order.

use hither_proto::UserId;
use hither_util::sync::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Lists that are looked through at the same time: each may take 100 MiB for the largest share.
const AT_ONCE: usize = 8;

/// Who looks through lists, and who waits for it.
pub(super) struct Listings {
    all: Arc<Semaphore>,
    /// The line of each user who has one.
    users: Mutex<HashMap<UserId, Weak<Semaphore>>>,
}

/// A turn, which ends when it is dropped.
pub(super) struct Turn {
    _all: OwnedSemaphorePermit,
    _user: OwnedSemaphorePermit,
}

impl Listings {
    pub(super) fn new() -> Self {
        Self {
            all: Arc::new(Semaphore::new(AT_ONCE)),
            users: Mutex::default(),
        }
    }

    /// Waits for a turn; `None` when there are none any more. May be cancelled.
    pub(super) async fn turn(&self, user: UserId) -> Option<Turn> {
        // First the user's own: who waits there takes nobody's place.
        let _user = self.line(user).acquire_owned().await.ok()?;
        let _all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Turn { _all, _user })
    }

    fn line(&self, user: UserId) -> Arc<Semaphore> {
        let mut users = self.users.lock();
        // As many lines stay as are in use.
        users.retain(|_, line| line.strong_count() > 0);
        if let Some(line) = users.get(&user).and_then(Weak::upgrade) {
            return line;
        }
        let line = Arc::new(Semaphore::new(1));
        users.insert(user, Arc::downgrade(&line));
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn field_d8_one_user_with_many_lists_holds_up_nobody_else() {
        let listings = Arc::new(Listings::new());
        let [one, other] = [[1; 16], [2; 16]].map(UserId::new);
        let first = listings.turn(one).await.unwrap();
        let mut waiting: Vec<_> = (0..100)
            .map(|_| {
                let listings = Arc::clone(&listings);
                tokio::spawn(async move { listings.turn(one).await.map(drop) })
            })
            .collect();
        tokio::task::yield_now().await;
        let others = timeout(Duration::from_secs(10), listings.turn(other)).await;
        assert!(others.is_ok_and(|turn| turn.is_some()));
        assert!(waiting.iter().all(|task| !task.is_finished()));
        drop(first);
        for task in waiting.drain(..) {
            assert!(
                timeout(Duration::from_secs(10), task)
                    .await
                    .unwrap()
                    .unwrap()
                    .is_some()
            );
        }
        drop(listings.turn(other).await);
        assert_eq!(
            listings.users.lock().len(),
            1,
            "nobody else is in line any more"
        );
    }

    #[tokio::test]
    async fn there_are_never_more_than_a_few_at_once() {
        let listings = Listings::new();
        let users: Vec<UserId> = (0..=AT_ONCE as u8)
            .map(|number| UserId::new([number; 16]))
            .collect();
        let mut turns = Vec::new();
        for user in &users[..AT_ONCE] {
            turns.push(listings.turn(*user).await.unwrap());
        }
        assert!(
            timeout(Duration::from_millis(50), listings.turn(users[AT_ONCE]))
                .await
                .is_err()
        );
        turns.pop();
        assert!(
            timeout(Duration::from_secs(10), listings.turn(users[AT_ONCE]))
                .await
                .unwrap()
                .is_some()
        );
    }
}
