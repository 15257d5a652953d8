use super::samples::{circuits, fullest, fullest_index, key, relay, samples};
use super::*;
use crate::frame::{FRAME_PREFIX, decode_relay_frame, encode_relay_frame};
use crate::limits::*;
use crate::message::MessageError;
use crate::wire::relay_frame::Body;
use proptest::prelude::*;

fn round_trip(message: &RelayMessage) -> usize {
    let bytes = encode_relay_frame(message);
    assert_eq!(
        bytes[..FRAME_PREFIX],
        ((bytes.len() - FRAME_PREFIX) as u32).to_be_bytes()
    );
    assert_eq!(
        decode_relay_frame(&bytes[FRAME_PREFIX..]).as_ref(),
        Ok(&Some(message.clone()))
    );
    bytes.len() - FRAME_PREFIX
}

#[test]
fn every_message_round_trips() {
    for message in samples() {
        round_trip(&message);
    }
    // A sample of every kind: a new one must come into `samples` too.
    let mut kinds: Vec<_> = samples().iter().map(std::mem::discriminant).collect();
    kinds.dedup();
    assert_eq!(kinds.len(), 33);
    let index = samples().into_iter().filter_map(|message| match message {
        RelayMessage::Index(message) => Some(std::mem::discriminant(&*message)),
        _ => None,
    });
    assert_eq!(index.collect::<std::collections::HashSet<_>>().len(), 11);
}

#[test]
fn the_fullest_messages_fit_into_a_frame() {
    for message in fullest() {
        let length = round_trip(&message);
        assert!(
            length <= MAX_RELAY_FRAME,
            "{length}: {:?}",
            std::mem::discriminant(&message)
        );
    }
    for message in fullest_index() {
        let length = round_trip(&message);
        assert!(
            length <= MAX_INDEX_FRAME,
            "{length}: {:?}",
            std::mem::discriminant(&message)
        );
    }
}

#[test]
fn what_a_stranger_may_say_fits_into_a_short_frame() {
    let head = crate::head::Head {
        share: ShareId::new([5; 16]),
        version: u64::MAX,
        root: ChunkId::new([4; 32]),
        root_length: MAX_ROOT,
        salt: [6; 16],
        chunks: MAX_CHUNKS as u32,
        manifest_chunks: MAX_CHUNKS as u32,
        bytes: MAX_SHARE,
        published_ms: u64::MAX,
    };
    let head = crate::head::SignedHead::sign(head, |_| [7; 64]).to_unchecked();
    let put = Put {
        share: ShareId::new([5; 16]),
        head,
        read_key: ReadKey::new([6; 32]),
        keep_s: u64::MAX,
    };
    let hello = RelayMessage::Hello {
        invitation: Some(Invitation::new([9; 16])),
        instance: 0,
    };
    let circuits = circuits()
        .into_iter()
        .map(|message| RelayMessage::Circuit(Box::new(message)));
    for message in circuits.chain([
        RelayMessage::Assign,
        hello,
        RelayMessage::Put(Box::new(put)),
    ]) {
        assert!(
            round_trip(&message) <= MAX_RELAY_FRAME_UNKNOWN,
            "{message:?}"
        );
    }
}

#[test]
fn messages_of_later_versions_are_skipped() {
    // Field 1000, length-delimited, two bytes; and a frame without anything in it.
    assert_eq!(
        decode_relay_frame(&[0xc2, 0x3e, 0x02, 0x08, 0x01]),
        Ok(None)
    );
    assert_eq!(decode_relay_frame(&[]), Ok(None));
}

#[test]
fn refusals_of_later_versions_and_long_waits_are_tamed() {
    let refused = |code, retry_after_ms| {
        let message = RelayMessage::parse(Body::Refused(wire::RelayRefused {
            code,
            retry_after_ms,
        }));
        let Ok(RelayMessage::Refused(refusal)) = message else {
            panic!("{message:?}")
        };
        refusal
    };
    assert_eq!(refused(99, 0), RelayRefusalCode::Other.into());
    assert_eq!(
        refused(8, u32::MAX),
        RelayRefusal {
            code: RelayRefusalCode::Quota,
            retry_after_ms: MAX_RETRY_MS
        }
    );
    // Every code that the protocol has is told from the others and comes back as it was.
    let codes: std::collections::HashSet<_> = (0..=11).map(|code| refused(code, 0).code).collect();
    assert_eq!(codes.len(), 12);
    for code in 0..=11 {
        round_trip(&RelayMessage::Refused(refused(code, 1)));
    }
}

fn wire_key() -> Bytes {
    Bytes::copy_from_slice(key().as_bytes())
}

/// What the parser says to a sample after a change.
macro_rules! changed {
    ($kind:ident, |$m:ident| $change:expr) => {{
        let found = samples()
            .iter()
            .find_map(|message| match message.to_wire() {
                Body::$kind(m) => Some(m),
                _ => None,
            });
        let mut $m = found.unwrap();
        $change;
        RelayMessage::parse(Body::$kind($m))
    }};
}

#[test]
fn counts_are_bounded() {
    let relay = relay().to_wire();
    let entry = wire::DeviceEntry {
        device: wire_key(),
        ..Default::default()
    };
    let card = wire::Card {
        reader: wire_key(),
        sealed: vec![1].into(),
    };
    let near = wire::Nearness {
        store: wire_key(),
        rtt_us: 1,
    };
    for (over, fits) in [(0, true), (1, false)] {
        let (relays, devices) = (MAX_RELAYS + over, MAX_DEVICES + over);
        let results = [
            changed!(Assigned, |m| m.relays = vec![relay.clone(); relays]),
            changed!(Move, |m| m.relays = vec![relay.clone(); relays]),
            changed!(Welcome, |m| m.stores = vec![relay.clone(); relays]),
            changed!(Welcome, |m| m.devices = vec![entry.clone(); devices]),
            changed!(DevicesChanged, |m| m.changed = vec![entry.clone(); devices]),
            changed!(DevicesChanged, |m| m.removed = vec![wire_key(); devices]),
            changed!(Cards, |m| m.cards = vec![card.clone(); devices]),
            changed!(Place, |m| m.near = vec![near.clone(); relays]),
            changed!(Missing, |m| m.data =
                vec![wire::Range { start: 1, count: 1 }; MAX_RANGES - 2 + over]),
            changed!(Stored, |m| m.ranges =
                vec![wire::Range { start: 1, count: 1 }; MAX_RANGES + over]),
        ];
        for (which, result) in results.iter().enumerate() {
            assert_eq!(result.is_ok(), fits, "{which}: {result:?}");
        }
    }
}

#[test]
fn lengths_and_values_are_bounded() {
    let bytes = |length: usize| Bytes::from(vec![1; length]);
    let ping = |ping| changed!(Welcome, |m| m.ping_ms = ping);
    for (good, bad) in [
        (
            changed!(Send, |m| m.sealed = bytes(MAX_MESSAGE)),
            changed!(Send, |m| m.sealed = bytes(MAX_MESSAGE + 1)),
        ),
        (
            changed!(Send, |m| m.sealed = bytes(1)),
            changed!(Send, |m| m.sealed = bytes(0)),
        ),
        (
            changed!(Deliver, |m| m.sealed = bytes(1)),
            changed!(Deliver, |m| m.sealed = bytes(MAX_MESSAGE + 1)),
        ),
        (
            changed!(Cards, |m| m.cards[0].sealed = bytes(MAX_CARD)),
            changed!(Cards, |m| m.cards[0].sealed = bytes(MAX_CARD + 1)),
        ),
        (
            changed!(Welcome, |m| m.devices[0].card = bytes(0)),
            changed!(Cards, |m| m.cards[0].sealed = bytes(0)),
        ),
        (
            changed!(Welcome, |m| m.devices[0].card = bytes(MAX_CARD)),
            changed!(Welcome, |m| m.devices[0].card = bytes(MAX_CARD + 1)),
        ),
        (
            ping(*RELAY_PING_MS.start()),
            ping(*RELAY_PING_MS.start() - 1),
        ),
        (ping(*RELAY_PING_MS.end()), ping(*RELAY_PING_MS.end() + 1)),
        (
            changed!(Welcome, |m| m.front = None),
            changed!(Welcome, |m| m.user = bytes(15)),
        ),
        (
            changed!(Welcome, |m| m.web = String::new()),
            changed!(Welcome, |m| m.web = "http://relay.example.org".into()),
        ),
        (
            changed!(Hello, |m| m.invitation = bytes(16)),
            changed!(Hello, |m| m.invitation = bytes(15)),
        ),
        (
            changed!(Place, |m| m.bytes = MAX_CIPHERTEXT),
            changed!(Place, |m| m.bytes = MAX_CIPHERTEXT + 1),
        ),
        (
            changed!(Placed, |m| m.request = 9),
            changed!(Placed, |m| m.store = None),
        ),
        (
            changed!(Send, |m| m.request = 9),
            changed!(Send, |m| m.to = bytes(31)),
        ),
        (
            changed!(Put, |m| m.keep_s = 9),
            changed!(Put, |m| m.head = None),
        ),
        (
            changed!(Put, |m| m.keep_s = 9),
            changed!(Put, |m| m.read_key = bytes(16)),
        ),
        (
            changed!(Stored, |m| m.space = 1),
            changed!(Stored, |m| m.space = 0),
        ),
    ] {
        assert!(good.is_ok(), "{good:?}");
        assert!(
            matches!(
                bad,
                Err(MessageError::Value(_) | MessageError::Field(_) | MessageError::Malformed)
            ),
            "{bad:?}"
        );
    }
    let offered = changed!(Welcome, |m| m.max_message = u32::MAX);
    assert!(
        matches!(offered, Ok(RelayMessage::Welcome(w)) if w.max_message as usize == MAX_MESSAGE)
    );
}

#[test]
fn lists_and_chunks_of_an_upload_are_what_chunks_can_be() {
    let record = |length: u32| {
        PutRecord {
            id: ChunkId::new([4; 32]),
            length,
        }
        .to_bytes()
        .to_vec()
    };
    let list = |space, first, records: Vec<u8>| {
        changed!(PutList, |m| (m.space, m.first, m.records) =
            (space, first, records.into()))
    };
    assert!(
        list(2, 0, record(CHUNK_TAG + 1)).is_ok()
            && list(3, 0, record(MAX_CHUNK + CHUNK_TAG)).is_ok()
    );
    assert!(list(0, 0, record(99)).is_err() && list(1, 0, record(99)).is_err());
    assert!(
        list(3, 0, record(CHUNK_TAG)).is_err()
            && list(3, 0, record(MAX_CHUNK + CHUNK_TAG + 1)).is_err()
    );
    assert!(list(3, 0, vec![]).is_err() && list(3, 0, record(99)[..35].to_vec()).is_err());
    assert!(list(3, 0, record(99).repeat(MAX_PUT_LIST)).is_ok());
    assert!(list(3, 0, record(99).repeat(MAX_PUT_LIST + 1)).is_err());
    assert!(list(3, MAX_CHUNKS as u32 - 2, record(99).repeat(2)).is_ok());
    assert!(list(3, MAX_CHUNKS as u32 - 1, record(99).repeat(2)).is_err());
    assert!(list(3, u32::MAX, record(99)).is_err());

    let chunk = |space, position, length| {
        changed!(PutChunk, |m| (m.space, m.position, m.length) =
            (space, position, length))
    };
    assert!(chunk(1, 0, MAX_ROOT).is_ok() && chunk(2, 7, MAX_CHUNK + CHUNK_TAG).is_ok());
    assert!(chunk(1, 1, 99).is_err() && chunk(1, 0, MAX_ROOT + 1).is_err());
    assert!(chunk(3, MAX_CHUNKS as u32, 99).is_err() && chunk(0, 0, 99).is_err());
    assert!(chunk(3, 0, CHUNK_TAG).is_err() && chunk(3, 0, MAX_CHUNK + CHUNK_TAG + 1).is_err());
}

#[test]
fn what_the_index_is_told_is_bounded() {
    let ranges = |count: usize| vec![wire::Range { start: 1, count: 1 }; count];
    let bytes = |length: usize| Bytes::from(vec![1; length]);
    let held = |count| {
        changed!(IndexAnnounce, |m| m.holding.as_mut().unwrap().held =
            ranges(count))
    };
    let added = |count| {
        changed!(IndexDelta, |m| m.change.as_mut().unwrap().added =
            ranges(count))
    };
    let run = |start, count| {
        changed!(IndexAnnounce, |m| m.holding.as_mut().unwrap().held =
            vec![wire::Range { start, count }])
    };
    let last = MAX_INDEX_POSITIONS - 1;
    let removed = |start| {
        changed!(IndexDelta, |m| m.change.as_mut().unwrap().removed =
            vec![wire::Range { start, count: 1 }])
    };
    let sealed = |length| changed!(IndexAnnounce, |m| m.sealed = bytes(length));
    let nodes = |count| changed!(IndexWelcome, |m| m.nodes = vec![relay().to_wire(); count]);
    let beat = |ms| changed!(IndexWelcome, |m| m.heartbeat_ms = ms);
    let holders = |count| {
        changed!(IndexHolders, |m| m.holders =
            vec![m.holders[0].clone(); count])
    };
    let gone = |count| changed!(IndexHolders, |m| m.gone = vec![wire_key(); count]);
    for (good, bad) in [
        (held(MAX_INDEX_RANGES), held(MAX_INDEX_RANGES + 1)),
        (added(MAX_INDEX_RANGES), added(MAX_INDEX_RANGES + 1)),
        (sealed(MAX_INDEX_SEALED), sealed(MAX_INDEX_SEALED + 1)),
        (sealed(1), sealed(0)),
        (run(last, 1), run(last, 2)),
        (removed(last), removed(last + 1)),
        (nodes(MAX_RELAYS), nodes(MAX_RELAYS + 1)),
        (
            beat(*INDEX_HEARTBEAT_MS.start()),
            beat(*INDEX_HEARTBEAT_MS.start() - 1),
        ),
        (
            beat(*INDEX_HEARTBEAT_MS.end()),
            beat(*INDEX_HEARTBEAT_MS.end() + 1),
        ),
        (holders(MAX_INDEX_HOLDERS), holders(MAX_INDEX_HOLDERS + 1)),
        (gone(MAX_INDEX_HOLDERS), gone(MAX_INDEX_HOLDERS + 1)),
        (
            changed!(IndexWithdraw, |m| m.topic = bytes(32)),
            changed!(IndexWithdraw, |m| m.topic = bytes(31)),
        ),
        (held(0), changed!(IndexAnnounce, |m| m.holding = None)),
    ] {
        assert!(good.is_ok() && bad.is_err(), "{good:?} {bad:?}");
    }
}

#[test]
fn messages_about_circuits_are_complete() {
    let bytes = |length: usize| Bytes::from(vec![1; length]);
    for (good, bad) in [
        (
            changed!(Connect, |m| m.knock = bytes(32)),
            changed!(Connect, |m| m.knock = bytes(31)),
        ),
        (
            changed!(Connect, |m| m.to = wire_key()),
            changed!(Connect, |m| m.to = bytes(31)),
        ),
        (
            changed!(Incoming, |m| m.circuit = bytes(16)),
            changed!(Incoming, |m| m.circuit = bytes(17)),
        ),
        (
            changed!(Incoming, |m| m.from = wire_key()),
            changed!(Incoming, |m| m.from = bytes(0)),
        ),
        (
            changed!(Incoming, |m| m.knock = bytes(32)),
            changed!(Incoming, |m| m.knock = bytes(33)),
        ),
        (
            changed!(Accept, |m| m.circuit = bytes(16)),
            changed!(Accept, |m| m.circuit = bytes(0)),
        ),
        (
            changed!(Decline, |m| m.circuit = bytes(16)),
            changed!(Decline, |m| m.circuit = bytes(15)),
        ),
        (
            changed!(ConnectAt, |m| m.front = Some(relay().to_wire())),
            changed!(ConnectAt, |m| m.front = None),
        ),
    ] {
        assert!(good.is_ok() && bad.is_err(), "{good:?} {bad:?}");
    }
}

#[test]
fn every_share_belongs_to_one_node_and_moves_only_with_it() {
    use super::samples::other_key;
    let node = |key| RelayAddress {
        key,
        udp: Vec::new(),
        tcp: Vec::new(),
    };
    let nodes = [node(key()), node(other_key())];
    assert_eq!(
        index_node(&crate::ids::ShareSecret::new([1; 16]), &[]),
        None
    );
    let mut shares = [0; 2];
    for number in 0..100 {
        let secret = crate::ids::ShareSecret::new([number; 16]);
        let (topic, at) = index_node(&secret, &nodes).unwrap();
        assert_eq!(topic, secret.index_topic(&at.key));
        let turned = [nodes[1].clone(), nodes[0].clone()];
        assert_eq!(
            index_node(&secret, &turned).unwrap(),
            (topic, at),
            "whatever the order is"
        );
        assert_eq!(
            index_node(&secret, std::slice::from_ref(at)).unwrap(),
            (topic, at)
        );
        shares[usize::from(at.key == nodes[1].key)] += 1;
    }
    assert!(shares.iter().all(|share| *share > 25), "{shares:?}");
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_or_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode_relay_frame(&bytes);
    }

    #[test]
    fn damaged_frames_are_refused_or_mean_what_they_say(which in 0usize..45, at in 0usize..400, xor in 1u8..) {
        let mut bytes = encode_relay_frame(&samples()[which]).split_off(FRAME_PREFIX);
        prop_assume!(!bytes.is_empty());
        let at = at % bytes.len();
        bytes[at] ^= xor;
        if let Ok(Some(message)) = decode_relay_frame(&bytes) {
            round_trip(&message);
        }
    }
}
