//! Things that a device lets others list and have uploaded: the inside of sealed letters.
//!
//! Invariants: a path is a list of names, each of which leads to no other folder; nothing of the
//! asker's clock is believed beside the time that a request says it is valid for; a letter that
//! breaks a bound is none.

use crate::ids::{AskId, ShareId};
use crate::limits::{MAX_ASK_VALID, MAX_DRIVE_DEPTH, MAX_DRIVE_ENTRIES, MAX_TICKET};
use crate::message::MessageError;
use crate::name::EntryName;
use crate::wire;
use bytes::Bytes;
use prost::Message as _;
use std::fmt;

/// Names that lead to something exposed: that of the exposed folder, then those below it. Empty: the
/// exposed folders themselves.
///
/// Invariant: at most 64 names, none of which is `.`, `..` or has a separator.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DrivePath(Vec<EntryName>);

impl DrivePath {
    /// Parses the path that a user types: names with `/` between them; one at either end means
    /// nothing.
    ///
    /// Errors: a name is empty, `.` or `..`, or there are too many.
    pub fn parse(text: &str) -> Result<Self, MessageError> {
        let text = text.strip_prefix('/').unwrap_or(text);
        let text = text.strip_suffix('/').unwrap_or(text);
        if text.is_empty() {
            return Ok(Self::default());
        }
        Self::of(text.split('/'))
    }

    fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, MessageError> {
        let mut path = Vec::new();
        for name in names {
            if path.len() == MAX_DRIVE_DEPTH {
                return Err(MessageError::Value("depth of a path"));
            }
            path.push(EntryName::parse(name).map_err(|_| MessageError::Value("path"))?);
        }
        Ok(Self(path))
    }

    /// The name of the exposed folder and the names below it; `None`: the exposed folders
    /// themselves.
    pub fn split(&self) -> Option<(&EntryName, &[EntryName])> {
        self.0.split_first()
    }

    fn to_wire(&self) -> Vec<String> {
        self.0.iter().map(|name| name.as_str().to_owned()).collect()
    }
}

impl fmt::Display for DrivePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, name) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("/")?;
            }
            f.write_str(name.as_str())?;
        }
        Ok(())
    }
}

/// Asks for what is in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriveList {
    /// Names the request at both devices.
    pub id: AskId,
    /// The folder.
    pub path: DrivePath,
    /// Only names after this one.
    pub after: Option<EntryName>,
    /// For how long it may be answered, seconds, 1 to 2,592,000.
    pub valid_s: u32,
}

/// The kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriveKind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link, which is never followed.
    Symlink,
}

/// One entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriveEntry {
    /// Its name.
    pub name: EntryName,
    /// Its kind.
    pub kind: DriveKind,
    /// Length of a file, bytes; else 0.
    pub bytes: u64,
    /// When it was changed, by the other device's clock, Unix milliseconds; 0: not known.
    pub modified_ms: u64,
}

/// Asks for a file or folder to be shared, and uploaded where there is a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriveUpload {
    /// Names the request at both devices.
    pub id: AskId,
    /// The file or folder; not empty.
    pub path: DrivePath,
    /// Later versions follow whenever something changes.
    pub watch: bool,
    /// For how long it may be begun, seconds, 1 to 2,592,000.
    pub valid_s: u32,
}

/// The phase of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrivePhase {
    /// It waits for its turn.
    Waiting,
    /// Files are read.
    Reading,
    /// Everything that is not there yet goes to a store.
    Uploading,
}

/// The result of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriveUploaded {
    /// The share.
    pub share: ShareId,
    /// Its ticket, as text.
    pub ticket: String,
    /// Its name.
    pub name: EntryName,
    /// Its version.
    pub version: u64,
    /// Number of files.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Bytes of ciphertext that had to be sent to the store.
    pub sent_bytes: u64,
    /// All of it is at a store.
    pub stored: bool,
}

/// Why nothing came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriveRefusal {
    /// It is not there, or not exposed to the asker.
    Nothing,
    /// It is no file or folder, or cannot be shared.
    Unsuitable,
    /// The disk does not answer.
    Silent,
    /// Too much was asked for.
    Busy,
    /// It was taken back.
    Cancelled,
    /// It could not be begun in time.
    Expired,
    /// It was tried, and failed.
    Failed,
}

impl DriveRefusal {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Nothing,
        Self::Unsuitable,
        Self::Silent,
        Self::Busy,
        Self::Cancelled,
        Self::Expired,
        Self::Failed,
    ];

    /// Its word in the local API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Unsuitable => "unsuitable",
            Self::Silent => "silent",
            Self::Busy => "busy",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Failed => "failed",
        }
    }

    const fn to_wire(self) -> wire::DriveRefusal {
        match self {
            Self::Nothing => wire::DriveRefusal::Nothing,
            Self::Unsuitable => wire::DriveRefusal::Unsuitable,
            Self::Silent => wire::DriveRefusal::Silent,
            Self::Busy => wire::DriveRefusal::Busy,
            Self::Cancelled => wire::DriveRefusal::Cancelled,
            Self::Expired => wire::DriveRefusal::Expired,
            Self::Failed => wire::DriveRefusal::Failed,
        }
    }

    /// A reason of a later version is one all the same.
    fn from_wire(value: i32) -> Self {
        Self::ALL
            .into_iter()
            .find(|refusal| refusal.to_wire() as i32 == value)
            .unwrap_or(Self::Failed)
    }
}

/// The contents of a letter about something exposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DriveLetter {
    /// Asks what is in a folder.
    List(DriveList),
    /// That is in it; `more`: there is more behind the last one.
    Entries {
        /// The request.
        id: AskId,
        /// At most 500.
        entries: Vec<DriveEntry>,
        /// There are more behind the last one.
        more: bool,
    },
    /// Share and upload this.
    Upload(DriveUpload),
    /// So far it is.
    Progress {
        /// The request.
        id: AskId,
        /// The present phase.
        phase: DrivePhase,
        /// Bytes done.
        bytes: u64,
        /// Bytes in all; 0: not known.
        total: u64,
    },
    /// It is shared, and uploaded as far as it can be.
    Uploaded(AskId, DriveUploaded),
    /// Nothing comes of it.
    Refused(AskId, DriveRefusal),
    /// It is not wanted any more.
    Cancel(AskId),
}

impl DriveLetter {
    /// Parses the inside of a letter. `Ok(None)`: something of a later version.
    ///
    /// Errors: it is malformed, or beyond a bound.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, MessageError> {
        use wire::drive_letter::Body;
        let letter = wire::DriveLetter::decode(bytes).map_err(|_| MessageError::Malformed)?;
        Ok(match letter.body {
            Some(Body::List(m)) => Some(Self::List(parse_list(&m)?)),
            Some(Body::Entries(m)) => Some(parse_entries(&m)?),
            Some(Body::Upload(m)) => Some(Self::Upload(parse_upload(&m)?)),
            Some(Body::Progress(m)) => parse_progress(&m)?,
            Some(Body::Uploaded(m)) => {
                let id = AskId::from_slice(&m.id)?;
                Some(Self::Uploaded(id, parse_uploaded(m)?))
            }
            Some(Body::Refused(m)) => Some(Self::Refused(
                AskId::from_slice(&m.id)?,
                DriveRefusal::from_wire(m.refusal),
            )),
            Some(Body::Cancel(m)) => Some(Self::Cancel(AskId::from_slice(&m.id)?)),
            None => None,
        })
    }

    /// The inside of a letter.
    pub fn encode(&self) -> Vec<u8> {
        use wire::drive_letter::Body;
        let body = match self {
            Self::List(list) => Body::List(wire::DriveList {
                id: bytes_of(&list.id),
                path: list.path.to_wire(),
                after: text_of(list.after.as_ref()),
                valid_s: list.valid_s,
            }),
            Self::Entries { id, entries, more } => Body::Entries(wire::DriveEntries {
                id: bytes_of(id),
                entries: entries.iter().map(entry_to_wire).collect(),
                more: *more,
            }),
            Self::Upload(upload) => Body::Upload(wire::DriveUpload {
                id: bytes_of(&upload.id),
                path: upload.path.to_wire(),
                watch: upload.watch,
                valid_s: upload.valid_s,
            }),
            Self::Progress {
                id,
                phase,
                bytes,
                total,
            } => Body::Progress(wire::DriveProgress {
                id: bytes_of(id),
                phase: phase_to_wire(*phase).into(),
                bytes: *bytes,
                total: *total,
            }),
            Self::Uploaded(id, uploaded) => Body::Uploaded(wire::DriveUploaded {
                id: bytes_of(id),
                share: Bytes::copy_from_slice(uploaded.share.as_bytes()),
                ticket: uploaded.ticket.clone(),
                name: uploaded.name.as_str().to_owned(),
                version: uploaded.version,
                files: uploaded.files,
                bytes: uploaded.bytes,
                sent_bytes: uploaded.sent_bytes,
                stored: uploaded.stored,
            }),
            Self::Refused(id, refusal) => Body::Refused(wire::DriveRefused {
                id: bytes_of(id),
                refusal: refusal.to_wire().into(),
            }),
            Self::Cancel(id) => Body::Cancel(wire::DriveCancel { id: bytes_of(id) }),
        };
        wire::DriveLetter { body: Some(body) }.encode_to_vec()
    }
}

fn bytes_of(id: &AskId) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

fn text_of(name: Option<&EntryName>) -> String {
    name.map(|name| name.as_str().to_owned())
        .unwrap_or_default()
}

fn name(text: &str) -> Result<EntryName, MessageError> {
    EntryName::parse(text).map_err(|_| MessageError::Value("name"))
}

fn valid(seconds: u32) -> Result<u32, MessageError> {
    match seconds {
        1..=MAX_ASK_VALID => Ok(seconds),
        _ => Err(MessageError::Value("time for an answer")),
    }
}

fn path(names: &[String]) -> Result<DrivePath, MessageError> {
    DrivePath::of(names.iter().map(String::as_str))
}

fn parse_list(m: &wire::DriveList) -> Result<DriveList, MessageError> {
    Ok(DriveList {
        id: AskId::from_slice(&m.id)?,
        path: path(&m.path)?,
        after: (!m.after.is_empty()).then(|| name(&m.after)).transpose()?,
        valid_s: valid(m.valid_s)?,
    })
}

fn parse_upload(m: &wire::DriveUpload) -> Result<DriveUpload, MessageError> {
    if m.path.is_empty() {
        return Err(MessageError::Value("path"));
    }
    Ok(DriveUpload {
        id: AskId::from_slice(&m.id)?,
        path: path(&m.path)?,
        watch: m.watch,
        valid_s: valid(m.valid_s)?,
    })
}

fn parse_entries(m: &wire::DriveEntries) -> Result<DriveLetter, MessageError> {
    if m.entries.len() > MAX_DRIVE_ENTRIES {
        return Err(MessageError::Value("number of entries"));
    }
    let mut entries = Vec::new();
    for entry in &m.entries {
        let kind = match entry.kind() {
            wire::DriveKind::File => DriveKind::File,
            wire::DriveKind::Folder => DriveKind::Folder,
            wire::DriveKind::Symlink => DriveKind::Symlink,
            // Something that a later version knows.
            wire::DriveKind::Unspecified => continue,
        };
        entries.push(DriveEntry {
            name: name(&entry.name)?,
            kind,
            bytes: entry.bytes,
            modified_ms: entry.modified_ms,
        });
    }
    Ok(DriveLetter::Entries {
        id: AskId::from_slice(&m.id)?,
        entries,
        more: m.more,
    })
}

fn entry_to_wire(entry: &DriveEntry) -> wire::DriveEntry {
    wire::DriveEntry {
        name: entry.name.as_str().to_owned(),
        kind: match entry.kind {
            DriveKind::File => wire::DriveKind::File,
            DriveKind::Folder => wire::DriveKind::Folder,
            DriveKind::Symlink => wire::DriveKind::Symlink,
        }
        .into(),
        bytes: entry.bytes,
        modified_ms: entry.modified_ms,
    }
}

fn parse_progress(m: &wire::DriveProgress) -> Result<Option<DriveLetter>, MessageError> {
    let phase = match m.phase() {
        wire::DrivePhase::Waiting => DrivePhase::Waiting,
        wire::DrivePhase::Reading => DrivePhase::Reading,
        wire::DrivePhase::Uploading => DrivePhase::Uploading,
        wire::DrivePhase::Unspecified => return Ok(None),
    };
    Ok(Some(DriveLetter::Progress {
        id: AskId::from_slice(&m.id)?,
        phase,
        bytes: m.bytes,
        total: m.total,
    }))
}

const fn phase_to_wire(phase: DrivePhase) -> wire::DrivePhase {
    match phase {
        DrivePhase::Waiting => wire::DrivePhase::Waiting,
        DrivePhase::Reading => wire::DrivePhase::Reading,
        DrivePhase::Uploading => wire::DrivePhase::Uploading,
    }
}

fn parse_uploaded(m: wire::DriveUploaded) -> Result<DriveUploaded, MessageError> {
    if m.ticket.is_empty() || m.ticket.len() > MAX_TICKET {
        return Err(MessageError::Value("ticket"));
    }
    Ok(DriveUploaded {
        share: ShareId::from_slice(&m.share)?,
        ticket: m.ticket,
        name: name(&m.name)?,
        version: m.version,
        files: m.files,
        bytes: m.bytes,
        sent_bytes: m.sent_bytes,
        stored: m.stored,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id() -> AskId {
        AskId::new([7; 16])
    }

    fn name(text: &str) -> EntryName {
        EntryName::parse(text).unwrap()
    }

    fn entry(kind: DriveKind) -> DriveEntry {
        DriveEntry {
            name: name("a b.txt"),
            kind,
            bytes: 5,
            modified_ms: 6,
        }
    }

    fn upload() -> DriveUpload {
        DriveUpload {
            id: id(),
            path: DrivePath::parse("docs/a").unwrap(),
            watch: true,
            valid_s: 60,
        }
    }

    fn letters() -> Vec<DriveLetter> {
        let mut letters = vec![
            DriveLetter::List(DriveList {
                id: id(),
                path: DrivePath::parse("docs/a/ü").unwrap(),
                after: Some(name("x")),
                valid_s: MAX_ASK_VALID,
            }),
            DriveLetter::List(DriveList {
                id: id(),
                path: DrivePath::default(),
                after: None,
                valid_s: 1,
            }),
            DriveLetter::Entries {
                id: id(),
                entries: [DriveKind::File, DriveKind::Folder, DriveKind::Symlink]
                    .map(entry)
                    .into(),
                more: true,
            },
            DriveLetter::Upload(upload()),
            DriveLetter::Uploaded(
                id(),
                DriveUploaded {
                    share: ShareId::new([3; 16]),
                    ticket: "hither1…".into(),
                    name: name("docs"),
                    version: 2,
                    files: 3,
                    bytes: 4,
                    sent_bytes: 5,
                    stored: true,
                },
            ),
            DriveLetter::Cancel(id()),
        ];
        letters.extend(DriveRefusal::ALL.map(|refusal| DriveLetter::Refused(id(), refusal)));
        let phases = [
            DrivePhase::Waiting,
            DrivePhase::Reading,
            DrivePhase::Uploading,
        ];
        letters.extend(phases.map(|phase| DriveLetter::Progress {
            id: id(),
            phase,
            bytes: 1,
            total: 2,
        }));
        letters
    }

    #[test]
    fn every_letter_comes_out_as_it_went_in() {
        for letter in letters() {
            assert_eq!(DriveLetter::decode(&letter.encode()), Ok(Some(letter)));
        }
    }

    #[test]
    fn a_letter_is_these_bytes() {
        // Made from drive.proto by hand: field 3 (upload), id, two names, watch, 60 seconds.
        let mut bytes = vec![0x1a, 18 + 6 + 3 + 2 + 2, 0x0a, 16];
        bytes.extend([7; 16]);
        bytes.extend(b"\x12\x04docs\x12\x01a\x18\x01\x20\x3c");
        assert_eq!(DriveLetter::Upload(upload()).encode(), bytes);
    }

    #[test]
    fn paths_lead_nowhere_else() {
        for (typed, shown) in [
            ("", ""),
            ("/", ""),
            ("docs", "docs"),
            ("/docs/", "docs"),
            ("docs/a b/…", "docs/a b/…"),
            ("...", "..."),
        ] {
            assert_eq!(DrivePath::parse(typed).unwrap().to_string(), shown);
        }
        let long = "a/".repeat(MAX_DRIVE_DEPTH) + "b";
        for hostile in [
            "..",
            "docs/..",
            "../etc",
            "docs/../../etc",
            ".",
            "docs/./a",
            "//etc",
            "docs//a",
            "a\0b",
            long.as_str(),
        ] {
            assert!(DrivePath::parse(hostile).is_err(), "{hostile:?}");
        }
    }

    #[test]
    fn letters_beyond_a_bound_are_none_and_later_ones_let_be() {
        use wire::drive_letter::Body;
        let raw =
            |body| DriveLetter::decode(&wire::DriveLetter { body: Some(body) }.encode_to_vec());
        let good = wire::DriveUpload {
            id: bytes_of(&id()),
            path: vec!["docs".into()],
            watch: false,
            valid_s: 1,
        };
        assert!(raw(Body::Upload(good.clone())).unwrap().is_some());
        let paths = [
            vec![],
            vec!["..".into()],
            vec!["docs".into(), "a/b".into()],
            vec!["docs".into(), String::new()],
            vec!["a".into(); MAX_DRIVE_DEPTH + 1],
        ];
        for path in paths {
            let wrong = wire::DriveUpload {
                path,
                ..good.clone()
            };
            assert!(raw(Body::Upload(wrong)).is_err());
        }
        for valid_s in [0, MAX_ASK_VALID + 1] {
            let wrong = wire::DriveUpload {
                valid_s,
                ..good.clone()
            };
            assert!(raw(Body::Upload(wrong)).is_err());
        }
        let one = entry_to_wire(&entry(DriveKind::File));
        let entries = |entries| {
            raw(Body::Entries(wire::DriveEntries {
                id: bytes_of(&id()),
                entries,
                more: false,
            }))
        };
        assert!(entries(vec![one.clone(); MAX_DRIVE_ENTRIES]).is_ok());
        assert!(entries(vec![one.clone(); MAX_DRIVE_ENTRIES + 1]).is_err());
        let hostile = wire::DriveEntry {
            name: "../x".into(),
            ..one
        };
        assert!(entries(vec![hostile]).is_err());
        assert_eq!(
            raw(Body::Refused(wire::DriveRefused {
                id: bytes_of(&id()),
                refusal: 99
            })),
            Ok(Some(DriveLetter::Refused(id(), DriveRefusal::Failed)))
        );
        assert_eq!(DriveLetter::decode(&[]), Ok(None));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(Some(letter)) = DriveLetter::decode(&bytes) {
                prop_assert_eq!(DriveLetter::decode(&letter.encode()), Ok(Some(letter)));
            }
        }

        #[test]
        fn what_was_changed_is_bounded(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            for letter in letters() {
                let mut bytes = letter.encode();
                let at = at.index(bytes.len());
                bytes[at] = byte;
                if let Ok(Some(DriveLetter::Upload(upload))) = DriveLetter::decode(&bytes) {
                    prop_assert!(upload.path.split().is_some());
                    prop_assert!(!upload.path.to_string().split('/').any(|name| name == ".."));
                }
            }
        }
    }
}
