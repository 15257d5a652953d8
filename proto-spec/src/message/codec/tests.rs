//! Every message comes out as it went in, and what is beyond its bounds is refused.

use super::*;
use crate::code::{CodeConfirmation, CodeKind, CodeMessage, CodeName, CodeRefusal, PakeMessage};
use crate::frame::{FRAME_PREFIX, decode_frame, encode_frame, frame_length};
use crate::ids::{AttemptId, ShareSecret};
use crate::limits::{MAX_CANDIDATES_PADDING, MAX_MESSAGE};
use crate::message::{Candidate, CandidateKind, DevicePurpose, IceCredentials, OfferKind};
use crate::proof::{BlindKey, ProofKey, Side, StreamBinding};
use crate::relay::samples::{key, longest_relay, other_key, relay};
use proptest::prelude::*;

fn samples() -> Vec<Message> {
    let secret = ShareSecret::new([1; 16]);
    let stream = StreamBinding::new([2; 32], other_key(), key());
    let proof = Proof::make(
        &ProofKey::of_secret(&secret),
        &stream,
        Side::Opener,
        Purpose::Control,
    );
    let blind = BlindKey::of_secret(&secret);
    let ranges: Ranges = [(0, 3), (9, 1)]
        .into_iter()
        .filter_map(|(s, n)| crate::range::PositionRange::new(s, n))
        .collect();
    vec![
        Message::Open {
            protocol: 1,
            share: ShareSecret::new([1; 16]).share_id(),
            proof,
            proof_kind: ProofKind::Secret,
            owner: None,
            purpose: Some(Purpose::Bulk),
        },
        Message::Open {
            protocol: 1,
            share: ShareSecret::new([1; 16]).share_id(),
            proof,
            proof_kind: ProofKind::ReadKey,
            owner: Some(key()),
            purpose: Some(Purpose::Lookup),
        },
        Message::BlindQuery {
            protocol: 2,
            query: BlindQuery::make(&blind, &stream),
        },
        Message::BlindReply {
            reply: BlindReply::make(&blind, &stream),
        },
        Message::Opened(Box::new(Opened {
            proof,
            head: UncheckedHead::default(),
            device_name: DeviceName::clean("laptop"),
            tcp_port: Some(47447),
        })),
        Message::Refused(Refusal::Busy(250)),
        Message::Announce(Announcement {
            version: 1,
            epoch: 2,
            seq: 3,
            complete: false,
            held: ranges.clone(),
            has_manifest: true,
        }),
        Message::HaveDelta(Delta {
            version: 1,
            epoch: 2,
            seq: 4,
            added: ranges.clone(),
            removed: Ranges::default(),
        }),
        Message::Want(Want {
            request: 1,
            space: Space::Data,
            version: 1,
            ranges: ranges.clone(),
        }),
        Message::Cancel { request: 1 },
        Message::Chunk {
            request: 1,
            position: 9,
            length: 65552,
        },
        Message::Served { request: 1 },
        Message::Busy {
            request: 1,
            retry_after_ms: 100,
        },
        Message::NotHeld { request: 1, ranges },
        Message::ChunkTokenRequest,
        Message::ChunkToken {
            token: Some(ChunkToken::new([9; 16])),
            lives_ms: MAX_CHUNK_TOKEN_MS,
        },
        Message::ChunkToken {
            token: None,
            lives_ms: 0,
        },
        Message::NewHead(UncheckedHead::default()),
        Message::Ping { nonce: 5 },
        Message::Pong { nonce: 5 },
        Message::RelayOpen {
            protocol: 1,
            purpose: Some(RelayPurpose::Device),
        },
        Message::Elsewhere {
            proof: Some(proof),
            holders: vec![holder(HolderKind::Store)],
        },
        Message::Elsewhere {
            proof: None,
            holders: vec![holder(HolderKind::Device); MAX_HOLDERS],
        },
        Message::Candidates(Box::new(candidates(MAX_CANDIDATES_PADDING))),
        Message::Claims(claims()),
        Message::Terms(terms()),
        Message::Progress(Progress {
            version: 3,
            bytes: MAX_SHARE,
            complete: true,
        }),
        Message::DeviceOpen {
            protocol: 2,
            purpose: Some(DevicePurpose::Mail),
        },
        Message::Letter(Letter {
            id: MessageId::new([7; 16]),
            sealed: vec![1; MAX_MESSAGE].into(),
        }),
        Message::LetterTaken {
            id: MessageId::new([7; 16]),
        },
        Message::Introduction(Introduction {
            device_name: DeviceName::clean("phone"),
            kind: OfferKind::Files,
            summary: "a.jpg, b.jpg".into(),
            files: 2,
            bytes: 1 << 40,
        }),
        Message::Named(DeviceName::clean("phone")),
    ]
    .into_iter()
    .chain(codes().map(|code| Message::Code(Box::new(code))))
    .collect()
}

fn codes() -> [CodeMessage; 5] {
    let pake = PakeMessage::from_slice(&[7; PakeMessage::LEN]).unwrap();
    [
        CodeMessage::Start {
            name: CodeName::Scanned([1; 16]),
            kind: CodeKind::Pair,
            pake,
        },
        CodeMessage::Answer(pake),
        CodeMessage::Confirm(CodeConfirmation::from_slice(&[3; 32]).unwrap()),
        CodeMessage::Sealed(vec![1, 2, 3].into()),
        CodeMessage::Refused(CodeRefusal::Busy),
    ]
}

#[test]
fn hostile_messages_about_codes_are_refused() {
    use crate::wire::code_message::What;
    let with = |what| Message::parse(Body::Code(wire::CodeMessage { what }));
    assert!(with(None).is_err());
    assert!(with(Some(What::Sealed(Vec::new().into()))).is_err());
    let long = vec![0; crate::limits::MAX_CODE_SEALED + 1];
    assert!(with(Some(What::Sealed(long.into()))).is_err());
    assert!(with(Some(What::Answer(vec![1; 32].into()))).is_err());
    assert!(with(Some(What::Confirm(vec![1; 33].into()))).is_err());
    let start = |name: Vec<u8>, kind| {
        with(Some(What::Start(wire::CodeStart {
            name: name.into(),
            kind,
            pake: vec![1; 33].into(),
        })))
    };
    assert!(start(vec![0, 1], 1).is_ok());
    assert!(start(vec![8, 0], 1).is_err());
    assert!(start(vec![0, 1], 9).is_err());
    // A reason of a later version is the one that says least.
    let later = with(Some(What::Refused(77)));
    let spent = Message::Code(Box::new(CodeMessage::Refused(CodeRefusal::Spent)));
    assert_eq!(later, Ok(spent));
}

#[test]
fn hostile_tokens_are_refused() {
    let with = |token: Vec<u8>, lives_ms| {
        Message::parse(Body::ChunkToken(wire::ChunkToken {
            token: token.into(),
            lives_ms,
        }))
    };
    assert!(with(vec![1; 16], MAX_CHUNK_TOKEN_MS).is_ok());
    assert!(with(vec![1; 16], MAX_CHUNK_TOKEN_MS + 1).is_err());
    assert!(with(vec![1; 15], 1).is_err());
    assert!(with(vec![1; 17], 1).is_err());
    assert!(with(Vec::new(), 0).is_ok());
    assert!(with(Vec::new(), 1).is_err());
    let shown = format!("{:?}", with(vec![1; 16], 1));
    assert!(
        !shown.contains("1, 1") && !shown.contains("0101"),
        "{shown}"
    );
}

fn candidates(padding: usize) -> Candidates {
    let of = |kind, at: &str| Candidate::new(kind, at.parse().unwrap()).unwrap();
    Candidates {
        attempt: AttemptId::new([3; 16]),
        credentials: IceCredentials {
            ufrag: "ufra+/01".into(),
            password: "a/password/of/letters/".into(),
        },
        candidates: vec![
            of(CandidateKind::Host, "192.168.1.7:47447"),
            of(CandidateKind::ServerReflexive, "[2001:db8::7]:40000"),
        ],
        padding,
    }
}

fn claims() -> Claims {
    let run = |start| {
        crate::range::PositionRange::new(start, 4)
            .into_iter()
            .collect()
    };
    Claims {
        version: 1,
        fetching: true,
        active: run(8),
        tentative: run(32),
    }
}

fn terms() -> Terms {
    Terms {
        price: Price::from_nanos(2_000_000_000).unwrap(),
        reluctant: true,
    }
}

fn holder(kind: HolderKind) -> Holder {
    Holder {
        kind,
        address: relay(),
    }
}

fn open_with(change: impl FnOnce(&mut wire::Open)) -> Result<Message, MessageError> {
    let Body::Open(mut open) = samples()[1].to_wire() else {
        panic!("the second sample is an open")
    };
    change(&mut open);
    Message::parse(Body::Open(open))
}

#[test]
fn an_open_by_read_key_names_the_owner_and_kinds_of_later_versions_are_told() {
    assert!(open_with(|_| ()).is_ok());
    assert_eq!(
        open_with(|m| m.owner = Vec::new().into()),
        Err(MessageError::Value("lack of an owner"))
    );
    assert!(matches!(
        open_with(|m| m.owner = vec![1; 31].into()),
        Err(MessageError::Field(_))
    ));
    assert!(matches!(
        open_with(|m| m.proof_kind = 9),
        Ok(Message::Open { purpose: None, .. })
    ));
    assert!(matches!(
        open_with(|m| m.purpose = 9),
        Ok(Message::Open { purpose: None, .. })
    ));
}

#[test]
fn holders_are_bounded_and_unknown_kinds_left_out() {
    let elsewhere = |count, kind| {
        let mut one = holder_to_wire(&holder(HolderKind::Store));
        one.kind = kind;
        parse_elsewhere(wire::Elsewhere {
            proof: Vec::new().into(),
            holders: vec![one; count],
        })
    };
    let count = |m| {
        if let Ok(Message::Elsewhere { holders, .. }) = m {
            Some(holders.len())
        } else {
            None
        }
    };
    assert_eq!(count(elsewhere(MAX_HOLDERS, 2)), Some(MAX_HOLDERS));
    assert_eq!(count(elsewhere(MAX_HOLDERS + 1, 2)), None);
    assert_eq!(count(elsewhere(3, 77)), Some(0));
    let nowhere = wire::HolderAddress {
        kind: 2,
        address: None,
    };
    let nowhere = wire::Elsewhere {
        proof: Vec::new().into(),
        holders: vec![nowhere],
    };
    assert_eq!(parse_elsewhere(nowhere), Err(MessageError::Malformed));
}

#[test]
fn a_price_beyond_its_bound_is_refused() {
    use crate::limits::MAX_PRICE;
    let parsed = |price| {
        parse_terms(wire::Terms {
            price,
            reluctant: true,
        })
    };
    assert_eq!(parsed(2_000_000_000), Ok(terms()));
    assert_eq!(parsed(MAX_PRICE + 1), Err(MessageError::Value("price")));
}

#[test]
fn progress_is_no_more_than_a_share_can_be() {
    let parsed = |bytes| {
        parse_progress(wire::Progress {
            version: 1,
            bytes,
            complete: false,
        })
    };
    assert!(parsed(MAX_SHARE).is_ok());
    assert_eq!(
        parsed(MAX_SHARE + 1),
        Err(MessageError::Value("number of bytes"))
    );
}

#[test]
fn claims_are_bounded_and_only_who_fetches_has_any() {
    let parsed = |change: fn(&mut wire::Claims)| {
        let Body::Claims(mut m) = Message::Claims(claims()).to_wire() else {
            panic!("claims are claims")
        };
        change(&mut m);
        parse_claims(&m)
    };
    assert_eq!(parsed(|_| ()), Ok(claims()));
    assert!(parsed(|m| m.active = vec![m.active[0]; MAX_CLAIMS - 1]).is_ok());
    assert!(parsed(|m| m.active = vec![m.active[0]; MAX_CLAIMS]).is_err());
    assert!(parsed(|m| m.fetching = false).is_err());
}

#[test]
fn the_longest_answer_to_a_lookup_fits_its_frame() {
    let samples = samples();
    let proof = samples.iter().find_map(|message| match message {
        Message::Elsewhere { proof, .. } => Some(proof),
        _ => None,
    });
    let proof = proof.expect("an answer to a lookup");
    let holders = vec![
        Holder {
            kind: HolderKind::Store,
            address: longest_relay()
        };
        MAX_HOLDERS
    ];
    let frame = encode_frame(&Message::Elsewhere {
        proof: *proof,
        holders,
    });
    assert!(
        frame.len() <= crate::limits::MAX_FRAME_LOOKUP,
        "{}",
        frame.len()
    );
}

#[test]
fn every_message_round_trips() {
    for message in samples() {
        let bytes = encode_frame(&message);
        let prefix = bytes[..FRAME_PREFIX].try_into().unwrap();
        assert_eq!(
            frame_length(prefix, 1 << 20),
            Ok(bytes.len() - FRAME_PREFIX)
        );
        assert_eq!(decode_frame(&bytes[FRAME_PREFIX..]), Ok(Some(message)));
    }
}

#[test]
fn a_message_of_a_later_version_is_skipped() {
    // Field 31, length-delimited, two bytes: no body that this version knows.
    assert_eq!(decode_frame(&[0xfa, 0x01, 0x02, 0x08, 0x01]), Ok(None));
}

#[test]
fn impossible_values_are_refused() {
    let chunk = |length| {
        parse_chunk(&wire::Chunk {
            request: 1,
            position: 0,
            length,
        })
    };
    assert!(
        chunk(0).is_err() && chunk(16).is_err() && chunk(u32::MAX).is_err() && chunk(17).is_ok()
    );
    let want = |space, count| {
        parse_want(&wire::Want {
            request: 1,
            space,
            version: 1,
            ranges: vec![wire::Range { start: 0, count }],
        })
    };
    assert!(
        want(0, 1).is_err()
            && want(99, 1).is_err()
            && want(3, MAX_WANT + 1).is_err()
            && want(3, 1).is_ok()
    );
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_or_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode_frame(&bytes);
    }

    #[test]
    fn damaged_frames_are_parsed_or_refused_without_panic(which in 0usize..19, at in 0usize..200, xor in 1u8..) {
        let mut bytes = encode_frame(&samples()[which]);
        let at = FRAME_PREFIX + at % (bytes.len() - FRAME_PREFIX);
        bytes[at] ^= xor;
        let _ = decode_frame(&bytes[FRAME_PREFIX..]);
    }
}
