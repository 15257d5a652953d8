//! One daemon per home: a lock that dies with the process, and the log file.

use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal};
use std::path::Path;
use tracing_subscriber::EnvFilter;

/// A log larger than this is moved to `….1` when the daemon starts, bytes.
const MAX_LOG: u64 = 10 << 20;

/// Held as long as the daemon runs.
#[derive(Debug)]
pub(crate) struct Lock(#[allow(dead_code, reason = "held for its drop")] File);

/// Takes the lock; `None` when another daemon has it.
pub(crate) fn lock(path: &Path) -> io::Result<Option<Lock>> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(Lock(file))),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Logs to a file (JSON, one object a line), or to standard error when in the foreground. A line
/// that cannot be written, as on a full disk, is lost: to say so on standard error would panic
/// whoever logs, where nobody reads that any more.
pub(crate) fn start_log(path: &Path, level: &str, foreground: bool) -> io::Result<()> {
    // A directive counts for every target that begins with it: all crates of the workspace.
    let ours = format!("warn,hither={level}");
    let filter = || EnvFilter::try_new(&ours).unwrap_or_else(|_| EnvFilter::new("info"));
    if foreground {
        let colours = io::stderr().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        tracing_subscriber::fmt()
            .with_env_filter(filter())
            .with_ansi(colours)
            .log_internal_errors(false)
            .with_writer(io::stderr)
            .init();
        return Ok(());
    }
    if std::fs::metadata(path).is_ok_and(|meta| meta.len() > MAX_LOG) {
        std::fs::rename(path, path.with_extension("log.1"))?;
    }
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter())
        .log_internal_errors(false)
        .with_writer(std::sync::Mutex::new(file))
        .init();
    Ok(())
}
