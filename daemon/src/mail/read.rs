//! The inbox as the local API shows it, and what users do with messages.

use super::inbox::Inbox;
use super::outbox::Outcome;
use super::records::{self, Arrival, MessageRecord, StoredContent, StoredFile};
use super::send::describe;
use super::visits;
use crate::failure;
use crate::mail::MailService;
use hither_api::{
    ApiError, ArrivalInfo, ArrivalState, ErrorCode, FileInfo, MessageInfo, OutgoingInfo, SavedInfo,
    SentInfo, SentState, TicketNote, VisitorInfo,
};
use hither_content::storage::StorageError;
use hither_proto::{DeviceId, EntryName, display_name};
use hither_relay_client::RelayClient;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Longest text that is shown in lists and events, bytes.
const SHORT_TEXT: usize = 4096;
/// The sender of what came by a page of this device.
const PAGE: &str = "a browser";
/// Most names that are tried for a file whose own is taken.
const MAX_NAMES: u32 = 1000;

/// The part of a message that is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    Brief,
    Full,
}

/// The name of whoever sent a message. Somebody without a device is never taken for one: its name
/// comes with that of the link by which it came.
pub(crate) fn sender(relays: &RelayClient, record: &MessageRecord) -> String {
    match (&record.visit, record.from.parse::<DeviceId>()) {
        (Some(visit), _) => visits::named(visit),
        (None, _) if record.page => PAGE.into(),
        (None, Ok(from)) => relays.name_of(from),
        (None, Err(_)) => String::new(),
    }
}

fn info(mail: &MailService, number: u64, record: &MessageRecord, detail: Detail) -> MessageInfo {
    let full = detail == Detail::Full;
    let mut info = MessageInfo {
        id: number,
        message: record.message.clone(),
        from: record.from.clone(),
        name: sender(&mail.relays, record),
        page: record.page,
        visitor: record.visit.as_ref().map(|visit| VisitorInfo {
            name: display_name(&visit.name),
            link: visit.link,
            link_name: display_name(&visit.link_name),
        }),
        kind: record.content.kind(),
        received: record.received,
        made: record.made_ms / 1000,
        read: record.read,
        text: None,
        files: Vec::new(),
        share: None,
        arrival: record.arrival.as_ref().map(arrival),
    };
    match &record.content {
        StoredContent::Text { text } => {
            info.text = Some(text.clone()).filter(|t| full || t.len() <= SHORT_TEXT)
        }
        StoredContent::Files { files } => {
            info.files = files
                .iter()
                .map(|f| FileInfo {
                    name: display_name(&f.name),
                    bytes: f.length,
                })
                .collect();
        }
        StoredContent::Ticket { share } => {
            let ticket = if full {
                share.ticket.clone()
            } else {
                String::new()
            };
            info.share = Some(TicketNote {
                ticket,
                name: display_name(&share.name),
                ..share.clone()
            });
        }
        StoredContent::Unknown => {}
    }
    info
}

/// How it stands, for people.
fn arrival(arrival: &Arrival) -> ArrivalInfo {
    let (state, paths, reason) = match arrival {
        Arrival::Asked { reason } => (ArrivalState::Asked, &[][..], reason.clone()),
        Arrival::Due { .. } | Arrival::Placing { .. } | Arrival::Fetching { .. } => {
            (ArrivalState::Arriving, &[][..], None)
        }
        Arrival::Arrived { paths } => (ArrivalState::Arrived, &paths[..], None),
        Arrival::ByHand { reason } => (ArrivalState::ByHand, &[][..], reason.clone()),
    };
    ArrivalInfo {
        state,
        paths: paths.to_vec(),
        reason,
    }
}

fn storage(error: StorageError) -> ApiError {
    failure::storage(&error)
}

/// The error that there is no such message.
pub(crate) fn missing(number: u64) -> ApiError {
    ApiError::new(
        ErrorCode::NotFound,
        format!("There is no message {number}."),
    )
    .with_hint("See them all with: hither inbox")
}

/// The messages behind number `after`, oldest first. Blocks.
pub(crate) fn list(mail: &MailService, after: u64) -> Result<Vec<MessageInfo>, ApiError> {
    let all = mail.inbox.after(after).map_err(storage)?;
    Ok(all
        .iter()
        .map(|(number, record)| info(mail, *number, record, Detail::Brief))
        .collect())
}

/// One message, whole. Blocks.
pub(crate) fn get(mail: &MailService, number: u64) -> Result<MessageInfo, ApiError> {
    let record = mail
        .inbox
        .get(number)
        .map_err(storage)?
        .ok_or_else(|| missing(number))?;
    Ok(info(mail, number, &record, Detail::Full))
}

/// Takes note that a message was looked at. Blocks.
pub(crate) fn mark_read(mail: &MailService, number: u64) -> Result<(), ApiError> {
    mail.inbox.mark_read(number).map_err(storage)
}

/// Removes a message. Blocks.
pub(crate) fn delete(mail: &MailService, number: u64) -> Result<MessageInfo, ApiError> {
    let record = mail
        .inbox
        .delete(number)
        .map_err(storage)?
        .ok_or_else(|| missing(number))?;
    mail.deleted_visit(&record).map_err(storage)?;
    Ok(info(mail, number, &record, Detail::Brief))
}

/// Writes the files of a message into a folder. Never over another file. Blocks.
pub(crate) fn save(mail: &MailService, number: u64, folder: &Path) -> Result<SavedInfo, ApiError> {
    if !folder.is_absolute() || !folder.is_dir() {
        return Err(ApiError::new(
            ErrorCode::NotWritable,
            "The folder must exist, and its path be absolute.",
        ));
    }
    let inbox = &mail.inbox;
    let record = inbox
        .get(number)
        .map_err(storage)?
        .ok_or_else(|| missing(number))?;
    let StoredContent::Files { files } = &record.content else {
        return Err(ApiError::new(
            ErrorCode::BadRequest,
            format!("There are no files in message {number}."),
        )
        .with_hint(match &record.content {
            StoredContent::Ticket { .. } => {
                format!("It offers a share. Fetch it with: hither inbox fetch {number}")
            }
            _ => format!("Read it with: hither inbox read {number}"),
        }));
    };
    let mut written = Vec::new();
    for (place, file) in files.iter().enumerate() {
        let bytes = bytes_of(inbox, number, place, file);
        match bytes.and_then(|bytes| save_one(number, place, file, &bytes, folder)) {
            Ok(path) => written.push(path),
            Err(error) => {
                // All of it or nothing.
                written
                    .iter()
                    .for_each(|path| drop(std::fs::remove_file(path)));
                return Err(error);
            }
        }
    }
    inbox.mark_read(number).map_err(storage)?;
    Ok(SavedInfo {
        paths: written
            .iter()
            .map(|path| path.display().to_string())
            .collect(),
    })
}

/// The bytes of a file of a message; where it has arrived those of the file that was written.
fn bytes_of(
    inbox: &Inbox,
    number: u64,
    place: usize,
    file: &StoredFile,
) -> Result<Vec<u8>, ApiError> {
    if let Some(bytes) = inbox.file(number, place).map_err(storage)? {
        return Ok(bytes);
    }
    // Looked at after its bytes were gone: it may have arrived just now.
    let record = inbox.get(number).map_err(storage)?;
    let arrival = record.ok_or_else(|| missing(number))?.arrival;
    let Some(Arrival::Arrived { paths }) = arrival else {
        return Ok(Vec::new()); // of a store that lost it
    };
    let path = paths.get(place).ok_or_else(|| missing(number))?;
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|it| it.take(file.length).read_to_end(&mut bytes));
    read.map_err(|error| {
        let message = format!("{} arrived as {path} and is not there: {error}.", file.name);
        ApiError::new(ErrorCode::NotFound, message)
    })?;
    Ok(bytes)
}

fn save_one(
    number: u64,
    place: usize,
    file: &StoredFile,
    bytes: &[u8],
    folder: &Path,
) -> Result<PathBuf, ApiError> {
    let name = records::entry_name(&file.name, place).ok_or_else(|| missing(number))?;
    let (path, mut target) =
        create(folder, &name, file.mode).map_err(|error| not_writable(&name, &error))?;
    let written = target.write_all(bytes).and_then(|()| target.sync_all());
    written.map_err(|error| {
        let _ = std::fs::remove_file(&path);
        not_writable(&name, &error)
    })?;
    Ok(path)
}

fn not_writable(name: &EntryName, error: &io::Error) -> ApiError {
    let code = if error.kind() == io::ErrorKind::StorageFull {
        ErrorCode::NoSpace
    } else {
        ErrorCode::NotWritable
    };
    ApiError::new(code, format!("{name} cannot be written: {error}."))
}

/// Makes a file that did not exist: `name`, else `name (2)`, `name (3)` before its extension.
fn create(folder: &Path, name: &EntryName, mode: u32) -> io::Result<(PathBuf, File)> {
    let mut options = OpenOptions::new();
    // Neither over a file nor through a link: the kernel makes it anew or refuses.
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode | 0o600);
    #[cfg(not(unix))]
    let _ = mode;
    for candidate in candidates(folder, name)? {
        let path = folder.join(candidate);
        match options.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => return result.map(|file| (path, file)),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// The names that a file may get in a folder: its own where the file system takes it, then others
/// beside it.
fn candidates(folder: &Path, name: &EntryName) -> io::Result<impl Iterator<Item = String>> {
    let name = hither_content::written_name(folder, name)?;
    let dot = name.rfind('.').filter(|dot| *dot > 0);
    Ok((1..=MAX_NAMES).map(move |count| match (count, dot) {
        (1, _) => name.clone(),
        (_, None) => format!("{name} ({count})"),
        (_, Some(dot)) => {
            let (stem, extension) = name.split_at(dot);
            format!("{stem} ({count}){extension}")
        }
    }))
}

/// A name for a file that nothing in a folder has, nor is in `taken`.
pub(crate) fn free_name(folder: &Path, name: &EntryName, taken: &[String]) -> io::Result<String> {
    let is_free = |candidate: &String| {
        !taken.contains(candidate) && folder.join(candidate).symlink_metadata().is_err()
    };
    candidates(folder, name)?
        .find(is_free)
        .ok_or_else(|| io::ErrorKind::AlreadyExists.into())
}

/// Returns the messages that no relay has taken yet, oldest first.
pub(crate) fn outgoing(mail: &MailService) -> Vec<OutgoingInfo> {
    let tell = |(number, record, reason): (u64, records::OutgoingRecord, Option<String>)| {
        let state = match record.failed {
            Some(_) if record.declined => SentState::Declined,
            Some(_) => SentState::Failed,
            None => SentState::Waiting,
        };
        let sent = match record.to.parse() {
            Ok(to) => describe(
                mail,
                record.message,
                to,
                mail.relays.name_of(to),
                Outcome { state, reason },
            ),
            Err(_) => {
                let (message, name, hint) = (record.message, String::new(), None);
                SentInfo {
                    message,
                    to: record.to,
                    name,
                    state,
                    reason,
                    hint,
                    taken: false,
                    others: Vec::new(),
                }
            }
        };
        OutgoingInfo {
            id: number,
            sent,
            kind: record.kind,
            summary: display_name(&record.summary),
            made: mail.time.to_wall(record.made),
        }
    };
    mail.outbox.list().into_iter().map(tell).collect()
}

/// Takes a message back. Blocks.
pub(crate) fn take_back(mail: &MailService, number: u64) -> Result<(), ApiError> {
    let deleted = mail.outbox.delete(number).map_err(storage)?;
    deleted.map(drop).ok_or_else(|| {
        ApiError::new(
            ErrorCode::NotFound,
            format!("There is no message {number} in the outbox."),
        )
        .with_hint("See them all with: hither outbox. What a relay has taken cannot be taken back.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_written_beside_others_and_never_over_them_or_through_links() {
        let home = tempfile::tempdir().unwrap();
        let name = EntryName::parse("a.tar.gz").unwrap();
        let outside = home.path().join("outside");
        let folder = home.path().join("folder");
        std::fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink(&outside, folder.join("a.tar.gz")).unwrap();
        let (path, _) = create(&folder, &name, 0o755).unwrap();
        assert_eq!(path.file_name().unwrap(), "a.tar (2).gz");
        assert_eq!(
            create(&folder, &name, 0).unwrap().0.file_name().unwrap(),
            "a.tar (3).gz"
        );
        assert!(!outside.exists());
        let hidden = EntryName::parse(".profile").unwrap();
        create(&folder, &hidden, 0o4777).unwrap();
        assert_eq!(
            create(&folder, &hidden, 0).unwrap().0.file_name().unwrap(),
            ".profile (2)"
        );
    }
}
