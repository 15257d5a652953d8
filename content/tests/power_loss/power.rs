//! Takes the power away under a child process that writes, and lets another one read what is left.
//! Used by the test of the relay too, by its path.

use super::disk::Disk;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Rounds on one store before a fresh one is made.
pub(crate) const ROUNDS_PER_STORE: u32 = 4;
/// Longest time that opening and reading the store after a power loss may take.
const VERIFY_TIMEOUT: Duration = Duration::from_secs(60);

/// SplitMix64 (Steele, Lea, Flood 2014): small, seedable, good enough to vary a test.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Of `HITHER_POWER_SEED`, else of the clock.
    pub(crate) fn seeded() -> Self {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        Self(number("HITHER_POWER_SEED", now.as_nanos() as u64) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// A number from the environment.
pub(crate) fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

/// `ext4`, or what `HITHER_POWER_FS` says.
pub(crate) fn file_system() -> String {
    std::env::var("HITHER_POWER_FS").unwrap_or_else(|_| "ext4".into())
}

/// A fresh disk; `None`, and a word of it, where none can be made and that is no failure.
pub(crate) fn disk() -> Option<Disk> {
    match Disk::create(&file_system()) {
        Ok(disk) => Some(disk),
        Err(why) if std::env::var_os("HITHER_POWER_REQUIRED").is_none() => {
            eprintln!("SKIPPED: no power can be lost here: {why}");
            None
        }
        Err(why) => panic!("no power can be lost here: {why}"),
    }
}

/// This program again, as the child with a task; its test `child_process` does it.
pub(crate) fn child(disk: &Disk, task: &str, life: u32) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "child_process",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env("HITHER_POWER_TASK", task)
        .env("HITHER_POWER_DIR", disk.mount_point().join("store"))
        .env("HITHER_POWER_LIFE", life.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// The lines that a child says begin with `@`; its test harness prints too, also in front of the
/// first one.
fn said(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let pipe = BufReader::new(child.stdout.take().unwrap());
    pipe.lines()
        .map_while(Result::ok)
        .filter_map(|line| Some(line.split_once('@')?.1.to_owned()))
}

/// Lets a child write for a while, then takes its disk away. What it said before that, line by
/// line; its first word is `open` when it has opened what it writes to.
pub(crate) fn cut(mut child: Command, disk: &mut Disk, random: &mut Random) -> Vec<String> {
    let mut child = child.spawn().unwrap();
    let said = said(&mut child);
    let (opened_tx, opened) = std::sync::mpsc::channel();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&lines);
    let reader = std::thread::spawn(move || {
        for line in said {
            if line.starts_with("open") {
                let _ = opened_tx.send(());
            }
            heard.lock().unwrap().push(line);
        }
    });
    // Every eighth time while the store is still being opened.
    if random.below(8) != 0 {
        opened.recv_timeout(VERIFY_TIMEOUT).unwrap();
        std::thread::sleep(Duration::from_millis(50 + random.below(500)));
    } else {
        std::thread::sleep(Duration::from_millis(random.below(40)));
    }
    // A real power loss ends the process in the same instant. Here it lives on for a moment, and
    // the kernel answers some fsyncs of a file system that was shut down under them with
    // success: only what was said before counts.
    let count = lines.lock().unwrap().len();
    disk.shut_down();
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    disk.remount();
    let mut lines = std::mem::take(&mut *lines.lock().unwrap());
    lines.truncate(count);
    lines
}

/// What a child that reads says; `Err`: what went wrong with it.
pub(crate) fn read_back(mut child: Command) -> Result<Vec<String>, String> {
    // Why it failed, if it does, is shown.
    let mut child = child.stderr(Stdio::inherit()).spawn().unwrap();
    let said = said(&mut child);
    let reader = std::thread::spawn(move || said.collect::<Vec<_>>());
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > VERIFY_TIMEOUT {
            child.kill().unwrap();
            child.wait().unwrap();
            return Err("opening or reading the store hangs".into());
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let found = reader.join().unwrap();
    match status.success() {
        true => Ok(found),
        false => Err(format!(
            "reading the store ends with {status}: {:?}",
            found.last()
        )),
    }
}
