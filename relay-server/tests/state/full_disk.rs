//! A real file system without space. Needs to mount one: says so and does nothing where it may not.

use super::common::{item, numbers, soon};
use bytes::Bytes;
use hither_relay::state::{Embedded, NewItem, Options, State, StateError};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Size of the file system, MiB.
const SIZE: usize = 24;
/// Size of a file that stands in the way until it is removed, MiB.
const BALLAST: usize = 8;

/// A small mounted file system; unmounted when dropped.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={SIZE}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(dir.path())
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            std::fs::write(dir.path().join("ballast"), vec![1; BALLAST << 20]).unwrap();
            return Some(Self(dir));
        }
        eprintln!("not tested: may not mount a file system here");
        None
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join("state")
    }

    fn make_space(&self) {
        std::fs::remove_file(self.0.path().join("ballast")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn large(number: u64) -> NewItem {
    NewItem {
        value: Bytes::from(vec![number as u8; 100_000]),
        ..item(number)
    }
}

/// Appends until there is no space; returns how many were.
async fn fill(state: &dyn State) -> u64 {
    for number in 0.. {
        match soon("an append", state.append("q", large(number))).await {
            Ok(_) => {}
            Err(StateError::NoSpace) => return number,
            Err(error) => panic!("{error}"),
        }
        assert!(number < 1000, "the disk does not fill");
    }
    0
}

async fn append_when_possible(state: &dyn State, number: u64) {
    let appended = async {
        while state.append("q", large(number)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    soon("space again", appended).await;
}

/// With the disk itself refusing: what was acknowledged is there and can be read, and writing goes
/// on when there is space.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn survives_a_disk_without_any_space() {
    let Some(small) = Small::mount() else { return };
    let (state, _) = Embedded::open(&small.folder(), &Options { reserve_bytes: 0 }).unwrap();
    let count = fill(&state).await;
    assert!(count > 10, "{count}");
    let expected: Vec<_> = (0..count).collect();
    assert_eq!(numbers(&state, "q").await, expected);
    small.make_space();
    append_when_possible(&state, count).await;
    state.close().await;
    let (state, _) = Embedded::open(&small.folder(), &Options { reserve_bytes: 0 }).unwrap();
    assert_eq!(numbers(&state, "q").await, (0..=count).collect::<Vec<_>>());
    state.close().await;
}

/// With some space kept back: removing goes on although nothing is taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_back_is_for_removing() {
    let Some(small) = Small::mount() else { return };
    let options = Options {
        reserve_bytes: 4 << 20,
    };
    let (state, _) = Embedded::open(&small.folder(), &options).unwrap();
    let count = fill(&state).await;
    assert!(count > 10, "{count}");
    assert!(state.append("q", large(0)).await.unwrap().duplicate);
    assert_eq!(state.ack("q", u64::MAX).await.unwrap(), count);
    assert_eq!(numbers(&state, "q").await, [0u64; 0]);
    small.make_space();
    append_when_possible(&state, count).await;
    state.close().await;
}
