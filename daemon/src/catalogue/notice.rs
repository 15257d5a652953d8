//! The notices that devices of one user send each other of their shares, inside sealed messages.
//!
//! Invariant: an entry that came out of [`Entry::checked`] has a ticket of the device that told of
//! it, for all versions of one share, and a name that passed [`EntryName::parse`].

use hither_proto::{DeviceId, EntryName, ShareId, Ticket};
use hither_relay_client::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most shares that are announced, and believed, of one device.
pub(crate) const MAX_SHARES: usize = 4096;
/// Length of the hash of an entry, bytes.
const HASH: usize = 16;

/// The hash of an entry.
pub(super) type EntryHash = [u8; HASH];

/// One share of a device.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Opens it: a secret.
    pub ticket: String,
    pub name: String,
    pub version: u64,
    pub files: u64,
    pub bytes: u64,
    /// When that version was published, Unix seconds.
    pub published: u64,
    /// When it ends by itself, Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("version", &self.version)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Entry {
    /// The share, when this device may speak of it and everything is as it should be.
    pub(crate) fn checked(&self, from: DeviceId) -> Option<ShareId> {
        let ticket: Ticket = self.ticket.parse().ok()?;
        EntryName::parse(&self.name).ok()?;
        (ticket.owner == from && ticket.pin.is_none()).then(|| ticket.share())
    }

    /// Returns the hash that tells it from any other entry of the same share.
    pub(super) fn hash(&self) -> EntryHash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"hither catalogue v1\0");
        for number in [
            self.version,
            self.files,
            self.bytes,
            self.published,
            self.expires.unwrap_or_default(),
        ] {
            hasher.update(&number.to_be_bytes());
        }
        for text in [&self.name, &self.ticket] {
            hasher
                .update(&(text.len() as u32).to_be_bytes())
                .update(text.as_bytes());
        }
        let mut hash = EntryHash::default();
        hash.copy_from_slice(&hasher.finalize().as_bytes()[..HASH]);
        hash
    }

    /// About how long it is in a message, bytes.
    pub(crate) fn length(&self) -> usize {
        // The field names, the numbers at their longest, and a name in which every character is
        // escaped.
        200 + self.ticket.len() + 2 * self.name.len()
    }
}

/// The digest of entries in the order of their shares.
pub(super) fn digest<'a>(hashes: impl Iterator<Item = (&'a ShareId, &'a EntryHash)>) -> Digest {
    let (mut hasher, mut shares) = (blake3::Hasher::new(), 0);
    for (share, hash) in hashes {
        hasher.update(share.as_bytes()).update(hash);
        shares += 1;
    }
    if shares == 0 {
        return Digest::default();
    }
    Digest {
        shares,
        hash: hither_util::hex::encode(&hasher.finalize().as_bytes()[..HASH]),
    }
}

/// The contents of one message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Notice {
    /// Set when the earlier notices are to be forgotten first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole: bool,
    /// Shares that are new, or not what they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<Entry>,
    /// Ids of shares that ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<String>,
    /// The sender requests everything.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ask: bool,
}

/// The shares of this device.
#[derive(Debug, Default)]
pub(super) struct Own {
    pub entries: BTreeMap<ShareId, (EntryHash, Entry)>,
    pub digest: Digest,
}

impl Own {
    /// The newest [`MAX_SHARES`] of these.
    pub(super) fn new(mut all: Vec<(ShareId, Entry)>) -> Self {
        all.sort_by_key(|(share, entry)| (std::cmp::Reverse(entry.published), *share));
        all.truncate(MAX_SHARES);
        let entries: BTreeMap<_, _> = all
            .into_iter()
            .map(|(share, entry)| (share, (entry.hash(), entry)))
            .collect();
        let digest = digest(entries.iter().map(|(share, (hash, _))| (share, hash)));
        Self { entries, digest }
    }
}
