//! The suite that every engine of [`Storage`] passes. Public so that an engine outside this crate
//! can run it too.
//!
//! It panics where the contract is broken, as a test does; nothing but tests calls it.

#![allow(clippy::unwrap_used, clippy::panic)]

use super::{Batch, MAX_BATCH, MAX_KEY, MAX_VALUE, Storage, StorageError, Table};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const ONE: Table = Table::new("one");
const TWO: Table = Table::new("two");
/// A table whose name begins with another one's, to catch engines that mix up names and keys.
const ONE_MORE: Table = Table::new("one-more");

/// Opens the store at a path, which is the same store when opened again after the first was
/// dropped.
pub type Open<'a> = &'a dyn Fn(&Path) -> Box<dyn Storage>;

/// Runs the suite with stores below the folder `root`. Panics where the contract is broken.
pub fn conformance(root: &Path, open: Open<'_>) {
    reads_what_was_written(open(&root.join("basic")).as_ref());
    keeps_edges(open(&root.join("edges")).as_ref());
    scans_in_order(open(&root.join("order")).as_ref());
    scans_prefixes(open(&root.join("prefixes")).as_ref());
    refuses_what_is_too_large(open(&root.join("large")).as_ref());
    survives_reopening(&root.join("reopen"), open);
    compares_before_setting(open(&root.join("compare")).as_ref());
    races_have_one_winner(open(&root.join("race")).as_ref());
    readers_never_see_half_a_batch(open(&root.join("readers")).as_ref());
    holds_many_keys(&root.join("many"), open);
}

fn put(store: &dyn Storage, entries: &[(Table, &[u8], &[u8])]) {
    let mut batch = Batch::new();
    for (table, key, value) in entries {
        batch.put(*table, key, value);
    }
    store.commit(batch).unwrap();
}

fn all(store: &dyn Storage, table: Table, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        found.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    };
    store.scan(table, prefix, &mut visit).unwrap();
    found
}

fn keys(store: &dyn Storage, table: Table, prefix: &[u8]) -> Vec<Vec<u8>> {
    all(store, table, prefix)
        .into_iter()
        .map(|(key, _)| key)
        .collect()
}

fn reads_what_was_written(store: &dyn Storage) {
    assert_eq!(store.get(ONE, b"k").unwrap(), None);
    assert!(
        all(store, ONE, b"").is_empty(),
        "a table nobody wrote to is empty"
    );
    put(
        store,
        &[(ONE, b"k", b"1"), (TWO, b"k", b"2"), (ONE_MORE, b"k", b"3")],
    );
    assert_eq!(store.get(ONE, b"k").unwrap().unwrap(), b"1");
    assert_eq!(store.get(TWO, b"k").unwrap().unwrap(), b"2");
    assert_eq!(
        all(store, ONE, b""),
        [(b"k".to_vec(), b"1".to_vec())],
        "tables are apart"
    );
    let mut batch = Batch::new();
    batch.put(ONE, b"k", b"lost");
    batch.remove(ONE, b"k");
    batch.remove(TWO, b"never there");
    batch.remove(TWO, b"k");
    batch.put(TWO, b"k", b"last");
    store.commit_lazily(batch).unwrap();
    assert_eq!(
        store.get(ONE, b"k").unwrap(),
        None,
        "the last change to a key counts"
    );
    assert_eq!(
        store.get(TWO, b"k").unwrap().unwrap(),
        b"last",
        "lazy commits are visible at once"
    );
    store.commit(Batch::new()).unwrap();
    store.commit_lazily(Batch::new()).unwrap();
    store.flush().unwrap();
    store.flush().unwrap();
}

fn keeps_edges(store: &dyn Storage) {
    let long = vec![0xabu8; MAX_KEY];
    let megabyte: Vec<u8> = (0..1 << 20)
        .map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let large = vec![7u8; MAX_VALUE];
    let entries: [(&[u8], &[u8]); 7] = [
        (b"", b"the empty key"),
        (b"empty value", b""),
        (b"\0", b"zero"),
        (b"\xff", b"last"),
        (&long, b"a long key"),
        (b"a megabyte", &megabyte),
        (b"as large as it gets", &large),
    ];
    for (key, value) in entries {
        put(store, &[(ONE, key, value)]);
    }
    for (key, value) in entries {
        assert!(
            store.get(ONE, key).unwrap().as_deref() == Some(value),
            "{:?}…",
            &key[..key.len().min(20)]
        );
    }
    put(store, &[(TWO, b"", b"")]);
    assert_eq!(all(store, TWO, b""), [(vec![], vec![])]);
    let mut batch = Batch::new();
    batch.remove(TWO, b"");
    store.commit(batch).unwrap();
    assert_eq!(store.get(TWO, b"").unwrap(), None);
}

fn scans_in_order(store: &dyn Storage) {
    let mut expected: Vec<Vec<u8>> = (0..1000u32)
        .map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes().into())
        .collect();
    expected.extend([
        vec![],
        vec![0],
        vec![0, 0],
        vec![0xff],
        vec![0xff; 9],
        vec![0x7f],
        vec![0x80],
    ]);
    for key in &expected {
        let mut batch = Batch::new();
        batch.put(ONE, key, key);
        store.commit_lazily(batch).unwrap();
    }
    expected.sort();
    expected.dedup();
    assert_eq!(
        keys(store, ONE, b""),
        expected,
        "byte order, the shorter first, each once"
    );
    let mut seen = 0;
    let mut visit = |_: &[u8], _: &[u8]| {
        seen += 1;
        // A visitor may use the store.
        put(store, &[(TWO, b"seen", &[seen as u8])]);
        if seen == 3 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    store.scan(ONE, b"", &mut visit).unwrap();
    assert_eq!(seen, 3, "a break ends the scan");
}

fn scans_prefixes(store: &dyn Storage) {
    let names: [&[u8]; 9] = [
        b"",
        b"a",
        b"a\0",
        b"a\xff",
        b"a\xff\xff",
        b"ab",
        b"b",
        b"\xff",
        b"\xff\xff",
    ];
    for name in names {
        put(store, &[(ONE, name, b"x"), (ONE_MORE, name, b"y")]);
    }
    let expect = |prefix: &[u8], found: &[&[u8]]| {
        assert_eq!(keys(store, ONE, prefix), found, "prefix {prefix:?}");
    };
    expect(b"a", &[b"a", b"a\0", b"ab", b"a\xff", b"a\xff\xff"]);
    expect(b"a\0", &[b"a\0"]);
    expect(b"a\xff", &[b"a\xff", b"a\xff\xff"]);
    expect(b"\xff", &[b"\xff", b"\xff\xff"]);
    expect(b"\xff\xff\xff", &[]);
    expect(b"c", &[]);
    assert_eq!(keys(store, ONE, b"").len(), names.len());
}

fn refuses_what_is_too_large(store: &dyn Storage) {
    let refused = |batch: Batch| {
        assert!(matches!(
            store.commit(batch.clone()),
            Err(StorageError::TooLarge { .. })
        ));
        assert!(matches!(
            store.commit_lazily(batch),
            Err(StorageError::TooLarge { .. })
        ));
    };
    let mut batch = Batch::new();
    batch.put(ONE, b"fits", b"");
    batch.put(ONE, &vec![0; MAX_KEY + 1], b"");
    refused(batch);
    let mut batch = Batch::new();
    batch.put(ONE, b"fits", b"");
    batch.put(ONE, b"k", &vec![0; MAX_VALUE + 1]);
    refused(batch);
    let mut batch = Batch::new();
    for i in 0..=(MAX_BATCH / MAX_VALUE) as u8 {
        batch.put(ONE, &[i], &vec![0; MAX_VALUE]);
    }
    refused(batch);
    assert_eq!(
        store.get(ONE, b"fits").unwrap(),
        None,
        "nothing of a refused batch is written"
    );
    let value = vec![0; MAX_VALUE + 1];
    assert!(matches!(
        store.compare_and_set(ONE, b"k", None, Some(&value)),
        Err(StorageError::TooLarge { .. })
    ));
}

fn survives_reopening(path: &Path, open: Open<'_>) {
    for round in 0..5u8 {
        let store = open(path);
        for earlier in 0..round {
            assert_eq!(
                store.get(ONE, &[earlier]).unwrap().unwrap(),
                [earlier; 5000],
                "committed"
            );
            assert_eq!(
                store.get(TWO, &[earlier]).unwrap().unwrap(),
                [earlier],
                "committed lazily, then flushed"
            );
            assert_eq!(
                store.get(ONE_MORE, &[earlier]).unwrap().unwrap(),
                [earlier],
                "set by comparison"
            );
            assert_eq!(store.get(ONE, &[100 + earlier]).unwrap(), None, "removed");
        }
        put(
            store.as_ref(),
            &[
                (ONE, &[round], &[round; 5000]),
                (ONE, &[100 + round], b"removed below"),
            ],
        );
        let mut batch = Batch::new();
        batch.put(TWO, &[round], &[round]);
        batch.remove(ONE, &[100 + round]);
        store.commit_lazily(batch).unwrap();
        assert!(
            store
                .compare_and_set(ONE_MORE, &[round], None, Some(&[round]))
                .unwrap()
        );
        store.flush().unwrap();
    }
}

fn compares_before_setting(store: &dyn Storage) {
    let cas = |expected: Option<&[u8]>, new: Option<&[u8]>| {
        store.compare_and_set(ONE, b"k", expected, new).unwrap()
    };
    assert!(!cas(Some(b"x"), Some(b"y")), "no value is not some value");
    assert!(cas(None, None));
    assert!(cas(None, Some(b"")));
    assert!(!cas(None, Some(b"y")), "an empty value is a value");
    assert!(cas(Some(b""), Some(b"y")));
    assert!(!cas(Some(b""), None));
    assert!(cas(Some(b"y"), Some(b"y")));
    assert_eq!(store.get(ONE, b"k").unwrap().unwrap(), b"y");
    assert!(cas(Some(b"y"), None));
    assert_eq!(store.get(ONE, b"k").unwrap(), None);
}

/// Four threads count one counter up; every increment must count.
fn races_have_one_winner(store: &dyn Storage) {
    const THREADS: u32 = 4;
    const EACH: u32 = 25;
    let number = |value: Option<&Vec<u8>>| {
        value.map_or(0, |v| u32::from_be_bytes(v.as_slice().try_into().unwrap()))
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..EACH {
                    loop {
                        let old = store.get(ONE, b"counter").unwrap();
                        let new = (number(old.as_ref()) + 1).to_be_bytes();
                        if store
                            .compare_and_set(ONE, b"counter", old.as_deref(), Some(&new))
                            .unwrap()
                        {
                            break;
                        }
                    }
                }
            });
        }
    });
    assert_eq!(
        number(store.get(ONE, b"counter").unwrap().as_ref()),
        THREADS * EACH
    );
}

/// Writers replace one key by another within a batch: whoever scans while nothing else changes sees
/// exactly one of them, and `get` in two tables after the writers' end agrees.
fn readers_never_see_half_a_batch(store: &dyn Storage) {
    put(store, &[(ONE, b"turn", &[0]), (TWO, b"turn", &[0])]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut last = 0;
                    while !done.load(Ordering::Acquire) {
                        // TWO is read after ONE: it may be later, never earlier.
                        let one = store.get(ONE, b"turn").unwrap().unwrap()[0];
                        let two = store.get(TWO, b"turn").unwrap().unwrap()[0];
                        assert!(one >= last && two >= one, "{last} {one} {two}");
                        last = one;
                        assert!(keys(store, ONE, b"t").contains(&b"turn".to_vec()));
                    }
                })
            })
            .collect();
        for turn in 1..=100u8 {
            let mut batch = Batch::new();
            batch.put(ONE, b"turn", &[turn]);
            batch.put(TWO, b"turn", &[turn]);
            batch.put(ONE, &[turn], &[turn; 100]);
            batch.remove(ONE, &[turn - 1]);
            if turn % 2 == 0 {
                store.commit(batch).unwrap()
            } else {
                store.commit_lazily(batch).unwrap()
            }
        }
        done.store(true, Ordering::Release);
        readers
            .into_iter()
            .for_each(|reader| reader.join().unwrap());
    });
}

fn holds_many_keys(path: &Path, open: Open<'_>) {
    const COUNT: u32 = 100_000;
    let key = |i: u32| [i.wrapping_mul(2_654_435_761).to_be_bytes(), i.to_be_bytes()].concat();
    let store = open(path);
    for start in (0..COUNT).step_by(5000) {
        let mut batch = Batch::new();
        for i in start..start + 5000 {
            batch.put(ONE, &key(i), &i.to_le_bytes());
        }
        store.commit_lazily(batch).unwrap();
    }
    let mut batch = Batch::new();
    (0..COUNT)
        .step_by(10)
        .for_each(|i| batch.remove(ONE, &key(i)));
    store.commit(batch).unwrap();
    drop(store);
    let store = open(path);
    let found = all(store.as_ref(), ONE, b"");
    assert_eq!(found.len(), (COUNT - COUNT / 10) as usize);
    assert!(found.is_sorted());
    for (found, value) in found {
        let i = u32::from_le_bytes(value.as_slice().try_into().unwrap());
        assert!(i % 10 != 0 && found == key(i));
    }
}
