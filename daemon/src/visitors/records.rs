//! Inbox links, visitors, and what of theirs is no longer needed, in the store.

use hither_content::storage::Table;
use hither_proto::{DeviceId, ShareId, VisitorSecret};
use hither_util::hex::Hex;
use serde::{Deserialize, Serialize};

/// Links, by number.
pub(super) const LINKS: Table = Table::new("inbox_links");
/// The next number of a link, so that none is given twice.
pub(super) const NUMBERS: Table = Table::new("inbox_link_numbers");
/// Visitors that have sent something, by key.
pub(super) const VISITORS: Table = Table::new("visitors");
/// Shares of visitors that relays need not keep any more, by visitor and share.
pub(super) const RELEASES: Table = Table::new("visitor_releases");
/// The key of the next number.
pub(super) const NEXT: &[u8] = b"next";

/// A link by which pages send to this device.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct LinkRecord {
    /// Key of the relay whose page opens it.
    pub relay: String,
    /// Host of that relay.
    pub host: String,
    /// The contents of the link.
    pub secret: Hex,
    /// Its name, cleaned.
    pub name: String,
    /// When it ends, seconds of the clock of deadlines.
    pub until: u64,
    /// Bytes that may lie at the relay by it.
    pub max: u64,
    /// The user has ended it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
    /// The relay has heard of it as it is now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub told: bool,
}

impl LinkRecord {
    /// The secret; `None`: the record was changed by others.
    pub(super) fn secret(&self) -> Option<VisitorSecret> {
        VisitorSecret::from_slice(&self.secret.0).ok()
    }

    /// Returns whether letters by it are taken at a time.
    pub(super) const fn is_good(&self, now: u64) -> bool {
        !self.ended && now < self.until
    }
}

/// A visitor that has sent something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VisitorRecord {
    /// Number of its link.
    pub link: u64,
    /// Key of the relay that it visits.
    pub relay: String,
    /// When it was heard last, seconds of the clock of deadlines.
    pub heard: u64,
}

/// A share of a visitor that its relay need not keep any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReleaseRecord {
    /// Key of the relay.
    pub relay: String,
    /// Since when, seconds of the clock of deadlines.
    pub since: u64,
}

pub(super) fn release_key(visitor: DeviceId, share: ShareId) -> Vec<u8> {
    [&visitor.as_bytes()[..], share.as_bytes()].concat()
}

/// The visitor and the share of a key.
pub(super) fn released(key: &[u8]) -> Option<(DeviceId, ShareId)> {
    let (visitor, share) = key.split_at_checked(DeviceId::LEN)?;
    Some((
        DeviceId::from_slice(visitor).ok()?,
        ShareId::from_slice(share).ok()?,
    ))
}
