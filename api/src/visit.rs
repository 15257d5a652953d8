//! Inbox links, by which pages in browsers send to this device, and their visitors, as the local API
//! shows them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How long an inbox link is good by default, seconds: a week.
pub const LINK_SECONDS: u64 = 7 * 86_400;
/// Bytes that visitors may leave at the relay by one link at a time by default.
pub const LINK_BYTES: u64 = 10 << 30;

/// `POST /v1/inbox/links`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InboxLinkRequest {
    /// Host, with or without port, or key of the relay whose page opens it; absent: the only one
    /// that has a page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<String>,
    /// How long it is good, 1 to 31,536,000 seconds; absent: a week.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_seconds: Option<u64>,
    /// Bytes that everybody who has the link may leave at the relay at a time; absent: 10 GiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// The name of the link, which whoever has it sees too; absent: this device's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A link by which browsers send to this device (`GET /v1/inbox/links`).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InboxLinkInfo {
    /// Number of the link.
    pub id: u64,
    /// The link: a secret; empty when it has ended.
    pub link: String,
    /// Its name.
    pub name: String,
    /// Host of the relay whose page opens it.
    pub relay: String,
    /// How long it is still good, seconds; 0: it has ended.
    pub left_seconds: u64,
    /// Bytes that may lie at the relay by it at a time.
    pub max: u64,
    /// How many pages have sent something by it.
    pub visitors: u64,
    /// The relay has heard of it as it is now.
    pub told: bool,
    /// Why the relay has not, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl std::fmt::Debug for InboxLinkInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "InboxLinkInfo({}, secret)", self.id)
    }
}

/// Somebody without a device who sent something by a link (in [`MessageInfo`](crate::MessageInfo)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VisitorInfo {
    /// Its name in its own words, safe to show; may be empty. Anybody may choose any name.
    pub name: String,
    /// Number of the link.
    pub link: u64,
    /// Name of the link.
    pub link_name: String,
}
