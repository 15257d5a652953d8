//! A storage that fails: nobody is told that something was done which was not, and it goes on when
//! it can.

use super::common::{item, numbers, soon};
use bytes::Bytes;
use hither_content::storage::{Batch, MemoryStorage, Storage, StorageError, Table, Visit};
use hither_relay::state::{Embedded, Event, Expect, State, StateError};
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the disk does to commits.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Disk {
    Works,
    /// Every commit takes that long.
    Slow(Duration),
    Fails(ErrorKind),
    /// The commit is made, and then reported as failed.
    Lies,
}

struct Faults {
    inner: MemoryStorage,
    disk: Mutex<Disk>,
    /// A failure leaves the storage unusable until it is opened again, as with redb.
    broken: AtomicBool,
    commits: AtomicUsize,
    opened: AtomicUsize,
}

/// One opening of a storage with faults.
struct Opening(Arc<Faults>);

fn failed<T>(kind: ErrorKind) -> Result<T, StorageError> {
    Err(StorageError::Io {
        what: "test",
        source: io::Error::from(kind),
    })
}

impl Faults {
    fn start() -> (Arc<Self>, Arc<Embedded>) {
        let faults = Arc::new(Self {
            inner: MemoryStorage::new(),
            disk: Mutex::new(Disk::Works),
            broken: AtomicBool::new(false),
            commits: AtomicUsize::new(0),
            opened: AtomicUsize::new(0),
        });
        let opening = Arc::clone(&faults);
        let open = move || {
            opening.opened.fetch_add(1, Ordering::SeqCst);
            opening.broken.store(false, Ordering::SeqCst);
            Ok(Arc::new(Opening(Arc::clone(&opening))) as Arc<dyn Storage>)
        };
        let embedded = Embedded::start(Box::new(open)).unwrap();
        (faults, Arc::new(embedded))
    }

    fn set(&self, disk: Disk) {
        *self.disk.lock().unwrap() = disk;
    }

    fn check(&self) -> Result<(), StorageError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(StorageError::Engine("previous I/O error".into()));
        }
        Ok(())
    }
}

impl Storage for Opening {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.0.check()?;
        self.0.inner.get(table, key)
    }

    fn scan(&self, table: Table, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError> {
        self.0.check()?;
        self.0.inner.scan(table, prefix, visit)
    }

    fn commit(&self, batch: Batch) -> Result<(), StorageError> {
        self.0.check()?;
        let disk = *self.0.disk.lock().unwrap();
        match disk {
            Disk::Works => {}
            Disk::Slow(time) => std::thread::sleep(time),
            Disk::Fails(kind) => {
                self.0.broken.store(true, Ordering::SeqCst);
                return failed(kind);
            }
            Disk::Lies => {
                self.0.inner.commit(batch)?;
                self.0.broken.store(true, Ordering::SeqCst);
                return failed(ErrorKind::Other);
            }
        }
        self.0.commits.fetch_add(1, Ordering::SeqCst);
        self.0.inner.commit(batch)
    }

    fn commit_lazily(&self, batch: Batch) -> Result<(), StorageError> {
        self.commit(batch)
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.0.check()
    }

    fn compare_and_set(
        &self,
        table: Table,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool, StorageError> {
        self.0.check()?;
        self.0.inner.compare_and_set(table, key, expected, new)
    }
}

async fn fails_and_recovers(kind: ErrorKind, expected: StateError) {
    let (faults, embedded) = Faults::start();
    let state: Arc<dyn State> = embedded;
    let before = state.append("q", item(1)).await.unwrap().seq;
    let revision = state
        .put("b", "k", Bytes::from("v"), Expect::Any)
        .await
        .unwrap();
    let session = state
        .open_session("node", Duration::from_secs(60))
        .await
        .unwrap();
    faults.set(Disk::Fails(kind));
    let appends: Vec<_> = (2..40)
        .map(|number| {
            let state = Arc::clone(&state);
            tokio::spawn(async move { state.append("q", item(number)).await })
        })
        .collect();
    for append in appends {
        assert_eq!(
            soon("an answer", append).await.unwrap().unwrap_err(),
            expected
        );
    }
    assert_eq!(state.ack("q", u64::MAX).await, Err(expected.clone()));
    assert_eq!(
        state.put("b", "k", Bytes::new(), Expect::Any).await,
        Err(expected.clone())
    );

    // What needs no writing goes on: reads, refusals, repetitions, sessions.
    assert_eq!(numbers(state.as_ref(), "q").await, [1]);
    assert_eq!(
        state.get("b", "k").await.unwrap().unwrap().revision,
        revision
    );
    assert_eq!(state.depth("q").await.unwrap().items, 1);
    let conflict = state.put("b", "k", Bytes::new(), Expect::Absent).await;
    assert_eq!(
        conflict,
        Err(StateError::Conflict {
            current: Some(revision)
        })
    );
    assert!(state.append("q", item(1)).await.unwrap().duplicate);
    state
        .put_ephemeral(session, "p", "k", Bytes::from("here"), Expect::Absent)
        .await
        .unwrap();
    assert!(state.get("p", "k").await.unwrap().is_some());
    state.close_session(session).await.unwrap();
    assert!(state.get("p", "k").await.unwrap().is_none());

    faults.set(Disk::Works);
    let recovered = async {
        loop {
            match state.append("q", item(2)).await {
                Ok(appended) => return appended,
                Err(error) => assert_eq!(error, expected),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let appended = soon("recovery", recovered).await;
    assert!(!appended.duplicate && appended.seq > before);
    assert_eq!(numbers(state.as_ref(), "q").await, [1, 2]);
    assert_eq!(state.ack("q", u64::MAX).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_to_everyone_and_ends() {
    fails_and_recovers(ErrorKind::StorageFull, StateError::NoSpace).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_disk_is_told_to_everyone_and_ends() {
    fails_and_recovers(ErrorKind::ReadOnlyFilesystem, StateError::ReadOnly).await;
}

/// The storage says "failed" and has done it: the id keeps the item from being there twice, and who
/// watches is told to look again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_only_seems_to_fail_does_no_harm() {
    let (faults, state) = Faults::start();
    let mut concerned = state.watch("b", "").await.unwrap();
    let mut other = state.watch("c", "").await.unwrap();
    assert_eq!(soon("the marker", concerned.next()).await, Event::Current);
    assert_eq!(soon("the marker", other.next()).await, Event::Current);
    faults.set(Disk::Lies);
    let put = state.put("b", "k", Bytes::from("v"), Expect::Any).await;
    assert!(matches!(put, Err(StateError::Storage(_))), "{put:?}");
    assert_eq!(
        soon("the end of a watch", concerned.next()).await,
        Event::Lagged
    );
    // The state rests after a failure, and refuses without trying: only a commit that was tried was
    // made.
    let lied = async {
        while numbers(state.as_ref(), "q").await.is_empty() {
            let append = state.append("q", item(1)).await;
            assert!(matches!(append, Err(StateError::Storage(_))), "{append:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("a lie", lied).await;
    faults.set(Disk::Works);
    assert!(
        state.append("q", item(1)).await.unwrap().duplicate,
        "its id keeps it from being there twice"
    );
    assert_eq!(numbers(state.as_ref(), "q").await, [1]);
    let writes_again = async {
        while state
            .put("c", "k", Bytes::new(), Expect::Any)
            .await
            .is_err()
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("writing again", writes_again).await;
    assert!(
        matches!(soon("a change", other.next()).await, Event::Change(_)),
        "others go on"
    );
}

/// A storage that broke while it was read is opened again without anybody writing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_broke_under_a_read_is_opened_again() {
    let (faults, state) = Faults::start();
    state.append("q", item(1)).await.unwrap();
    faults.broken.store(true, Ordering::SeqCst);
    assert!(matches!(
        state.read("q", 0, 1, 1).await,
        Err(StateError::Storage(_))
    ));
    let healed = async {
        while state.depth("q").await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("reads again", healed).await;
    assert_eq!(faults.opened.load(Ordering::SeqCst), 2);
    assert_eq!(numbers(state.as_ref(), "q").await, [1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_share_a_commit() {
    let (faults, state) = Faults::start();
    faults.set(Disk::Slow(Duration::from_millis(20)));
    let before = faults.commits.load(Ordering::SeqCst);
    let callers: Vec<_> = (0..64u64)
        .map(|caller| {
            let state = Arc::clone(&state);
            tokio::spawn(async move {
                for number in 0..4 {
                    state
                        .append(&format!("q/{caller}"), item(number))
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    for caller in callers {
        soon("a caller", caller).await.unwrap();
    }
    let commits = faults.commits.load(Ordering::SeqCst) - before;
    assert!(
        (4..=24).contains(&commits),
        "{commits} commits for 64 callers of 4 appends"
    );
    let before = faults.commits.load(Ordering::SeqCst);
    for number in 0..5 {
        state.append("alone", item(number)).await.unwrap();
    }
    assert_eq!(
        faults.commits.load(Ordering::SeqCst) - before,
        5,
        "a single caller pays one commit each"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_makes_what_was_asked_and_nothing_after() {
    let (faults, state) = Faults::start();
    faults.set(Disk::Slow(Duration::from_millis(20)));
    let appends: Vec<_> = (0..50)
        .map(|number| {
            let state = Arc::clone(&state);
            tokio::spawn(async move { state.append("q", item(number)).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(5)).await;
    soon("the end", state.close()).await;
    let mut answered = 0;
    for append in appends {
        match soon("an answer", append).await.unwrap() {
            Ok(_) => answered += 1,
            Err(error) => assert_eq!(error, StateError::Closed),
        }
    }
    assert_eq!(state.append("q", item(100)).await, Err(StateError::Closed));
    assert_eq!(state.get("b", "k").await, Err(StateError::Closed));
    let again = super::common::embedded_in(&faults.inner);
    assert_eq!(numbers(&again, "q").await.len(), answered);
}
