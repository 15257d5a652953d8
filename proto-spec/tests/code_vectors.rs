//! Test vectors of codes: `vectors/codes-v1.txt` pins the bytes, the code must make them, SPEC.md
//! must quote them.
//!
//! `HITHER_WRITE_VECTORS=1 cargo test -p hither-proto --test code_vectors` writes the file anew; a
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
    CodeGift, CodeKeys, CodeKind, CodeMessage, CodePake, CodeRequest, CodeSide, DeviceId, Knock,
    Message, PairText, RelayMessage, SpokenCode, StreamBinding, decode_frame, decode_relay_frame,
    encode_frame, encode_relay_frame,
};
use libp2p_identity::ed25519::{Keypair, SecretKey};
use pinned::{Vector, assert_pinned, assert_quoted, hex};

fn device(n: u8) -> DeviceId {
    let pair = Keypair::from(SecretKey::try_from_bytes([n; 32]).unwrap());
    DeviceId::from_slice(&pair.public().to_bytes()).unwrap()
}

fn code() -> SpokenCode {
    "able-baby-cabin".parse().unwrap()
}

fn scanned() -> PairText {
    PairText {
        secret: [7; 32].into(),
        device: device(5),
        hints: vec!["192.168.1.7:47447".parse().unwrap()],
    }
}

fn start() -> Message {
    let (secret, kind) = (code().secret(), CodeKind::Share);
    let run = CodePake::enter(&secret, &device(6), &device(5), [1; 32]);
    let (name, pake) = (secret.name(), run.message());
    Message::Code(Box::new(CodeMessage::Start { name, kind, pake }))
}

fn find() -> RelayMessage {
    RelayMessage::Code {
        request: 7,
        what: CodeRequest::Find {
            nameplate: code().nameplate(),
        },
    }
}

/// Name and bytes (or text) of every vector.
fn vectors() -> Vec<Vector> {
    let (secret, enters, shows) = (code().secret(), device(6), device(5));
    let stream = StreamBinding::new([2; 32], enters, shows);
    let one = CodePake::enter(&secret, &enters, &shows, [1; 32]);
    let other = CodePake::show(&secret, &enters, &shows, [2; 32]);
    let said = (one.message(), other.message());
    let key = one.finish(&said.1).unwrap();
    assert_eq!(key, other.finish(&said.0).unwrap());
    let keys = CodeKeys::new(
        &key,
        &stream,
        CodeKind::Share,
        secret.name(),
        (&said.0, &said.1),
    );
    let knock = Knock::for_code(code().nameplate(), &enters, &shows, [7; 16]);
    vec![
        ("key exchange: the one that enters", hex(said.0.as_bytes())),
        ("key exchange: the one that shows", hex(said.1.as_bytes())),
        ("key of the exchange", hex(&key)),
        (
            "confirmation of the one that enters",
            hex(keys.confirmation(CodeSide::Enters).as_bytes()),
        ),
        (
            "confirmation of the one that shows",
            hex(keys.confirmation(CodeSide::Shows).as_bytes()),
        ),
        (
            "sealing key of the one that enters",
            hex(&keys.sealing(CodeSide::Enters)[..]),
        ),
        (
            "sealing key of the one that shows",
            hex(&keys.sealing(CodeSide::Shows)[..]),
        ),
        ("words on both screens", keys.words().to_string()),
        ("scanned code", scanned().to_string()),
        (
            "name of that code",
            hex(&scanned().secret().name().to_bytes()),
        ),
        ("knock about the code", hex(knock.as_bytes())),
        ("frame: start of a code", hex(&encode_frame(&start()))),
        ("gift: taken", hex(&CodeGift::Taken.encode())),
        (
            "relay frame: find a code",
            hex(&encode_relay_frame(&find())),
        ),
    ]
}

#[test]
fn the_code_makes_the_pinned_bytes_and_understands_them() {
    assert_pinned("vectors/codes-v1.txt", &vectors());
    let bytes = encode_frame(&start());
    assert_eq!(decode_frame(&bytes[4..]), Ok(Some(start())));
    let bytes = encode_relay_frame(&find());
    assert_eq!(decode_relay_frame(&bytes[4..]), Ok(Some(find())));
    assert_eq!(scanned().to_string().parse(), Ok(scanned()));
}

#[test]
fn the_specification_quotes_every_vector() {
    assert_quoted(&vectors());
}
