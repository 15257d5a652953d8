use super::*;
use crate::frame::{FRAME_PREFIX, decode_relay_frame, encode_relay_frame};
use crate::limits::{
    MAX_GROUP_ASKS, MAX_GROUP_ENTRY, MAX_GROUP_FOUND, MAX_GROUP_MEMBERS, MAX_GROUP_NAME,
    MAX_GROUP_NEWS, MAX_GROUP_NOTE, MAX_GROUP_READERS, MAX_GROUP_SEALED,
};
use crate::relay::RelayMessage;
use crate::relay::samples::key;

fn parses(message: &RelayMessage) -> bool {
    decode_relay_frame(&encode_relay_frame(message)[FRAME_PREFIX..]).is_ok()
}

fn sealed(length: usize) -> GroupSealed {
    GroupSealed {
        device: key(),
        sealed: vec![1; length].into(),
    }
}

#[test]
fn counts_and_lengths_are_bounded() {
    let group = GroupId::new([4; 32]);
    for (over, fits) in [(0, true), (1, false)] {
        let keys = |count: usize| vec![sealed(9); count + over];
        let bytes = |count: usize| Bytes::from(vec![1; count + over]);
        let requests = [
            GroupRequest::Notes {
                group,
                devices: vec![key(); MAX_GROUP_MEMBERS + over],
            },
            GroupRequest::Note {
                group,
                sealed: bytes(MAX_GROUP_NOTE),
            },
            GroupRequest::Append {
                group,
                entry: bytes(MAX_GROUP_ENTRY),
                keys: vec![],
            },
            GroupRequest::Append {
                group,
                entry: bytes(7),
                keys: keys(MAX_GROUP_MEMBERS),
            },
            GroupRequest::Keys {
                group,
                mark: KeyMark::new([8; 32]),
                keys: keys(MAX_GROUP_MEMBERS),
            },
            GroupRequest::Find {
                text: "x".repeat(MAX_GROUP_NAME + over),
            },
            GroupRequest::Ask {
                group,
                parts: keys(MAX_GROUP_READERS),
            },
            GroupRequest::Refuse {
                group,
                sealed: sealed(MAX_GROUP_SEALED + over),
            },
        ];
        for what in requests {
            let message = RelayMessage::Group {
                request: 1,
                what: Box::new(what),
            };
            assert_eq!(parses(&message), fits, "{over}: {message:?}");
        }
        let member = GroupMember {
            device: key(),
            online: false,
            last_seen_ms: 0,
            digest: None,
            key: false,
        };
        let asked = GroupAsked {
            device: key(),
            asked_ms: 0,
            sealed: Bytes::new(),
        };
        let found = GroupFound {
            group,
            name: None,
            policy: GroupJoin::Open,
            members: 1,
        };
        let members = |members: usize, askers: usize| GroupAnswer::Members {
            members: vec![member.clone(); members],
            askers: vec![asked.clone(); askers],
        };
        let answers = [
            GroupAnswer::Mine(vec![group; MAX_GROUPS + over]),
            members(MAX_GROUP_MEMBERS + over, 0),
            members(0, MAX_GROUP_ASKS + over),
            GroupAnswer::Found {
                found: vec![found.clone(); MAX_GROUP_FOUND + over],
                more: false,
            },
            GroupAnswer::How {
                group: found,
                readers: vec![key(); MAX_GROUP_READERS + over],
            },
        ];
        for answer in answers {
            let message = RelayMessage::GroupAnswered {
                request: 1,
                answer: Box::new(answer),
            };
            assert_eq!(parses(&message), fits, "{over}: {message:?}");
        }
        let changes = vec![GroupChange::Log(group); MAX_GROUP_NEWS + over];
        assert_eq!(
            parses(&RelayMessage::GroupNews {
                changes,
                all: false
            }),
            fits
        );
    }
}
