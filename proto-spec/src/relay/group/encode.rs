//! From the messages about groups to the wire.

use super::{
    GroupAnswer, GroupChange, GroupFound, GroupJoin, GroupMember, GroupNo, GroupRequest,
    GroupSealed, GroupStanding,
};
use crate::ids::GroupId;
use crate::relay::encode::key;
use crate::wire;
use crate::wire::group_answer::What as AnswerBody;
use crate::wire::group_change::What as ChangeBody;
use crate::wire::group_request::What as RequestBody;
use bytes::Bytes;

impl GroupRequest {
    pub(in crate::relay) fn to_wire(&self, request: u64) -> wire::GroupRequest {
        let (group, what) = match self {
            Self::Mine => (None, RequestBody::Mine(wire::GroupMine {})),
            Self::Log { group, from } => (Some(group), RequestBody::Log(*from)),
            Self::Roll { group } => (Some(group), RequestBody::Roll(wire::GroupRoll {})),
            Self::Notes { group, devices } => {
                let devices = devices.iter().map(key).collect();
                (
                    Some(group),
                    RequestBody::Notes(wire::GroupDevices { devices }),
                )
            }
            Self::Note { group, sealed } => (Some(group), RequestBody::Note(sealed.clone())),
            Self::Append { group, entry, keys } => {
                let append = wire::GroupAppend {
                    entry: entry.clone(),
                    keys: all_sealed(keys),
                };
                (Some(group), RequestBody::Append(append))
            }
            Self::Keys { group, mark, keys } => {
                let mark = Bytes::copy_from_slice(mark.as_bytes());
                (
                    Some(group),
                    RequestBody::Keys(wire::GroupKeys {
                        sealed: all_sealed(keys),
                        mark,
                    }),
                )
            }
            Self::Find { text } => (None, RequestBody::Find(text.clone())),
            Self::Look { group } => (Some(group), RequestBody::Look(wire::GroupLook {})),
            Self::Ask { group, parts } => (
                Some(group),
                RequestBody::Ask(wire::GroupKeys {
                    sealed: all_sealed(parts),
                    mark: Bytes::new(),
                }),
            ),
            Self::Unask { group } => (Some(group), RequestBody::Unask(wire::GroupUnask {})),
            Self::Refuse { group, sealed } => {
                (Some(group), RequestBody::Refuse(one_sealed(sealed)))
            }
            Self::Branch { group, entries } => (
                Some(group),
                RequestBody::Branch(wire::GroupBranch {
                    entries: entries.clone(),
                }),
            ),
        };
        wire::GroupRequest {
            request,
            group: group.map(id).unwrap_or_default(),
            what: Some(what),
        }
    }
}

impl GroupAnswer {
    pub(in crate::relay) fn to_wire(&self, request: u64) -> wire::GroupAnswer {
        let what = match self {
            Self::Done => AnswerBody::Done(wire::GroupDone {}),
            Self::Mine(groups) => AnswerBody::Mine(wire::GroupIds {
                groups: groups.iter().map(id).collect(),
            }),
            Self::Log {
                standing,
                total,
                entries,
                sealed,
            } => AnswerBody::Log(wire::GroupLog {
                standing: standing.to_wire().into(),
                total: *total,
                entries: entries.clone(),
                sealed: sealed.as_ref().map(one_sealed),
            }),
            Self::Members { members, askers } => AnswerBody::Members(wire::GroupMembers {
                members: members.iter().map(member_to_wire).collect(),
                askers: askers
                    .iter()
                    .map(|asker| wire::GroupAsker {
                        device: key(&asker.device),
                        asked_ms: asker.asked_ms,
                        sealed: asker.sealed.clone(),
                    })
                    .collect(),
            }),
            Self::Notes(notes) => AnswerBody::Notes(wire::GroupNotes {
                notes: notes
                    .iter()
                    .map(|note| wire::GroupNote {
                        device: key(&note.device),
                        sealed: note.sealed.clone(),
                    })
                    .collect(),
            }),
            Self::Behind { next } => AnswerBody::Behind(*next),
            Self::Found { found, more } => AnswerBody::Found(wire::GroupFounds {
                found: found.iter().map(found_to_wire).collect(),
                more: *more,
            }),
            Self::How { group, readers } => AnswerBody::How(wire::GroupHow {
                group: Some(found_to_wire(group)),
                readers: readers.iter().map(key).collect(),
            }),
            Self::No(why) => AnswerBody::No(wire::GroupNo {
                why: match why {
                    GroupNo::Other => 0,
                    GroupNo::NotListed => 1,
                    GroupNo::Full => 2,
                    GroupNo::Member => 3,
                    GroupNo::TooManyGroups => 4,
                    GroupNo::TooManyAsks => 5,
                },
            }),
        };
        wire::GroupAnswer {
            request,
            what: Some(what),
        }
    }
}

impl GroupStanding {
    const fn to_wire(self) -> wire::GroupStanding {
        match self {
            Self::Member => wire::GroupStanding::Member,
            Self::Asking => wire::GroupStanding::Asking,
            Self::Refused => wire::GroupStanding::Refused,
            Self::Removed => wire::GroupStanding::Removed,
            Self::None => wire::GroupStanding::None,
        }
    }
}

fn id(group: &GroupId) -> Bytes {
    Bytes::copy_from_slice(group.as_bytes())
}

fn one_sealed(sealed: &GroupSealed) -> wire::GroupSealed {
    wire::GroupSealed {
        device: key(&sealed.device),
        sealed: sealed.sealed.clone(),
    }
}

fn all_sealed(all: &[GroupSealed]) -> Vec<wire::GroupSealed> {
    all.iter().map(one_sealed).collect()
}

fn member_to_wire(member: &GroupMember) -> wire::GroupMember {
    wire::GroupMember {
        device: key(&member.device),
        online: member.online,
        last_seen_ms: member.last_seen_ms,
        digest: member
            .digest
            .map(|digest| Bytes::copy_from_slice(&digest))
            .unwrap_or_default(),
        key: member.key,
    }
}

fn found_to_wire(found: &GroupFound) -> wire::GroupFound {
    wire::GroupFound {
        group: id(&found.group),
        name: found
            .name
            .as_ref()
            .map(|name| name.as_str().to_owned())
            .unwrap_or_default(),
        policy: match found.policy {
            GroupJoin::Open => 0,
            GroupJoin::AllowList => 1,
            GroupJoin::Approval => 2,
        },
        members: found.members,
    }
}

pub(in crate::relay) fn news_to_wire(changes: &[GroupChange], all: bool) -> wire::GroupNews {
    let change = |change: &GroupChange| {
        let (group, what) = match change {
            GroupChange::Log(group) => (group, ChangeBody::Log(true)),
            GroupChange::Asks(group) => (group, ChangeBody::Asks(true)),
            GroupChange::Note(group, device) => (group, ChangeBody::Note(key(device))),
            GroupChange::Presence(group, member) => {
                (group, ChangeBody::Presence(member_to_wire(member)))
            }
        };
        wire::GroupChange {
            group: id(group),
            what: Some(what),
        }
    };
    wire::GroupNews {
        changes: changes.iter().map(change).collect(),
        all,
    }
}
