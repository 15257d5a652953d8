//! Programs that answer: what the user configured, or what is there (`crate::program` runs them).

use super::{Provided, files};
use crate::asks::AskService;
use crate::asks::answering::KEEP;
use crate::failure;
use crate::program::run_command;
use hither_api::{ApiError, ErrorCode};
use hither_proto::AskKind;
use hither_util::private_fs::create_folder;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long a program may take, beside what it records.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a file that was made for an answer is kept: a day longer than the share that gives it.
const KEEP_FILES: Duration = Duration::from_secs(KEEP + 86_400);
/// Longest file a program may make, bytes.
const MAX_FILE: u64 = 1 << 30;

/// Runs what the user configured for a kind. With `{out}` in it, it writes that file; without, its
/// words are the answer. `{seconds}` is how long is recorded.
pub(super) async fn provide(
    service: &Arc<AskService>,
    kind: AskKind,
    line: &[String],
    seconds: Option<u32>,
) -> Result<Provided, ApiError> {
    let makes_file = line.iter().any(|word| word.contains("{out}"));
    let ending = match kind {
        AskKind::Photo | AskKind::Qr => "jpg",
        AskKind::Video => "mp4",
        AskKind::Audio => "ogg",
        _ => "out",
    };
    let out = new_file(service, kind, ending)?;
    let line = fill(line, &out, seconds);
    let patience = PATIENCE + Duration::from_secs(u64::from(seconds.unwrap_or_default()));
    let words = run_command(&line, &[], None, patience).await?;
    if makes_file {
        return made(out).await;
    }
    Ok(Provided::Text(words))
}

/// The place of a file that is made for an answer. Files of earlier answers go when the shares that
/// gave them have ended.
pub(super) fn new_file(
    service: &AskService,
    kind: AskKind,
    ending: &str,
) -> Result<PathBuf, ApiError> {
    create_folder(&service.scratch).map_err(failure::internal)?;
    remove_old(&service.scratch, KEEP_FILES);
    let now = chrono::Local::now().format("%Y-%m-%d %H.%M.%S%.3f");
    Ok(service
        .scratch
        .join(format!("{} {now}.{ending}", kind.name())))
}

/// Removes the files of a folder that were made longer ago than `age`. What cannot be removed stays.
fn remove_old(folder: &Path, age: Duration) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let modified = entry.metadata().and_then(|meta| meta.modified());
        let is_old = modified.is_ok_and(|at| at.elapsed().is_ok_and(|passed| passed > age));
        if is_old && let Err(error) = std::fs::remove_file(entry.path()) {
            tracing::debug!(%error, "the file of an earlier answer stays");
        }
    }
}

/// The file that a program made.
pub(super) async fn made(out: PathBuf) -> Result<Provided, ApiError> {
    let length = tokio::fs::metadata(&out).await.map(|meta| meta.len());
    match length {
        Ok(1..=MAX_FILE) => {}
        Ok(_) | Err(_) => {
            let message = "The program that answers made no file.";
            return Err(ApiError::new(ErrorCode::Internal, message));
        }
    }
    let found = tokio::task::spawn_blocking(move || files::made(&out))
        .await
        .map_err(failure::internal)??;
    Ok(Provided::Files(vec![found]))
}

/// A configured line with its places filled.
pub(super) fn fill(line: &[String], out: &Path, seconds: Option<u32>) -> Vec<String> {
    let out = out.to_string_lossy();
    let seconds = seconds.unwrap_or_default().to_string();
    line.iter()
        .map(|word| word.replace("{out}", &out).replace("{seconds}", &seconds))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn files_of_earlier_answers_go_when_they_are_old() {
        let folder = tempfile::tempdir().unwrap();
        let [old, new] = ["old.jpg", "new.jpg"].map(|name| folder.path().join(name));
        for file in [&old, &new] {
            std::fs::write(file, "x").unwrap();
        }
        let file = std::fs::File::options().write(true).open(&old).unwrap();
        file.set_modified(std::time::SystemTime::now() - 2 * KEEP_FILES)
            .unwrap();
        remove_old(folder.path(), KEEP_FILES);
        assert!(!old.exists() && new.exists());
    }

    #[test]
    fn places_are_filled_and_nothing_else() {
        let filled = fill(
            &line(&["rec", "-t", "{seconds}", "{out}", "$X"]),
            Path::new("/a b/c.ogg"),
            Some(7),
        );
        assert_eq!(filled, ["rec", "-t", "7", "/a b/c.ogg", "$X"]);
    }
}
