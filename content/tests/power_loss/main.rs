//! Does a store keep its word when the power goes? Root and loop devices needed; says so and passes without them.
//!
//! Each round mounts a file system from an image file, lets a child process write numbered batches and report each
//! acknowledged one through a pipe, then shuts the file system down in the middle of it without writing back its
//! journal or its caches, mounts it again, and compares what is in the store with what had been acknowledged.
//! Four rounds follow each other on one store, then a fresh one is made.
//!
//! `HITHER_POWER_ROUNDS` (default 4 per engine), `HITHER_POWER_SEED`, `HITHER_POWER_FS` (`ext4` or `xfs`),
//! `HITHER_POWER_VALUE` (longest value, bytes; default 320 KiB) and `HITHER_POWER_REQUIRED=1` (being unable to run is
//! a failure) change what is done.

// This whole program is a test: it fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod batches;
mod child;
mod disk;
mod ledger;

use disk::Disk;
use hither_content::storage::Engine;
use ledger::Ledger;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Rounds on one store before a fresh one is made.
const ROUNDS_PER_STORE: u32 = 4;
/// Longest time that opening and reading the store after a power loss may take.
const VERIFY_TIMEOUT: Duration = Duration::from_secs(60);

#[test]
fn sled_after_power_loss() {
    // Not the engine of the daemon: its failures are counted and shown, `DEFAULT_ENGINE` says what came of it.
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

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Runs all rounds with one engine and returns what went wrong, one line each.
fn run(engine: Engine) -> Vec<String> {
    let rounds = number("HITHER_POWER_ROUNDS", 4) as u32;
    let file_system = std::env::var("HITHER_POWER_FS").unwrap_or_else(|_| "ext4".into());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let mut random = batches::Random(number("HITHER_POWER_SEED", now.as_nanos() as u64) | 1);
    eprintln!("{engine:?} on {file_system}: {rounds} rounds, HITHER_POWER_SEED={}", random.0);
    let mut failures = Vec::new();
    let mut acknowledged = 0;
    let mut round = 0;
    while round < rounds {
        let mut disk = match Disk::create(&file_system) {
            Ok(disk) => disk,
            Err(why) if std::env::var_os("HITHER_POWER_REQUIRED").is_none() => {
                eprintln!("SKIPPED: no power can be lost here: {why}");
                return Vec::new();
            }
            Err(why) => panic!("no power can be lost here: {why}"),
        };
        let mut ledger = Ledger::default();
        for life in 0..ROUNDS_PER_STORE.min(rounds - round) {
            round += 1;
            lose_power(engine, &mut disk, &mut ledger, life, &mut random);
            let found = verify(engine, &disk, &mut ledger);
            let failed = !found.is_empty();
            failures.extend(found.into_iter().map(|what| format!("round {round}: {what}")));
            if failed {
                break; // what is built on a broken store says nothing more
            }
        }
        acknowledged += ledger.durable();
    }
    let mut broken: Vec<_> = failures.iter().filter_map(|line| line.split(':').next()).collect();
    broken.dedup();
    let broken = broken.len();
    eprintln!(
        "{engine:?} on {file_system}: {broken} of {rounds} rounds failed, {acknowledged} batches acknowledged"
    );
    failures.iter().for_each(|line| eprintln!("  {line}"));
    failures
}

fn spawn(engine: Engine, disk: &Disk, task: &str, life: u32) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_process", "--ignored", "--nocapture", "--test-threads=1"])
        .env("HITHER_POWER_TASK", task)
        .env("HITHER_POWER_ENGINE", format!("{engine:?}"))
        .env("HITHER_POWER_DIR", disk.mount_point().join("store"))
        .env("HITHER_POWER_LIFE", life.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Lets the child write for a while, then takes its disk away.
fn lose_power(engine: Engine, disk: &mut Disk, ledger: &mut Ledger, life: u32, random: &mut batches::Random) {
    let mut child = spawn(engine, disk, "write", life);
    let pipe = BufReader::new(child.stdout.take().unwrap());
    let (opened_tx, opened) = std::sync::mpsc::channel();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&lines);
    let reader = std::thread::spawn(move || {
        for line in pipe.lines().map_while(Result::ok) {
            // The test harness of the child prints too, also in front of the first line.
            let Some((_, line)) = line.split_once('@') else { continue };
            if line.starts_with("open") {
                let _ = opened_tx.send(());
            }
            heard.lock().unwrap().push(line.to_owned());
        }
    });
    // Every eighth time while the store is still being opened.
    if random.below(8) != 0 {
        opened.recv_timeout(VERIFY_TIMEOUT).unwrap();
        std::thread::sleep(Duration::from_millis(50 + random.below(500)));
    } else {
        std::thread::sleep(Duration::from_millis(random.below(40)));
    }
    // A real power loss ends the process in the same instant. Here it lives on for a moment, and the kernel answers
    // some fsyncs of a file system that was shut down under them with success: only what was said before counts.
    let said = lines.lock().unwrap().len();
    disk.shut_down();
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    lines.lock().unwrap()[..said].iter().for_each(|line| ledger.read(line));
    disk.remount();
}

/// What is wrong with the store, one line each.
fn verify(engine: Engine, disk: &Disk, ledger: &mut Ledger) -> Vec<String> {
    let mut child = spawn(engine, disk, "verify", 0);
    let pipe = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let lines = pipe.lines().map_while(Result::ok);
        lines.filter_map(|line| Some(line.split_once('@')?.1.to_owned())).collect::<Vec<_>>()
    });
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > VERIFY_TIMEOUT {
            child.kill().unwrap();
            child.wait().unwrap();
            return vec!["opening or reading the store hangs".into()];
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let found = reader.join().unwrap();
    if !status.success() {
        return vec![format!("reading the store ends with {status}: {:?}", found.last())];
    }
    ledger.compare(&found)
}
