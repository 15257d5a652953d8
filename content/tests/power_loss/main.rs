//! Does a store keep its word when the power goes? Root and loop devices needed; says so and passes
//! without them.
//!
//! Each round mounts a file system from an image file, lets a child process write numbered batches
//! and report each acknowledged one through a pipe, then shuts the file system down in the middle
//! of it without writing back its journal or its caches, mounts it again, and compares what is in
//! the store with what had been acknowledged. Four rounds follow each other on one store, then a
//! fresh one is made.
//!
//! `HITHER_POWER_ROUNDS` (default 4 per engine), `HITHER_POWER_SEED`, `HITHER_POWER_FS` (`ext4` or
//! `xfs`), `HITHER_POWER_VALUE` (longest value, bytes; default 320 KiB) and
//! `HITHER_POWER_REQUIRED=1` (being unable to run is a failure) change what is done.

// This whole program is a test: it fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod batches;
mod child;
mod disk;
mod ledger;
mod power;

use disk::Disk;
use hither_content::storage::Engine;
use ledger::Ledger;
use power::{ROUNDS_PER_STORE, Random, number};
use std::process::Command;

#[test]
fn sled_after_power_loss() {
    // Not the engine of the daemon: its failures are counted and shown, `DEFAULT_ENGINE` says what
    // came of it.
    run(Engine::Sled);
}

#[test]
fn redb_after_power_loss() {
    let failures = run(Engine::Redb);
    assert!(failures.is_empty(), "{failures:#?}");
}

/// Not a test: what the child processes run.
#[test]
#[ignore = "run by the tests of this file as their child process"]
fn child_process() {
    child::run();
}

/// Runs all rounds with one engine and returns what went wrong, one line each.
fn run(engine: Engine) -> Vec<String> {
    let rounds = number("HITHER_POWER_ROUNDS", 4) as u32;
    let file_system = power::file_system();
    let mut random = Random::seeded();
    eprintln!(
        "{engine:?} on {file_system}: {rounds} rounds, HITHER_POWER_SEED={}",
        random.0
    );
    let mut failures = Vec::new();
    let mut acknowledged = 0;
    let mut round = 0;
    while round < rounds {
        let Some(mut disk) = power::disk() else {
            return Vec::new();
        };
        let mut ledger = Ledger::default();
        for life in 0..ROUNDS_PER_STORE.min(rounds - round) {
            round += 1;
            let writing = child(engine, &disk, "write", life);
            power::cut(writing, &mut disk, &mut random)
                .iter()
                .for_each(|line| ledger.read(line));
            let found = match power::read_back(child(engine, &disk, "verify", 0)) {
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
        acknowledged += ledger.durable();
    }
    let mut broken: Vec<_> = failures
        .iter()
        .filter_map(|line| line.split(':').next())
        .collect();
    broken.dedup();
    let broken = broken.len();
    eprintln!(
        "{engine:?} on {file_system}: {broken} of {rounds} rounds failed, {acknowledged} batches acknowledged"
    );
    failures.iter().for_each(|line| eprintln!("  {line}"));
    failures
}

fn child(engine: Engine, disk: &Disk, task: &str, life: u32) -> Command {
    let mut child = power::child(disk, task, life);
    child.env("HITHER_POWER_ENGINE", format!("{engine:?}"));
    child
}
