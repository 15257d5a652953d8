//! Time that surely passed: what deadlines are counted on.
//!
//! A wall clock may stand at 1970 because the machine has no clock of its own, be set an hour or 73
//! years wrong, or jump. What cannot be undone (a message is given up, a share ends, something is
//! forgotten) must not follow from its word alone. A [`Timeline`] counts the time that passed as
//! far as this device can know, on a scale of its own that begins at the wall clock's time when it
//! is first used, and only grows:
//!
//! 1. While the machine runs, also from one run of the program to the next, the time since the
//!    machine began counts, with the time that it slept. The wall clock is not asked.
//! 2. Over a restart of the machine the wall clock's difference counts, if it is at most
//!    [`MAX_GAP_MS`]. If it is more the clock was set, and nothing counts. If the clock is earlier
//!    than when it was last seen it may be set right soon: that is waited for, up to
//!    [`PATIENCE_MS`], and then nothing counts.
//!
//! So a deadline may be late when a wall clock was wrong; it is early by as much as the wall clock
//! went ahead over a restart of the machine, at most [`MAX_GAP_MS`]. (SPEC.md, "Clocks".)

/// Longest time for which a machine can have been off, milliseconds: 400 days. Beyond it a clock
/// was set.
pub const MAX_GAP_MS: u64 = 400 * 24 * 3600 * 1000;

/// How long a machine that began with a clock that is too early may run before that clock is taken
/// as it is, milliseconds: a day.
pub const PATIENCE_MS: u64 = 24 * 3600 * 1000;

/// What the machine's clocks say at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Names this run of the machine; `None`: the system does not tell, and each run of the
    /// program counts as another one.
    pub boot: Option<[u8; 16]>,
    /// Time since the machine (or, without `boot`, the program) began, sleep included where the
    /// system tells, milliseconds.
    pub since_boot_ms: u64,
    /// The wall clock, Unix milliseconds.
    pub wall_ms: u64,
}

/// What is kept of a timeline, durably, now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Its time then, milliseconds.
    pub time_ms: u64,
    /// The clocks then.
    pub reading: Reading,
    /// The latest time of the wall clock that counted, Unix milliseconds.
    pub wall_ms: u64,
}

impl Kept {
    /// Length of its encoding, bytes.
    pub const LEN: usize = 1 + 16 + 4 * 8;

    /// The bytes to be kept.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let Reading {
            boot,
            since_boot_ms,
            wall_ms,
        } = self.reading;
        bytes[0] = u8::from(boot.is_some());
        bytes[1..17].copy_from_slice(&boot.unwrap_or_default());
        for (at, number) in [self.time_ms, since_boot_ms, wall_ms, self.wall_ms]
            .into_iter()
            .enumerate()
        {
            bytes[17 + 8 * at..25 + 8 * at].copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    /// Parses what was kept; `None` when it is damaged.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LEN] = bytes.try_into().ok()?;
        let boot = (bytes[0] != 0)
            .then(|| bytes[1..17].try_into())
            .transpose()
            .ok()?;
        let number = |at: usize| {
            Some(u64::from_be_bytes(
                bytes[17 + 8 * at..25 + 8 * at].try_into().ok()?,
            ))
        };
        let reading = Reading {
            boot,
            since_boot_ms: number(1)?,
            wall_ms: number(2)?,
        };
        Some(Self {
            time_ms: number(0)?,
            reading,
            wall_ms: number(3)?,
        })
    }
}

/// Counts the time that surely passed.
#[derive(Debug, Clone)]
pub struct Timeline {
    time_ms: u64,
    last: Reading,
    /// The wall clock's time up to which everything has been counted.
    counted_wall_ms: u64,
    /// The machine began anew, and how long it was off is not known yet: what was counted since
    /// then, milliseconds.
    gap: Option<u64>,
}

impl Timeline {
    /// Goes on from what was kept, or begins.
    pub fn begin(kept: Option<Kept>, now: Reading) -> Self {
        let Some(kept) = kept else {
            return Self {
                time_ms: now.wall_ms,
                last: now,
                counted_wall_ms: now.wall_ms,
                gap: None,
            };
        };
        let same_run = now.boot.is_some() && now.boot == kept.reading.boot;
        let (last, gap) = match same_run {
            true => (kept.reading, None),
            // The machine began at some time before now: what it counted since then is the least
            // that passed.
            false => (
                Reading {
                    since_boot_ms: 0,
                    ..now
                },
                Some(0),
            ),
        };
        let mut timeline = Self {
            time_ms: kept.time_ms,
            last,
            counted_wall_ms: kept.wall_ms,
            gap,
        };
        timeline.read(now);
        timeline
    }

    /// The time now, milliseconds; never less than before.
    pub fn read(&mut self, now: Reading) -> u64 {
        let passed = now.since_boot_ms.saturating_sub(self.last.since_boot_ms);
        self.time_ms = self.time_ms.saturating_add(passed);
        self.last = now;
        match self.gap {
            Some(counted) => self.close_gap(counted.saturating_add(passed), now.wall_ms),
            // A wall clock that is set while the machine runs is not asked; where it goes on from
            // is remembered.
            None => self.counted_wall_ms = now.wall_ms,
        }
        self.time_ms
    }

    /// Counts how long the machine was off, as soon as the wall clock can be believed.
    fn close_gap(&mut self, counted: u64, wall_ms: u64) {
        self.gap = Some(counted);
        match wall_ms.checked_sub(self.counted_wall_ms.saturating_add(counted)) {
            Some(gap) if gap <= MAX_GAP_MS => self.time_ms = self.time_ms.saturating_add(gap),
            None if counted < PATIENCE_MS => return,
            Some(_) | None => {}
        }
        (self.counted_wall_ms, self.gap) = (wall_ms, None);
    }

    /// Returns what is to be kept.
    pub const fn kept(&self) -> Kept {
        // While it is not known how long the machine was off, the next run asks anew: from where it
        // was last known, and from what was counted since.
        let counted = match self.gap {
            Some(counted) => counted,
            None => 0,
        };
        let wall_ms = self.counted_wall_ms.saturating_add(counted);
        Kept {
            time_ms: self.time_ms,
            reading: self.last,
            wall_ms,
        }
    }

    /// Returns what the wall clock says, or will say, at a time of this timeline, Unix
    /// milliseconds.
    pub const fn to_wall(&self, time_ms: u64) -> u64 {
        if time_ms >= self.time_ms {
            self.last.wall_ms.saturating_add(time_ms - self.time_ms)
        } else {
            self.last.wall_ms.saturating_sub(self.time_ms - time_ms)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_000_000_000;
    const HOUR: u64 = 3600 * 1000;
    const DAY: u64 = 24 * HOUR;
    const YEAR: u64 = 365 * DAY;

    fn at(boot: u8, since_boot_ms: u64, wall_ms: u64) -> Reading {
        Reading {
            boot: Some([boot; 16]),
            since_boot_ms,
            wall_ms,
        }
    }

    #[test]
    fn it_is_the_wall_clock_where_that_is_right() {
        let mut timeline = Timeline::begin(None, at(1, 50, NOW));
        assert_eq!(timeline.read(at(1, 50 + HOUR, NOW + HOUR)), NOW + HOUR);
        // Another run of the program, then another one of the machine, a week later.
        let mut timeline = Timeline::begin(Some(timeline.kept()), at(1, 50 + DAY, NOW + DAY));
        assert_eq!(timeline.read(at(1, 50 + DAY, NOW + DAY)), NOW + DAY);
        let mut timeline = Timeline::begin(Some(timeline.kept()), at(2, 7, NOW + 8 * DAY));
        assert_eq!(
            timeline.read(at(2, 7 + HOUR, NOW + 8 * DAY + HOUR)),
            NOW + 8 * DAY + HOUR
        );
        assert_eq!(timeline.to_wall(NOW + 9 * DAY), NOW + 9 * DAY);
    }

    #[test]
    fn field_a6_a_clock_that_is_set_while_the_machine_runs_moves_no_deadline() {
        for wrong in [0, NOW - DAY, NOW + HOUR, NOW + 73 * YEAR] {
            let mut timeline = Timeline::begin(None, at(1, 0, NOW));
            assert_eq!(timeline.read(at(1, HOUR, wrong)), NOW + HOUR, "{wrong}");
            // The program ends and begins with the wrong clock, and the clock is set right.
            let mut timeline =
                Timeline::begin(Some(timeline.kept()), at(1, 2 * HOUR, wrong + HOUR));
            assert_eq!(
                timeline.read(at(1, 3 * HOUR, NOW + 3 * HOUR)),
                NOW + 3 * HOUR,
                "{wrong}"
            );
        }
    }

    #[test]
    fn field_a6_a_machine_that_begins_in_1970_loses_nothing() {
        let timeline = Timeline::begin(None, at(1, HOUR, NOW));
        // It begins without a clock, runs for an hour, and gets the time from the network.
        let mut timeline = Timeline::begin(Some(timeline.kept()), at(2, 10, 10));
        assert_eq!(timeline.read(at(2, HOUR, HOUR)), NOW + HOUR);
        assert_eq!(
            timeline.read(at(2, HOUR, NOW + 3 * DAY)),
            NOW + 3 * DAY,
            "now it is known how long it was off"
        );
        assert_eq!(
            timeline.read(at(2, 2 * HOUR, NOW + 3 * DAY + HOUR)),
            NOW + 3 * DAY + HOUR
        );
        // The same with another run in between, that never learns the time.
        let timeline = Timeline::begin(Some(timeline.kept()), at(3, 10, 10));
        let mut timeline = Timeline::begin(Some(timeline.kept()), at(4, 10, 10));
        assert!(timeline.read(at(4, HOUR, NOW + 5 * DAY)) <= NOW + 5 * DAY);
    }

    #[test]
    fn field_a6_a_first_run_in_1970_ends_nothing_when_the_clock_is_right() {
        let mut timeline = Timeline::begin(None, at(1, 0, 0));
        let deadline = timeline.read(at(1, HOUR, HOUR)) + 7 * DAY;
        for (boot, wall) in [(1, NOW), (2, NOW + HOUR), (3, NOW + 2 * HOUR)] {
            timeline = Timeline::begin(Some(timeline.kept()), at(boot, 2 * HOUR, wall));
            assert!(timeline.read(at(boot, 3 * HOUR, wall + HOUR)) < deadline);
        }
        // From then on time counts as it passes, over restarts too.
        let mut timeline = Timeline::begin(Some(timeline.kept()), at(4, 0, NOW + 8 * DAY));
        assert!(timeline.read(at(4, 0, NOW + 8 * DAY)) > deadline);
    }

    #[test]
    fn whatever_the_clocks_say_it_never_goes_back_and_never_jumps_by_years() {
        let walls = [0, NOW - DAY, NOW, NOW + HOUR, NOW + 73 * YEAR, u64::MAX];
        for first in walls {
            for second in walls {
                for third in walls {
                    let mut timeline = Timeline::begin(None, at(1, 0, first));
                    let mut last = timeline.read(at(1, HOUR, first));
                    for (boot, wall) in [(1, second), (2, third), (3, NOW), (4, NOW + DAY)] {
                        timeline = Timeline::begin(Some(timeline.kept()), at(boot, 2 * HOUR, wall));
                        let time = timeline.read(at(boot, 3 * HOUR, wall));
                        assert!(
                            time >= last && time - last <= MAX_GAP_MS + 4 * HOUR,
                            "{first} {second} {third}"
                        );
                        last = time;
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_kept_comes_back() {
        let kept = Kept {
            time_ms: 1,
            reading: at(7, 2, 3),
            wall_ms: 4,
        };
        assert_eq!(Kept::decode(&kept.encode()), Some(kept));
        let without = Kept {
            reading: Reading {
                boot: None,
                ..kept.reading
            },
            ..kept
        };
        assert_eq!(Kept::decode(&without.encode()), Some(without));
        assert_eq!(Kept::decode(&[0; 5]), None);
    }
}
