//! Who tries, with what, and what may not change by it.

use crate::storing_common::{Device, Open, Relay, Settings, Version, World, id, ranges, soon};
use bytes::Bytes;
use hither_carrier::CarrierKind;
use hither_proto::limits::PROTOCOL;
use hither_proto::{
    Announcement, BlindQuery, BlindReply, Card, CircuitId, CircuitMessage, Claims, CodeAnswer,
    CodeRequest, Delta, DeviceName, FetchReceived, GroupAnswer, GroupId, GroupRequest,
    IndexMessage, Invitation, Knock, Message, MessageId, Opened, OwnAnswer, OwnRequest, Proof,
    ProofKind, Purpose, Put, PutRecord, Ranges, Refusal, RelayMessage, RelayPurpose,
    RelayRefusalCode, Space, Terms, Want, Welcome, Word,
};
use hither_relay::config::Rate;
use std::collections::BTreeMap;

/// Who tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    Owner,
    /// Another device of the same user.
    Sibling,
    /// A device of another user.
    Other,
    /// Never registered.
    Stranger,
    /// Was a device of the same user.
    Revoked,
    /// A page in a browser that is a device of the same user.
    Page,
    /// Has a link of the owner, and nothing else.
    Visitor,
}

pub const CALLERS: [Caller; 7] = [
    Caller::Owner,
    Caller::Sibling,
    Caller::Other,
    Caller::Stranger,
    Caller::Revoked,
    Caller::Page,
    Caller::Visitor,
];

/// What a reader shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// A proof of the read key, on this stream.
    Right,
    /// One that was made on another stream: on TCP of another connection, on QUIC of the same one.
    Replayed,
    /// One that another device made, towards the same relay.
    Borrowed,
    /// One for another purpose.
    OtherPurpose,
    /// One that only the relay makes.
    Reflected,
    /// One of another key.
    Forged,
    /// One of the share's secret, which a store cannot check.
    Secret,
    /// The right one, for a share of another device.
    OtherOwner,
    /// The right one, for nobody's share.
    NoOwner,
}

impl Shown {
    pub const ALL: [Self; 9] = [
        Self::Right,
        Self::Replayed,
        Self::Borrowed,
        Self::OtherPurpose,
        Self::Reflected,
        Self::Forged,
        Self::Secret,
        Self::OtherOwner,
        Self::NoOwner,
    ];
}

/// What a message of the relay protocol is, as far as rights go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ping,
    Pong,
    Assign,
    Hello,
    /// With an invitation that nobody made: see `serve_visit` for others.
    Visit,
    Cards,
    Send,
    Received,
    /// Knows who reads a share of its.
    FetchesReceived,
    Place,
    Release,
    Put,
    /// Further messages of an upload.
    OfUpload,
    /// The first message to the index.
    IndexHello,
    /// Says what the sender holds.
    IndexAnnounce,
    /// Says what has changed of that.
    IndexDelta,
    /// Says that it is nothing any more.
    IndexWithdraw,
    IndexSubscribe,
    IndexUnsubscribe,
    /// What only an index node says.
    OfIndex,
    /// Asks for a circuit to the owner.
    Connect,
    /// Takes a circuit that was offered to nobody.
    Accept,
    /// Does not take it.
    Decline,
    /// A question about a group, or a change of one: see `serve_groups` for each.
    Group,
    /// Asks who shows a code: see `serve_codes` for each.
    Code,
    /// Removes a device that is nobody's: see `serve_own` for each.
    Own,
    /// What only a relay says.
    OfRelay,
}

/// A new kind of message must be put in here, and with it into every table, and into
/// [`relay_messages`].
pub fn kind(message: &RelayMessage) -> Kind {
    match message {
        RelayMessage::Ping { .. } => Kind::Ping,
        RelayMessage::Pong { .. } => Kind::Pong,
        RelayMessage::Assign => Kind::Assign,
        RelayMessage::Hello { .. } => Kind::Hello,
        RelayMessage::Visit { .. } => Kind::Visit,
        RelayMessage::Cards(_) => Kind::Cards,
        RelayMessage::Send { .. } => Kind::Send,
        RelayMessage::Received { .. } => Kind::Received,
        RelayMessage::FetchesReceived(_) => Kind::FetchesReceived,
        RelayMessage::Place { .. } => Kind::Place,
        RelayMessage::Release { .. } => Kind::Release,
        RelayMessage::Put(_) => Kind::Put,
        RelayMessage::PutList { .. } | RelayMessage::PutChunk { .. } | RelayMessage::PutEnd => {
            Kind::OfUpload
        }
        RelayMessage::Index(message) => match &**message {
            IndexMessage::Hello => Kind::IndexHello,
            IndexMessage::Announce { .. } => Kind::IndexAnnounce,
            IndexMessage::Delta { .. } => Kind::IndexDelta,
            IndexMessage::Withdraw { .. } => Kind::IndexWithdraw,
            IndexMessage::Subscribe { .. } => Kind::IndexSubscribe,
            IndexMessage::Unsubscribe { .. } => Kind::IndexUnsubscribe,
            IndexMessage::Welcome { .. }
            | IndexMessage::Holders { .. }
            | IndexMessage::Changed { .. }
            | IndexMessage::Resync { .. }
            | IndexMessage::Refused { .. } => Kind::OfIndex,
        },
        RelayMessage::Circuit(message) => match &**message {
            CircuitMessage::Connect { .. } => Kind::Connect,
            CircuitMessage::Accept { .. } => Kind::Accept,
            CircuitMessage::Decline { .. } => Kind::Decline,
            CircuitMessage::Connected
            | CircuitMessage::At { .. }
            | CircuitMessage::Incoming { .. } => Kind::OfRelay,
        },
        RelayMessage::Group { .. } => Kind::Group,
        RelayMessage::Code { .. } => Kind::Code,
        RelayMessage::Own { .. } => Kind::Own,
        RelayMessage::Refused(_)
        | RelayMessage::GroupAnswered { .. }
        | RelayMessage::CodeAnswered { .. }
        | RelayMessage::OwnAnswered { .. }
        | RelayMessage::GroupNews { .. }
        | RelayMessage::Fetches(_)
        | RelayMessage::Assigned { .. }
        | RelayMessage::Welcome(_)
        | RelayMessage::Visiting(_)
        | RelayMessage::DevicesChanged { .. }
        | RelayMessage::Move { .. }
        | RelayMessage::Sent { .. }
        | RelayMessage::Deliver { .. }
        | RelayMessage::Placed { .. }
        | RelayMessage::Released { .. }
        | RelayMessage::Failed { .. }
        | RelayMessage::Missing { .. }
        | RelayMessage::Stored { .. }
        | RelayMessage::PutDone => Kind::OfRelay,
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Answered(&'static str),
    /// No answer, and the connection goes on.
    Nothing,
    /// The request was refused, the connection goes on.
    Failed(RelayRefusalCode),
    /// The stream ended with that.
    Refused(RelayRefusalCode),
    /// The stream ended without a word.
    Closed,
}

/// Whether a message is more than what a relay tells of its own accord.
pub fn told(message: &RelayMessage) -> bool {
    !matches!(
        message,
        RelayMessage::DevicesChanged { .. } | RelayMessage::Deliver { .. }
    )
}

/// The answer; after a refusal the stream must end.
pub async fn outcome(relay: &mut Relay) -> Outcome {
    loop {
        let next = soon(relay.reader.next(&mut relay.recv)).await;
        return match next {
            Ok(Some(RelayMessage::Ping { .. })) => continue,
            Ok(Some(message)) if !told(&message) => continue,
            Ok(Some(RelayMessage::Refused(refusal))) => {
                assert!(!matches!(
                    soon(relay.reader.next(&mut relay.recv)).await,
                    Ok(Some(_))
                ));
                Outcome::Refused(refusal.code)
            }
            Ok(Some(RelayMessage::Failed {
                request: 5,
                refusal,
            })) => Outcome::Failed(refusal.code),
            Ok(Some(RelayMessage::Pong { nonce: 5 })) => Outcome::Answered("pong"),
            Ok(Some(RelayMessage::Assigned { .. })) => Outcome::Answered("assigned"),
            Ok(Some(RelayMessage::Welcome(_))) => Outcome::Answered("welcome"),
            Ok(Some(RelayMessage::Sent { request: 5, .. })) => Outcome::Answered("sent"),
            Ok(Some(RelayMessage::Placed { request: 5, .. })) => Outcome::Answered("placed"),
            Ok(Some(RelayMessage::CodeAnswered { request: 5, .. })) => Outcome::Answered("code"),
            Ok(Some(RelayMessage::Released { request: 5 })) => Outcome::Answered("released"),
            Ok(Some(RelayMessage::Missing { .. })) => Outcome::Answered("missing"),
            Ok(Some(RelayMessage::Index(message))) => match *message {
                IndexMessage::Welcome { .. } => Outcome::Answered("index welcome"),
                IndexMessage::Holders { .. } => Outcome::Answered("holders"),
                IndexMessage::Resync { .. } => Outcome::Answered("resync"),
                other => panic!("an unexpected answer: {other:?}"),
            },
            Ok(Some(other)) => panic!("an unexpected answer: {other:?}"),
            Ok(None) | Err(_) => Outcome::Closed,
        };
    }
}

/// The invitation of the owner's link.
fn link() -> Invitation {
    Invitation::new([7; 16])
}

/// A relay with everyone who tries, and an owner who has a share and a message there.
pub struct Place {
    pub world: World,
    pub owner: Device,
    pub sibling: Device,
    pub other: Device,
    pub stranger: Device,
    pub revoked: Device,
    pub page: Device,
    pub visitor: Device,
    pub version: Version,
    user: String,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Place {
    pub async fn new() -> Self {
        let world = World::with(|settings: &mut Settings| {
            let limits = &mut settings.config.limits;
            let much = Rate {
                per_second: 1e6,
                burst: 1e6,
            };
            for rate in [
                &mut limits.address,
                &mut limits.assign,
                &mut limits.hello,
                &mut limits.upload,
                &mut limits.read,
                &mut limits.lookup,
                &mut limits.node,
                &mut limits.index,
                &mut limits.circuit,
            ] {
                *rate = much;
            }
        })
        .await;
        let user = world.user().await;
        let (owner, sibling) = (world.device(&user).await, world.device(&user).await);
        let (other, revoked) = (world.somebody().await, world.device(&user).await);
        world.node.registry.revoke(&revoked.id()).await.unwrap();
        let page = world.page(&user).await;
        let version = Version::random(&owner, 1, 5, 5_000);
        owner.share(&world, &version).await;
        let user = hex(user.as_bytes());
        let place = Self {
            world,
            owner,
            sibling,
            other,
            stranger: Device::new(),
            revoked,
            page,
            visitor: Device::new(),
            version,
            user,
        };
        let mut talk = place.sibling.talk(&place.world).await;
        let sealed = Bytes::from_static(b"before");
        let (to, id) = (place.owner.id(), MessageId::new([1; 16]));
        talk.say(&RelayMessage::Send {
            request: 1,
            to,
            id,
            sealed,
            keep_s: 0,
        })
        .await;
        talk.find(|answer| matches!(answer, RelayMessage::Sent { request: 1, .. }).then_some(()))
            .await;
        drop(talk);
        let mut talk = place.owner.talk(&place.world).await;
        let what = OwnRequest::InviteVisitors {
            invitation: link(),
            seconds: 3600,
            bytes: 1 << 20,
            visitors: 4,
        };
        talk.say(&RelayMessage::Own { request: 1, what }).await;
        talk.find(|answer| {
            matches!(answer, RelayMessage::OwnAnswered { request: 1, .. }).then_some(())
        })
        .await;
        drop(talk);
        drop(place.visitor.visit(&place.world, link()).await);
        place.left().await;
        place
    }

    /// The long connection of who has one.
    pub async fn talk(&self, caller: Caller) -> Relay {
        match caller {
            Caller::Visitor => self.visitor.visit(&self.world, link()).await,
            caller => self.device(caller).talk(&self.world).await,
        }
    }

    pub fn device(&self, caller: Caller) -> &Device {
        match caller {
            Caller::Owner => &self.owner,
            Caller::Sibling => &self.sibling,
            Caller::Other => &self.other,
            Caller::Stranger => &self.stranger,
            Caller::Revoked => &self.revoked,
            Caller::Page => &self.page,
            Caller::Visitor => &self.visitor,
        }
    }

    /// Waits until the relay has noticed that whoever tried went.
    pub async fn left(&self) {
        soon(async {
            while self.world.node.connections() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Everything that the owner and its user have at the relay.
    pub async fn snapshot(&self) -> BTreeMap<&'static str, String> {
        let owner = hex(self.owner.id().as_bytes());
        let (shares, cards) = (format!("{owner}/"), format!("{}/{owner}/", self.user));
        let mut parts = BTreeMap::new();
        for (part, prefix) in [
            ("users", ""),
            ("devices", ""),
            ("invitations", ""),
            ("shares", shares.as_str()),
            ("cards", cards.as_str()),
            ("usage", ""),
        ] {
            let page = self
                .world
                .node
                .state
                .list(part, prefix, None, 1000)
                .await
                .unwrap();
            let own = page
                .records
                .into_iter()
                .filter(|record| part != "usage" || record.key.starts_with(&self.user));
            parts.insert(part, format!("{:?}", own.collect::<Vec<_>>()));
        }
        let depth = self
            .world
            .node
            .state
            .depth(&format!("mail/{owner}"))
            .await
            .unwrap();
        parts.insert("mail", format!("{} {}", depth.items, depth.bytes));
        parts
    }

    /// The owner has what it had: its share, for who knows the ticket, and so many messages.
    pub async fn unharmed(&self, messages: u64) {
        let mut talk = self.owner.talk(&self.world).await;
        let mut last = 0;
        for at in 0..messages {
            let (seq, sealed) = talk
                .find(|message| match message {
                    RelayMessage::Deliver { seq, sealed, .. } => Some((seq, sealed)),
                    _ => None,
                })
                .await;
            assert!(seq > last && (at > 0 || &sealed[..] == b"before"));
            last = seq;
        }
        let open = Open::of(&self.version, Purpose::Bulk);
        let mut bulk = Device::new()
            .read(&self.world, &open, CarrierKind::Tcp)
            .await
            .unwrap();
        bulk.want(1, 1, Space::Data, 0..5).await;
        assert_eq!(bulk.answer(1).await.chunks, self.version.all(Space::Data));
        self.world.node.stop().await;
    }
}

/// One message of every kind, with the owner's ids wherever one stands.
pub fn relay_messages(place: &Place) -> Vec<RelayMessage> {
    let (owner, share, address) = (
        place.owner.id(),
        place.version.share(),
        place.world.node.address.clone(),
    );
    let (sealed, none) = (Bytes::from_static(b"from elsewhere"), Ranges::default());
    let refusal = RelayRefusalCode::Busy.into();
    let group = GroupId::new([9; 32]);
    let put = Put {
        share,
        head: place.version.head.to_unchecked(),
        read_key: place.version.secret.read_key(),
        keep_s: 1,
    };
    let welcome = Welcome {
        user: hither_proto::UserId::new([1; 16]),
        ping_ms: 1000,
        devices: Vec::new(),
        stores: Vec::new(),
        front: None,
        max_message: 1000,
        web: None,
    };
    let records = vec![PutRecord {
        id: id(b"x"),
        length: 1000,
    }];
    let message = MessageId::new([9; 16]);
    vec![
        RelayMessage::Ping { nonce: 5 },
        RelayMessage::Pong { nonce: 5 },
        RelayMessage::Assign,
        RelayMessage::Hello {
            invitation: None,
            instance: 0,
        },
        RelayMessage::Visit {
            invitation: Some(Invitation::new([99; 16])),
        },
        RelayMessage::Cards(vec![Card {
            reader: owner,
            sealed: sealed.clone(),
        }]),
        RelayMessage::Send {
            request: 5,
            to: owner,
            id: message,
            sealed: sealed.clone(),
            keep_s: 1000,
        },
        RelayMessage::Received { seq: u64::MAX },
        RelayMessage::FetchesReceived(vec![FetchReceived {
            share,
            device: owner,
            revision: 1,
        }]),
        RelayMessage::Fetches(Vec::new()),
        RelayMessage::Place {
            request: 5,
            share,
            bytes: 1000,
            near: Vec::new(),
        },
        RelayMessage::Release { request: 5, share },
        RelayMessage::Put(Box::new(put)),
        RelayMessage::PutList {
            space: Space::Data,
            first: 0,
            records,
        },
        RelayMessage::PutChunk {
            space: Space::Data,
            position: 0,
            length: 1000,
        },
        RelayMessage::PutEnd,
        RelayMessage::Refused(refusal),
        RelayMessage::Assigned {
            relays: vec![address.clone()],
        },
        RelayMessage::Welcome(Box::new(welcome)),
        RelayMessage::DevicesChanged {
            changed: Vec::new(),
            removed: vec![owner],
        },
        RelayMessage::Move { relays: Vec::new() },
        RelayMessage::Sent {
            request: 5,
            forwarded: true,
        },
        RelayMessage::Deliver {
            seq: 1,
            from: owner,
            id: message,
            sealed,
            taken_ms: 1,
        },
        RelayMessage::Placed {
            request: 5,
            store: address,
        },
        RelayMessage::Released { request: 5 },
        RelayMessage::Failed {
            request: 5,
            refusal,
        },
        RelayMessage::Missing {
            root: true,
            manifest: none.clone(),
            data: none.clone(),
        },
        RelayMessage::Stored {
            space: Space::Data,
            ranges: none,
        },
        RelayMessage::PutDone,
        RelayMessage::Group {
            request: 5,
            what: Box::new(GroupRequest::Roll { group }),
        },
        RelayMessage::GroupAnswered {
            request: 5,
            answer: Box::new(GroupAnswer::Done),
        },
        RelayMessage::GroupNews {
            changes: Vec::new(),
            all: true,
        },
        RelayMessage::Code {
            request: 5,
            what: CodeRequest::Find {
                nameplate: Word::of_bits(7),
            },
        },
        RelayMessage::CodeAnswered {
            request: 5,
            answer: CodeAnswer::Shown,
        },
        RelayMessage::Own {
            request: 5,
            what: OwnRequest::Remove {
                device: place.world.node.id(),
            },
        },
        RelayMessage::OwnAnswered {
            request: 5,
            answer: OwnAnswer::Removed,
        },
    ]
    .into_iter()
    .chain(
        index_messages(place)
            .into_iter()
            .map(|message| RelayMessage::Index(Box::new(message))),
    )
    .chain(
        circuit_messages(place)
            .into_iter()
            .map(|message| RelayMessage::Circuit(Box::new(message))),
    )
    .collect()
}

/// One message of every kind of the index, about the owner's share.
pub fn index_messages(place: &Place) -> Vec<IndexMessage> {
    let owner = place.owner.id();
    let topic = place.version.secret.index_topic(&place.world.node.id());
    let nothing = Ranges::default;
    let change = || Delta {
        version: 1,
        epoch: 1,
        seq: 2,
        added: ranges(0..5),
        removed: nothing(),
    };
    vec![
        IndexMessage::Hello,
        IndexMessage::Announce {
            topic,
            holding: holding(),
            sealed: Bytes::from_static(b"elsewhere"),
        },
        IndexMessage::Delta {
            topic,
            change: change(),
        },
        IndexMessage::Withdraw { topic },
        IndexMessage::Subscribe { topic, owner },
        IndexMessage::Unsubscribe { topic },
        IndexMessage::Welcome {
            nodes: vec![place.world.node.address.clone()],
            heartbeat_ms: 1000,
        },
        IndexMessage::Holders {
            topic,
            first: true,
            holders: Vec::new(),
            gone: vec![owner],
        },
        IndexMessage::Changed {
            topic,
            device: owner,
            change: change(),
        },
        IndexMessage::Resync { topic },
        IndexMessage::Refused {
            topic,
            refusal: RelayRefusalCode::Busy.into(),
        },
    ]
}

/// One message of every kind about circuits, to the owner.
pub fn circuit_messages(place: &Place) -> Vec<CircuitMessage> {
    let (owner, circuit) = (place.owner.id(), CircuitId::new([5; 16]));
    let knock = Knock::make(
        &place.version.secret,
        &place.stranger.id(),
        &owner,
        [7; Knock::SALT],
    );
    vec![
        CircuitMessage::Connect { to: owner, knock },
        CircuitMessage::Accept { circuit },
        CircuitMessage::Decline { circuit },
        CircuitMessage::Connected,
        CircuitMessage::At {
            front: place.world.node.address.clone(),
        },
        CircuitMessage::Incoming {
            circuit,
            from: owner,
            knock,
        },
    ]
}

/// Some of a share.
pub fn holding() -> Announcement {
    Announcement {
        version: 1,
        epoch: 1,
        seq: 1,
        complete: false,
        held: ranges(0..3),
        has_manifest: true,
    }
}

/// One message of every kind of the link protocol; those that begin streams in a version that
/// nobody speaks.
pub fn link_messages(place: &Place) -> Vec<Message> {
    let (share, head) = (place.version.share(), place.version.head.to_unchecked());
    let proof = || Proof::from_slice(&[7; 32]).unwrap();
    let none = Ranges::default();
    let data = Space::Data;
    vec![
        Message::Open {
            protocol: 99,
            share,
            proof: proof(),
            proof_kind: ProofKind::ReadKey,
            owner: Some(place.owner.id()),
            purpose: Some(Purpose::Bulk),
        },
        Message::RelayOpen {
            protocol: 99,
            purpose: Some(RelayPurpose::Device),
        },
        Message::BlindQuery {
            protocol: PROTOCOL,
            query: BlindQuery::from_slice(&[7; 32]).unwrap(),
        },
        Message::BlindReply {
            reply: BlindReply::from_slice(&[7; 32]).unwrap(),
        },
        Message::Opened(Box::new(Opened {
            proof: proof(),
            head: head.clone(),
            device_name: DeviceName::clean("x"),
            tcp_port: None,
        })),
        Message::Refused(Refusal::Gone),
        Message::Announce(Announcement {
            version: 1,
            epoch: 1,
            seq: 1,
            complete: true,
            held: none.clone(),
            has_manifest: true,
        }),
        Message::HaveDelta(Delta {
            version: 1,
            epoch: 1,
            seq: 1,
            added: none.clone(),
            removed: none.clone(),
        }),
        Message::Claims(Claims::default()),
        Message::Terms(Terms::default()),
        Message::Want(Want {
            request: 5,
            space: data,
            version: 1,
            ranges: ranges(0..5),
        }),
        Message::Cancel { request: 5 },
        Message::ChunkTokenRequest,
        Message::ChunkToken {
            token: None,
            lives_ms: 0,
        },
        Message::Chunk {
            request: 5,
            position: 0,
            length: 1000,
        },
        Message::Served { request: 5 },
        Message::Busy {
            request: 5,
            retry_after_ms: 1,
        },
        Message::NotHeld {
            request: 5,
            ranges: none,
        },
        Message::NewHead(head),
        Message::Ping { nonce: 5 },
        Message::Pong { nonce: 5 },
        Message::Elsewhere {
            proof: None,
            holders: Vec::new(),
        },
    ]
}
