//! What the child processes do: write until the disk is taken away, or report what is in the store.
//!
//! Lines to the parent begin with `@`: `open HOW`, `begin ID` before and `done ID` after an
//! operation that makes things durable, `lazy NUMBER` after a lazy commit, `counter VALUE` after a
//! compare-and-set, `full` when the image is too small; when reading `whole`, `half` and `tomb`
//! with a batch number.

use super::batches;
use hither_content::storage::{Engine, Opened, Storage, Table, open};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const COUNTERS: Table = Table::new("counters");
const COUNTER: &[u8] = b"counter";
const THREADS: u32 = 3;
/// Ids of durable operations that are no batch begin here, above every batch number.
static NEXT_BARRIER: AtomicU64 = AtomicU64::new(1 << 60);
static OUTPUT: Mutex<()> = Mutex::new(());

pub(crate) fn run() {
    let variable = |name: &str| std::env::var(name).expect(name);
    let engine = if variable("HITHER_POWER_ENGINE") == "Sled" {
        Engine::Sled
    } else {
        Engine::Redb
    };
    let dir = PathBuf::from(variable("HITHER_POWER_DIR"));
    let (store, opened) = open(&dir, engine).unwrap();
    match opened {
        Opened::Fresh => say("open fresh"),
        Opened::Existing => say("open existing"),
        Opened::Rebuilt { reason, .. } => {
            say(&format!("open rebuilt {}", reason.replace('\n', " ")))
        }
    }
    match variable("HITHER_POWER_TASK").as_str() {
        "write" => write(
            store.as_ref(),
            variable("HITHER_POWER_LIFE").parse().unwrap(),
        ),
        _ => report(store.as_ref()),
    }
}

/// One line, one `write`: lines of several threads do not mix, and their order is that of these
/// calls.
fn say(line: &str) {
    let _turn = OUTPUT.lock().unwrap();
    std::io::stdout()
        .lock()
        .write_all(format!("@{line}\n").as_bytes())
        .unwrap();
    std::io::stdout().lock().flush().unwrap();
}

fn report(store: &dyn Storage) {
    let found = batches::read(store).unwrap();
    found
        .whole
        .iter()
        .for_each(|number| say(&format!("whole {number}")));
    found
        .half
        .iter()
        .for_each(|(number, how)| say(&format!("half {number} {how}")));
    found
        .tombs
        .iter()
        .for_each(|number| say(&format!("tomb {number}")));
    let counter = store.get(COUNTERS, COUNTER).unwrap();
    say(&format!(
        "counter {}",
        counter.map_or(0, |value| u64::from_be_bytes(value.try_into().unwrap()))
    ));
}

fn write(store: &dyn Storage, life: u32) {
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for sequence in 0.. {
                    if let Err(error) = step(store, life, thread, sequence) {
                        // The disk is gone, as intended, unless it was too small.
                        if format!("{error:?}").contains("StorageFull") {
                            say("full");
                        }
                        return;
                    }
                }
            });
        }
    });
    // The parent kills this process; ending it cleanly would let engines tidy up.
    loop {
        std::thread::park();
    }
}

fn step(
    store: &dyn Storage,
    life: u32,
    thread: u32,
    sequence: u32,
) -> Result<(), hither_content::storage::StorageError> {
    let number = batches::number(life, thread, sequence);
    let batch = batches::make(number);
    if (sequence + thread).is_multiple_of(3) {
        durably(number, || store.commit(batch))?;
    } else {
        store.commit_lazily(batch)?;
        say(&format!("lazy {number}"));
    }
    if sequence.is_multiple_of(7) {
        let old = store.get(COUNTERS, COUNTER)?;
        let value = old
            .as_deref()
            .map_or(0, |old| u64::from_be_bytes(old.try_into().unwrap()))
            + 1;
        let barrier = NEXT_BARRIER.fetch_add(1, Ordering::Relaxed);
        say(&format!("begin {barrier}"));
        if store.compare_and_set(
            COUNTERS,
            COUNTER,
            old.as_deref(),
            Some(&value.to_be_bytes()),
        )? {
            say(&format!("done {barrier}"));
            say(&format!("counter {value}"));
        }
    }
    if sequence.is_multiple_of(11) {
        durably(NEXT_BARRIER.fetch_add(1, Ordering::Relaxed), || {
            store.flush()
        })?;
    }
    Ok(())
}

fn durably<E>(id: u64, work: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
    say(&format!("begin {id}"));
    work()?;
    say(&format!("done {id}"));
    Ok(())
}
