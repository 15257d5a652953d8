//! The page that a daemon serves on its network for devices that have nothing installed, and the
//! dashboard of its own user, as the local API shows them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Time that a page is there when nobody says otherwise, seconds.
pub const PAGE_SECONDS: u64 = 3600;
/// The longest that a page can be there, seconds.
pub const MAX_PAGE_SECONDS: u64 = 7 * 86_400;

/// `POST /v1/pages`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PageRequest {
    /// It is there for so many seconds, at least 1 and at most 604,800; absent: an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_seconds: Option<u64>,
    /// Nobody can send anything to this device by it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_upload: bool,
    /// The shares that it shows, by their ids; absent: all that were made here and are for nobody in
    /// particular. An empty list shows none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<Vec<String>>,
}

/// A page that is there (`GET /v1/pages`).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PageInfo {
    /// Its name in calls and commands; not secret.
    pub page: String,
    /// Addresses at which browsers open it, the likeliest first: secrets.
    pub urls: Vec<String>,
    /// It ends by itself after so many seconds.
    pub left_seconds: u64,
    /// Others can send to this device by it.
    pub upload: bool,
    /// Names of the shares that it shows, safe to show.
    pub shares: Vec<String>,
    /// Files and texts that came by it.
    pub received: u64,
}

impl std::fmt::Debug for PageInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PageInfo")
            .field("page", &self.page)
            .finish_non_exhaustive()
    }
}

/// The address at which the dashboard can be opened once (`POST /v1/dashboard`).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DashboardInfo {
    /// A secret: whoever opens it first, as the same user on this machine, is let in.
    pub url: String,
    /// It is good for so many seconds.
    pub left_seconds: u64,
    /// Connections of other users of this machine are recognised and refused.
    pub same_user: bool,
}

impl std::fmt::Debug for DashboardInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DashboardInfo(secret)")
    }
}
