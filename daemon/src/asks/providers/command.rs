//! Programs that answer: what the user configured, or what is there. Never by a shell, bounded in
//! time and in what they give, and ended with everything they began.

use super::{Provided, files, unsupported};
use crate::asks::AskService;
use crate::asks::answering::KEEP;
use crate::failure;
use hither_api::{ApiError, ErrorCode};
use hither_proto::AskKind;
use hither_util::private_fs::create_folder;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long a program may take, beside what it records.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a file that was made for an answer is kept: a day longer than the share that gives it.
const KEEP_FILES: Duration = Duration::from_secs(KEEP + 86_400);
/// Most bytes of a program's words that are read.
const MAX_WORDS: u64 = 128 * 1024;
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
    let words = run_command(&line, &[], patience).await?;
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

/// Runs a program with its arguments and gives its words, at most 128 KiB. Whatever it began ends
/// with it, when the time is over too.
///
/// Errors: it is not there, fails, says too much, or takes too long.
pub(crate) async fn run_command(
    line: &[String],
    environment: &[(String, String)],
    patience: Duration,
) -> Result<String, ApiError> {
    let [program, arguments @ ..] = line else {
        return Err(unsupported("No program is configured."));
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    #[cfg(unix)]
    command.process_group(0);
    let shown = hither_proto::display_name(program);
    let child = command
        .spawn()
        .map_err(|error| unsupported(&format!("{shown} cannot be run: {error}.")))?;
    let mut group = Group(child);
    match timeout(patience, group.words()).await {
        Ok(Ok((status, words, _))) if status.success() => Ok(words),
        Ok(Ok((status, _, trouble))) => {
            let last = trouble.lines().last().unwrap_or_default();
            let last = hither_proto::display_name(last);
            let message = format!("{shown} failed ({status}): {last}");
            Err(ApiError::new(
                ErrorCode::Internal,
                message.trim_end_matches([':', ' ']),
            ))
        }
        Ok(Err(error)) => Err(ApiError::new(
            ErrorCode::Internal,
            format!("{shown}: {error}."),
        )),
        Err(_) => {
            let message = format!("{shown} took longer than {} s.", patience.as_secs());
            Err(ApiError::new(ErrorCode::Internal, message))
        }
    }
}

/// A program and everything it begins; all of it ends when this is dropped.
struct Group(Child);

impl Group {
    async fn words(&mut self) -> std::io::Result<(ExitStatus, String, String)> {
        let (out, err) = (self.0.stdout.take(), self.0.stderr.take());
        let (words, trouble) = tokio::try_join!(read(out), read(err))?;
        Ok((self.0.wait().await?, words, trouble))
    }
}

async fn read(from: Option<impl AsyncRead + Unpin>) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(MAX_WORDS + 1).read_to_end(&mut bytes).await?;
    }
    if bytes.len() as u64 > MAX_WORDS {
        return Err(std::io::Error::other("it says more than fits an answer"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

impl Drop for Group {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(group) = self
            .0
            .id()
            .and_then(|id| rustix::process::Pid::from_raw(id as i32))
        {
            // Its group: it may have left something behind.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    async fn run(words: &[&str], patience: Duration) -> Result<String, ApiError> {
        run_command(&line(words), &[], patience).await
    }

    #[tokio::test]
    async fn a_program_is_run_as_it_is_and_its_words_are_the_answer() {
        let said = run(&["echo", "$HOME;", "`id`"], PATIENCE).await.unwrap();
        assert_eq!(said, "$HOME; `id`\n");
        let error = run(&["false"], PATIENCE).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Internal);
        let error = run(&["/nowhere/at/all"], PATIENCE).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Refused);
        assert!(
            run(&["cat", "/dev/zero"], PATIENCE).await.is_err(),
            "too much"
        );
    }

    #[tokio::test]
    async fn everything_it_began_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", mark.display());
        let error = run(&["sh", "-c", &script], Duration::from_secs(2)).await;
        assert!(error.unwrap_err().message.contains("longer than"));
        let child: i32 = std::fs::read_to_string(mark)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        let child = rustix::process::Pid::from_raw(child).unwrap();
        // Ended; whether init has taken it up already is not this program's.
        let gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.as_raw_pid()));
            stat.map_or(true, |stat| stat.contains(") Z "))
        };
        timeout(Duration::from_secs(5), async {
            while !gone() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
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
