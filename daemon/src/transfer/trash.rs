//! Housekeeping of the trash of followed copies: what is too old, or too much, goes.
//!
//! Invariants: ages are counted by the kept clock, from when something was put there or, where
//! nothing says that, from when it was first seen; nothing goes but what Hither put there.

use crate::failure;
use crate::records::TransferRecord;
use crate::settings::Setting;
use crate::transfer::TransferService;
use hither_api::{ApiError, TrashRules};
use hither_content::storage::{RecordStore, StorageError, Table};
use hither_content::{KeptClock, TRASH, Trashed, trashed};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

const TABLE: Table = Table::new("trash");
/// How often the trash is looked at, at least: it may have been changed by others.
const LOOK: Duration = Duration::from_secs(3600);
/// Pause between two looks, at least.
const PAUSE: Duration = Duration::from_secs(1);
/// Most versions that one trash keeps something of.
const MAX_KEPT: usize = 10_000;

/// Something in a trash, as it is remembered.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct TrashRecord {
    trash: PathBuf,
    name: String,
    /// When it was put there, seconds of the kept clock.
    since: u64,
    bytes: u64,
}

impl TrashRecord {
    fn of(&self) -> Trashed {
        Trashed {
            trash: self.trash.clone(),
            name: self.name.clone(),
        }
    }
}

/// Everything known of the trash of all followed copies.
pub(crate) struct TrashKeeper {
    store: RecordStore,
    time: Arc<KeptClock>,
    rules: Setting<TrashRules>,
    /// Is notified when something was put into a trash.
    changed: Notify,
}

fn key(of: &Trashed) -> String {
    format!("{}\0{}", of.trash.display(), of.name)
}

impl TrashKeeper {
    /// Keeps what the store remembers, by these rules.
    pub(crate) fn new(
        store: RecordStore,
        time: Arc<KeptClock>,
        rules: Setting<TrashRules>,
    ) -> Self {
        Self {
            store,
            time,
            rules,
            changed: Notify::new(),
        }
    }

    /// The rules are others: what is there is looked at anew.
    pub(crate) fn look_again(&self) {
        self.changed.notify_one();
    }

    /// Remembers what a version put into a trash. Blocks.
    pub(super) fn put(&self, trashed: &Trashed) -> Result<(), ApiError> {
        let added = self.remember(trashed).map_err(|e| failure::storage(&e));
        self.changed.notify_one();
        added.map(drop)
    }

    fn remember(&self, trashed: &Trashed) -> Result<TrashRecord, StorageError> {
        let record = TrashRecord {
            trash: trashed.trash.clone(),
            name: trashed.name.clone(),
            since: self.time.seconds(),
            bytes: trashed.bytes().unwrap_or_default(),
        };
        self.store.put(TABLE, &key(trashed), &record)?;
        Ok(record)
    }

    /// Removes what is too old or too much from the trash of these copies and of all that are
    /// remembered, but for those whose disk does not answer. Returns when it is to be done again.
    fn clean(
        &self,
        copies: BTreeSet<PathBuf>,
        silent: &BTreeSet<PathBuf>,
    ) -> Result<Duration, StorageError> {
        let known: Vec<(String, TrashRecord)> = self.store.all(TABLE)?;
        let mut by_trash: HashMap<PathBuf, Vec<TrashRecord>> = copies
            .into_iter()
            .map(|trash| (trash, Vec::new()))
            .collect();
        for (_, record) in known {
            by_trash
                .entry(record.trash.clone())
                .or_default()
                .push(record);
        }
        by_trash.retain(|trash, _| !silent.contains(trash));
        let mut next = LOOK;
        for (trash, known) in by_trash {
            match self.clean_one(&trash, known) {
                Ok(due) => next = next.min(due),
                Err(CleanError::Storage(error)) => return Err(error),
                Err(CleanError::Io(error)) => {
                    tracing::warn!(%error, trash = %trash.display(), "a trash cannot be looked at");
                }
            }
        }
        Ok(next.max(PAUSE))
    }

    fn clean_one(&self, trash: &Path, known: Vec<TrashRecord>) -> Result<Duration, CleanError> {
        // The disk may be away; what it has is remembered.
        if !known.is_empty() && !trash.parent().is_some_and(Path::exists) {
            return Ok(LOOK);
        }
        let there = trashed(trash, MAX_KEPT * 2).map_err(CleanError::Io)?;
        let mut records: HashMap<String, TrashRecord> = known
            .into_iter()
            .map(|record| (record.name.clone(), record))
            .collect();
        let mut kept = Vec::with_capacity(there.len());
        for one in &there {
            kept.push(match records.remove(&one.name) {
                Some(record) => record,
                None => self.remember(one).map_err(CleanError::Storage)?,
            });
        }
        for gone in records.values() {
            self.store
                .remove(TABLE, &key(&gone.of()))
                .map_err(CleanError::Storage)?;
        }
        let now = self.time.seconds();
        let surplus = surplus(&mut kept, now, &self.rules.get());
        for old in &surplus {
            match old.of().remove() {
                Ok(()) => self
                    .store
                    .remove(TABLE, &key(&old.of()))
                    .map_err(CleanError::Storage)?,
                Err(error) => {
                    tracing::warn!(%error, trash = %trash.display(), "something cannot be removed from a trash");
                }
            }
        }
        let oldest = kept.iter().map(|record| record.since).min();
        let due = oldest.map_or(LOOK, |since| {
            let at = since.saturating_add(self.rules.get().keep.as_secs());
            Duration::from_secs(at.saturating_sub(now))
        });
        Ok(due)
    }
}

enum CleanError {
    Storage(StorageError),
    Io(std::io::Error),
}

/// Takes out what is too old, and the oldest of what is too much.
fn surplus(kept: &mut Vec<TrashRecord>, now: u64, rules: &TrashRules) -> Vec<TrashRecord> {
    kept.sort_by(|a, b| (a.since, &a.name).cmp(&(b.since, &b.name)));
    let mut total: u64 = kept
        .iter()
        .map(|record| record.bytes)
        .fold(0, u64::saturating_add);
    let too_much = |total: u64| rules.max.is_some_and(|max| total > max);
    let mut count = 0;
    for record in kept.iter() {
        let old = record.since.saturating_add(rules.keep.as_secs()) <= now;
        if !old && !too_much(total) && kept.len() - count <= MAX_KEPT {
            break;
        }
        total = total.saturating_sub(record.bytes);
        count += 1;
    }
    kept.drain(..count).collect()
}

/// The places where a followed copy can have a trash.
fn places(record: &TransferRecord) -> impl Iterator<Item = PathBuf> {
    let path = PathBuf::from(&record.path);
    let beside = path.parent().map(|parent| parent.join(TRASH));
    let followed = record.followed.is_some();
    [Some(path.join(TRASH)), beside]
        .into_iter()
        .flatten()
        .filter(move |_| followed)
}

/// Works until it is dropped.
pub(crate) async fn run(service: Arc<TransferService>) {
    loop {
        let of = Arc::clone(&service);
        let cleaned = tokio::task::spawn_blocking(move || {
            let records = of.transfers.records();
            let is_silent = |record: &TransferRecord| {
                let share = hither_proto::ShareId::from_hex(&record.share);
                share.is_ok_and(|share| of.library.disks.is_silent(share))
            };
            let (silent, heard): (Vec<_>, Vec<_>) =
                records.into_iter().partition(|record| is_silent(record));
            let copies = heard.iter().flat_map(places).collect();
            of.trash
                .clean(copies, &silent.iter().flat_map(places).collect())
        });
        let next = match cleaned.await {
            Ok(Ok(next)) => next,
            Ok(Err(error)) => {
                tracing::error!(%error, "the trash of followed copies cannot be tidied");
                LOOK
            }
            Err(error) => {
                tracing::error!(%error, "the trash of followed copies cannot be tidied");
                LOOK
            }
        };
        tokio::select! {
            () = tokio::time::sleep(next) => {}
            () = service.trash.changed.notified() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, since: u64, bytes: u64) -> TrashRecord {
        TrashRecord {
            trash: "/t".into(),
            name: name.into(),
            since,
            bytes,
        }
    }

    fn gone(keep: u64, max: Option<u64>) -> Vec<String> {
        let mut kept = vec![
            record("b", 20, 50),
            record("a", 10, 50),
            record("c", 30, 50),
        ];
        let rules = TrashRules {
            keep: Duration::from_secs(keep),
            max,
        };
        let surplus = surplus(&mut kept, 40, &rules);
        assert_eq!(kept.len() + surplus.len(), 3);
        surplus.into_iter().map(|record| record.name).collect()
    }

    #[test]
    fn the_oldest_go_first_and_nothing_before_its_time() {
        assert!(gone(100, None).is_empty());
        assert_eq!(gone(30, None), ["a"]);
        assert_eq!(gone(20, None), ["a", "b"]);
        assert_eq!(gone(0, None), ["a", "b", "c"]);
        assert_eq!(gone(100, Some(150)), [""; 0]);
        assert_eq!(gone(100, Some(149)), ["a"]);
        assert_eq!(gone(100, Some(0)), ["a", "b", "c"]);
    }
}
