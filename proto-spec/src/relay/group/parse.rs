//! From the wire to the messages about groups: every count and length is checked here.

use super::{
    GroupAnswer, GroupAsked, GroupChange, GroupFound, GroupJoin, GroupMember, GroupNo, GroupNote,
    GroupRequest, GroupSealed, GroupStanding,
};
use crate::device::DeviceId;
use crate::group::GroupName;
use crate::ids::{GroupId, KeyMark};
use crate::limits::{
    MAX_GROUP_ASKS, MAX_GROUP_ENTRY, MAX_GROUP_FOUND, MAX_GROUP_LOG, MAX_GROUP_MEMBERS,
    MAX_GROUP_NAME, MAX_GROUP_NEWS, MAX_GROUP_NOTE, MAX_GROUP_PAGE, MAX_GROUP_READERS,
    MAX_GROUP_SEALED, MAX_GROUPS,
};
use crate::message::MessageError;
use crate::relay::RelayMessage;
use crate::relay::parse::{few, sealed};
use crate::wire;
use crate::wire::group_answer::What as AnswerBody;
use crate::wire::group_change::What as ChangeBody;
use crate::wire::group_request::What as RequestBody;
use bytes::Bytes;

type Parsed<T> = Result<T, MessageError>;

fn parse_sealed(m: wire::GroupSealed) -> Parsed<GroupSealed> {
    Ok(GroupSealed {
        device: DeviceId::from_slice(&m.device)?,
        sealed: sealed(m.sealed, MAX_GROUP_SEALED)?,
    })
}

fn parse_all(list: Vec<wire::GroupSealed>, max: usize) -> Parsed<Vec<GroupSealed>> {
    few(&list, max, "number of sealed parts")?;
    list.into_iter().map(parse_sealed).collect()
}

fn devices(list: &[Bytes], max: usize) -> Parsed<Vec<DeviceId>> {
    few(list, max, "number of devices")?
        .iter()
        .map(|device| Ok(DeviceId::from_slice(device)?))
        .collect()
}

pub(in crate::relay) fn parse_request(m: wire::GroupRequest) -> Parsed<RelayMessage> {
    let group = || GroupId::from_slice(&m.group).map_err(MessageError::from);
    let what = match m.what.ok_or(MessageError::Malformed)? {
        RequestBody::Mine(_) => GroupRequest::Mine,
        RequestBody::Log(from) => GroupRequest::Log {
            group: group()?,
            from,
        },
        RequestBody::Roll(_) => GroupRequest::Roll { group: group()? },
        RequestBody::Notes(list) => GroupRequest::Notes {
            group: group()?,
            devices: devices(&list.devices, MAX_GROUP_MEMBERS)?,
        },
        RequestBody::Note(note) => GroupRequest::Note {
            group: group()?,
            sealed: sealed(note, MAX_GROUP_NOTE)?,
        },
        RequestBody::Append(append) => GroupRequest::Append {
            group: group()?,
            entry: sealed(append.entry, MAX_GROUP_ENTRY)?,
            keys: parse_all(append.keys, MAX_GROUP_MEMBERS)?,
        },
        RequestBody::Keys(keys) => {
            let mark = KeyMark::from_slice(&keys.mark)?;
            GroupRequest::Keys {
                group: group()?,
                mark,
                keys: parse_all(keys.sealed, MAX_GROUP_MEMBERS)?,
            }
        }
        RequestBody::Find(text) if text.len() <= MAX_GROUP_NAME => GroupRequest::Find { text },
        RequestBody::Find(_) => return Err(MessageError::Value("length of a search")),
        RequestBody::Look(_) => GroupRequest::Look { group: group()? },
        RequestBody::Ask(parts) => GroupRequest::Ask {
            group: group()?,
            parts: parse_all(parts.sealed, MAX_GROUP_READERS)?,
        },
        RequestBody::Unask(_) => GroupRequest::Unask { group: group()? },
        RequestBody::Refuse(sealed) => GroupRequest::Refuse {
            group: group()?,
            sealed: parse_sealed(sealed)?,
        },
        RequestBody::Branch(branch) => {
            if branch.entries.iter().map(Bytes::len).sum::<usize>() > MAX_GROUP_PAGE {
                return Err(MessageError::Value("length of a branch"));
            }
            let entries = branch
                .entries
                .into_iter()
                .map(|entry| sealed(entry, MAX_GROUP_ENTRY));
            GroupRequest::Branch {
                group: group()?,
                entries: entries.collect::<Parsed<_>>()?,
            }
        }
    };
    Ok(RelayMessage::Group {
        request: m.request,
        what: Box::new(what),
    })
}

pub(in crate::relay) fn parse_answer(m: wire::GroupAnswer) -> Parsed<RelayMessage> {
    let answer = match m.what.ok_or(MessageError::Malformed)? {
        AnswerBody::Done(_) => GroupAnswer::Done,
        AnswerBody::Mine(ids) => GroupAnswer::Mine(
            few(&ids.groups, MAX_GROUPS, "number of groups")?
                .iter()
                .map(|group| GroupId::from_slice(group))
                .collect::<Result<_, _>>()?,
        ),
        AnswerBody::Log(log) => parse_log(log)?,
        AnswerBody::Members(m) => parse_members(m)?,
        AnswerBody::Notes(m) => {
            few(&m.notes, MAX_GROUP_MEMBERS, "number of notes")?;
            let note = |note: wire::GroupNote| {
                Ok(GroupNote {
                    device: DeviceId::from_slice(&note.device)?,
                    sealed: sealed(note.sealed, MAX_GROUP_NOTE)?,
                })
            };
            GroupAnswer::Notes(m.notes.into_iter().map(note).collect::<Parsed<_>>()?)
        }
        AnswerBody::Behind(next) => GroupAnswer::Behind { next },
        AnswerBody::Found(m) => {
            few(&m.found, MAX_GROUP_FOUND, "number of groups")?;
            GroupAnswer::Found {
                found: m
                    .found
                    .into_iter()
                    .map(parse_found)
                    .collect::<Parsed<_>>()?,
                more: m.more,
            }
        }
        AnswerBody::How(m) => GroupAnswer::How {
            group: parse_found(m.group.ok_or(MessageError::Malformed)?)?,
            readers: devices(&m.readers, MAX_GROUP_READERS)?,
        },
        AnswerBody::No(m) => GroupAnswer::No(match m.why {
            1 => GroupNo::NotListed,
            2 => GroupNo::Full,
            3 => GroupNo::Member,
            4 => GroupNo::TooManyGroups,
            5 => GroupNo::TooManyAsks,
            _ => GroupNo::Other,
        }),
    };
    Ok(RelayMessage::GroupAnswered {
        request: m.request,
        answer: Box::new(answer),
    })
}

fn parse_log(m: wire::GroupLog) -> Parsed<GroupAnswer> {
    let standing = match m.standing() {
        wire::GroupStanding::Member => GroupStanding::Member,
        wire::GroupStanding::Asking => GroupStanding::Asking,
        wire::GroupStanding::Refused => GroupStanding::Refused,
        wire::GroupStanding::Removed => GroupStanding::Removed,
        wire::GroupStanding::None | wire::GroupStanding::Unspecified => GroupStanding::None,
    };
    if m.total > MAX_GROUP_LOG || m.entries.len() as u64 > MAX_GROUP_LOG {
        return Err(MessageError::Value("length of a log"));
    }
    let entries = m
        .entries
        .into_iter()
        .map(|entry| sealed(entry, MAX_GROUP_ENTRY))
        .collect::<Parsed<_>>()?;
    let sealed = m.sealed.map(parse_sealed).transpose()?;
    Ok(GroupAnswer::Log {
        standing,
        total: m.total,
        entries,
        sealed,
    })
}

fn parse_members(m: wire::GroupMembers) -> Parsed<GroupAnswer> {
    few(&m.members, MAX_GROUP_MEMBERS, "number of members")?;
    few(&m.askers, MAX_GROUP_ASKS, "number of askers")?;
    let asker = |m: wire::GroupAsker| {
        let sealed = if m.sealed.is_empty() {
            m.sealed
        } else {
            sealed(m.sealed, MAX_GROUP_SEALED)?
        };
        Ok(GroupAsked {
            device: DeviceId::from_slice(&m.device)?,
            asked_ms: m.asked_ms,
            sealed,
        })
    };
    Ok(GroupAnswer::Members {
        members: m
            .members
            .into_iter()
            .map(|member| parse_member(&member))
            .collect::<Parsed<_>>()?,
        askers: m.askers.into_iter().map(asker).collect::<Parsed<_>>()?,
    })
}

fn parse_member(m: &wire::GroupMember) -> Parsed<GroupMember> {
    let digest = match m.digest.len() {
        0 => None,
        _ => Some(
            m.digest[..]
                .try_into()
                .map_err(|_| MessageError::Value("length of a digest"))?,
        ),
    };
    let wire::GroupMember {
        online,
        last_seen_ms,
        key,
        ..
    } = *m;
    Ok(GroupMember {
        device: DeviceId::from_slice(&m.device)?,
        online,
        last_seen_ms,
        digest,
        key,
    })
}

fn parse_found(m: wire::GroupFound) -> Parsed<GroupFound> {
    let name = match m.name.as_str() {
        "" => None,
        name => Some(GroupName::parse(name).map_err(|_| MessageError::Value("name of a group"))?),
    };
    let policy = match m.policy {
        0 => GroupJoin::Open,
        1 => GroupJoin::AllowList,
        _ => GroupJoin::Approval,
    };
    Ok(GroupFound {
        group: GroupId::from_slice(&m.group)?,
        name,
        policy,
        members: m.members,
    })
}

pub(in crate::relay) fn parse_news(m: wire::GroupNews) -> Parsed<RelayMessage> {
    few(&m.changes, MAX_GROUP_NEWS, "number of changes")?;
    let change = |m: wire::GroupChange| -> Parsed<Option<GroupChange>> {
        let group = GroupId::from_slice(&m.group)?;
        Ok(match m.what {
            Some(ChangeBody::Log(_)) => Some(GroupChange::Log(group)),
            Some(ChangeBody::Asks(_)) => Some(GroupChange::Asks(group)),
            Some(ChangeBody::Note(device)) => {
                Some(GroupChange::Note(group, DeviceId::from_slice(&device)?))
            }
            Some(ChangeBody::Presence(member)) => {
                Some(GroupChange::Presence(group, parse_member(&member)?))
            }
            // Of a later version.
            None => None,
        })
    };
    let changes = m
        .changes
        .into_iter()
        .map(change)
        .filter_map(Result::transpose)
        .collect::<Parsed<_>>()?;
    Ok(RelayMessage::GroupNews {
        changes,
        all: m.all,
    })
}
