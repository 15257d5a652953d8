//! Errors of the libraries as errors of the API: a code, one sentence, a hint.

use hither_api::{ApiError, ErrorCode};
use hither_carrier::LinkError;
use hither_content::storage::StorageError;
use hither_content::{
    FinishError, ImportError, ManifestFileError, PatternError, PrepareError, Unreadable, WriteError,
};
use hither_engine::Waiting;
use hither_proto::{RelayRefusal, RelayRefusalCode, TicketError, display_name};
use hither_relay_client::{FindDeviceError, JoinError, RelayError, RelayStorageError, Trouble};
use hither_swarm::PutError;
use hither_swarm::RememberError;
use std::path::Path;

fn shown(path: impl AsRef<Path>) -> String {
    display_name(&path.as_ref().to_string_lossy())
}

/// Bytes for people, decimal.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

pub(crate) fn ticket(error: &TicketError) -> ApiError {
    match error {
        TicketError::Format(_) => ApiError::new(
            ErrorCode::NewerTicket,
            "This ticket was made by a newer version of Hither.",
        )
        .with_hint("Update Hither on this device."),
        error => ApiError::new(
            ErrorCode::BadTicket,
            format!("That is no usable ticket: {error}."),
        )
        .with_hint("Copy the whole ticket, from \"hither1\" to its last letter."),
    }
}

/// Why a relay could not be joined.
pub(crate) fn join(error: &JoinError) -> ApiError {
    match error {
        JoinError::TooMany { most } => ApiError::new(
            ErrorCode::BadRequest,
            format!("This device has joined {most} relays; more are not possible."),
        )
        .with_hint("Leave one: hither relay remove"),
        JoinError::Relay { at, error } => relay(at, error),
        JoinError::Kept(error) => relay_storage(error),
    }
}

/// The failure to store a relay's data.
pub(crate) fn relay_storage(error: &RelayStorageError) -> ApiError {
    match error {
        RelayStorageError::Storage(error) => storage(error),
        RelayStorageError::Task(error) => internal(error),
    }
}

/// Why no device of the user is meant.
pub(crate) fn find_device(error: &FindDeviceError) -> ApiError {
    match error {
        FindDeviceError::Unknown { wanted, others } => {
            let wanted = display_name(wanted);
            ApiError::new(
                ErrorCode::NotFound,
                format!("There is no device \"{wanted}\"."),
            )
            .with_hint(if *others {
                "See them all with: hither devices"
            } else {
                "No other device is known or shows itself here. On the other one: hither nearby"
            })
        }
        FindDeviceError::Ambiguous { wanted, candidates } => ApiError::new(
            ErrorCode::BadRequest,
            format!(
                "\"{}\" could be several devices: {}.",
                display_name(wanted),
                candidates.join(", ")
            ),
        )
        .with_hint("Give the id in brackets instead."),
    }
}

/// Why the relay of a URL does not take this device in.
fn relay(at: &hither_proto::HostPort, error: &RelayError) -> ApiError {
    let unreachable = |why: &dyn std::fmt::Display, hint: &str| {
        ApiError::new(
            ErrorCode::NoRelay,
            format!("The relay {at} cannot be reached: {why}."),
        )
        .with_hint(hint)
    };
    match error {
        RelayError::Resolve { .. } => {
            unreachable(error, "Is the name right, and is this device online?")
        }
        RelayError::Link(LinkError::WrongDevice { .. }) => ApiError::new(
            ErrorCode::Refused,
            format!("At {at} is another relay than the URL names: its key is a different one."),
        )
        .with_hint(
            "Copy the URL again. If the relay was set up anew, ask its owner for a new one.",
        ),
        RelayError::Refused(refusal) => refused(at, *refusal),
        RelayError::Link(LinkError::NotHither) => unreachable(error, Trouble::from(error).hint),
        error => unreachable(
            error,
            "Is it running, and do firewalls let its port through (UDP or TCP)?",
        ),
    }
}

fn refused(at: &hither_proto::HostPort, refusal: RelayRefusal) -> ApiError {
    let (code, hint) = match refusal.code {
        RelayRefusalCode::Invitation => (
            ErrorCode::Refused,
            "Invitations end after some time or some devices. Ask the relay's owner for a new one.",
        ),
        RelayRefusalCode::NotRegistered => (
            ErrorCode::Refused,
            "The URL holds no invitation. Ask the relay's owner for one with an invitation.",
        ),
        RelayRefusalCode::Revoked => (
            ErrorCode::Refused,
            "Ask the relay's owner to let this device in again.",
        ),
        RelayRefusalCode::Quota | RelayRefusalCode::NoSpace => (ErrorCode::OverQuota, ""),
        RelayRefusalCode::Busy | RelayRefusalCode::GoingAway => {
            (ErrorCode::NoRelay, "Try again in a moment.")
        }
        _ => (
            ErrorCode::Refused,
            "Is Hither on this device, or on the relay, out of date?",
        ),
    };
    ApiError::new(code, format!("The relay {at} refused: {refusal}.")).with_hint(hint)
}

/// A device could not be remembered.
pub(crate) fn remember(error: &RememberError) -> ApiError {
    match error {
        RememberError::Storage(error) => storage(error),
        RememberError::Full => ApiError::new(ErrorCode::OverQuota, format!("{error}."))
            .with_hint("Forget some first: hither devices forget DEVICE"),
    }
}

pub(crate) fn storage(error: &StorageError) -> ApiError {
    if error.is_full() {
        return own_disk_full();
    }
    if let StorageError::NoRoom { .. } = error {
        return ApiError::new(
            ErrorCode::NoSpace,
            format!("The metadata store is as it was: {error}."),
        );
    }
    ApiError::new(
        ErrorCode::Internal,
        format!("The daemon's store failed: {error}."),
    )
    .with_hint("Is the disk that holds Hither's data full or read-only? See: hither doctor")
}

/// There is no room for what the daemon keeps itself.
fn own_disk_full() -> ApiError {
    ApiError::new(
        ErrorCode::NoSpace,
        "The disk that holds Hither's data is full.",
    )
    .with_hint("Make room and run the same command again.")
}

/// The daemon's own files cannot be written.
pub(crate) fn own_files(error: &std::io::Error) -> ApiError {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => own_disk_full(),
        _ => internal(error),
    }
}

pub(crate) fn internal(what: impl std::fmt::Display) -> ApiError {
    ApiError::new(
        ErrorCode::Internal,
        format!("Something failed inside the daemon: {what}."),
    )
    .with_hint("Its log tells more: hitherd.log in Hither's data folder.")
}

pub(crate) fn import(error: &ImportError) -> ApiError {
    match error {
        ImportError::NotFound { path } => {
            ApiError::new(ErrorCode::Unreadable, format!("There is no file or folder {}.", shown(path)))
        }
        ImportError::Special { path, .. } => {
            ApiError::new(ErrorCode::Unreadable, format!("{} is neither a file nor a folder.", shown(path)))
        }
        ImportError::Moved { path, source } => {
            ApiError::new(ErrorCode::Unreadable, format!("{}: {source}.", shown(path))).with_hint(
                "It goes on by itself when that is back. To share what is there now, share it again.",
            )
        }
        ImportError::Own { path, reason } => {
            ApiError::new(ErrorCode::Refused, format!("{} is never shared: {reason}.", shown(path)))
                .with_hint("Share what is beside it. Of a folder above it, everything else is shared.")
        }
        ImportError::SameName { name } => {
            ApiError::new(ErrorCode::BadRequest, format!("Several of the paths are called {name}."))
                .with_hint("Share the folder that they are in, or one after the other.")
        }
        ImportError::Unshareable { .. } => ApiError::new(ErrorCode::Unsharable, format!("{error}."))
            .with_hint("Rename or repair them, or leave them out with --skip-unsharable."),
        ImportError::Read { path, source: Unreadable::Changing } => ApiError::new(
            ErrorCode::Changing,
            format!("{} keeps changing while it is read.", shown(path)),
        )
        .with_hint(
            "Share it again when whatever writes to it is done, or leave it out with --skip-unsharable.",
        ),
        ImportError::Patterns { path, source } => {
            ApiError::new(ErrorCode::BadRequest, format!("{path} cannot be used: {source}."))
                .with_hint("Nothing is shared until it says clearly what is left out.")
        }
        ImportError::Cancelled => ApiError::new(ErrorCode::Interrupted, "Sharing was stopped."),
        ImportError::Read { path, source } => {
            ApiError::new(ErrorCode::Unreadable, format!("{} cannot be read: {source}.", shown(path)))
        }
        error => ApiError::new(ErrorCode::Unsharable, format!("This cannot be shared: {error}.")),
    }
}

pub(crate) fn pattern(error: &PatternError) -> ApiError {
    ApiError::new(ErrorCode::BadRequest, format!("--exclude: {error}."))
        .with_hint("A pattern is a line of a .gitignore: see hither share --help")
}

pub(crate) fn write(error: &WriteError) -> ApiError {
    match error {
        WriteError::NoSpace => ApiError::new(ErrorCode::NoSpace, "The disk is full.")
            .with_hint("Make room and run the same command again: it goes on where it stopped."),
        WriteError::ReadOnly => ApiError::new(ErrorCode::NotWritable, "The target is read-only."),
        WriteError::Denied { path } => ApiError::new(
            ErrorCode::NotWritable,
            format!("{} may not be written.", shown(path)),
        ),
        WriteError::PartialVanished { .. } => ApiError::new(
            ErrorCode::NotWritable,
            "The partly fetched files were removed or replaced.",
        )
        .with_hint("Run the same command again to begin anew."),
        error => ApiError::new(ErrorCode::NotWritable, format!("Writing failed: {error}.")),
    }
}

pub(crate) fn prepare(error: &PrepareError) -> ApiError {
    match error {
        PrepareError::Exists { path } => {
            ApiError::new(ErrorCode::TargetExists, format!("{} exists already.", shown(path))).with_hint(
                "Replace it with --overwrite, keep both with --rename, fetch what is missing with --skip, or write elsewhere with -o.",
            )
        }
        PrepareError::NoSpace { needed: 0, .. } => write(&WriteError::NoSpace),
        PrepareError::NoSpace { needed, free } => ApiError::new(
            ErrorCode::NoSpace,
            format!("Not enough space: {} are needed and {} are free.", size(*needed), size(*free)),
        )
        .with_hint("Make room, or write to another disk with -o."),
        PrepareError::Names { notes } => ApiError::new(
            ErrorCode::NotWritable,
            format!("Some names cannot be written there: {notes}."),
        )
        .with_hint(
            "Change them with --names rename, leave them out with --names skip, or write elsewhere with -o.",
        ),
        error => ApiError::new(ErrorCode::NotWritable, format!("The target cannot be written: {error}."))
            .with_hint("Write elsewhere with -o."),
    }
}

pub(crate) fn finish(error: &FinishError) -> ApiError {
    match error {
        FinishError::Write(error) => write(error),
        error => ApiError::new(
            ErrorCode::TargetExists,
            format!("Everything is here, but it cannot be moved into place: {error}."),
        )
        .with_hint("Move what is in the way and run the same command again."),
    }
}

pub(crate) fn manifest(error: &ManifestFileError) -> ApiError {
    match error {
        ManifestFileError::Manifest(_) => {}
        ManifestFileError::NoSpace => {
            return own_disk_full();
        }
        error => return internal(error),
    }
    ApiError::new(
        ErrorCode::HostileShare,
        format!("What is in this share must not be written here: {error}."),
    )
    .with_hint("Its owner made it with a faulty or hostile program. Nothing was written.")
}

/// The owner is there and does not have what is missing: it has changed since, and that version
/// will not come back.
pub(crate) fn changed_at_owner() -> ApiError {
    ApiError::new(
        ErrorCode::NoHolder,
        "What is missing has changed at the device that shared it, and no other device that is there has it.",
    )
    .with_hint("What is here is kept. Ask for it to be shared again; then run the same command: it goes on.")
}

/// The owner is seen on this network, and no connection to it comes about.
pub(crate) fn seen_only(error: ApiError) -> ApiError {
    if error.code != ErrorCode::NoHolder {
        return error;
    }
    ApiError::new(
        ErrorCode::NoHolder,
        "The device that shared it is seen on this network, but does not answer.",
    )
    .with_hint(
        "Does a firewall on it or on this device keep Hither out? See: hither doctor, on both.",
    )
}

/// The same, when a relay refused to connect this device to anybody.
pub(crate) fn unreached(
    waiting: Option<Waiting>,
    refused: Option<(String, RelayRefusalCode)>,
) -> ApiError {
    let error = self::waiting(waiting);
    let (Some((relay, code)), ErrorCode::NoHolder) = (refused, error.code) else {
        return error;
    };
    let (why, hint) = match code {
        RelayRefusalCode::NotRegistered => (
            "connects only devices that have joined it",
            "Ask its owner for an invitation (hither relay add), or fetch on the network of a device that has the share.",
        ),
        _ => (
            "connects no devices to each other",
            "Fetch on the network of a device that has the share, or when it has been uploaded.",
        ),
    };
    let relay = display_name(&relay);
    ApiError::new(
        error.code,
        format!("{} The relay {relay} {why}.", error.message),
    )
    .with_hint(hint)
}

pub(crate) fn waiting(waiting: Option<Waiting>) -> ApiError {
    match waiting {
        Some(Waiting::Damaged) => ApiError::new(
            ErrorCode::Damaged,
            "Every device that has what is missing gave damaged data.",
        )
        .with_hint("Try again when another device that has it is there."),
        Some(Waiting::TooDear) => ApiError::new(
            ErrorCode::TooDear,
            "What is missing costs more than this fetch may cost.",
        )
        .with_hint(
            "Run the same command with a higher --max-cost, or when a device that has it is there.",
        ),
        Some(Waiting::Gone) => ApiError::new(ErrorCode::Refused, "Its owner ended this share."),
        Some(Waiting::Unknown) => ApiError::new(
            ErrorCode::NoHolder,
            "The device that made this ticket is there, but the share has ended or never existed.",
        )
        .with_hint("Ask for a new ticket."),
        Some(Waiting::NotHeld) => ApiError::new(
            ErrorCode::NoHolder,
            "Devices that know this share are there, but none of them has what is missing.",
        )
        .with_hint("Try again when the device that shared it is on and on this network."),
        Some(Waiting::NoHolder) | None => ApiError::new(
            ErrorCode::NoHolder,
            "No device that has this share can be reached.",
        )
        .with_hint("Is the device that shared it on, and on this network? See: hither doctor"),
    }
}
/// Why a chunk that arrived did not get to its place, of those reasons that end a transfer.
pub(crate) fn put(error: &PutError) -> ApiError {
    match error {
        PutError::Write(error) => write(error),
        PutError::Manifest(error) => manifest(error),
        PutError::Damaged | PutError::Stale => internal("a chunk could not be written"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_the_engine_without_room_says_what_to_do() {
        let error = storage(&StorageError::NoRoom {
            path: "/home/me/store".into(),
            engine: "sled",
            needed: 30 << 20,
            free: 1 << 20,
        });
        assert_eq!(error.code, ErrorCode::NoSpace);
        let words = &error.message;
        assert!(
            words.contains("30 MiB") && words.contains("storage.engine"),
            "{words}"
        );
    }

    #[test]
    fn what_a_user_wrote_is_shown_cleaned_with_those_that_it_may_mean() {
        let unknown = find_device(&FindDeviceError::Unknown {
            wanted: "x\u{1b}".into(),
            others: true,
        });
        assert_eq!(unknown.code, ErrorCode::NotFound);
        assert_eq!(unknown.message, "There is no device \"x\u{fffd}\".");
        let several = find_device(&FindDeviceError::Ambiguous {
            wanted: "PHONE".into(),
            candidates: vec!["Phone (bbbbbbbb)".into(), "phone (cccccccc)".into()],
        });
        assert_eq!(several.code, ErrorCode::BadRequest);
        let all = "Phone (bbbbbbbb), phone (cccccccc)";
        assert!(several.message.contains(all), "{}", several.message);
    }
}
