//! Does a relay keep its word when the power goes? Messages that were acknowledged, messages that
//! were forgotten, and chunks that were reported as stored, on a file system that loses its power.
//! Root and loop devices needed; says so and passes without them.
//!
//! How the power is lost, and what the `HITHER_POWER_…` variables change, is said in
//! `content/tests/power_loss`.
#![cfg(target_os = "linux")]
// This whole program is a test: it fails by panicking, and its child speaks on standard output.
// Other tests use more of what is shared.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

mod child;
#[path = "../store/common.rs"]
mod common;
#[path = "../../../content/tests/power_loss/disk.rs"]
mod disk;
mod ledger;
#[path = "../../../content/tests/power_loss/power.rs"]
mod power;

use ledger::Ledger;
use power::{ROUNDS_PER_STORE, Random, number};

#[test]
fn a_relay_after_power_loss() {
    let rounds = number("HITHER_POWER_ROUNDS", 4) as u32;
    let mut random = Random::seeded();
    eprintln!(
        "relay on {}: {rounds} rounds, HITHER_POWER_SEED={}",
        power::file_system(),
        random.0
    );
    let (mut failures, mut round, mut promised) = (Vec::new(), 0, [0; 3]);
    while round < rounds {
        let Some(mut disk) = power::disk() else {
            return;
        };
        let mut ledger = Ledger::default();
        for life in 0..ROUNDS_PER_STORE.min(rounds - round) {
            round += 1;
            let writing = power::child(&disk, "write", life);
            power::cut(writing, &mut disk, &mut random)
                .iter()
                .for_each(|line| ledger.read(line));
            let found = match power::read_back(power::child(&disk, "verify", life)) {
                Ok(lines) => ledger.compare(&lines),
                Err(what) => vec![what],
            };
            let failed = !found.is_empty();
            failures.extend(
                found
                    .into_iter()
                    .map(|what| format!("round {round}: {what}")),
            );
            if failed {
                break; // what is built on a broken store says nothing more
            }
        }
        promised
            .iter_mut()
            .zip(ledger.promised())
            .for_each(|(all, some)| *all += some);
    }
    let [mail, chunks, versions] = promised;
    eprintln!(
        "{mail} messages, {chunks} chunks and {versions} versions acknowledged in {rounds} rounds"
    );
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(
        rounds < 4 || (mail > 0 && chunks > 0 && versions > 0),
        "nothing was ever acknowledged"
    );
}

/// Not a test: what the child processes run.
#[test]
#[ignore = "run by the test of this file as its child process"]
fn child_process() {
    child::run();
}
