//! One JSON line for programs, one line for people.

use hither_util::sync::Mutex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

/// Prints a measurement.
pub fn tell(value: &Value, words: &str) {
    // Nobody may be reading: that is no reason to stop.
    let _ = writeln!(io::stdout().lock(), "{value}");
    say(words);
}

/// For people only.
pub fn say(words: &str) {
    let _ = writeln!(io::stderr().lock(), "{words}");
}

/// Times, to be sorted out at the end.
#[derive(Debug, Default, Clone)]
pub struct Times(Vec<u64>);

impl Times {
    pub fn add(&mut self, time: Duration) {
        self.0
            .push(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    pub fn join(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Milliseconds: p50, p99 and the longest.
    pub fn sorted(mut self) -> Spread {
        self.0.sort_unstable();
        let at = |part: f64| {
            let last = self.0.len().saturating_sub(1);
            let place = (last as f64 * part).round() as usize;
            self.0
                .get(place)
                .map_or(0.0, |micros| *micros as f64 / 1000.0)
        };
        Spread {
            p50: at(0.5),
            p99: at(0.99),
            max: at(1.0),
        }
    }
}

/// Milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

impl Spread {
    pub fn json(self) -> Value {
        json!({"p50_ms": round(self.p50), "p99_ms": round(self.p99), "max_ms": round(self.max)})
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
            self.p50, self.p99, self.max
        )
    }
}

/// Two decimals are enough.
pub fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// What went wrong, by its words.
#[derive(Debug, Default)]
pub struct Errors(Mutex<BTreeMap<String, u64>>);

impl Errors {
    pub fn add(&self, error: &impl std::fmt::Display) {
        let mut errors = self.0.lock();
        *errors.entry(error.to_string()).or_default() += 1;
    }

    pub fn total(&self) -> u64 {
        self.0.lock().values().sum()
    }

    pub fn json(&self) -> Value {
        json!(*self.0.lock())
    }
}
