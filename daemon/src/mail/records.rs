//! Messages in the store. Keys of messages are their numbers, so that a scan gives them in order.

use super::content::{Content, SmallFile, ticket_note};
use hither_api::{MessageKind, TicketNote};
use hither_content::storage::{Storage, StorageError, Table};
use hither_proto::{DeviceId, EntryName, MessageId};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

/// Messages that arrived, by number.
pub(super) const INBOX: Table = Table::new("inbox");
/// Bytes of their files, by number and place in the message.
pub(super) const INBOX_FILES: Table = Table::new("inbox_files");
/// Messages that arrived once, by sender and id: when, Unix seconds.
pub(super) const SEEN: Table = Table::new("mail_seen");
/// Messages that no relay has taken yet, by number.
pub(super) const OUTBOX: Table = Table::new("outbox");
/// The sealed bytes that are sent of them, by number.
pub(super) const OUTBOX_SEALED: Table = Table::new("outbox_sealed");
/// Messages that were sent, by reader and id, for as long as the reader may decline them.
pub(super) const SENT: Table = Table::new("mail_sent");
/// The next numbers, so that none is given twice.
pub(super) const NUMBERS: Table = Table::new("mail_numbers");

/// A message that arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MessageRecord {
    pub message: String,
    pub from: String,
    /// Unix seconds.
    pub received: u64,
    /// By the sender's clock, Unix milliseconds.
    pub made_ms: u64,
    #[serde(default)]
    pub read: bool,
    pub content: StoredContent,
    /// How its files or its share arrive; absent where the user alone decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrival: Option<Arrival>,
    /// The user's program is still to be told of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untold: bool,
    /// A browser sent it by a page of this device, whose id stands for its sender.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub page: bool,
    /// A page in a browser sent it by an inbox link; `from` is its key, and no device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visit: Option<VisitRecord>,
}

/// The sender of a message that has no device, and the link by which it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VisitRecord {
    /// Number of the link.
    pub link: u64,
    /// Name of the link.
    pub link_name: String,
    /// The sender's name in its own words, cleaned.
    pub name: String,
    /// Key of the relay by which it is written to.
    pub relay: String,
    /// The share of it that a store of the relay keeps for this message; absent: none (any more).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<String>,
}

/// A thing that a browser sent by a page of this device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PageMessage {
    Text(String),
    /// A file that is in the receive folder already.
    File {
        name: String,
        length: u64,
        arrival: Arrival,
    },
}

/// How the files or the share of a message arrive in the receive folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum Arrival {
    /// The user is asked, for a reason where it is another one than a rule.
    Asked {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// It is to arrive; `agreed`: the user said so, whatever its size.
    Due {
        #[serde(default)]
        agreed: bool,
    },
    /// Its files are written beside the places that they are moved to, under these names.
    Placing { folder: String, names: Vec<String> },
    /// A transfer fetches it.
    Fetching {
        transfer: String,
        #[serde(default)]
        agreed: bool,
    },
    /// It is there.
    Arrived { paths: Vec<String> },
    /// The user saves or fetches it.
    ByHand {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

impl Arrival {
    /// True while there is something to do without the user.
    pub(crate) const fn is_under_way(&self) -> bool {
        matches!(
            self,
            Self::Due { .. } | Self::Placing { .. } | Self::Fetching { .. }
        )
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum StoredContent {
    Text { text: String },
    Files { files: Vec<StoredFile> },
    Ticket { share: TicketNote },
    Unknown,
}

/// A file, but for its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredFile {
    pub name: String,
    pub mode: u32,
    pub length: u64,
}

impl StoredContent {
    /// Splits the content into the record and the files, whose bytes are stored elsewhere.
    pub(super) fn split(content: Content) -> (Self, Vec<SmallFile>) {
        match content {
            Content::Text(text) => (Self::Text { text }, Vec::new()),
            Content::Ticket(share) => {
                let share = ticket_note(share);
                (Self::Ticket { share }, Vec::new())
            }
            Content::Unknown => (Self::Unknown, Vec::new()),
            Content::Files(files) => {
                let stored = |file: &SmallFile| StoredFile {
                    name: file.name.as_str().to_owned(),
                    mode: file.mode,
                    length: file.bytes.len() as u64,
                };
                (
                    Self::Files {
                        files: files.iter().map(stored).collect(),
                    },
                    files,
                )
            }
        }
    }

    pub(crate) const fn kind(&self) -> MessageKind {
        match self {
            Self::Text { .. } => MessageKind::Text,
            Self::Files { .. } => MessageKind::Files,
            Self::Ticket { .. } => MessageKind::Ticket,
            Self::Unknown => MessageKind::Unknown,
        }
    }

    /// How much room it takes, bytes.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Text { text } => text.len() as u64,
            Self::Files { files } => files.iter().map(|file| file.length).sum(),
            Self::Ticket { .. } | Self::Unknown => 0,
        }
    }
}

/// A message on its way out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OutgoingRecord {
    pub message: String,
    pub to: String,
    /// Unix seconds.
    pub made: u64,
    pub kind: MessageKind,
    pub summary: String,
    /// How many files it brings, in itself or by a ticket.
    #[serde(default)]
    pub files: u64,
    /// Their length together, bytes.
    #[serde(default)]
    pub bytes: u64,
    /// When it is of no use any more, seconds of the clock of deadlines; absent: after 30 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// Length of what is sent, bytes.
    pub sealed: u64,
    /// Why it will not be sent any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// It arrived, and its reader does not want it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub declined: bool,
}

/// A message that its reader or a relay has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SentRecord {
    /// The number that it had in the outbox.
    pub number: u64,
    /// When it was sent, seconds of the clock of deadlines.
    pub at: u64,
    /// Its reader has it, and not only a relay.
    #[serde(default)]
    pub delivered: bool,
    /// Its reader said that it has taken it.
    #[serde(default)]
    pub taken: bool,
    pub record: OutgoingRecord,
}

pub(super) fn number_key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

pub(super) fn file_key(number: u64, place: usize) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&number.to_be_bytes());
    key[8..].copy_from_slice(&(place as u32).to_be_bytes());
    key
}

pub(super) fn seen_key(from: DeviceId, id: MessageId) -> [u8; 48] {
    let mut key = [0; 48];
    key[..32].copy_from_slice(from.as_bytes());
    key[32..].copy_from_slice(id.as_bytes());
    key
}

/// A number in eight bytes.
pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// Every record of a table with its number, in order.
pub(super) fn all<T: serde::de::DeserializeOwned>(
    storage: &dyn Storage,
    table: Table,
) -> Result<Vec<(u64, T)>, StorageError> {
    let mut all = Vec::new();
    storage.scan(table, b"", &mut |key, value| {
        match (number(key), serde_json::from_slice(value)) {
            (Some(number), Ok(record)) => all.push((number, record)),
            _ => tracing::warn!(table = table.name(), "a message cannot be read; left alone"),
        }
        ControlFlow::Continue(())
    })?;
    Ok(all)
}

/// A message's id in text.
pub(crate) fn message_id(text: &str) -> Option<MessageId> {
    let bytes: Option<Vec<u8>> = (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(text.get(i..i + 2)?, 16).ok())
        .collect();
    MessageId::from_slice(&bytes?).ok()
}

/// A stored file's name, checked again: the store is a file that others could have written.
pub(crate) fn entry_name(name: &str, place: usize) -> Option<EntryName> {
    EntryName::parse(name)
        .or_else(|_| EntryName::parse(&format!("unnamed-{}", place + 1)))
        .ok()
}
