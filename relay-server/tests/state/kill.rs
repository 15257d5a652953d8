//! A process that appends is killed at any moment: what it was told is durable is there, once and
//! in order.

use super::common::{item, numbers};
use hither_relay::state::{Embedded, Options, State};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// The child appends to the state in this folder.
const FOLDER: &str = "HITHER_STATE_KILL_FOLDER";
/// Numbers of its items begin here.
const FIRST: &str = "HITHER_STATE_KILL_FIRST";
/// How often the child is killed.
const ROUNDS: &str = "HITHER_STATE_KILL_ROUNDS";

const CALLERS: u64 = 16;
/// Room for the numbers of one caller in one round.
const STEP: u64 = 1_000_000;
const QUEUES: u64 = 3;

/// Not a test by itself: what the killed process does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let state = Arc::new(
        Embedded::open(Path::new(&folder), &Options::default())
            .unwrap()
            .0,
    );
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let state = Arc::clone(&state);
            tokio::spawn(async move {
                let queue = format!("q/{}", caller % QUEUES);
                for number in first + caller * STEP.. {
                    let seq = state.append(&queue, item(number)).await.unwrap().seq;
                    say(&format!("+ {} {number} {seq}", caller % QUEUES));
                    if caller == 0 && number % 50 == 49 {
                        // Everything before has left the queue once this is said to be done.
                        say(&format!("? 0 0 {seq}"));
                        state.ack(&queue, seq).await.unwrap();
                        say(&format!("- 0 0 {seq}"));
                    }
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
}

/// One line in one write, so that lines of several threads do not mix.
fn say(line: &str) {
    std::io::stdout()
        .lock()
        .write_all(format!("{line}\n").as_bytes())
        .unwrap();
}

/// What the killed processes have said of one queue.
#[derive(Default)]
struct Heard {
    appended: BTreeSet<(u64, u64)>,
    /// Everything up to here may, and up to there must, have left the queue.
    asked: u64,
    acked: u64,
}

/// Starts the child and kills it after some time; returns the lines it has said.
fn run_and_kill(folder: &Path, first: u64, after: Duration) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["kill::child", "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let (mut heard, mut line) = (Vec::new(), String::new());
    let mut read = |heard: &mut Vec<String>| {
        line.clear();
        let whole = lines.read_line(&mut line).unwrap() > 0 && line.ends_with('\n');
        if whole && line.starts_with(['+', '-', '?']) {
            heard.push(line.trim_end().to_owned());
        }
        whole
    };
    // The time runs from the first append on: opening takes its own time.
    while heard.is_empty() && read(&mut heard) {}
    let killer = std::thread::spawn(move || {
        std::thread::sleep(after);
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
    });
    while read(&mut heard) {}
    killer.join().unwrap();
    heard
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let rounds: u64 = std::env::var(ROUNDS).map_or(20, |rounds| rounds.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("state");
    let mut heard: [Heard; QUEUES as usize] = Default::default();
    let mut total = 0;
    for round in 0..rounds {
        // Spread over the first 300 ms in an order that looks random (multiplicative hash).
        let after =
            Duration::from_micros(round.wrapping_add(1).wrapping_mul(0x9e37_79b9) % 300_000);
        for line in run_and_kill(&folder, round * CALLERS * STEP, after) {
            let [kind, queue, number, seq] = *line.split(' ').collect::<Vec<_>>() else {
                panic!("{line}")
            };
            let heard = &mut heard[queue.parse::<usize>().unwrap()];
            let (number, seq) = (number.parse().unwrap(), seq.parse().unwrap());
            match kind {
                "+" => {
                    assert!(heard.appended.insert((seq, number)));
                    total += 1;
                }
                "?" => heard.asked = seq,
                _ => heard.acked = seq,
            }
        }
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(check(&folder, &mut heard, round));
    }
    assert!(
        total > rounds * 10,
        "only {total} appends in {rounds} rounds: nothing was tested"
    );
    println!("{total} acknowledged appends over {rounds} kills");
}

async fn check(folder: &Path, heard: &mut [Heard], round: u64) {
    let (state, _) = Embedded::open(folder, &Options::default()).unwrap();
    for (queue, heard) in heard.iter_mut().enumerate() {
        let name = format!("q/{queue}");
        let found = numbers(&state, &name).await;
        let once: BTreeSet<_> = found.iter().copied().collect();
        assert_eq!(
            once.len(),
            found.len(),
            "round {round}: an item is there twice"
        );
        // Whole or not at all: the queue begins behind what was acked, or behind what was being
        // acked.
        let rest = |after| {
            heard
                .appended
                .range((after + 1, 0)..)
                .map(|(_, number)| *number)
                .collect::<Vec<_>>()
        };
        let told = [rest(heard.acked), rest(heard.asked)];
        let told = told
            .iter()
            .find(|told| told.first().is_none_or(|first| once.contains(first)));
        let told = told.unwrap_or_else(|| panic!("round {round}: what was acknowledged is gone"));
        let kept: Vec<_> = found
            .iter()
            .copied()
            .filter(|number| told.contains(number))
            .collect();
        assert_eq!(kept, *told, "round {round}: lost or out of order");
        // What was appended but never heard of may be there too; from now on it must be.
        let items = all(&state, &name).await;
        let depth = state.depth(&name).await.unwrap();
        assert_eq!(
            depth.items,
            items.len() as u64,
            "round {round}: totals and items disagree"
        );
        heard.appended = items;
    }
    state.close().await;
}

/// Seqs and numbers of all items.
async fn all(state: &Embedded, queue: &str) -> BTreeSet<(u64, u64)> {
    let (mut found, mut after) = (BTreeSet::new(), 0);
    loop {
        let items = state.read(queue, after, 1000, usize::MAX).await.unwrap();
        let Some(last) = items.last() else {
            return found;
        };
        after = last.seq;
        found.extend(
            items
                .iter()
                .map(|item| (item.seq, u128::from_be_bytes(item.id) as u64)),
        );
    }
}
