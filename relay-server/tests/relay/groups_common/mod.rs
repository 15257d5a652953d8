//! Devices that speak about groups, and a group.

use super::serve_common::{Device, Relay, Talk};
use bytes::Bytes;
use hither_proto::{
    Action, DeviceId, GroupAnswer, GroupChange, GroupEntry, GroupId, GroupName, GroupRequest,
    GroupSealed, GroupSecret, GroupStanding, KeyMark, Membership, NameSeal, Policy, RelayMessage,
    RelayRefusalCode, SignedEntry,
};
use hither_relay::config::Rate;
use std::collections::BTreeSet;

pub type Answer = Result<GroupAnswer, RelayRefusalCode>;

/// A device and its long connection.
pub struct Caller {
    pub device: Device,
    pub talk: Talk,
    pub request: u64,
}

impl Caller {
    /// Of a user of its own.
    pub async fn new(relay: &Relay) -> Self {
        let device = Device::new();
        let talk = device.join(relay, &relay.invite(1).await).await;
        Self {
            device,
            talk,
            request: 0,
        }
    }

    pub fn id(&self) -> DeviceId {
        self.device.id
    }

    pub async fn ask(&mut self, what: GroupRequest) -> Answer {
        self.request += 1;
        let wanted = self.request;
        self.talk
            .say(RelayMessage::Group {
                request: wanted,
                what: Box::new(what),
            })
            .await;
        let answer = |message: &RelayMessage| match message {
            RelayMessage::GroupAnswered { request, answer } if *request == wanted => {
                Some(Ok((**answer).clone()))
            }
            RelayMessage::Failed { request, refusal } if *request == wanted => {
                Some(Err(refusal.code))
            }
            _ => None,
        };
        self.talk.find(answer).await
    }

    pub fn signed(&self, entry: GroupEntry) -> SignedEntry {
        SignedEntry::sign(entry, |message| self.device.identity.sign(message))
    }

    /// What it would write next.
    pub fn entry(&self, of: &Membership, action: Action) -> SignedEntry {
        self.signed(of.next_entry(self.id(), 1, action))
    }

    pub async fn append(&mut self, entry: &SignedEntry, keys: &[DeviceId]) -> Answer {
        let keys = keys.iter().map(|device| sealed(*device)).collect();
        let (group, bytes) = (entry.group(), Bytes::copy_from_slice(entry.bytes()));
        self.ask(GroupRequest::Append {
            group,
            entry: bytes,
            keys,
        })
        .await
    }

    pub async fn asks(&mut self, group: GroupId, reader: DeviceId) -> Answer {
        self.ask(GroupRequest::Ask {
            group,
            parts: vec![sealed(reader)],
        })
        .await
    }

    pub async fn standing(&mut self, group: GroupId) -> GroupStanding {
        match self.ask(GroupRequest::Log { group, from: 0 }).await {
            Ok(GroupAnswer::Log { standing, .. }) => standing,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until it is told of a change.
    pub async fn hears(&mut self, change: GroupChange) {
        let wanted = |message: &RelayMessage| match message {
            RelayMessage::GroupNews { changes, .. } if changes.contains(&change) => Some(()),
            _ => None,
        };
        self.talk.find(wanted).await;
    }
}

pub fn sealed(device: DeviceId) -> GroupSealed {
    GroupSealed {
        device,
        sealed: Bytes::from_static(b"sealed"),
    }
}

pub fn mark(number: u8) -> KeyMark {
    GroupSecret::new([number; 32]).mark()
}

pub fn first(by: &Caller, name: Option<&str>, policy: Policy) -> SignedEntry {
    let name = match name {
        Some(name) => NameSeal::Clear(GroupName::parse(name).unwrap()),
        None => NameSeal::Sealed([by.id().as_bytes()[0]; 32]),
    };
    let admins = BTreeSet::from([by.id()]);
    let action = Action::Create {
        name,
        key: mark(1),
        policy,
        admins,
    };
    let (group, author) = (GroupId::new([0; 32]), by.id());
    by.signed(GroupEntry {
        group,
        number: 0,
        previous: [0; 32],
        author,
        time_ms: 1,
        action,
    })
}

/// A group with an admin and a member, one who asks, and one who has nothing to do with it.
pub struct Place {
    pub relay: Relay,
    pub group: Membership,
    pub admin: Caller,
    pub member: Caller,
    pub asker: Caller,
    pub stranger: Caller,
}

impl Place {
    pub async fn new(policy: Policy) -> Self {
        let relay = Relay::start(|config| {
            config.limits.group = Rate {
                per_second: 1e6,
                burst: 1e6,
            };
        })
        .await;
        let mut callers = Vec::new();
        for _ in 0..4 {
            callers.push(Caller::new(&relay).await);
        }
        let [mut admin, mut member, mut asker, stranger] = callers.try_into().ok().unwrap();
        let created = first(&admin, Some("The Choir"), policy);
        let mut group = Membership::begin(&created).unwrap();
        let id = group.group();
        let own = admin.id();
        assert_eq!(admin.append(&created, &[own]).await, Ok(GroupAnswer::Done));
        assert_eq!(member.asks(id, admin.id()).await, Ok(GroupAnswer::Done));
        let add = admin.entry(
            &group,
            Action::Add {
                device: member.id(),
            },
        );
        let new = member.id();
        assert_eq!(admin.append(&add, &[new]).await, Ok(GroupAnswer::Done));
        group.apply(&add).unwrap();
        assert_eq!(asker.asks(id, admin.id()).await, Ok(GroupAnswer::Done));
        Self {
            relay,
            group,
            admin,
            member,
            asker,
            stranger,
        }
    }
}

pub const NOT_FOUND: Answer = Err(RelayRefusalCode::NotFound);
pub const INVALID: Answer = Err(RelayRefusalCode::Invalid);
