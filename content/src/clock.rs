//! The machine's clocks, and a [`Timeline`] that is kept in a metadata store: what daemon and relay
//! count deadlines on.
//!
//! Invariant: the time only grows, over restarts too, by what [`hither_proto::timeline`] believes.

use crate::storage::{Batch, Storage, StorageError, Table};
use hither_proto::timeline::{Kept, Reading, Timeline};
use hither_util::sync::Mutex;
use std::sync::{Arc, MutexGuard, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

const TIMELINE: Table = Table::new("timeline");
const LAST: &[u8] = b"last";

/// Reads the machine's clocks.
pub fn read_clocks() -> Reading {
    let wall = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let (boot, since_boot_ms) = since_boot();
    Reading {
        boot,
        since_boot_ms,
        wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
    }
}

/// The run of the machine, and how long it has lasted, sleep included.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn since_boot() -> (Option<[u8; 16]>, u64) {
    static BOOT: OnceLock<Option<[u8; 16]>> = OnceLock::new();
    let boot = BOOT.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
        u128::from_str_radix(&digits, 16)
            .ok()
            .map(u128::to_be_bytes)
    });
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let ms = time
        .tv_sec
        .saturating_mul(1000)
        .saturating_add(time.tv_nsec / 1_000_000);
    (*boot, u64::try_from(ms).unwrap_or(0))
}

/// Elsewhere the program's own run, without the time that the machine slept.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn since_boot() -> (Option<[u8; 16]>, u64) {
    (None, since_start())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn since_start() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// How far the wall clock and the clock of deadlines may be apart and still count as the same,
/// seconds.
const SAME: u64 = 120;

/// Keeps the bytes of a clock; gives why it could not.
type Save = dyn Fn(&[u8]) -> Result<(), String> + Send + Sync;

/// Time that surely passed, kept over restarts.
pub struct KeptClock {
    save: Box<Save>,
    timeline: Mutex<Timeline>,
    /// When it was kept last.
    kept: Mutex<Instant>,
}

/// How often it is kept, at most: what a crash loses of it makes deadlines late by as much.
const KEEP_EVERY: std::time::Duration = std::time::Duration::from_secs(60);

impl KeptClock {
    /// Goes on from what a metadata store has, and keeps it there.
    pub fn open(storage: Arc<dyn Storage>) -> Result<Self, StorageError> {
        let kept = storage.get(TIMELINE, LAST)?;
        let save = move |bytes: &[u8]| {
            let mut batch = Batch::new();
            batch.put(TIMELINE, LAST, bytes);
            storage
                .commit_lazily(batch)
                .map_err(|error| error.to_string())
        };
        Ok(Self::new(kept.as_deref(), save))
    }

    /// Goes on from bytes that were kept (damaged ones count as none), and has them kept by `save`.
    pub fn new(
        kept: Option<&[u8]>,
        save: impl Fn(&[u8]) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        let timeline = Timeline::begin(kept.and_then(Kept::decode), read_clocks());
        let (timeline, kept) = (Mutex::new(timeline), Mutex::new(Instant::now()));
        let clock = Self {
            save: Box::new(save),
            timeline,
            kept,
        };
        clock.keep();
        clock
    }

    fn lock(&self) -> MutexGuard<'_, Timeline> {
        self.timeline.lock()
    }

    /// The time now, milliseconds: Unix time where the wall clock has always been right.
    pub fn millis(&self) -> u64 {
        let now = self.lock().read(read_clocks());
        let due = {
            let mut kept = self.kept.lock();
            let due = kept.elapsed() >= KEEP_EVERY;
            if due {
                *kept = Instant::now();
            }
            due
        };
        if due {
            self.keep();
        }
        now
    }

    /// The same in seconds.
    pub fn seconds(&self) -> u64 {
        self.millis() / 1000
    }

    /// Returns what the wall clock says at a time of this clock, Unix seconds: for people, and for
    /// what others are told. Where the two are less than two minutes apart they are taken for
    /// the same, so that what is told does not change by itself.
    pub fn to_wall(&self, seconds: u64) -> u64 {
        let mut timeline = self.lock();
        timeline.read(read_clocks());
        let wall = timeline.to_wall(seconds.saturating_mul(1000)) / 1000;
        if wall.abs_diff(seconds) < SAME {
            seconds
        } else {
            wall
        }
    }

    /// Keeps it now: before the program ends. What cannot be kept makes deadlines late after a
    /// restart of the machine.
    pub fn keep(&self) {
        let kept = self.lock().kept();
        if let Err(error) = (self.save)(&kept.encode()) {
            tracing::warn!(%error, "how much time passed could not be kept");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStorage;
    use hither_proto::timeline::MAX_GAP_MS;

    #[test]
    fn a_clock_goes_on_where_it_was() {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
        let clock = KeptClock::open(Arc::clone(&storage)).unwrap();
        let begun = clock.millis();
        assert!(begun.abs_diff(read_clocks().wall_ms) < 10_000);
        assert!(
            clock
                .to_wall(clock.seconds() + 60)
                .abs_diff(read_clocks().wall_ms / 1000 + 60)
                < 10
        );
        clock.keep();
        let again = KeptClock::open(Arc::clone(&storage)).unwrap();
        assert!(again.millis() >= begun);
        // What is kept is of another run of the machine, and far too old: nothing counts.
        let reading = Reading {
            boot: Some([1; 16]),
            since_boot_ms: 0,
            wall_ms: 0,
        };
        let old = Kept {
            time_ms: 5,
            reading,
            wall_ms: 0,
        };
        let mut batch = Batch::new();
        batch.put(TIMELINE, LAST, &old.encode());
        storage.commit(batch).unwrap();
        assert!(KeptClock::open(storage).unwrap().millis() < MAX_GAP_MS);
    }
}
