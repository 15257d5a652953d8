//! What the relay uses, as the kernel says.

use crate::{Failure, Options};
use std::time::Instant;

/// Memory and processor time of a process.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    pub rss_kib: u64,
    /// User and system.
    pub cpu_ms: u64,
    at: Instant,
}

impl Usage {
    /// Of the relay, now.
    pub fn now(options: &Options) -> Result<Self, Failure> {
        let pid: u32 = match (&options.pid_file, options.pid) {
            (Some(file), _) => std::fs::read_to_string(file)?.trim().parse()?,
            (None, Some(pid)) => pid,
            (None, None) => {
                return Ok(Self {
                    rss_kib: 0,
                    cpu_ms: 0,
                    at: Instant::now(),
                });
            }
        };
        Self::of(pid)
    }

    /// Of a process, now.
    pub fn of(pid: u32) -> Result<Self, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let rss = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .ok_or("no VmRSS")?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        // After the name: state first, utime and stime are the 12th and 13th word, in hundredths of
        // a second.
        let ticks: Result<Vec<u64>, _> = after_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(str::parse)
            .collect();
        Ok(Self {
            rss_kib: rss.trim().trim_end_matches(" kB").parse()?,
            cpu_ms: ticks?.iter().sum::<u64>() * 10,
            at: Instant::now(),
        })
    }

    /// Percent of one core since then.
    pub fn percent_since(&self, before: &Self) -> f64 {
        let passed = self.at.duration_since(before.at).as_secs_f64() * 1000.0;
        self.cpu_ms.saturating_sub(before.cpu_ms) as f64 / passed.max(1.0) * 100.0
    }
}
