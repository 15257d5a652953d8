//! The content of a share, before anything of it is fetched: `hither fetch … --list`.

use crate::session::{Outcome, Session};
use crate::show::{Progress, ProgressState, ago, bytes, count, now};
use hither_api::{ClientError, Done, EntryInfo, EntryType, Event, Exit, ListingRequest, Phase};
use hither_proto::display_name;
use std::time::Duration;

/// Shows what `ticket` opens, or what of it the paths name.
pub async fn show(
    session: &Session<'_>,
    ticket: String,
    paths: Vec<String>,
    wait: Option<Duration>,
) -> Outcome {
    let client = session.daemon().await?;
    let request = ListingRequest {
        ticket,
        paths,
        wait_seconds: wait.map(|wait| wait.as_secs().max(1)),
    };
    let mut progress = Progress::new(session.out);
    progress.show(&ProgressState {
        phase: Phase::Connecting,
        bytes: 0,
        total: 0,
        files: 0,
        rate: 0,
        remaining: None,
        devices: 0,
    });
    let mut events = client.work("/v1/listings", &request).await?;
    let now = now();
    loop {
        let event = events.next().await?;
        progress.clear();
        let event = event.ok_or(ClientError::Gone)?;
        if !matches!(event, Event::Error(_)) {
            session.out.json(&event);
        }
        match event {
            Event::Entry(entry) => session.out.result(&line(&entry, now)),
            Event::Done(Done::Listed {
                name,
                files,
                bytes: size,
                ..
            }) => {
                let (name, files) = (display_name(&name), count(files, "file"));
                session
                    .out
                    .say(&format!("{name}: {files}, {}.", bytes(size)));
                return Ok(Exit::Done);
            }
            Event::Error(error) => return Err(error),
            _ => {}
        }
    }
}

/// One entry as `ls` shows it; a folder ends with `/`.
fn line(entry: &EntryInfo, now: u64) -> String {
    let size = entry.bytes.map(bytes).unwrap_or_default();
    let age = u64::try_from(entry.modified).map_or_else(|_| String::new(), |then| ago(then, now));
    let path = display_name(&entry.path);
    let end = match entry.kind {
        EntryType::Folder => "/",
        EntryType::Symlink => "@",
        EntryType::File => "",
    };
    format!("{size:>8}  {age:<14}  {path}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_one_line_whatever_it_is_called() {
        let entry = |path: &str, kind, bytes| EntryInfo {
            path: path.into(),
            kind,
            bytes,
            modified: 1_000_000,
        };
        assert_eq!(
            line(
                &entry("a/b\u{1b}[2J\n.txt", EntryType::File, Some(1_500_000)),
                1_007_200
            ),
            "  1.5 MB  2 h ago         a/b\u{fffd}[2J\u{fffd}.txt"
        );
        assert_eq!(
            line(&entry("a", EntryType::Folder, None), 1_000_000 + 3 * 86_400),
            "          3 days ago      a/"
        );
    }
}
