//! Wishes of the page to the device: a JSON object with the field `do`, and bytes behind it.
//!
//! Numbers of uploads are the page's. Ids of devices are texts, other ids and secrets hexadecimal
//! digits. `web/src/core/device/commands.ts` has the same list.

use super::letter::LetterJson;
use super::plan::Given;
use serde::Deserialize;

/// A wish.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Command {
    /// Connects as a device of the user.
    Device {
        invitation: Option<String>,
        name: String,
        made_ms: u64,
        instance: u64,
    },
    /// Connects as whoever opened this link.
    Visit {
        link: String,
        name: String,
    },
    /// Connects as a site that asks.
    Asker {
        ask: super::letter::AskJson,
        multiple: bool,
    },
    /// The page's name from now on.
    Name {
        name: String,
        made_ms: u64,
    },
    /// Ends the long connection.
    Leave,
    /// Sends a letter; the bytes are those of its files.
    Send {
        to: String,
        #[serde(with = "super::hex")]
        id: [u8; 16],
        made_ms: u64,
        #[serde(default)]
        receipt: bool,
        letter: LetterJson,
    },
    /// The letter is not to be tried any more.
    Unsend {
        #[serde(with = "super::hex")]
        id: [u8; 16],
    },
    /// Everything up to this number is durable.
    Received {
        seq: u64,
    },
    /// Prepares and uploads files; the bytes are the records that were kept.
    Upload(Box<UploadCommand>),
    /// The next piece that was asked for.
    Piece {
        upload: u32,
    },
    /// Ciphertexts of the next chunks of the first reading.
    Sealed {
        upload: u32,
    },
    /// Ciphertexts (or, where the core encrypts, plaintexts) of a run of positions from `first` on.
    Chunks {
        upload: u32,
        put: u32,
        first: u32,
    },
    /// A file cannot be read.
    Unreadable {
        upload: u32,
    },
    /// The upload is not wanted any more, here.
    Drop {
        upload: u32,
    },
    /// The share is not kept any more at the relay.
    Release {
        #[serde(with = "super::hex")]
        share: [u8; 16],
    },
    /// Enters a code that was scanned.
    Pair {
        text: String,
        name: String,
    },
    PairNoMore,
    /// Asks how the relay can wake this page.
    AskWake,
    /// How the relay wakes this page from now on; no endpoint: not at all.
    Wake {
        endpoint: Option<String>,
        #[serde(default)]
        key: String,
        #[serde(default)]
        auth: String,
    },
    /// Nobody may come with the asker's link any more.
    EndVisitors,
}

/// Everything that an upload needs.
#[derive(Debug, Deserialize)]
pub(crate) struct UploadCommand {
    pub upload: u32,
    /// Name of the share where its files are not one file or folder.
    pub name: String,
    pub files: Vec<Given>,
    #[serde(with = "super::hex")]
    pub secret: [u8; 16],
    #[serde(with = "super::hex")]
    pub domain: [u8; 32],
    #[serde(with = "super::hex")]
    pub salt: [u8; 16],
    pub published_ms: u64,
    /// How long the relay is to keep it, seconds; 0: until it is released.
    pub keep_s: u64,
}
