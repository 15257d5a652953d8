//! Finds out whether the machine of the lab had time for it: what is asserted about speed and
//! shares holds only where it had.
//!
//! The yardstick is the processors that this test may use, over the very time that is judged: while
//! they are busy throughout, the devices of the lab wait for them and not for their links, and
//! their figures say nothing about Hither.

use std::fs;

/// Least part of the processors' time that must have been left over.
const SPARE: f64 = 0.15;

/// Time of the processors that this process may use, in ticks, since the machine began.
#[derive(Debug, Clone, Copy)]
struct Ticks {
    idle: u64,
    all: u64,
}

fn ticks() -> Option<Ticks> {
    let allowed = rustix::thread::sched_getaffinity(None).ok()?;
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let mut sum = Ticks { idle: 0, all: 0 };
    for line in stat.lines().filter(|line| line.starts_with("cpu")) {
        let mut words = line.split_ascii_whitespace();
        // "cpu" alone is the sum of all processors.
        let Some(Ok(number)) = words
            .next()
            .map(|name| name["cpu".len()..].parse::<usize>())
        else {
            continue;
        };
        if !allowed.is_set(number) {
            continue;
        }
        let times: Vec<u64> = words.take(8).map_while(|word| word.parse().ok()).collect();
        sum.idle += times.iter().skip(3).take(2).sum::<u64>(); // idle, waiting for the disk
        sum.all += times.iter().sum::<u64>();
    }
    (sum.all > 0).then_some(sum)
}

/// Watches the machine from its making on.
#[derive(Debug)]
pub struct Machine(Option<Ticks>);

impl Machine {
    /// Begins to watch.
    pub fn watch() -> Self {
        Self(ticks())
    }

    /// Returns the part of the processors' time that was left over so far, 0 to 1; 1 where the
    /// system does not tell.
    pub fn spare(&self) -> f64 {
        let (Some(begin), Some(now)) = (self.0, ticks()) else {
            return 1.0;
        };
        (now.idle.saturating_sub(begin.idle)) as f64
            / (now.all.saturating_sub(begin.all)).max(1) as f64
    }

    /// Returns whether the machine had time for what ran on it, and prints it where it had not.
    pub fn kept_up(&self) -> bool {
        let spare = self.spare();
        let kept_up = spare >= SPARE;
        if !kept_up {
            println!(
                "the processors were busy ({:.0} % left over): speed and shares are not judged",
                spare * 100.0
            );
        }
        kept_up
    }
}
