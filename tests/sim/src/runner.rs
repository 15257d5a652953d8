//! Runs seeds of scenarios, on as many threads as there are cores, and sums them up.

use super::judge::{self, Measured};
use super::scenario::{Scenario, Setup};
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How one seed of one scenario went.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The scenario's name.
    pub scenario: &'static str,
    /// The seed.
    pub seed: u64,
    /// Names everything that happened: the same seed gives the same number.
    pub hash: u64,
    /// Events that happened.
    pub events: u64,
    /// The rule that was broken, if one was.
    pub failure: Option<String>,
    /// What happened, line by line, when that was asked for.
    pub lines: Vec<String>,
    time: f64,
    origin: f64,
    waste: f64,
}

/// Runs one seed of one scenario.
pub fn run_one(scenario: &Scenario, seed: u64, keep_lines: bool) -> Outcome {
    let mut setup = Setup::new(seed, keep_lines);
    (scenario.build)(&mut setup);
    let result = judge::run(&mut setup);
    let trace = std::mem::take(&mut setup.world.trace);
    let Measured {
        time,
        origin,
        waste,
    } = result.as_ref().copied().unwrap_or_default();
    Outcome {
        scenario: scenario.name,
        seed,
        hash: trace.hash(),
        events: trace.events(),
        failure: result.err(),
        lines: trace.into_lines(),
        time,
        origin,
        waste,
    }
}

/// Most seeds of a scenario, in units of its default: the dear ones must not take the time of all
/// others.
const DEARER: u64 = 20;

/// Runs `seeds` of every scenario, from `first` on, or as many as each one says, but no more than
/// `most`. Returned in order.
pub fn run_all(
    scenarios: &[&'static Scenario],
    first: u64,
    seeds: Option<u64>,
    most: u64,
) -> Vec<Outcome> {
    let number = |s: &Scenario| seeds.map_or(s.seeds, |n| n.min(s.seeds * DEARER)).min(most);
    let work: Vec<(&'static Scenario, u64)> = scenarios
        .iter()
        .flat_map(|s| (first..first + number(s)).map(move |seed| (*s, seed)))
        .collect();
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(work.len()));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((scenario, seed)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = run_one(scenario, *seed, false);
                    done.lock()
                        .expect("no thread panics with the lock")
                        .push(outcome);
                }
            });
        }
    });
    let mut done = done.into_inner().expect("all threads ended well");
    let place = |o: &Outcome| scenarios.iter().position(|s| s.name == o.scenario);
    done.sort_by_key(|o| (place(o), o.seed));
    done
}

/// A table of what was measured.
pub struct Summary<'a>(pub &'a [Outcome]);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<18}{:>6}{:>7}   {:<22}{:<22}{:<16}",
            "scenario", "seeds", "failed", "time ÷ bound", "origin ÷ F", "waste"
        )?;
        writeln!(
            f,
            "{:<18}{:>6}{:>7}   {:<22}{:<22}{:<16}",
            "", "", "", "median / worst", "median / worst", "mean / worst"
        )?;
        for of in self.0.chunk_by(|a, b| a.scenario == b.scenario) {
            let good: Vec<&Outcome> = of.iter().filter(|o| o.failure.is_none()).collect();
            let sorted = |value: fn(&Outcome) -> f64| {
                let mut values: Vec<f64> = good.iter().map(|o| value(o)).collect();
                values.sort_by(f64::total_cmp);
                values
            };
            let (time, origin, waste) = (
                sorted(|o| o.time),
                sorted(|o| o.origin),
                sorted(|o| o.waste),
            );
            let median = |v: &[f64]| v.get(v.len() / 2).copied().unwrap_or(0.0);
            let worst = |v: &[f64]| v.last().copied().unwrap_or(0.0);
            let mean = waste.iter().sum::<f64>() / waste.len().max(1) as f64;
            writeln!(
                f,
                "{:<18}{:>6}{:>7}   {:<22}{:<22}{:<16}",
                of[0].scenario,
                of.len(),
                of.len() - good.len(),
                format!("{:.2} / {:.2}", median(&time), worst(&time)),
                format!("{:.2} / {:.2}", median(&origin), worst(&origin)),
                format!("{mean:.3} / {:.3}", worst(&waste)),
            )?;
        }
        Ok(())
    }
}
