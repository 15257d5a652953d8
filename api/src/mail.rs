//! Messages between the user's devices, as the local API shows them.

use crate::receive::ArrivalInfo;
use crate::visit::VisitorInfo;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use utoipa::ToSchema;

/// `POST /v1/messages`: exactly one of `text`, `files` and `ticket`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SendRequest {
    /// Which device: its name, short id or id.
    pub to: String,
    /// More devices that it is for; nothing is sent where one of them is unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// A text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Absolute paths of small files, which travel in the message itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub files: Vec<PathBuf>,
    /// The ticket of a share: a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<TicketNote>,
    /// The reader's device says when it has taken it (`taken` of `GET /v1/messages/{message}`): a
    /// text or files, which a ticket brings by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub receipt: bool,
}

impl std::fmt::Debug for SendRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SendRequest(secret)")
    }
}

/// A ticket, and what it opens, as its sender says.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TicketNote {
    /// The ticket: a secret.
    pub ticket: String,
    /// Name of the share.
    pub name: String,
    /// Number of files.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

impl std::fmt::Debug for TicketNote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TicketNote")
            .field("files", &self.files)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// Where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SentState {
    /// The relay passed it on to the device.
    Delivered,
    /// The relay keeps it for the device.
    AtRelay,
    /// It waits on this device until a relay takes it.
    Waiting,
    /// No relay will take it.
    Failed,
    /// It arrived, and its reader does not want it.
    Declined,
}

/// What became of a message so far (`POST /v1/messages`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SentInfo {
    /// Its id, the same on both devices.
    pub message: String,
    /// Device id of the reader.
    pub to: String,
    /// What that device calls itself; may be empty.
    pub name: String,
    /// Where it is.
    pub state: SentState,
    /// Why it waits or failed, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The step that must be taken before it can be sent; absent while it is sent by itself as
    /// soon as that is possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The reader's device said that it has taken it; only where it was asked to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub taken: bool,
    /// The same for the other devices that it is for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(no_recursion)]
    pub others: Vec<SentInfo>,
}

/// A message that no relay has taken yet (`GET /v1/outbox`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutgoingInfo {
    /// Number of the message in the outbox.
    pub id: u64,
    /// Where it is.
    #[serde(flatten)]
    pub sent: SentInfo,
    /// What it is.
    pub kind: MessageKind,
    /// The beginning of the text, or what the files or the share are called.
    pub summary: String,
    /// When it was sent, Unix seconds.
    pub made: u64,
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// A text.
    Text,
    /// Small files.
    Files,
    /// The ticket of a share.
    Ticket,
    /// Something is asked for, answered or told; no inbox shows it.
    Request,
    /// Something that this version does not know.
    Unknown,
}

/// One file in a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileInfo {
    /// Its name, safe to write and to show.
    pub name: String,
    /// Its length, bytes.
    pub bytes: u64,
}

/// One message that arrived (`GET /v1/inbox`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MessageInfo {
    /// Number of the message in the inbox.
    pub id: u64,
    /// Its id, the same on both devices.
    pub message: String,
    /// Device id of the sender.
    pub from: String,
    /// What that device calls itself; may be empty.
    pub name: String,
    /// A browser sent it by a page of this device (`POST /v1/pages`), whose id stands for the
    /// sender's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub page: bool,
    /// A page in a browser sent it by a link of this device: `from` is a key of that page, and no
    /// device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visitor: Option<VisitorInfo>,
    /// What it is.
    pub kind: MessageKind,
    /// When it arrived here, Unix seconds.
    pub received: u64,
    /// When it was sent, by the sender's clock, Unix seconds.
    pub made: u64,
    /// It was looked at.
    pub read: bool,
    /// The text; in lists and events only when it has at most 4,096 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileInfo>,
    /// The share that is offered; its ticket is empty in lists and events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<TicketNote>,
    /// How its files or its share arrive; absent for texts, and for what was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrival: Option<ArrivalInfo>,
}

/// `POST /v1/inbox/{id}/save`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SaveRequest {
    /// Absolute path of an existing folder.
    #[schema(value_type = String)]
    pub folder: PathBuf,
}

/// What was saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SavedInfo {
    /// The files as they were written; another name than in the message where one was taken.
    pub paths: Vec<String>,
}
