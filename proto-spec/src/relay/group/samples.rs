//! One message about groups of every kind, and the fullest, for the tests of this crate.

use super::samples::key;
use super::*;
use crate::group::GroupName;
use crate::ids::{GroupId, KeyMark};
use crate::limits::*;

const GROUP: GroupId = GroupId::new([4; 32]);

fn sealed(length: usize) -> GroupSealed {
    GroupSealed {
        device: key(),
        sealed: vec![1; length].into(),
    }
}

fn member(digest: bool) -> GroupMember {
    GroupMember {
        device: key(),
        online: true,
        last_seen_ms: u64::MAX,
        digest: digest.then_some([3; GROUP_DIGEST]),
        key: true,
    }
}

fn found(name: usize) -> GroupFound {
    GroupFound {
        group: GROUP,
        name: GroupName::parse(&"x".repeat(name)).ok(),
        policy: GroupJoin::Approval,
        members: u32::MAX,
    }
}

fn ask(what: GroupRequest) -> RelayMessage {
    RelayMessage::Group {
        request: u64::MAX,
        what: Box::new(what),
    }
}

fn answer(answer: GroupAnswer) -> RelayMessage {
    RelayMessage::GroupAnswered {
        request: u64::MAX,
        answer: Box::new(answer),
    }
}

/// One of every kind.
pub(crate) fn samples() -> Vec<RelayMessage> {
    let group = GROUP;
    let bytes: Bytes = vec![7; 40].into();
    let asked = GroupAsked {
        device: key(),
        asked_ms: 9,
        sealed: Bytes::new(),
    };
    let note = GroupNote {
        device: key(),
        sealed: bytes.clone(),
    };
    let requests = [
        GroupRequest::Mine,
        GroupRequest::Log { group, from: 7 },
        GroupRequest::Roll { group },
        GroupRequest::Notes {
            group,
            devices: vec![key(); 2],
        },
        GroupRequest::Note {
            group,
            sealed: bytes.clone(),
        },
        GroupRequest::Append {
            group,
            entry: bytes.clone(),
            keys: vec![sealed(9)],
        },
        GroupRequest::Keys {
            group,
            mark: KeyMark::new([8; 32]),
            keys: vec![sealed(9)],
        },
        GroupRequest::Find {
            text: "choir".into(),
        },
        GroupRequest::Look { group },
        GroupRequest::Ask {
            group,
            parts: vec![sealed(9)],
        },
        GroupRequest::Unask { group },
        GroupRequest::Refuse {
            group,
            sealed: sealed(9),
        },
        GroupRequest::Branch {
            group,
            entries: vec![bytes.clone(); 2],
        },
    ];
    let standings = [
        GroupStanding::Member,
        GroupStanding::Asking,
        GroupStanding::Refused,
        GroupStanding::Removed,
        GroupStanding::None,
    ];
    let nos = [
        GroupNo::Other,
        GroupNo::NotListed,
        GroupNo::Full,
        GroupNo::Member,
        GroupNo::TooManyGroups,
        GroupNo::TooManyAsks,
    ];
    let answers = [
        GroupAnswer::Done,
        GroupAnswer::Mine(vec![group]),
        GroupAnswer::Members {
            members: vec![member(true), member(false)],
            askers: vec![asked],
        },
        GroupAnswer::Notes(vec![note]),
        GroupAnswer::Behind { next: 9 },
        GroupAnswer::Found {
            found: vec![found(5), found(0)],
            more: true,
        },
        GroupAnswer::How {
            group: found(3),
            readers: vec![key()],
        },
    ];
    let logs = standings.map(|standing| GroupAnswer::Log {
        standing,
        total: 3,
        entries: vec![bytes.clone()],
        sealed: Some(sealed(3)),
    });
    let news = RelayMessage::GroupNews {
        changes: vec![
            GroupChange::Log(group),
            GroupChange::Asks(group),
            GroupChange::Note(group, key()),
            GroupChange::Presence(group, member(false)),
        ],
        all: true,
    };
    let requests = requests.into_iter().map(ask);
    let answers = answers
        .into_iter()
        .chain(logs)
        .chain(nos.map(GroupAnswer::No))
        .map(answer);
    requests.chain(answers).chain([news]).collect()
}

/// The longest.
pub(crate) fn fullest() -> Vec<RelayMessage> {
    let group = GROUP;
    let asked = GroupAsked {
        device: key(),
        asked_ms: u64::MAX,
        sealed: vec![1; MAX_GROUP_SEALED].into(),
    };
    let note = GroupNote {
        device: key(),
        sealed: vec![1; MAX_GROUP_NOTE].into(),
    };
    vec![
        ask(GroupRequest::Append {
            group,
            entry: vec![1; MAX_GROUP_ENTRY].into(),
            keys: vec![sealed(MAX_GROUP_SEALED); MAX_GROUP_MEMBERS],
        }),
        ask(GroupRequest::Ask {
            group,
            parts: vec![sealed(MAX_GROUP_SEALED); MAX_GROUP_READERS],
        }),
        ask(GroupRequest::Branch {
            group,
            entries: vec![vec![1; MAX_GROUP_ENTRY].into(); MAX_GROUP_PAGE / MAX_GROUP_ENTRY],
        }),
        answer(GroupAnswer::Members {
            members: vec![member(true); MAX_GROUP_MEMBERS],
            askers: vec![asked; MAX_GROUP_ASKS],
        }),
        answer(GroupAnswer::Notes(vec![
            note;
            MAX_GROUP_PAGE / MAX_GROUP_NOTE + 1
        ])),
        answer(GroupAnswer::Found {
            found: vec![found(MAX_GROUP_NAME); MAX_GROUP_FOUND],
            more: true,
        }),
        RelayMessage::GroupNews {
            changes: vec![GroupChange::Presence(group, member(true)); MAX_GROUP_NEWS],
            all: true,
        },
    ]
}
