//! One of everything, and the fullest of what has bounds, for the tests of this crate.

use super::*;
use crate::ids::{CircuitId, IndexTopic, ShareSecret};
use crate::knock::Knock;
use crate::limits::*;
use crate::message::{Announcement, Delta};
use crate::range::PositionRange;

/// The key whose seed is 32 bytes of 0x05.
pub(crate) fn key() -> DeviceId {
    "12D3KooWHFd1gyNYFqxt7ke9FY2VoVVWY2XSPhvL9vg2pB6wQGfa"
        .parse()
        .unwrap()
}

/// The key of RFC 8032, section 7.1, test 1.
pub(crate) fn other_key() -> DeviceId {
    let hex = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let bytes: Vec<u8> = (0..32)
        .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    DeviceId::from_slice(&bytes).unwrap()
}

/// The key whose seed is 32 bytes of `n`.
pub(crate) fn seeded(n: u8) -> DeviceId {
    use libp2p_identity::ed25519::{Keypair, SecretKey};
    let pair = Keypair::from(SecretKey::try_from_bytes([n; 32]).unwrap());
    DeviceId::from_slice(&pair.public().to_bytes()).unwrap()
}

pub(crate) fn relay() -> RelayAddress {
    let udp = vec![
        "relay.example:47447".parse().unwrap(),
        "[2001:db8::1]:47447".parse().unwrap(),
    ];
    RelayAddress {
        key: key(),
        udp,
        tcp: vec!["192.0.2.7:443".parse().unwrap()],
    }
}

/// A relay with as many and as long addresses as there may be.
pub(crate) fn longest_relay() -> RelayAddress {
    let host: HostPort = format!("{}:65535", &"abcdefghi.".repeat(26)[..MAX_HOST])
        .parse()
        .unwrap();
    RelayAddress {
        key: key(),
        udp: vec![host.clone(); MAX_ADDRESSES],
        tcp: vec![host; MAX_ADDRESSES],
    }
}

pub(crate) fn ranges() -> Ranges {
    [(0, 3), (9, 1)]
        .into_iter()
        .filter_map(|(start, count)| PositionRange::new(start, count))
        .collect()
}

fn entry(card: usize) -> DeviceEntry {
    DeviceEntry {
        device: key(),
        online: true,
        last_seen_ms: u64::MAX,
        card: vec![7; card].into(),
        same_network: true,
        web: true,
    }
}

fn welcome(devices: usize, card: usize, stores: Vec<RelayAddress>) -> RelayMessage {
    RelayMessage::Welcome(Box::new(Welcome {
        user: UserId::new([8; 16]),
        ping_ms: *RELAY_PING_MS.end(),
        devices: vec![entry(card); devices],
        front: stores.first().cloned(),
        stores,
        max_message: MAX_MESSAGE as u32,
        web: (devices > 0).then(|| "https://relay.example.org:8443".parse().unwrap()),
    }))
}

fn visiting() -> RelayMessage {
    RelayMessage::Visiting(Box::new(Visiting {
        ping_ms: *RELAY_PING_MS.end(),
        host: Some(key()),
        origin: Some("https://shop.example.org".parse().unwrap()),
        seconds: 600,
        bytes: 1 << 30,
        max_message: MAX_MESSAGE as u32,
        stores: vec![relay()],
        online: true,
    }))
}

fn send(length: usize) -> RelayMessage {
    let id = MessageId::new([3; 16]);
    RelayMessage::Send {
        request: u64::MAX,
        to: key(),
        id,
        sealed: vec![1; length].into(),
        keep_s: u32::MAX,
    }
}

fn deliver(length: usize) -> RelayMessage {
    let id = MessageId::new([3; 16]);
    let sealed = vec![1; length].into();
    RelayMessage::Deliver {
        seq: u64::MAX,
        from: key(),
        id,
        sealed,
        taken_ms: u64::MAX,
    }
}

fn list(count: usize) -> RelayMessage {
    let record = PutRecord {
        id: ChunkId::new([4; 32]),
        length: MAX_CHUNK + CHUNK_TAG,
    };
    let first = MAX_CHUNKS as u32 - count as u32;
    RelayMessage::PutList {
        space: Space::Manifest,
        first,
        records: vec![record; count],
    }
}

/// One message of every kind.
pub(crate) fn samples() -> Vec<RelayMessage> {
    let share = ShareId::new([5; 16]);
    let refusal = RelayRefusal {
        code: RelayRefusalCode::Busy,
        retry_after_ms: 250,
    };
    let card = Card {
        reader: key(),
        sealed: vec![1; 9].into(),
    };
    let put = Put {
        share,
        head: UncheckedHead::default(),
        read_key: ReadKey::new([6; 32]),
        keep_s: 60,
    };
    vec![
        RelayMessage::Refused(refusal),
        RelayMessage::Ping { nonce: 5 },
        RelayMessage::Pong { nonce: 5 },
        RelayMessage::Assign,
        RelayMessage::Assigned {
            relays: vec![relay(); 2],
        },
        RelayMessage::Hello {
            invitation: Some(Invitation::new([9; 16])),
            instance: 7,
        },
        RelayMessage::Hello {
            invitation: None,
            instance: 0,
        },
        RelayMessage::Visit {
            invitation: Some(Invitation::new([9; 16])),
        },
        RelayMessage::Visit { invitation: None },
        visiting(),
        welcome(2, 30, vec![relay()]),
        welcome(1, 0, vec![]),
        RelayMessage::DevicesChanged {
            changed: vec![entry(0)],
            removed: vec![key()],
        },
        RelayMessage::Cards(vec![card]),
        RelayMessage::Move { relays: vec![] },
        send(40),
        RelayMessage::Sent {
            request: 1,
            forwarded: true,
        },
        deliver(40),
        RelayMessage::Received { seq: 9 },
        RelayMessage::Place {
            request: 2,
            share,
            bytes: 1 << 40,
            near: vec![Nearness {
                store: key(),
                rtt_us: 900,
            }],
        },
        RelayMessage::Placed {
            request: 2,
            store: relay(),
        },
        RelayMessage::Release { request: 3, share },
        RelayMessage::Released { request: 3 },
        RelayMessage::Failed {
            request: 4,
            refusal: RelayRefusalCode::Quota.into(),
        },
        RelayMessage::Put(Box::new(put)),
        list(2),
        RelayMessage::Missing {
            root: true,
            manifest: ranges(),
            data: Ranges::default(),
        },
        RelayMessage::PutChunk {
            space: Space::Data,
            position: 9,
            length: 65552,
        },
        RelayMessage::Stored {
            space: Space::Data,
            ranges: ranges(),
        },
        RelayMessage::PutEnd,
        RelayMessage::PutDone,
    ]
    .into_iter()
    .chain(
        index()
            .into_iter()
            .map(|message| RelayMessage::Index(Box::new(message))),
    )
    .chain(
        circuits()
            .into_iter()
            .map(|message| RelayMessage::Circuit(Box::new(message))),
    )
    .chain(group_samples::samples())
    .collect()
}

/// One message of every kind about circuits.
pub(crate) fn circuits() -> Vec<CircuitMessage> {
    let circuit = CircuitId::new([5; 16]);
    let knock = Knock::make(
        &ShareSecret::new([1; 16]),
        &other_key(),
        &key(),
        [7; Knock::SALT],
    );
    vec![
        CircuitMessage::Connect { to: key(), knock },
        CircuitMessage::Connected,
        CircuitMessage::At { front: relay() },
        CircuitMessage::Incoming {
            circuit,
            from: other_key(),
            knock,
        },
        CircuitMessage::Accept { circuit },
        CircuitMessage::Decline { circuit },
    ]
}

/// What a device holds, in so many runs.
fn holding(runs: usize) -> Announcement {
    let held = scattered(runs);
    Announcement {
        version: 3,
        epoch: u64::MAX,
        seq: u64::MAX,
        complete: runs == 0,
        held,
        has_manifest: true,
    }
}

fn change(runs: usize) -> Delta {
    let (added, removed) = (scattered(runs), Ranges::default());
    Delta {
        version: u64::MAX,
        epoch: u64::MAX,
        seq: u64::MAX,
        added,
        removed,
    }
}

/// Runs at the far end of what the index counts with.
fn scattered(runs: usize) -> Ranges {
    let at = |run: u32| PositionRange::new(MAX_INDEX_POSITIONS - 1 - run * 2, 1);
    (0..runs as u32).filter_map(at).collect()
}

/// One message of every kind of the index.
fn index() -> Vec<IndexMessage> {
    let topic = IndexTopic::new([5; 32]);
    let sealed: Bytes = vec![1; 40].into();
    let holder = |runs| IndexHolder {
        device: key(),
        same_site: true,
        holding: holding(runs),
        sealed: sealed.clone(),
    };
    let refusal = RelayRefusal {
        code: RelayRefusalCode::Quota,
        retry_after_ms: 250,
    };
    vec![
        IndexMessage::Hello,
        IndexMessage::Welcome {
            nodes: vec![relay()],
            heartbeat_ms: 30_000,
        },
        IndexMessage::Announce {
            topic,
            holding: holding(3),
            sealed: sealed.clone(),
        },
        IndexMessage::Delta {
            topic,
            change: change(2),
        },
        IndexMessage::Withdraw { topic },
        IndexMessage::Subscribe {
            topic,
            owner: key(),
        },
        IndexMessage::Unsubscribe { topic },
        IndexMessage::Holders {
            topic,
            first: true,
            holders: vec![holder(0), holder(4)],
            gone: vec![key()],
        },
        IndexMessage::Changed {
            topic,
            device: key(),
            change: change(1),
        },
        IndexMessage::Resync { topic },
        IndexMessage::Refused { topic, refusal },
    ]
}

/// The longest messages of the index.
pub(crate) fn fullest_index() -> Vec<RelayMessage> {
    let topic = IndexTopic::new([5; 32]);
    let sealed: Bytes = vec![1; MAX_INDEX_SEALED].into();
    let holder = |runs| IndexHolder {
        device: key(),
        same_site: true,
        holding: holding(runs),
        sealed: sealed.clone(),
    };
    let messages = [
        IndexMessage::Announce {
            topic,
            holding: holding(MAX_INDEX_RANGES),
            sealed: sealed.clone(),
        },
        IndexMessage::Changed {
            topic,
            device: key(),
            change: change(MAX_INDEX_RANGES),
        },
        IndexMessage::Holders {
            topic,
            first: true,
            holders: vec![holder(MAX_INDEX_RANGES)],
            gone: vec![key(); MAX_INDEX_HOLDERS],
        },
        IndexMessage::Welcome {
            nodes: vec![longest_relay(); MAX_RELAYS],
            heartbeat_ms: 600_000,
        },
    ];
    messages
        .into_iter()
        .map(|message| RelayMessage::Index(Box::new(message)))
        .collect()
}

/// The longest message of every kind that has a bound worth testing.
pub(crate) fn fullest() -> Vec<RelayMessage> {
    let relays = vec![longest_relay(); MAX_RELAYS];
    let scattered: Ranges = (0..MAX_RANGES as u32)
        .filter_map(|run| PositionRange::new(MAX_CHUNKS as u32 - 1 - run * 2, 1))
        .collect();
    let card = Card {
        reader: key(),
        sealed: vec![1; MAX_CARD].into(),
    };
    vec![
        RelayMessage::Assigned {
            relays: relays.clone(),
        },
        RelayMessage::Move {
            relays: relays.clone(),
        },
        welcome(MAX_DEVICES, MAX_CARD, relays),
        RelayMessage::DevicesChanged {
            changed: vec![entry(MAX_CARD); MAX_DEVICES],
            removed: vec![key(); MAX_DEVICES],
        },
        RelayMessage::Cards(vec![card; MAX_DEVICES]),
        send(MAX_MESSAGE),
        deliver(MAX_MESSAGE),
        RelayMessage::Place {
            request: u64::MAX,
            share: ShareId::new([5; 16]),
            bytes: MAX_CIPHERTEXT,
            near: vec![
                Nearness {
                    store: key(),
                    rtt_us: u32::MAX
                };
                MAX_RELAYS
            ],
        },
        list(MAX_PUT_LIST),
        RelayMessage::Missing {
            root: true,
            manifest: Ranges::default(),
            data: scattered.clone(),
        },
        RelayMessage::Stored {
            space: Space::Data,
            ranges: scattered,
        },
        RelayMessage::PutChunk {
            space: Space::Root,
            position: 0,
            length: MAX_ROOT,
        },
    ]
    .into_iter()
    .chain(group_samples::fullest())
    .collect()
}
