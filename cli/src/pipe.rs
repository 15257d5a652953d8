//! Data that comes through a pipe: spooled into a file of the daemon's, which is then shared or sent.
//!
//! The file lies in a folder of its own below [`Paths::piped`](hither_api::Paths::piped). Until
//! somebody else has taken it over ([`Spooled::keep`]) it is removed with its handle, and locked, so
//! that no daemon that starts meanwhile takes it for left over.

use crate::failure;
use crate::output::Output;
use crate::show::{Progress, ProgressState};
use hither_api::{ApiError, ErrorCode, Phase};
use hither_proto::EntryName;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How much is read at once, bytes.
const BUFFER: usize = 256 << 10;
/// How often is shown how much has come.
const SHOWN: Duration = Duration::from_millis(200);

/// A file with everything that came through the pipe.
#[derive(Debug)]
pub struct Spooled {
    folder: PathBuf,
    path: PathBuf,
    /// Keeps the lock.
    _file: Arc<File>,
    kept: bool,
}

impl Spooled {
    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Somebody else removes it from now on.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        if !self.kept {
            // A folder that cannot be removed now, the daemon removes when it starts.
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// Reads standard input to its end into a file called `name`, below `piped`, and shows how much has
/// come. What was spooled is gone when this is dropped before its end.
///
/// Errors: the name cannot be one of a file ([`ErrorCode::BadRequest`]), there is no room
/// ([`ErrorCode::NoSpace`]), or the pipe or the file fails.
pub async fn spool(out: &Output, piped: &Path, name: &str) -> Result<Spooled, ApiError> {
    let name = EntryName::parse(name).map_err(|error| {
        let message = format!("The name cannot be used: {error}.");
        ApiError::new(ErrorCode::BadRequest, message)
    })?;
    let spooled = create(piped, &name).map_err(|error| failed(&error))?;
    let (count, begun) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let (sender, mut receiver) = oneshot::channel();
    let (file, counter) = (Arc::clone(&spooled._file), Arc::clone(&count));
    // A thread of its own: reading a pipe cannot be cancelled, and the program may end before it
    // returns.
    std::thread::spawn(move || {
        let _ = sender.send(copy(&mut std::io::stdin().lock(), &file, &counter));
    });
    let mut progress = Progress::new(out);
    loop {
        tokio::select! {
            copied = &mut receiver => {
                let copied = copied.unwrap_or_else(|_| Err(ErrorKind::BrokenPipe.into()));
                copied.map_err(|error| failed(&error))?;
                return Ok(spooled);
            }
            () = tokio::time::sleep(SHOWN) => progress.show(&standing(&count, begun)),
        }
    }
}

fn standing(count: &AtomicU64, begun: Instant) -> ProgressState {
    let bytes = count.load(Ordering::Relaxed);
    ProgressState {
        phase: Phase::Reading,
        bytes,
        total: 0,
        files: 0,
        rate: (bytes as f64 / begun.elapsed().as_secs_f64().max(0.001)) as u64,
        remaining: None,
        devices: 0,
    }
}

fn create(piped: &Path, name: &EntryName) -> std::io::Result<Spooled> {
    // Numbers tell those of one moment apart; a folder that exists is another's.
    let stem = hither_util::clock::unix_millis();
    let folder = (0..1000)
        .map(|number| piped.join(format!("{stem}-{}-{number}", std::process::id())))
        .find(|folder| !folder.exists())
        .ok_or(ErrorKind::AlreadyExists)?;
    hither_util::private_fs::create_folder(&folder)?;
    let path = folder.join(name.as_str());
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path).and_then(|file| {
        file.lock()?;
        Ok(file)
    });
    match file {
        Ok(file) => Ok(Spooled {
            folder,
            path,
            _file: Arc::new(file),
            kept: false,
        }),
        Err(error) => {
            let _ = std::fs::remove_dir_all(&folder); // It is empty.
            Err(error)
        }
    }
}

fn copy(from: &mut impl Read, mut file: &File, count: &AtomicU64) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return file.sync_all(),
            Ok(read) => {
                file.write_all(&buffer[..read])?;
                count.fetch_add(read as u64, Ordering::Relaxed);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn failed(error: &std::io::Error) -> ApiError {
    let full = matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    );
    let code = if full {
        ErrorCode::NoSpace
    } else {
        ErrorCode::Unreadable
    };
    failure::io(code, "What comes through the pipe cannot be kept", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_kept_is_removed_and_only_its_user_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let name = EntryName::parse("backup.tar").unwrap();
        let spooled = create(folder.path(), &name).unwrap();
        let count = AtomicU64::new(0);
        copy(&mut &b"all of it"[..], &spooled._file, &count).unwrap();
        assert_eq!(std::fs::read(spooled.path()).unwrap(), b"all of it");
        assert_eq!(count.into_inner(), 9);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            (mode(spooled.path()), mode(&spooled.folder)),
            (0o600, 0o700)
        );
        assert!(
            File::open(spooled.path()).unwrap().try_lock().is_err(),
            "it is locked"
        );
        let other = create(folder.path(), &name).unwrap();
        assert_ne!(other.path(), spooled.path());
        let path = other.path().to_owned();
        other.keep();
        drop(spooled);
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1);
        assert!(path.exists());
    }

    #[test]
    fn a_full_disk_is_said_to_be_full() {
        let full = failed(&ErrorKind::StorageFull.into());
        assert_eq!(
            (full.code, full.code.exit()),
            (ErrorCode::NoSpace, hither_api::Exit::NoSpace)
        );
        assert_eq!(
            failed(&ErrorKind::BrokenPipe.into()).code,
            ErrorCode::Unreadable
        );
    }
}
