//! The things this device gives to others, as its user sees it.

use crate::event::SourceKind;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The part that one device fetches of one share of this device, or fetched (`GET /v1/giving`).
///
/// `given` is what this device sent. `has`, `total`, `rate`, `complete` and `times` are the word of
/// the device that fetches, wherever it got its bytes, or of the relay from whose store it takes
/// everything (`by_store`): it need not be true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GivingInfo {
    /// Always `giving`: tells it from a transfer, which has no such field.
    pub direction: Giving,
    /// Share id.
    pub share: String,
    /// Name of the share, safe to show; empty while not known.
    pub name: String,
    /// The device that fetches: its id.
    pub device: String,
    /// The name by which this device knows it, safe to show; its short id when it is a stranger.
    pub device_name: String,
    /// The way to it: `lan`, `direct` or `relayed`; `store`: it takes everything from the store
    /// of a relay.
    pub kind: SourceKind,
    /// True if it is there now.
    pub open: bool,
    /// Bytes of files that this device gave it.
    pub given: u64,
    /// The same for each second now.
    pub giving_rate: u64,
    /// The version that it has something of; 0 while that is not known.
    pub version: u64,
    /// Bytes of that version's files that it has.
    pub bytes: u64,
    /// Bytes of that version's files in all; 0 while not known.
    pub total: u64,
    /// How many bytes more it has each second now, from everybody.
    pub rate: u64,
    /// Expected seconds until it has all of it, when that can be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<u64>,
    /// True if it has all of that version, in its place.
    pub complete: bool,
    /// How often it came to have all of a version.
    pub times: u64,
    /// When it was first heard of, Unix seconds.
    pub since: u64,
    /// When it came to have all of a version last, Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<u64>,
    /// True if a relay said so of its store (`kind` is `store` then), and not the device itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_store: bool,
}

/// The direction of a [`GivingInfo`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Giving {
    /// From this device to another one.
    #[default]
    Giving,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_that_it_is_about_giving() {
        let info = GivingInfo {
            direction: Giving::Giving,
            share: "s".into(),
            name: "n".into(),
            device: "d".into(),
            device_name: "phone".into(),
            kind: SourceKind::Lan,
            open: true,
            given: 5,
            giving_rate: 0,
            version: 1,
            bytes: 10,
            total: 20,
            rate: 0,
            remaining: None,
            complete: false,
            times: 0,
            since: 9,
            done: None,
            by_store: false,
        };
        let told = serde_json::to_value(&info).unwrap();
        assert_eq!(told["direction"], "giving");
        assert_eq!(told.get("transfer"), None);
        assert_eq!(serde_json::from_value::<GivingInfo>(told).unwrap(), info);
    }
}
