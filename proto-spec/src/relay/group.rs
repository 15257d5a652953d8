//! What a device and a relay say about groups, on the long connection.

mod encode;
mod parse;
#[cfg(test)]
mod tests;

pub(super) use encode::news_to_wire;
pub(super) use parse::{parse_answer, parse_news, parse_request};

use crate::device::DeviceId;
use crate::group::GroupName;
use crate::ids::{GroupId, KeyMark};
use crate::limits::{GROUP_DIGEST, MAX_GROUPS};
use bytes::Bytes;

/// Something sealed for one device, or by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSealed {
    /// For whom, or in answers by whom.
    pub device: DeviceId,
    /// 1 to [`MAX_GROUP_SEALED`](crate::limits::MAX_GROUP_SEALED) bytes.
    pub sealed: Bytes,
}

/// What a device asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupRequest {
    /// Which groups am I a member of? From now on the device is told what changes.
    Mine,
    /// Entries of a log, and how the device stands.
    Log {
        /// The group.
        group: GroupId,
        /// The first entry wanted.
        from: u64,
    },
    /// Who is a member, who is there, who asks.
    Roll {
        /// The group.
        group: GroupId,
    },
    /// What members say of themselves.
    Notes {
        /// The group.
        group: GroupId,
        /// Which; at most [`MAX_GROUP_MEMBERS`](crate::limits::MAX_GROUP_MEMBERS).
        devices: Vec<DeviceId>,
    },
    /// Replaces what the device says of itself.
    Note {
        /// The group.
        group: GroupId,
        /// 1 to [`MAX_GROUP_NOTE`](crate::limits::MAX_GROUP_NOTE) bytes.
        sealed: Bytes,
    },
    /// One entry for the end of the log.
    Append {
        /// The group.
        group: GroupId,
        /// A signed entry, at most [`MAX_GROUP_ENTRY`](crate::limits::MAX_GROUP_ENTRY) bytes.
        entry: Bytes,
        /// The secret after this entry, for each who needs it; at most
        /// [`MAX_GROUP_MEMBERS`](crate::limits::MAX_GROUP_MEMBERS).
        keys: Vec<GroupSealed>,
    },
    /// The secret for members who have none.
    Keys {
        /// The group.
        group: GroupId,
        /// Which secret: that of another generation than the log's is not taken.
        mark: KeyMark,
        /// At most [`MAX_GROUP_MEMBERS`](crate::limits::MAX_GROUP_MEMBERS).
        keys: Vec<GroupSealed>,
    },
    /// Groups whose names contain a text.
    Find {
        /// At most [`MAX_GROUP_NAME`](crate::limits::MAX_GROUP_NAME) bytes.
        text: String,
    },
    /// How does one join?
    Look {
        /// The group.
        group: GroupId,
    },
    /// I want to join.
    Ask {
        /// The group.
        group: GroupId,
        /// For those whom [`GroupAnswer::How`] named; at most
        /// [`MAX_GROUP_READERS`](crate::limits::MAX_GROUP_READERS).
        parts: Vec<GroupSealed>,
    },
    /// I do not want to join any more.
    Unask {
        /// The group.
        group: GroupId,
    },
    /// A device may not join.
    Refuse {
        /// The group.
        group: GroupId,
        /// Which, and the reason sealed for it.
        sealed: GroupSealed,
    },
    /// Entries in place of those from the same number on, where the log is forked and these
    /// prevail.
    Branch {
        /// The group.
        group: GroupId,
        /// Signed entries one after the other; together at most
        /// [`MAX_GROUP_PAGE`](crate::limits::MAX_GROUP_PAGE) bytes.
        entries: Vec<Bytes>,
    },
}

/// How a device stands with a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupStanding {
    /// It is a member.
    Member,
    /// It has asked.
    Asking,
    /// It was refused.
    Refused,
    /// An admin removed it, and it has not asked since.
    Removed,
    /// None of these.
    None,
}

/// A member, as the relay knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// Which device.
    pub device: DeviceId,
    /// It is connected.
    pub online: bool,
    /// Unix milliseconds; 0: never.
    pub last_seen_ms: u64,
    /// Of what it says of itself; `None`: nothing yet.
    pub digest: Option<[u8; GROUP_DIGEST]>,
    /// The secret of this generation is there for it.
    pub key: bool,
}

/// Somebody who wants to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupAsked {
    /// Which device.
    pub device: DeviceId,
    /// When, Unix milliseconds.
    pub asked_ms: u64,
    /// What it says, sealed for the reader; empty when it is not.
    pub sealed: Bytes,
}

/// A note of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupNote {
    /// Whose.
    pub device: DeviceId,
    /// 1 to [`MAX_GROUP_NOTE`](crate::limits::MAX_GROUP_NOTE) bytes.
    pub sealed: Bytes,
}

/// How one joins a group, without the list of who may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupJoin {
    /// Everybody may join.
    Open,
    /// Those on a list.
    AllowList,
    /// Those whom an admin approves.
    Approval,
}

/// A group as the directory shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupFound {
    /// The group.
    pub group: GroupId,
    /// Its name, when it is in the clear.
    pub name: Option<GroupName>,
    /// How one joins.
    pub policy: GroupJoin,
    /// Number of members.
    pub members: u32,
}

/// Why a relay does not take a request to join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GroupNo {
    /// For a reason of a later version.
    #[error("for a reason that this version does not know")]
    Other,
    /// It is not on the allow-list.
    #[error("this device is not on the group's list of who may join")]
    NotListed,
    /// As many members as may be.
    #[error("the group is full")]
    Full,
    /// It is a member.
    #[error("this device is a member already")]
    Member,
    /// The device is in as many groups as may be.
    #[error("the device is in {MAX_GROUPS} groups already")]
    TooManyGroups,
    /// Too many ask.
    #[error("too many devices ask to join at the moment")]
    TooManyAsks,
}

/// What a relay answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupAnswer {
    /// It is done, and durable.
    Done,
    /// The groups of the device; at most [`MAX_GROUPS`].
    Mine(Vec<GroupId>),
    /// Entries of a log.
    Log {
        /// How the reader stands.
        standing: GroupStanding,
        /// Entries of the whole log; 0 unless it is a member.
        total: u64,
        /// As many as fit.
        entries: Vec<Bytes>,
        /// For a member the secret of this generation, for one who was refused the reason; by
        /// whom.
        sealed: Option<GroupSealed>,
    },
    /// Who is in it.
    Members {
        /// At most [`MAX_GROUP_MEMBERS`](crate::limits::MAX_GROUP_MEMBERS).
        members: Vec<GroupMember>,
        /// Those that the reader may let in; at most
        /// [`MAX_GROUP_ASKS`](crate::limits::MAX_GROUP_ASKS).
        askers: Vec<GroupAsked>,
    },
    /// What members say; as many as fit.
    Notes(Vec<GroupNote>),
    /// Somebody else was faster.
    Behind {
        /// What the number of the next entry must be.
        next: u64,
    },
    /// What a search found; at most [`MAX_GROUP_FOUND`](crate::limits::MAX_GROUP_FOUND).
    Found {
        /// In order of their names.
        found: Vec<GroupFound>,
        /// There are more.
        more: bool,
    },
    /// How one joins a group.
    How {
        /// The group.
        group: GroupFound,
        /// Whom to seal the request for; at most
        /// [`MAX_GROUP_READERS`](crate::limits::MAX_GROUP_READERS).
        readers: Vec<DeviceId>,
    },
    /// The request to join is not taken.
    No(GroupNo),
}

/// Something that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupChange {
    /// The log of a group, or how the reader stands with it.
    Log(GroupId),
    /// Who asks to join it.
    Asks(GroupId),
    /// What a member says of itself.
    Note(GroupId, DeviceId),
    /// A member came or went.
    Presence(GroupId, GroupMember),
}
