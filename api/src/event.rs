//! What long work reports while it runs; one JSON object each, the contract of `--json`.

use crate::ask::{AskInfo, AsksInfo};
use crate::code::{CodeInfo, CodeMet};
use crate::drive::DriveInfo;
use crate::error::ApiError;
use crate::giving::GivingInfo;
use crate::mail::{MessageInfo, SentInfo};
use crate::nearby::NearbyInfo;
use crate::types::{NamesInfo, TransferInfo};
use crate::upload::UploadInfo;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What long work is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Reading, cutting and encrypting what is shared.
    Reading,
    /// Looking for devices that have the share.
    Connecting,
    /// Waiting for an answer to "accept?".
    Offered,
    /// Checking what is here already.
    Comparing,
    /// Fetching and writing.
    Fetching,
    /// Making it durable and moving it into place.
    Writing,
    /// Uploading to a store of a relay.
    Uploading,
    /// Nobody who has what is missing can be reached at the moment.
    Waiting,
    /// Everything is here; a later version is waited for.
    Following,
    /// Stopped; can go on.
    Paused,
    /// Finished.
    Done,
    /// Ended with an error.
    Failed,
}

/// How bytes reached this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// Straight from a device on the same network.
    Lan,
    /// Straight from a device elsewhere.
    Direct,
    /// From a device, through a relay.
    Relayed,
    /// From a store.
    Store,
    /// It was on this device already.
    Local,
}

/// What one source gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SourceBytes {
    /// Device id; this device's own for `local`.
    pub device: String,
    /// What the device calls itself; may be empty.
    #[serde(default)]
    pub name: String,
    /// How.
    pub kind: SourceKind,
    /// Plaintext bytes.
    pub bytes: u64,
    /// Their cost, those that came in vain included, in units of currency; absent when they
    /// were free, and where no price is configured.
    #[serde(default, skip_serializing_if = "is_free")]
    pub cost: f64,
}

/// Returns whether something need not be told.
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Whether a cost or price is not worth telling.
pub(crate) fn is_free(cost: &f64) -> bool {
    *cost <= 0.0
}

/// The things that are where a share would be written (in [`Event::Offer`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExistsInfo {
    /// Files of the share whose names are taken.
    pub taken: u64,
    /// Files of the share, symlinks included.
    pub of: u64,
}

/// The kind of something in a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntryType {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink,
}

/// Something in a share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EntryInfo {
    /// Path below the top, joined with `/`; the name of a share that is a single file. It may have
    /// control characters.
    pub path: String,
    /// Its kind.
    pub kind: EntryType,
    /// Length of a file, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// When it was changed, Unix seconds.
    pub modified: i64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// One report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Where the work stands.
    Progress {
        /// What is being done.
        phase: Phase,
        /// Bytes done.
        bytes: u64,
        /// Bytes in all; 0 while not known.
        total: u64,
        /// Files done (reading) or in the share (fetching).
        files: u64,
        /// Bytes per second over the last seconds.
        rate: u64,
        /// Expected seconds left; absent while not known.
        #[serde(skip_serializing_if = "Option::is_none")]
        remaining: Option<u64>,
        /// Devices that are giving right now.
        devices: u32,
    },
    /// What the share holds, before anything of it is written.
    Offer {
        /// The transfer; accept it with `POST /v1/transfers/{id}/accept`.
        transfer: String,
        /// The share.
        share: String,
        /// Its name, safe to show.
        name: String,
        /// Whether it is one file with no folder around it.
        single_file: bool,
        /// Number of files.
        files: u64,
        /// Bytes of all files.
        bytes: u64,
        /// Where it will be written.
        path: String,
        /// Who shares it: device id.
        owner: String,
        /// What exactly is offered: an answer names it, so that nobody agrees to something else.
        #[serde(default)]
        head: String,
        /// True when nobody need be asked: this very offer was agreed to before.
        #[serde(default)]
        agreed: bool,
        /// The things that are there already under names of the share; absent when nothing is, or when it was
        /// said what becomes of it. An answer says so (`existing`), or the fetch fails.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exists: Option<ExistsInfo>,
    },
    /// Something in a share that is listed.
    Entry(EntryInfo),
    /// Something that was not fetched is where a later version has something, and stays.
    Conflict {
        /// The transfer.
        transfer: String,
        /// What stays.
        path: String,
        /// The path at which the version's was written instead; absent when the version brought
        /// nothing new there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        copy: Option<String>,
    },
    /// Names that could not be written as they are in the version that is here now; `done` or
    /// `version` follows.
    Names {
        /// The transfer.
        transfer: String,
        /// Which.
        #[serde(flatten)]
        names: NamesInfo,
    },
    /// A version is here, and later ones are waited for.
    Version {
        /// The transfer.
        transfer: String,
        /// The version's number.
        version: u64,
        /// Where it is.
        path: String,
        /// Bytes of all files.
        bytes: u64,
        /// How long it took, seconds.
        seconds: f64,
        /// Where the bytes of all versions so far came from.
        sources: Vec<SourceBytes>,
        /// The currency of their costs, if one is configured.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        currency: Option<String>,
    },
    /// How the upload of a share to a store stands; it goes on in the background.
    Upload(UploadInfo),
    /// A message arrived (or was there and not looked at).
    Message(MessageInfo),
    /// A code is shown.
    Code(CodeInfo),
    /// The other device has the same code; of a code for pairing, an answer is waited for.
    CodeMet(CodeMet),
    /// The state of things nearby.
    Nearby(NearbyInfo),
    /// How a request of this device stands.
    Ask(Box<AskInfo>),
    /// Every request.
    Asks(Box<AsksInfo>),
    /// How an upload stands that this device asked another one for.
    Drive(Box<DriveInfo>),
    /// How far a device is that fetches something of this one.
    Giving(Box<GivingInfo>),
    /// A device came to have all of something that this one gives.
    Fetched(Box<GivingInfo>),
    /// How a transfer stands, in the stream of everything.
    Transfer(Box<TransferInfo>),
    /// A list is another one than before, in the stream of everything.
    Changed {
        /// Which.
        what: ChangedList,
    },
    /// Something the user should know that stops nothing.
    Warning {
        /// One sentence.
        message: String,
    },
    /// The last report of work that failed.
    Error(ApiError),
    /// The last report of work that succeeded.
    Done(Done),
}

/// A list that changed (in [`Event::Changed`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangedList {
    /// `GET /v1/shares`.
    Shares,
    /// `GET /v1/config`.
    Config,
    /// `GET /v1/groups`, or who is in one of them.
    Groups,
    /// `GET /v1/relays`.
    Relays,
    /// `GET /v1/devices`: the devices of the user at relays, and those that are known.
    Devices,
    /// `GET /v1/inbox`.
    Inbox,
    /// `GET /v1/outbox`.
    Outbox,
    /// `GET /v1/inbox/links`.
    Links,
    /// `GET /v1/pages`.
    Pages,
    /// `GET /v1/exposures` and `GET /v1/drive/uploads`.
    Drive,
    /// `GET /v1/catalogue`.
    Catalogue,
}

/// How work ended well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Done {
    /// A fetch.
    Fetched {
        /// Where it is.
        path: String,
        /// Bytes of all files.
        bytes: u64,
        /// How long it took, seconds.
        seconds: f64,
        /// Where the bytes came from.
        sources: Vec<SourceBytes>,
        /// The currency of their costs, if one is configured.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        currency: Option<String>,
        /// The transfer, for `hither why`.
        transfer: String,
        /// True when all of it was there already, with the same content.
        #[serde(default, skip_serializing_if = "is_false")]
        already: bool,
    },
    /// A share.
    Shared {
        /// Share id.
        share: String,
        /// What others fetch it with: a secret.
        ticket: String,
        /// Its name.
        name: String,
        /// Its version.
        version: u64,
        /// Number of files.
        files: u64,
        /// Bytes of all files.
        bytes: u64,
        /// Number of chunks.
        chunks: u64,
        /// How many entries patterns left out; a folder counts as one.
        #[serde(default, skip_serializing_if = "is_zero")]
        excluded: u64,
        /// What became of the ticket at the devices that it was to be sent to.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        sent: Vec<SentInfo>,
        /// The code that stood for the ticket, which is spent by now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
        /// The ticket as a link that opens in a browser: a secret. Set by the program that asked for
        /// one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        link: Option<String>,
    },
    /// The content of a share.
    Listed {
        /// Its name; it may have control characters.
        name: String,
        /// Its version.
        version: u64,
        /// Number of things listed.
        entries: u64,
        /// Number of files among them.
        files: u64,
        /// Bytes of those.
        bytes: u64,
    },
    /// The code of a share, at the device that shows it.
    Taken {
        /// The device that has the ticket now.
        taken_by: String,
        /// The name it calls itself, as far as is known; safe to show.
        name: String,
        /// Three words that both screens show.
        words: String,
    },
    /// The code of pairing, on both sides.
    Paired {
        /// The other device, which is one of the user's now.
        paired: String,
        /// The name it calls itself; safe to show.
        name: String,
        /// Three words that both screens show.
        words: String,
        /// How many more of the user's devices became known.
        devices: u64,
        /// Hosts of the relays that the new device belongs to now.
        relays: Vec<String>,
    },
    /// The code of a share, at the device at which it was entered.
    Opened {
        /// The ticket that it stood for: a secret.
        ticket: String,
        /// The device that showed the code.
        from: String,
        /// The name it calls itself, as far as is known; safe to show.
        name: String,
        /// Three words that both screens show.
        words: String,
    },
}

impl Event {
    /// Whether nothing follows.
    pub const fn is_last(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Error(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    #[test]
    fn events_look_as_the_contract_says() {
        let json = |e: &Event| serde_json::to_value(e).unwrap();
        let shared = Event::Done(Done::Shared {
            share: "s".into(),
            ticket: "hither1x".into(),
            name: "n".into(),
            version: 1,
            files: 1,
            bytes: 2,
            chunks: 3,
            excluded: 0,
            sent: Vec::new(),
            code: None,
            link: None,
        });
        assert_eq!(
            json(&shared),
            serde_json::json!({"event":"done","share":"s","ticket":"hither1x","name":"n","version":1,"files":1,"bytes":2,"chunks":3})
        );
        let fetched = Event::Done(Done::Fetched {
            path: "/x".into(),
            bytes: 2,
            seconds: 0.5,
            sources: vec![SourceBytes {
                device: "d".into(),
                name: String::new(),
                kind: SourceKind::Lan,
                bytes: 2,
                cost: 0.0,
            }],
            currency: None,
            transfer: "t".into(),
            already: false,
        });
        assert_eq!(json(&fetched)["sources"][0]["kind"], "lan");
        let error = Event::Error(ApiError::new(ErrorCode::NoHolder, "m").with_hint("h"));
        assert_eq!(
            json(&error),
            serde_json::json!({"event":"error","code":"no_holder","message":"m","hint":"h"})
        );
        let (name, words) = ("n".to_owned(), "a-b-c".to_owned());
        let taken = Event::Done(Done::Taken {
            taken_by: "d".into(),
            name: name.clone(),
            words: words.clone(),
        });
        let opened = Event::Done(Done::Opened {
            ticket: "hither1x".into(),
            from: "d".into(),
            name,
            words,
        });
        let code = Event::Code(CodeInfo {
            code: "a-b-c".into(),
            scan: None,
            link: None,
            expires_seconds: 600,
            id: "i".into(),
        });
        assert_eq!(
            json(&code),
            serde_json::json!({"event":"code","code":"a-b-c","expires_seconds":600,"id":"i"})
        );
        let paired = Event::Done(Done::Paired {
            paired: "d".into(),
            name: "n".into(),
            words: "a-b-c".into(),
            devices: 0,
            relays: Vec::new(),
        });
        for event in [shared, fetched, error, taken, opened, code, paired] {
            assert_eq!(
                serde_json::from_value::<Event>(json(&event)).unwrap(),
                event
            );
        }
    }
}
