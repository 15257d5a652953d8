//! The annotated test vectors: `vectors/v1.txt` pins the bytes, the code must make them, SPEC.md
//! must quote them.
//!
//! `HITHER_WRITE_VECTORS=1 cargo test -p hither-proto --test vectors` writes the file anew; a
//! change of it is a change of the protocol.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod pinned;

use hither_proto::{
    Announcement, AttemptId, BlindKey, BlindQuery, BlindReply, Candidate, CandidateKind,
    Candidates, ChunkId, ChunkKey, ChunkRecord, ChunkToken, CircuitId, CircuitMessage, Claims,
    Delta, DeviceId, Head, Holder, HolderKind, IceCredentials, IndexMessage, Invitation, Knock,
    Manifest, ManifestBuilder, Message, MessageId, PositionRange, Progress, Proof, ProofKey,
    ProofKind, ProofPurpose, Purpose, PutRecord, Ranges, RelayMessage, RelayPurpose, RelayRefusal,
    RelayRefusalCode, RelayUrl, Root, ShareLink, ShareSecret, Side, SignedHead, Space,
    StreamBinding, Terms, Ticket, Want, claim_weight, decode_frame, decode_relay_frame,
    encode_frame, encode_relay_frame,
};
use libp2p_identity::ed25519::{Keypair, SecretKey};
use pinned::{Vector, assert_pinned, assert_quoted, hex};

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

fn record(n: u8, length: u32) -> ChunkRecord {
    ChunkRecord {
        id: ChunkId::new([n; 32]),
        key: ChunkKey::new([n + 1; 32]),
        length,
    }
}

fn manifest() -> Manifest {
    let mut builder = ManifestBuilder::new(65536).unwrap();
    builder
        .folder(0, "photos", 0o755, 1_700_000_000_000_000_000)
        .unwrap();
    builder
        .file(1, "a.jpg", 0o644, 1_700_000_000_000_000_001, 10)
        .unwrap();
    builder.symlink(1, "latest", -1, "a.jpg").unwrap();
    builder.finish(vec![record(0x10, 10)]).unwrap()
}

fn seeded(n: u8) -> Keypair {
    Keypair::from(SecretKey::try_from_bytes([n; 32]).unwrap())
}

/// Name and bytes (or text) of every vector.
fn vectors() -> Vec<Vector> {
    let pair = seeded(5);
    let owner = DeviceId::from_slice(&pair.public().to_bytes()).unwrap();
    let secret = ShareSecret::new([1; 16]);
    let other = DeviceId::from_slice(&seeded(6).public().to_bytes()).unwrap();
    let stream = StreamBinding::new([2; 32], other, owner);
    let (by_secret, by_key) = (
        ProofKey::of_secret(&secret),
        ProofKey::of_read_key(&secret.read_key()),
    );
    let blind = BlindKey::of_secret(&secret);
    let ticket = Ticket {
        secret: secret.clone(),
        owner,
        hints: vec!["192.0.2.7:47447".parse().unwrap()],
        relays: vec![],
        pin: None,
    };
    let head = Head {
        share: secret.share_id(),
        version: 3,
        root: ChunkId::new([4; 32]),
        root_length: 100,
        salt: [6; 16],
        chunks: 10,
        manifest_chunks: 1,
        bytes: 12345,
        published_ms: 1_700_000_000_000,
    };
    let signed = SignedHead::sign(head, |m| pair.sign(m).try_into().unwrap());
    let opener = Proof::make(&by_secret, &stream, Side::Opener, Purpose::Control);
    let acceptor = Proof::make(&by_secret, &stream, Side::Acceptor, Purpose::Control);
    let reader = Proof::make(&by_key, &stream, Side::Opener, Purpose::Lookup);
    let fleet = ProofKey::of_fleet(b"a secret of some length");
    let open = Message::Open {
        protocol: 2,
        share: secret.share_id(),
        proof: opener,
        proof_kind: ProofKind::Secret,
        owner: None,
        purpose: Some(Purpose::Control),
    };
    let ranges = [
        PositionRange::new(0, 4).unwrap(),
        PositionRange::new(9, 1).unwrap(),
    ]
    .into_iter()
    .collect();
    let want = Message::Want(Want {
        request: 7,
        space: Space::Data,
        version: 3,
        ranges,
    });
    let chunk = Message::Chunk {
        request: 7,
        position: 9,
        length: 65552,
    };
    let at = "relay.example:47447".parse().unwrap();
    let url = RelayUrl {
        at,
        key: owner,
        invitation: Some(Invitation::new([7; 16])),
    };
    let relayed = Ticket {
        relays: vec![url.address()],
        ..ticket.clone()
    };
    let by_read_key = Message::Open {
        protocol: 2,
        share: secret.share_id(),
        proof: reader,
        proof_kind: ProofKind::ReadKey,
        owner: Some(owner),
        purpose: Some(Purpose::Lookup),
    };
    let elsewhere = Message::Elsewhere {
        proof: None,
        holders: vec![Holder {
            kind: HolderKind::Store,
            address: url.address(),
        }],
    };
    let query = Message::BlindQuery {
        protocol: 2,
        query: BlindQuery::make(&blind, &stream),
    };
    let reply = Message::BlindReply {
        reply: BlindReply::make(&blind, &stream),
    };
    vec![
        ("device id of the key", owner.to_string()),
        ("share id of the secret", secret.share_id().to_string()),
        (
            "root key of version 3, salt 16 × 06",
            hex(secret.root_key(3, &[6; 16]).expose()),
        ),
        ("proof of the opener", hex(opener.as_bytes())),
        ("proof of the acceptor", hex(acceptor.as_bytes())),
        ("ticket with one hint", ticket.to_string()),
        ("signed head", hex(&signed.to_unchecked().encode())),
        (
            "root of one manifest chunk",
            hex(&Root::new(vec![record(0x20, 99)]).unwrap().encode()),
        ),
        (
            "manifest of a folder with a file and a symlink",
            hex(&manifest().encode()),
        ),
        ("frame: open", hex(&encode_frame(&open))),
        ("frame: want", hex(&encode_frame(&want))),
        ("frame: chunk header", hex(&encode_frame(&chunk))),
        ("read key of the secret", hex(secret.read_key().expose())),
        ("proof of a reader to a store", hex(reader.as_bytes())),
        (
            "proof of a node that joins a fleet",
            hex(Proof::make(&fleet, &stream, Side::Opener, ProofPurpose::Fleet).as_bytes()),
        ),
        (
            "blind query",
            hex(BlindQuery::make(&blind, &stream).as_bytes()),
        ),
        (
            "blind reply",
            hex(BlindReply::make(&blind, &stream).as_bytes()),
        ),
        ("frame: blind query", hex(&encode_frame(&query))),
        ("frame: blind reply", hex(&encode_frame(&reply))),
        ("ticket with one hint and a relay", relayed.to_string()),
        ("relay URL with an invitation of 16 × 07", url.to_string()),
        ("frame: open by read key", hex(&encode_frame(&by_read_key))),
        ("frame: elsewhere, a store", hex(&encode_frame(&elsewhere))),
        (
            "frame: relay open, device",
            hex(&encode_frame(&relay_open())),
        ),
        ("frame: claims", hex(&encode_frame(&claims()))),
        ("frame: terms", hex(&encode_frame(&terms()))),
        ("frame: progress", hex(&encode_frame(&progress()))),
        ("frame: candidates", hex(&encode_frame(&candidates()))),
        (
            "frame: chunk token request",
            hex(&encode_frame(&Message::ChunkTokenRequest)),
        ),
        ("frame: chunk token", hex(&encode_frame(&chunk_token()))),
        (
            "link",
            format!("https://relay.example.org/l#{ticket}")
                .parse::<ShareLink>()
                .unwrap()
                .to_string(),
        ),
        (
            "claim weight of the span at position 64",
            format!("{:016x}", claim_weight(owner, secret.share_id(), 64)),
        ),
        (
            "index topic of the secret at that relay",
            hex(secret.index_topic(&owner).as_bytes()),
        ),
        (
            "index address key of that device",
            hex(secret.index_address_key(&owner).expose()),
        ),
        (
            "knock of that device at itself",
            hex(Knock::make(&secret, &owner, &owner, [7; 16]).as_bytes()),
        ),
    ]
    .into_iter()
    .chain(
        relay_frames(&url)
            .into_iter()
            .map(|(name, message)| (name, hex(&encode_relay_frame(&message)))),
    )
    .collect()
}

fn claims() -> Message {
    let run = |start, count| PositionRange::new(start, count).into_iter().collect();
    Message::Claims(Claims {
        version: 3,
        fetching: true,
        active: run(0, 4),
        tentative: run(64, 16),
    })
}

fn terms() -> Message {
    Message::Terms(Terms {
        price: "2".parse().unwrap(),
        reluctant: true,
    })
}

fn progress() -> Message {
    Message::Progress(Progress {
        version: 3,
        bytes: 1 << 20,
        complete: true,
    })
}

fn candidates() -> Message {
    let of = |kind, at: &str| Candidate::new(kind, at.parse().unwrap()).unwrap();
    Message::Candidates(Box::new(Candidates {
        attempt: AttemptId::new([3; 16]),
        credentials: IceCredentials {
            ufrag: "ufra+/01".into(),
            password: "a/password/of/letters/".into(),
        },
        candidates: vec![
            of(CandidateKind::Host, "192.168.1.7:47447"),
            of(CandidateKind::ServerReflexive, "[2001:db8::7]:40000"),
        ],
        padding: 4,
    }))
}

fn chunk_token() -> Message {
    Message::ChunkToken {
        token: Some(ChunkToken::new([9; 16])),
        lives_ms: 600_000,
    }
}

fn relay_open() -> Message {
    Message::RelayOpen {
        protocol: 2,
        purpose: Some(RelayPurpose::Device),
    }
}

/// Frames of the relay protocol.
fn relay_frames(url: &RelayUrl) -> Vec<(&'static str, RelayMessage)> {
    let send = RelayMessage::Send {
        request: 1,
        to: url.key,
        id: MessageId::new([8; 16]),
        sealed: vec![9; 4].into(),
        keep_s: 3600,
    };
    let refusal = RelayRefusal {
        code: RelayRefusalCode::Quota,
        retry_after_ms: 1000,
    };
    let record = PutRecord {
        id: ChunkId::new([4; 32]),
        length: 65552,
    };
    let list = RelayMessage::PutList {
        space: Space::Data,
        first: 9,
        records: vec![record],
    };
    vec![
        (
            "relay frame: hello with an invitation",
            RelayMessage::Hello {
                invitation: url.invitation.clone(),
                instance: 0,
            },
        ),
        (
            "relay frame: assigned",
            RelayMessage::Assigned {
                relays: vec![url.address()],
            },
        ),
        ("relay frame: send", send),
        (
            "relay frame: failed",
            RelayMessage::Failed {
                request: 1,
                refusal,
            },
        ),
        ("relay frame: list of an upload", list),
        (
            "relay frame: put chunk",
            RelayMessage::PutChunk {
                space: Space::Data,
                position: 9,
                length: 65552,
            },
        ),
    ]
    .into_iter()
    .chain(
        index_frames(url.key)
            .into_iter()
            .map(|(name, m)| (name, RelayMessage::Index(Box::new(m)))),
    )
    .chain(
        circuit_frames(url.key)
            .into_iter()
            .map(|(name, m)| (name, RelayMessage::Circuit(Box::new(m)))),
    )
    .collect()
}

/// Frames of the index.
fn index_frames(device: DeviceId) -> Vec<(&'static str, IndexMessage)> {
    let topic = ShareSecret::new([1; 16]).index_topic(&device);
    let held: Ranges = PositionRange::new(0, 4).into_iter().collect();
    let holding = Announcement {
        version: 3,
        epoch: 7,
        seq: 1,
        complete: false,
        held: held.clone(),
        has_manifest: true,
    };
    let change = Delta {
        version: 3,
        epoch: 7,
        seq: 2,
        added: held,
        removed: Ranges::default(),
    };
    vec![
        ("relay frame: hello to the index", IndexMessage::Hello),
        (
            "relay frame: announcement to the index",
            IndexMessage::Announce {
                topic,
                holding,
                sealed: vec![9; 4].into(),
            },
        ),
        (
            "relay frame: subscription at the index",
            IndexMessage::Subscribe {
                topic,
                owner: device,
            },
        ),
        (
            "relay frame: change of a holder",
            IndexMessage::Changed {
                topic,
                device,
                change,
            },
        ),
    ]
}

/// Frames about circuits: the relay of the other vectors asks for one to itself, which no relay
/// would join.
fn circuit_frames(device: DeviceId) -> Vec<(&'static str, CircuitMessage)> {
    let knock = Knock::make(&ShareSecret::new([1; 16]), &device, &device, [7; 16]);
    let circuit = CircuitId::new([8; 16]);
    vec![
        (
            "relay frame: connect",
            CircuitMessage::Connect { to: device, knock },
        ),
        (
            "relay frame: incoming",
            CircuitMessage::Incoming {
                circuit,
                from: device,
                knock,
            },
        ),
        ("relay frame: accept", CircuitMessage::Accept { circuit }),
    ]
}

#[test]
fn the_code_makes_the_pinned_bytes() {
    assert_pinned("vectors/v1.txt", &vectors());
}

#[test]
fn the_specification_quotes_every_vector() {
    assert_quoted(&vectors());
}

#[test]
fn the_pinned_bytes_are_understood() {
    let value = |name: &str| vectors().into_iter().find(|(n, _)| *n == name).unwrap().1;
    assert_eq!(
        Manifest::decode(&unhex(&value(
            "manifest of a folder with a file and a symlink"
        )))
        .unwrap(),
        manifest()
    );
    let ticket: Ticket = value("ticket with one hint").parse().unwrap();
    assert_eq!(ticket.secret, ShareSecret::new([1; 16]));
    for name in [
        "frame: open",
        "frame: want",
        "frame: chunk header",
        "frame: open by read key",
        "frame: elsewhere, a store",
        "frame: relay open, device",
        "frame: claims",
        "frame: terms",
        "frame: progress",
        "frame: blind query",
        "frame: blind reply",
    ] {
        let bytes = unhex(&value(name));
        let message = decode_frame(&bytes[4..]).unwrap().unwrap();
        assert_eq!(encode_frame(&message), bytes, "{name}");
    }
    let url: RelayUrl = value("relay URL with an invitation of 16 × 07")
        .parse()
        .unwrap();
    let ticket: Ticket = value("ticket with one hint and a relay").parse().unwrap();
    assert_eq!(ticket.relays, [url.address()]);
    for (name, message) in relay_frames(&url) {
        assert_eq!(
            decode_relay_frame(&unhex(&value(name))[4..]),
            Ok(Some(message)),
            "{name}"
        );
    }
}
