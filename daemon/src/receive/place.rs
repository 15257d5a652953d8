//! Small files of a message, written into the receive folder: all of them, each once, beside what is
//! there.
//!
//! They are written under hidden names first; the names that they get are durable before any of them
//! is moved there, and a move replaces nothing. A hidden file that is gone when it is looked at again
//! was moved before the crash.

use super::arrive::Ended;
use crate::mail::{Arrival, MailService, MessageRecord, StoredContent, free_name, stored_name};
use hither_content::storage::StorageError;
use hither_proto::EntryName;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Permission bits of files that arrive: what their sender says, but nothing for others to write.
const MODE: u32 = 0o755;

/// Why files were not written.
#[derive(Debug, thiserror::Error)]
enum PlaceError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The message is not there any more, or the user has it in hand.
    #[error("the message is gone")]
    Gone,
}

/// Writes the files of a message, going on where an earlier run was. Blocks.
pub(super) fn place(
    mail: &MailService,
    number: u64,
    record: &MessageRecord,
    folder: &Path,
) -> Ended {
    let placed = match &record.arrival {
        Some(Arrival::Placing { folder, names }) => {
            move_all(mail, number, record, Path::new(folder), names.clone())
        }
        _ => write_all(mail, number, record, folder)
            .and_then(|names| move_all(mail, number, record, folder, names)),
    };
    match placed {
        Ok(paths) => Ended::Arrived(paths),
        Err(PlaceError::Gone) => Ended::Gone,
        Err(PlaceError::Storage(error)) => Ended::Later(error.to_string()),
        Err(PlaceError::Io(error)) => {
            let shown = hither_proto::display_name(&folder.to_string_lossy());
            Ended::Later(format!("{shown} cannot be written: {error}"))
        }
    }
}

/// The place at which a file of a message is written before it is moved.
fn hidden(folder: &Path, record: &MessageRecord, place: usize) -> PathBuf {
    folder.join(format!(".hither-{}-{place}.part", record.message))
}

/// Writes all files under hidden names, and makes the names durable that they are to get.
fn write_all(
    mail: &MailService,
    number: u64,
    record: &MessageRecord,
    folder: &Path,
) -> Result<Vec<String>, PlaceError> {
    let StoredContent::Files { files } = &record.content else {
        return Err(PlaceError::Gone);
    };
    let mut builder = DirBuilder::new();
    builder.recursive(true).create(folder)?;
    let mut names: Vec<String> = Vec::new();
    for (place, file) in files.iter().enumerate() {
        let bytes = mail.inbox.file(number, place)?.unwrap_or_default();
        let path = hidden(folder, record, place);
        write_one(&path, file.mode & MODE, &bytes).inspect_err(|_| {
            // Whatever was written is of no use: a full disk has its room back.
            (0..=place).for_each(|place| drop(fs::remove_file(hidden(folder, record, place))));
        })?;
        let name = stored_name(&file.name, place).ok_or(PlaceError::Gone)?;
        names.push(free_name(folder, &name, &names)?);
    }
    // With it the names of the hidden files are durable.
    File::open(folder)?.sync_all()?;
    choose(mail, number, folder, &names)?;
    Ok(names)
}

fn write_one(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode | 0o600);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes the names durable that the files are to get.
fn choose(
    mail: &MailService,
    number: u64,
    folder: &Path,
    names: &[String],
) -> Result<(), PlaceError> {
    let placing = Arrival::Placing {
        folder: folder.to_str().ok_or(PlaceError::Gone)?.to_owned(),
        names: names.to_vec(),
    };
    let mut is_ours = false;
    mail.inbox.change(number, |record| {
        is_ours = record.arrival.as_ref().is_some_and(Arrival::is_under_way);
        if is_ours {
            record.arrival = Some(placing);
        }
        is_ours
    })?;
    match is_ours {
        true => Ok(()),
        // The user has it in hand, or has deleted it.
        false => Err(PlaceError::Gone),
    }
}

/// Moves the files to their names, or to others where those are taken meanwhile.
fn move_all(
    mail: &MailService,
    number: u64,
    record: &MessageRecord,
    folder: &Path,
    mut names: Vec<String>,
) -> Result<Vec<String>, PlaceError> {
    for place in 0..names.len() {
        let from = hidden(folder, record, place);
        while from.symlink_metadata().is_ok() {
            match rename_new(&from, &folder.join(&names[place])) {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let StoredContent::Files { files } = &record.content else {
                        return Err(PlaceError::Gone);
                    };
                    let name = files.get(place).and_then(|it| stored_name(&it.name, place));
                    names[place] = free_name(folder, &name.ok_or(PlaceError::Gone)?, &names)?;
                    choose(mail, number, folder, &names)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    File::open(folder)?.sync_all()?;
    let path = |name: &String| folder.join(name).to_string_lossy().into_owned();
    Ok(names.iter().map(path).collect())
}

/// Removes what was written for a message that does not arrive after all. Blocks.
pub(super) fn clear(record: &MessageRecord, folder: &Path) {
    if let StoredContent::Files { files } = &record.content {
        (0..files.len()).for_each(|place| drop(fs::remove_file(hidden(folder, record, place))));
    }
}

/// Moves a file of a folder to a name in it that nothing has: `name` or one beside it. Returns its
/// path; that it is there is durable with the folder.
pub(crate) fn move_new(from: &Path, folder: &Path, name: &EntryName) -> io::Result<PathBuf> {
    loop {
        let path = folder.join(free_name(folder, name, &[])?);
        match rename_new(from, &path) {
            Ok(()) => return Ok(path),
            // Somebody else took the name meanwhile.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Moves a file to a name that is not taken, in one step where the file system can.
#[cfg(target_os = "linux")]
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that cannot: some others, and old ones.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => rename_checked(from, to),
        moved => Ok(moved?),
    }
}

#[cfg(not(target_os = "linux"))]
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    rename_checked(from, to)
}

fn rename_checked(from: &Path, to: &Path) -> io::Result<()> {
    match to.symlink_metadata() {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(from, to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_replaces_nothing() {
        let home = tempfile::tempdir().unwrap();
        let [from, taken, free, link] =
            ["from", "taken", "free", "link"].map(|name| home.path().join(name));
        fs::write(&from, "new").unwrap();
        fs::write(&taken, "old").unwrap();
        std::os::unix::fs::symlink(home.path().join("nowhere"), &link).unwrap();
        for to in [&taken, &link] {
            for rename in [rename_new, rename_checked] {
                let refused = rename(&from, to).unwrap_err();
                assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
            }
        }
        rename_new(&from, &free).unwrap();
        assert_eq!(fs::read(&free).unwrap(), b"new");
        assert_eq!(fs::read(&taken).unwrap(), b"old");
    }
}
