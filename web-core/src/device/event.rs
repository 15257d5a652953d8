//! Reports of the device to the page: a JSON object with the field `on`, and bytes behind it.
//!
//! `web/src/core/device/commands.ts` has the same list.

use super::letter::{AskJson, LetterJson};
use crate::output::Outputs;
use serde::Serialize;

/// The number of these messages among those of the core.
pub(crate) const EVENT: u8 = 64;

/// A report.
#[derive(Debug, Serialize)]
#[serde(tag = "on", rename_all = "snake_case")]
pub(crate) enum Event<'a> {
    /// The long connection: "connecting", "online", "offline", "removed".
    State {
        state: &'static str,
        /// Why, in the words of [`code_of`](super::trouble::code_of); of offline and removed.
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<&'static str>,
        retry_ms: u64,
    },
    /// The contents of the link, before anything is connected.
    Link {
        kind: &'static str,
        host: String,
        name: &'a str,
        number: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        ask: Option<AskJson>,
        multiple: bool,
    },
    /// The link is none.
    NoLink {
        code: &'static str,
    },
    /// All other devices of the user.
    Devices {
        devices: Vec<DeviceJson>,
    },
    /// The page may visit.
    Visiting {
        #[serde(skip_serializing_if = "Option::is_none")]
        origin: Option<String>,
        seconds: u32,
        bytes: u64,
        online: bool,
    },
    /// The view of an asker.
    Asking {
        link: String,
        seconds: u32,
    },
    /// Nobody may come any more with what an asker showed.
    AskingEnded,
    /// A letter came; the bytes are those of its files. To be answered with `received`.
    Letter {
        seq: u64,
        from: String,
        id: String,
        taken_ms: u64,
        made_ms: u64,
        receipt: bool,
        /// The sender opened this page's link: two digits, which it shows too.
        #[serde(skip_serializing_if = "Option::is_none")]
        number: Option<u8>,
        letter: LetterJson,
    },
    /// A letter is durable at the relay.
    Sent {
        id: String,
    },
    /// The relay does not take a letter.
    Unsent {
        id: String,
        code: &'static str,
        retry_ms: u64,
    },
    /// A part of a file that is to be read: `piece` answers, in order.
    Need {
        upload: u32,
        file: u32,
        offset: u64,
        length: u64,
    },
    /// The next chunks of what was read, to be encrypted: `sealed` answers. The bytes are their keys.
    Cuts {
        upload: u32,
        lengths: &'a [u32],
    },
    /// Records to be kept, from the number `first` on: the bytes.
    Records {
        upload: u32,
        first: usize,
    },
    /// All files have been read.
    Prepared {
        upload: u32,
        share: String,
        name: &'a str,
        files: usize,
        bytes: u64,
    },
    /// Chunks that are to be read again, encrypted and given: `chunks` answers. The bytes are keys.
    Take {
        upload: u32,
        /// The attempt that they are for.
        put: u32,
        first: u32,
        lengths: Vec<u32>,
        /// Given file, offset, length.
        parts: Vec<(u32, u64, u64)>,
    },
    /// Plaintext bytes that were read, or that are at the relay.
    Progress {
        upload: u32,
        stage: &'static str,
        done: u64,
        bytes: u64,
    },
    /// The share is complete and durable at the relay.
    Uploaded {
        upload: u32,
        ticket: String,
    },
    /// Nothing comes of the upload, unless it is begun again.
    UploadFailed {
        upload: u32,
        code: &'static str,
        message: &'static str,
        retry_ms: u64,
    },
    /// The upload waits for the relay.
    UploadWaits {
        upload: u32,
        retry_ms: u64,
    },
    /// Both screens show these words.
    PairWords {
        words: Vec<String>,
    },
    /// The other person said yes. `invitation`: of the relay that serves the page.
    Paired {
        name: &'a str,
        invitation: String,
    },
    PairFailed {
        code: &'static str,
        message: &'static str,
    },
    /// How the relay can wake this page; the bytes are its key.
    WakeWays {
        push: bool,
        set: bool,
    },
    WakeKept,
    WakeFailed {
        code: &'static str,
    },
}

/// Another device of the user.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DeviceJson {
    pub id: String,
    pub name: String,
    pub online: bool,
    pub web: bool,
    pub last_seen_ms: u64,
}

impl Event<'_> {
    /// Tells the page.
    pub(crate) fn tell(&self, out: &mut Outputs) {
        self.tell_with(out, &[]);
    }

    /// Tells the page, with bytes.
    pub(crate) fn tell_with(&self, out: &mut Outputs, bytes: &[u8]) {
        // Texts and numbers: nothing in it that JSON cannot hold.
        let json = serde_json::to_vec(self).unwrap_or_default();
        let length = (json.len() as u32).to_le_bytes();
        out.message(EVENT, &[&length, &json, bytes]);
    }
}
