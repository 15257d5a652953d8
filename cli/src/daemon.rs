//! The daemon as a process: whether it runs, starting it, waiting until it is gone.

use crate::failure::{self, shown};
use crate::input::{RELAY_VARIABLE, TICKET_VARIABLE};
use hither_api::{ALREADY_RUNNING, ApiError, Client, ClientError, ErrorCode, Paths, Status};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// The daemon's program.
const PROGRAM: &str = "hitherd";
/// Longest time a running daemon may take to say how it is.
const ANSWER: Duration = Duration::from_secs(10);
/// Longest time a new daemon may take until it answers.
const START: Duration = Duration::from_secs(10);
/// Longest time a daemon may take to end.
const END: Duration = Duration::from_secs(30);
/// How long another daemon that is just starting may take, when ours gave up for a reason it did
/// not name.
const GRACE: Duration = Duration::from_millis(300);
/// Most bytes kept of what a daemon says before it answers.
const MAX_LAST_WORDS: u64 = 16 << 10;

/// A client of the daemon that starts it anew when it dies.
pub fn client(paths: &Paths) -> Client {
    let home = paths.clone();
    Client::of(paths).reviving(move || {
        let home = home.clone();
        Box::pin(async move { running(&home).await.map(drop) })
    })
}

/// The same for whoever only looks on: a daemon that was stopped is left alone.
pub fn client_of_the_dead(paths: &Paths) -> Client {
    let home = paths.clone();
    Client::of(paths).reviving(move || {
        let home = home.clone();
        Box::pin(async move {
            let deadline = Instant::now() + END;
            loop {
                if status(&home).await?.is_some() {
                    return Ok(());
                }
                // One that is just ending holds its lock until the last moment.
                if is_free(&home.lock()) || Instant::now() >= deadline {
                    break;
                }
                sleep(Duration::from_millis(50)).await;
            }
            // A daemon that ends in order takes away what says where it listens, before it gives
            // the lock back.
            if home.listening().exists() {
                return running(&home).await.map(drop);
            }
            Err(ClientError::NotRunning.into())
        })
    })
}

/// The daemon, which is started when none runs.
pub async fn running(paths: &Paths) -> Result<Status, ApiError> {
    match ask(paths).await? {
        Asked::Runs(status) => Ok(*status),
        Asked::Silent(_) => start(paths).await,
    }
}

/// What the daemon says of itself; `None` when none runs.
pub async fn status(paths: &Paths) -> Result<Option<Status>, ApiError> {
    match ask(paths).await? {
        Asked::Runs(status) => Ok(Some(*status)),
        Asked::Silent(stranger @ ClientError::Stranger { .. }) => Err(stranger.into()),
        Asked::Silent(_) => Ok(None),
    }
}

/// What came of asking a daemon how it is.
enum Asked {
    Runs(Box<Status>),
    /// None runs, it is just ending, or another user's is where it should be.
    Silent(ClientError),
}

async fn ask(paths: &Paths) -> Result<Asked, ApiError> {
    match timeout(ANSWER, Client::of(paths).get::<Status>("/v1/status")).await {
        // Two homes can have one folder for sockets.
        Ok(Ok(status)) if is_another(Path::new(&status.home), &paths.data) => {
            Ok(Asked::Silent(ClientError::NotRunning))
        }
        Ok(Ok(status)) => Ok(Asked::Runs(Box::new(status))),
        Ok(Err(
            error @ (ClientError::NotRunning | ClientError::Gone | ClientError::Stranger { .. }),
        )) => Ok(Asked::Silent(error)),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(
            ApiError::new(ErrorCode::NoDaemon, "The Hither daemon does not answer.")
                .with_hint("End the process hitherd, then start it with: hither up"),
        ),
    }
}

/// Returns whether a folder is there and not the other one, however they are spelled.
fn is_another(one: &Path, other: &Path) -> bool {
    let identity = |path| std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino()));
    identity(one).is_ok_and(|one| identity(other).ok() != Some(one))
}

/// The daemon's program: beside this one, else the first in `PATH`.
pub fn program() -> Result<PathBuf, ApiError> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|own| own.parent().map(|folder| folder.join(PROGRAM)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = beside
        .into_iter()
        .chain(std::env::split_paths(&path).map(|folder| folder.join(PROGRAM)));
    found
        .into_iter()
        .find(|program| program.is_file())
        .ok_or_else(|| {
            ApiError::new(
                ErrorCode::NoDaemon,
                "The daemon's program hitherd is not installed.",
            )
            .with_hint("Install it beside hither, or in a folder of PATH.")
        })
}

/// The environment of the daemon: ours, without secrets, and independent of the folder it starts
/// in.
pub fn environment() -> Vec<(&'static str, Option<PathBuf>)> {
    let home = std::env::var_os("HITHER_HOME").filter(|home| !home.is_empty());
    let home = home.and_then(|home| std::path::absolute(home).ok());
    let mut changes = vec![(TICKET_VARIABLE, None), (RELAY_VARIABLE, None)];
    if home.is_some() {
        changes.push(("HITHER_HOME", home));
    }
    changes
}

/// Starts a daemon of its own process group and waits until it answers.
async fn start(paths: &Paths) -> Result<Status, ApiError> {
    let program = program()?;
    let (mut deadline, patience) = (Instant::now() + START, Instant::now() + END);
    let mut spawned = SpawnedDaemon::spawn(&program)?;
    let mut pause = Duration::from_millis(5);
    let mut give_up = None;
    loop {
        if let Asked::Runs(status) = ask(paths).await? {
            return Ok(*status);
        }
        if give_up.is_none() && spawned.has_ended() {
            if spawned.gave_way(paths) && Instant::now() < patience {
                // Another daemon holds the lock: it is about to answer, or about to end.
                sleep(Duration::from_millis(200)).await;
                spawned = SpawnedDaemon::spawn(&program)?;
                deadline = Instant::now() + START;
                continue;
            }
            give_up = Some(Instant::now() + GRACE);
        }
        if Instant::now() >= give_up.unwrap_or(deadline) {
            return Err(spawned.reason(paths).await);
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// A daemon that has not answered yet.
#[derive(Debug)]
struct SpawnedDaemon {
    child: Child,
    ended: Option<Option<i32>>,
}

impl SpawnedDaemon {
    fn spawn(program: &Path) -> Result<Self, ApiError> {
        let mut command = Command::new(program);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        // A group of its own: Ctrl-C in this terminal is not meant for the daemon. "/": it keeps no
        // folder busy.
        command.process_group(0).current_dir("/");
        for (name, value) in environment() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let child = command.spawn().map_err(|error| {
            failure::io(
                ErrorCode::NoDaemon,
                format!("The daemon cannot be started ({})", shown(program)),
                &error,
            )
        })?;
        Ok(Self { child, ended: None })
    }

    fn has_ended(&mut self) -> bool {
        if self.ended.is_none()
            && let Ok(Some(exit)) = self.child.try_wait()
        {
            self.ended = Some(exit.code());
        }
        self.ended.is_some()
    }

    /// Whether it ended because another daemon runs for the same home.
    fn gave_way(&self, paths: &Paths) -> bool {
        self.ended == Some(Some(ALREADY_RUNNING.into())) || !is_free(&paths.lock())
    }

    /// Why it does not answer: what it said, else the end of its log.
    async fn reason(&mut self, paths: &Paths) -> ApiError {
        let words = match self.last_words().await {
            words if words.is_empty() => last_log_line(&paths.log()),
            words => words,
        };
        let what = match self.ended {
            Some(_) => "The daemon ended right after its start",
            None => "The daemon was started but does not answer",
        };
        let message = if words.is_empty() {
            format!("{what}.")
        } else {
            format!("{what}: {words}")
        };
        ApiError::new(ErrorCode::NoDaemon, failure::sentence(&message))
            .with_hint(format!("Its log is {}.", shown(&paths.log())))
    }

    /// What it wrote to standard error, on one line.
    async fn last_words(&mut self) -> String {
        let Some(stderr) = self.child.stderr.take() else {
            return String::new();
        };
        let mut bytes = Vec::new();
        // A daemon that lives on keeps the pipe open: what has come until now is all there is.
        let _ = timeout(GRACE, stderr.take(MAX_LAST_WORDS).read_to_end(&mut bytes)).await;
        one_line(&String::from_utf8_lossy(&bytes))
    }
}

/// The last three lines that say something, as one.
fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let lines = lines[lines.len().saturating_sub(3)..].join("; ");
    lines.strip_prefix("hitherd: ").unwrap_or(&lines).to_owned()
}

fn last_log_line(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let tail = &text[text.len().saturating_sub(4096)..];
    let tail = String::from_utf8_lossy(tail);
    tail.lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Waits until a daemon that was told to end is gone: nobody answers and nobody holds its lock.
pub async fn wait_until_gone(paths: &Paths, pid: u32) -> Result<(), ApiError> {
    let deadline = Instant::now() + END;
    while Instant::now() < deadline {
        let silent = matches!(
            timeout(Duration::from_secs(1), ask(paths)).await,
            Ok(Ok(Asked::Silent(_)))
        );
        if silent && is_free(&paths.lock()) {
            return Ok(());
        }
        sleep(Duration::from_millis(20)).await;
    }
    Err(ApiError::new(
        ErrorCode::NoDaemon,
        format!("The daemon (process {pid}) does not end."),
    )
    .with_hint("It may be writing a large file. Wait for it, or end the process."))
}

/// Whether nobody holds the lock; it is held for no longer than it takes to find out.
fn is_free(lock: &Path) -> bool {
    match std::fs::File::open(lock) {
        Ok(file) => !matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock)),
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_never_sees_a_ticket_or_an_invitation() {
        assert!(environment().contains(&(TICKET_VARIABLE, None)));
        assert!(environment().contains(&(RELAY_VARIABLE, None)));
    }

    #[test]
    fn a_lock_is_free_when_nobody_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        assert!(is_free(&path));
        let held = std::fs::File::create(&path).unwrap();
        held.lock().unwrap();
        assert!(!is_free(&path));
        drop(held);
        assert!(is_free(&path));
    }

    #[test]
    fn last_words_fit_one_line() {
        assert_eq!(one_line("a\n\n b \nc\nd\n"), "b; c; d");
        assert_eq!(one_line("hitherd: the disk is full\n"), "the disk is full");
        assert_eq!(one_line("\n"), "");
    }
}
