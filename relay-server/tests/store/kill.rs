//! A process that is killed at any moment: what it has acknowledged is there and intact.
//!
//! The test starts its own program again as the child; the child prints what it was told is stored.

use crate::common::*;
use hither_proto::{PositionRange, Space};
use hither_relay::store::Store;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const CHILD: &str = "HITHER_STORE_CHILD";
const SHARES: u8 = 4;

/// The version of a share that the child uploads in a round.
fn version_of(share: u8, round: u64) -> Version {
    let start = round * 40 + u64::from(share) * 10_000;
    version(share + 1, share, round + 1, chunks(start..start + 120))
}

/// Not a test by itself: it works until it is killed.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Ok(argument) = std::env::var(CHILD) else {
        return;
    };
    let (round, dir) = argument.split_once(' ').unwrap();
    let (round, dir) = (round.parse::<u64>().unwrap(), Path::new(dir));
    let store = Arc::new(open(dir, config()).await);
    say("open");
    let mut uploads = tokio::task::JoinSet::new();
    for share in 0..SHARES {
        let store = Arc::clone(&store);
        uploads.spawn(async move {
            // Goes through the versions of this round and the next ones, so that there is always
            // something going on.
            for round in round.. {
                upload_loudly(&store, share, round).await;
                if round % 3 == 2 {
                    store.gc().await.unwrap();
                }
            }
        });
    }
    uploads.join_next().await.unwrap().unwrap();
}

async fn upload_loudly(store: &Store, share: u8, round: u64) {
    let version = version_of(share, round);
    let (session, missing) = begin(store, user(share / 2), &version).await.unwrap();
    let reports = async {
        while let Some(stored) = session.stored().await.unwrap() {
            for position in stored.ranges.positions() {
                say(&format!(
                    "stored {share} {round} {} {position}",
                    stored.space as u8
                ));
            }
        }
    };
    let sending = async {
        for (space, position) in positions(&missing) {
            session
                .chunk(
                    space,
                    position,
                    version.space(space)[position as usize].clone(),
                )
                .await
                .unwrap();
        }
        session.end().await.unwrap();
        say(&format!("done {share} {round}"));
    };
    tokio::join!(reports, sending);
}

fn say(line: &str) {
    let mut out = std::io::stderr().lock();
    writeln!(out, "{line}").unwrap();
}

/// The statements of a child about one share: the last version that was complete, and what came
/// after it.
#[derive(Default, Clone)]
struct Said {
    done: Option<u64>,
    stored: BTreeSet<(u64, u8, u32)>,
}

fn run_child(dir: &Path, round: u64, lines: usize, said: &mut [Said]) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--nocapture"])
        .env(CHILD, format!("{round} {}", dir.display()))
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut last = round;
    let mut out = BufReader::new(child.stderr.take().unwrap()).lines();
    let note = |line: String, said: &mut [Said], last: &mut u64| {
        let words: Vec<_> = line.split(' ').collect();
        let number = |n: usize| words[n].parse::<u64>().unwrap();
        match words[0] {
            "open" => {}
            "stored" => {
                *last = number(2).max(*last);
                said[number(1) as usize].stored.insert((
                    number(2),
                    number(3) as u8,
                    number(4) as u32,
                ));
            }
            "done" => said[number(1) as usize].done = Some(number(2)),
            _ => panic!("the child says: {line}"),
        }
    };
    // Killed after so many lines, wherever it is then.
    for line in out.by_ref().take(lines) {
        note(line.unwrap(), said, &mut last);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it had said by then counts too; its last line may be cut short.
    let rest: Vec<String> = out.map_while(Result::ok).collect();
    for line in rest.split_last().map_or(&[][..], |(_, whole)| whole) {
        note(line.clone(), said, &mut last);
    }
    last
}

/// `HITHER_STORE_KILLS` sets how often the child is killed.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_chunks_survive_kills() {
    if std::env::var(CHILD).is_ok() {
        return;
    }
    let kills: u64 = std::env::var("HITHER_STORE_KILLS").map_or(15, |kills| kills.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let mut said = vec![Said::default(); usize::from(SHARES)];
    let (mut round, mut verified) = (0, 0);
    for kill in 0..kills {
        let lines = 1 + (kill * 7919 % 997) as usize;
        let path = dir.path().to_owned();
        let mut saying = said.clone();
        (round, said) = tokio::task::spawn_blocking(move || {
            let last = run_child(&path, round, lines, &mut saying);
            (last, saying)
        })
        .await
        .unwrap();
        let store = open_killed(dir.path()).await;
        for (share, said) in (0..SHARES).zip(&said) {
            verified += verify(&store, share, said).await;
        }
        let report = store.check(false).await.unwrap();
        assert!(report.is_clean(), "kill {kill}: {report:?}");
        store.gc().await.unwrap();
        for (share, said) in (0..SHARES).zip(&said) {
            verify(&store, share, said).await;
        }
        store.close().await;
    }
    println!(
        "{kills} kills, {verified} acknowledged chunks verified, up to version {}",
        round + 1
    );
    assert!(verified > 0);
}

/// The killed child's locks go with it, a moment after it.
async fn open_killed(dir: &Path) -> Store {
    for _ in 0..500 {
        if let Ok(store) = try_open(dir, config()).await {
            return store;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    open(dir, config()).await
}

/// Everything that was said to be stored of a version that nothing has replaced is there.
async fn verify(store: &Store, share: u8, said: &Said) -> usize {
    let mut verified = 0;
    let newest = said.stored.iter().map(|(round, ..)| *round).max();
    if let Some(done) = said.done {
        let complete = version_of(share, done);
        match stored(store, &complete).await {
            Some(found) => {
                assert!(found.complete);
                verified += verify_held(store, &complete, &found).await.unwrap();
            }
            // A later one was completed, and the word of it was lost with the child.
            None => {
                let found = store
                    .candidates(complete.owner, complete.share())
                    .await
                    .unwrap();
                assert!(
                    found.first().is_some_and(|found| found.complete && found.head.head().version > done + 1)
                );
            }
        }
    }
    let Some(newest) = newest.filter(|newest| said.done.is_none_or(|done| *newest > done)) else {
        return verified;
    };
    let version = version_of(share, newest);
    let Some(found) = stored(store, &version).await else {
        let found = store
            .candidates(version.owner, version.share())
            .await
            .unwrap();
        assert!(
            found
                .iter()
                .any(|found| found.head.head().version > newest + 1),
            "version {newest} is lost"
        );
        return verified;
    };
    for (_, space, position) in said.stored.iter().filter(|(round, ..)| *round == newest) {
        let space = [Space::Root, Space::Manifest, Space::Data][usize::from(*space)];
        let read = store
            .read(&found, space, PositionRange::new(*position, 1).unwrap())
            .await;
        let read = read.unwrap_or_else(|error| panic!("{space:?} {position} of {newest}: {error}"));
        assert_eq!(read[0].bytes, version.space(space)[*position as usize]);
        verified += 1;
    }
    verified
}
