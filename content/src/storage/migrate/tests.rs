use super::*;
use crate::storage::{Opened, open};
use std::cell::RefCell;
use std::ops::ControlFlow;
use std::sync::Arc;

const CHUNKS: Table = Table::new("chunks");
const RECORDS: Table = Table::new("chunks-more");
const EMPTY: Table = Table::new("a");
const ENTRIES: u32 = 600;

fn value(i: u32) -> Vec<u8> {
    // Some are longer than what either engine keeps in a page.
    let length = if i.is_multiple_of(100) {
        1_000_000
    } else {
        100
    };
    vec![i as u8; length]
}

fn fill(store: &dyn Storage) {
    for first in (0..ENTRIES).step_by(100) {
        let mut batch = Batch::new();
        for i in first..first + 100 {
            batch.put(CHUNKS, &i.to_be_bytes(), &value(i));
            batch.put(RECORDS, &(ENTRIES - i).to_be_bytes(), b"");
        }
        batch.put(EMPTY, b"", b"");
        batch.remove(EMPTY, b"gone");
        store.commit(batch).unwrap();
    }
}

fn check(store: &dyn Storage) {
    let mut next = 0_u32;
    store
        .scan(CHUNKS, b"", &mut |key, found| {
            assert!(key == next.to_be_bytes() && found == value(next), "{next}");
            next += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(next, ENTRIES);
    let mut count = 0;
    store
        .scan(RECORDS, b"", &mut |_, found| {
            assert!(found.is_empty());
            count += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(count, ENTRIES);
    assert_eq!(store.get(EMPTY, b"").unwrap().as_deref(), Some(&b""[..]));
    assert_eq!(store.get(EMPTY, b"gone").unwrap(), None);
}

fn other(engine: Engine) -> Engine {
    match engine {
        Engine::Redb => Engine::Sled,
        Engine::Sled => Engine::Redb,
    }
}

/// Opens a store that is there already.
fn existing(dir: &Path, engine: Engine) -> Arc<dyn Storage> {
    let (store, opened) = open(dir, engine).unwrap();
    assert_eq!(opened, Opened::Existing);
    store
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn engines_take_turns_and_everything_stays() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    let (store, _) = open(&dir, Engine::Redb).unwrap();
    fill(store.as_ref());
    drop(store);
    for engine in [Engine::Sled, Engine::Redb, Engine::Redb, Engine::Sled] {
        check(existing(&dir, engine).as_ref());
        assert_eq!(names(home.path()), ["store", "store.lock"]);
    }
}

#[test]
fn what_is_written_after_a_change_of_engine_stays_too() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    drop(open(&dir, Engine::Redb).unwrap());
    fill(existing(&dir, Engine::Sled).as_ref());
    check(existing(&dir, Engine::Redb).as_ref());
}

/// Ends a migration at its `nth` step; returns the step, or `None` if it came to its end.
fn end_at(dir: &Path, engines: (Engine, Engine), nth: usize) -> Option<Step> {
    let mut passed = 0;
    let ended = RefCell::new(None);
    let result = migrate(dir, engines, &mut |step| {
        passed += 1;
        if passed <= nth {
            return Ok(());
        }
        *ended.borrow_mut() = Some(step);
        Err(StorageError::Engine("the program was killed".into()))
    });
    assert_eq!(result.is_err(), ended.borrow().is_some());
    ended.into_inner()
}

#[test]
fn a_kill_at_any_step_leaves_one_whole_store() {
    for from in [Engine::Redb, Engine::Sled] {
        let to = other(from);
        let mut steps = Vec::new();
        for nth in 0_usize.. {
            let home = tempfile::tempdir().unwrap();
            let dir = home.path().join("store");
            let (store, _) = open(&dir, from).unwrap();
            fill(store.as_ref());
            drop(store);
            closed(&dir, from).unwrap();
            let Some(step) = end_at(&dir, (from, to), nth) else {
                break;
            };
            // It goes on in the new engine, or back to the old one.
            let next = if nth.is_multiple_of(2) { to } else { from };
            check(existing(&dir, next).as_ref());
            assert_eq!(names(home.path()), ["store", "store.lock"], "{step:?}");
            steps.push(step);
        }
        let mut kinds = steps.clone();
        kinds.dedup();
        assert_eq!(
            kinds,
            [
                Step::Begun,
                Step::Made,
                Step::Batch,
                Step::Copied,
                Step::Durable,
                Step::Verified,
                Step::Decided,
                Step::Away,
                Step::InPlace,
                Step::Removed
            ]
        );
        assert!(steps.len() > kinds.len(), "several batches: {steps:?}");
    }
}

#[test]
fn a_kill_while_the_rest_of_a_migration_is_put_right_loses_nothing() {
    for step in [Step::Decided, Step::Away, Step::InPlace] {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("store");
        let (store, _) = open(&dir, Engine::Redb).unwrap();
        fill(store.as_ref());
        drop(store);
        let killed = || StorageError::Engine("the program was killed".into());
        let engines = (Engine::Redb, Engine::Sled);
        let ended = migrate(&dir, engines, &mut |at| match at == step {
            true => Err(killed()),
            false => Ok(()),
        });
        assert!(ended.is_err());
        if beside(&dir, ".copied").exists() {
            // Killed once more, between the two renamings.
            let _ = switch(&dir, &mut |_| Err(killed()));
            assert!(!dir.exists());
        }
        check(existing(&dir, Engine::Sled).as_ref());
        assert_eq!(names(home.path()), ["store", "store.lock"]);
    }
}

#[test]
fn a_store_that_an_older_version_began_in_between_is_kept_aside() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    let (store, _) = open(&dir, Engine::Redb).unwrap();
    fill(store.as_ref());
    drop(store);
    let engines = (Engine::Redb, Engine::Sled);
    let ended = migrate(&dir, engines, &mut |at| match at == Step::Away {
        true => Err(StorageError::Engine("the program was killed".into())),
        false => Ok(()),
    });
    assert!(ended.is_err());
    drop(RedbStorage::open(&dir).unwrap());
    check(existing(&dir, Engine::Sled).as_ref());
    let names = names(home.path());
    assert!(
        names.len() == 3 && names[1].starts_with("store.broken-"),
        "{names:?}"
    );
}

#[test]
fn without_room_the_old_store_stays_and_the_sentence_says_so() {
    let error = StorageError::NoRoom {
        path: "/data/store".into(),
        engine: "sled",
        needed: 64 << 20,
        free: 3 << 20,
    };
    assert_eq!(
        error.to_string(),
        "changing the engine of /data/store to sled takes 64 MiB beside it and 3 MiB are free: make room, or set storage.engine back"
    );
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    let (store, _) = open(&dir, Engine::Redb).unwrap();
    fill(store.as_ref());
    drop(store);
    // The disk fills up in the middle.
    let full = || StorageError::Io {
        what: "redb",
        source: io::ErrorKind::StorageFull.into(),
    };
    let engines = (Engine::Redb, Engine::Sled);
    let ended = migrate(&dir, engines, &mut |at| match at == Step::Copied {
        true => Err(full()),
        false => Ok(()),
    });
    assert!(
        matches!(ended, Err(StorageError::NoRoom { .. })),
        "{ended:?}"
    );
    assert!(!beside(&dir, ".new").exists());
    check(existing(&dir, Engine::Redb).as_ref());
}
