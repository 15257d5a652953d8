//! Groups, as the local API shows them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who may join a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupPolicy {
    /// Everybody who asks.
    Open,
    /// The devices on a list.
    AllowList,
    /// Whom an admin approves.
    #[default]
    Approval,
}

/// How this device stands with a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupState {
    /// It is a member.
    Member,
    /// It has asked to join, and nobody has answered.
    Asking,
    /// It may not join.
    Refused,
    /// It was a member and was removed.
    Removed,
}

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupRole {
    /// Let others in and out, and set the policy.
    Admin,
    /// Take part.
    Member,
}

/// A group of this device, or one that it asked to join (`GET /v1/groups`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupInfo {
    /// Its id.
    pub group: String,
    /// Its name, safe to show; empty while not known.
    pub name: String,
    /// How this device stands with it.
    pub state: GroupState,
    /// What this device may do in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<GroupRole>,
    /// Who may join.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<GroupPolicy>,
    /// Devices that may join by the allow-list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
    /// Whether everybody at the relay can find it by its name.
    pub findable: bool,
    /// Number of members.
    pub members: u64,
    /// How many of them are online, this device among them.
    pub online: u64,
    /// Shares that its members have told of.
    pub shares: u64,
    /// How many ask to join, and may be approved by this device.
    pub asking: u64,
    /// Generation of its secret: one more whenever somebody has left or was removed.
    pub generation: u64,
    /// Host of the relay that keeps it.
    pub relay: String,
    /// The word with which others ask to join.
    pub invite: String,
    /// Why this device may not join, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A share of a member (in [`GroupMemberInfo`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupShare {
    /// Share id.
    pub share: String,
    /// Its name, safe to show.
    pub name: String,
    /// Number of files.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// When its version was published, Unix seconds.
    pub published: u64,
}

/// A member of a group, or a device that asks to become one (`GET /v1/groups/{group}/members`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupMemberInfo {
    /// Group id.
    pub group: String,
    /// Device id.
    pub device: String,
    /// The short form of it.
    pub short: String,
    /// What it calls itself, safe to show; empty while not known.
    pub name: String,
    /// It is the one that answers.
    pub this: bool,
    /// What it may do; absent: it is no member yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<GroupRole>,
    /// It asks to join.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asking: bool,
    /// It is connected to the relay.
    pub online: bool,
    /// When it was last known to be there (who asks: when it asked), Unix seconds; absent: not
    /// known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<u64>,
    /// What it shares with the group, as it told.
    #[serde(default)]
    pub shares: Vec<GroupShare>,
}

/// `POST /v1/groups`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateGroup {
    /// Its name.
    pub name: String,
    /// Let everybody at the relay find it: the relay then knows the name.
    #[serde(default)]
    pub findable: bool,
    /// Who may join.
    #[serde(default)]
    pub policy: GroupPolicy,
    /// Devices on the allow-list: names of own ones, or ids.
    #[serde(default)]
    pub allow: Vec<String>,
    /// Its admins: names of own devices, or ids; empty: this device.
    #[serde(default)]
    pub admins: Vec<String>,
    /// Host or key of the relay that is to keep it; absent: the first.
    #[serde(default)]
    pub relay: Option<String>,
}

/// `POST /v1/groups/search`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchGroups {
    /// Part of a name; empty: all.
    pub text: String,
}

/// A group that a search found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FoundGroup {
    /// Its id.
    pub group: String,
    /// Its name, safe to show.
    pub name: String,
    /// Who may join.
    pub policy: GroupPolicy,
    /// Number of members.
    pub members: u64,
    /// Host of the relay that keeps it.
    pub relay: String,
    /// How this device stands with it; absent: it has nothing to do with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<GroupState>,
}

/// `POST /v1/groups/join`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinGroup {
    /// The name of a group that can be found, its id, or the word that its members have.
    pub group: String,
}

/// `POST /v1/groups/{group}/devices`: something is decided about a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecideGroup {
    /// The device: its name, short id or id.
    pub device: String,
    /// What.
    pub what: GroupDecision,
    /// Why not; the device is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What is decided about a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupDecision {
    /// It may join.
    Approve,
    /// It may not join.
    Refuse,
    /// It is no member any more.
    Remove,
    /// It becomes an admin.
    Promote,
}

/// `POST /v1/groups/{group}/policy`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetGroupPolicy {
    /// Who may join from now on; absent: as before.
    #[serde(default)]
    pub policy: Option<GroupPolicy>,
    /// Devices that are added to the allow-list: names of own ones, or ids.
    #[serde(default)]
    pub allow: Vec<String>,
    /// Devices that are taken off it.
    #[serde(default)]
    pub disallow: Vec<String>,
}
