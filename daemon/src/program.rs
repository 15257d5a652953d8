//! Programs that the user configured or that are there, run for what they say or do. Never by a
//! shell, bounded in time and in what they say, and ended with everything they began.

use hither_api::{ApiError, ErrorCode};
use std::ffi::OsString;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

/// Most bytes of a program's words that are read.
const MAX_WORDS: u64 = 128 * 1024;

/// Runs a program with its arguments and gives its words, at most 128 KiB; `input` is what it reads.
/// Whatever it began ends with it, when the time is over too.
///
/// Errors: it is not there, fails, says too much, or takes too long.
pub(crate) async fn run_command(
    line: &[String],
    environment: &[(String, OsString)],
    input: Option<&[u8]>,
    patience: Duration,
) -> Result<String, ApiError> {
    let [program, arguments @ ..] = line else {
        return Err(refused("No program is configured."));
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(match input {
            Some(_) => Stdio::piped(),
            None => Stdio::null(),
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    #[cfg(unix)]
    command.process_group(0);
    let shown = hither_proto::display_name(program);
    let child = command
        .spawn()
        .map_err(|error| refused(&format!("{shown} cannot be run: {error}.")))?;
    let mut group = Group(child);
    match timeout(patience, group.words(input)).await {
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
    async fn words(
        &mut self,
        input: Option<&[u8]>,
    ) -> std::io::Result<(ExitStatus, String, String)> {
        let (out, err) = (self.0.stdout.take(), self.0.stderr.take());
        let given = give(self.0.stdin.take(), input.unwrap_or_default());
        let (words, trouble, ()) = tokio::try_join!(read(out), read(err), given)?;
        Ok((self.0.wait().await?, words, trouble))
    }
}

/// Writes what a program reads; one that reads none of it is none the worse.
async fn give(to: Option<ChildStdin>, input: &[u8]) -> std::io::Result<()> {
    let Some(mut to) = to else {
        return Ok(());
    };
    match to.write_all(input).await {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
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

fn refused(message: &str) -> ApiError {
    ApiError::new(ErrorCode::Refused, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    async fn run(words: &[&str], patience: Duration) -> Result<String, ApiError> {
        run_command(&line(words), &[], None, patience).await
    }

    #[tokio::test]
    async fn a_program_is_run_as_it_is_and_its_words_are_the_answer() {
        let said = run(&["echo", "$HOME;", "`id`"], Duration::from_secs(20))
            .await
            .unwrap();
        assert_eq!(said, "$HOME; `id`\n");
        let error = run(&["false"], Duration::from_secs(20)).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Internal);
        let error = run(&["/nowhere/at/all"], Duration::from_secs(20))
            .await
            .unwrap_err();
        assert_eq!(error.code, ErrorCode::Refused);
        assert!(
            run(&["cat", "/dev/zero"], Duration::from_secs(20))
                .await
                .is_err(),
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

    #[tokio::test]
    async fn a_program_reads_what_it_is_given_and_need_not() {
        let said = |words: &'static [&str]| async move {
            let environment = [("HITHER_X".to_owned(), OsString::from("$(id)"))];
            let input = vec![b'a'; 1 << 20];
            let line = line(words);
            run_command(&line, &environment, Some(&input), Duration::from_secs(20)).await
        };
        assert_eq!(said(&["wc", "-c"]).await.unwrap().trim(), "1048576");
        assert_eq!(said(&["printenv", "HITHER_X"]).await.unwrap(), "$(id)\n");
    }
}
