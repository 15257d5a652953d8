//! Room that uploads were promised and have not used yet.

use hither_proto::UserId;
use hither_util::sync::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, MutexGuard};

#[derive(Default)]
struct Promised {
    total: u64,
    users: HashMap<UserId, u64>,
}

/// What was promised to whom. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Promises(Arc<Mutex<Promised>>);

impl Promises {
    /// Promises `bytes` to `user` if `fits(promised to the user, promised to all)` agrees; its
    /// error otherwise.
    pub(super) fn promise<E>(
        &self,
        user: UserId,
        bytes: u64,
        fits: impl FnOnce(u64, u64) -> Result<(), E>,
    ) -> Result<Promise, E> {
        let mut promised = self.lock();
        fits(
            promised.users.get(&user).copied().unwrap_or(0),
            promised.total,
        )?;
        promised.total = promised.total.saturating_add(bytes);
        let entry = promised.users.entry(user).or_default();
        *entry = entry.saturating_add(bytes);
        Ok(Promise {
            promises: self.clone(),
            user,
            bytes,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Promised> {
        self.0.lock()
    }
}

/// Room promised to one upload; what is not used is free again when this goes.
pub(super) struct Promise {
    promises: Promises,
    user: UserId,
    bytes: u64,
}

impl Promise {
    /// `bytes` of it are used: they count as kept from now on.
    pub(super) fn used(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        let mut promised = self.promises.lock();
        promised.total = promised.total.saturating_sub(bytes);
        if let Some(user) = promised.users.get_mut(&self.user) {
            *user = user.saturating_sub(bytes);
            if *user == 0 {
                promised.users.remove(&self.user);
            }
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.used(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_are_counted_until_used_or_dropped() {
        let promises = Promises::default();
        let (one, two) = (UserId::new([1; 16]), UserId::new([2; 16]));
        let fits = |mine, all| {
            move |user, total| {
                if (user, total) == (mine, all) {
                    Ok(())
                } else {
                    Err((user, total))
                }
            }
        };
        let mut first = promises.promise(one, 100, fits(0, 0)).unwrap();
        let second = promises.promise(two, 50, fits(0, 100)).unwrap();
        first.used(30);
        assert_eq!(
            promises.promise(one, 1, fits(9, 9)).map(drop),
            Err((70, 120))
        );
        drop(second);
        first.used(1000);
        drop(promises.promise(one, 1, fits(0, 0)).unwrap());
        drop(first);
        assert!(promises.lock().users.is_empty());
    }
}
