//! Many engines in one process: a discrete-event simulation with virtual time and one seed.
//!
//! The engines are the real ones; what is simulated is everything around them: links with rates,
//! latency, jitter and loss, sessions and bulk streams that break, disks that take time, devices
//! that crash, stall, lie and boast. The glue does what the daemon does, in the same order and with
//! the same delays.
//!
//! Invariants of the simulation itself: nothing in here reads a clock, a file, the environment or
//! an unseeded random source, so a seed names one run for ever; a message never overtakes another
//! one of its stream; a command of an engine is only looked at, never answered, before the call
//! that gave it has returned.
//!
//! Reading order: `world` (devices, time, the queue) → `glue` (commands) → `session` and `bulk`
//! (connections) → `uplink` and `sites` (bytes) → `fetcher` (what a transfer does) → `faults` →
//! `book` (what is checked) → `scenario`, `table` and `stores` (what is run).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "test support: a broken test stops"
)]

mod book;
mod bulk;
mod content;
mod device;
mod event;
mod faults;
mod fetcher;
mod glue;
mod judge;
mod neighbours;
mod rng;
mod runner;
mod scenario;
mod session;
mod sites;
mod stores;
mod table;
mod trace;
mod uplink;
mod world;

pub use runner::{Outcome, Summary, run_all, run_one};
pub use scenario::Scenario;

/// All scenarios, in the order of the summary.
pub fn scenarios() -> impl Iterator<Item = &'static Scenario> {
    table::SCENARIOS
        .iter()
        .chain(stores::SCENARIOS)
        .chain(neighbours::SCENARIOS)
        .chain(sites::SCENARIOS)
}
