//! Test vectors of groups: `vectors/groups-v1.txt` pins the bytes, the code must make them, SPEC.md
//! must quote them.
//!
//! `HITHER_WRITE_VECTORS=1 cargo test -p hither-proto --test group_vectors` writes the file anew; a
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
    Action, DeviceId, GroupEntry, GroupId, GroupInvite, GroupName, GroupRequest, GroupSecret,
    Membership, NameSeal, Policy, RelayMessage, SignedEntry, decode_relay_frame,
    encode_relay_frame,
};
use libp2p_identity::ed25519::{Keypair, SecretKey};
use pinned::{Vector, assert_pinned, assert_quoted, hex};

fn pair() -> Keypair {
    Keypair::from(SecretKey::try_from_bytes([5u8; 32]).unwrap())
}

fn signed(entry: GroupEntry) -> SignedEntry {
    SignedEntry::sign(entry, |message| pair().sign(message).try_into().unwrap())
}

/// A group of the device that calls it "choir", open to all.
fn log() -> [SignedEntry; 2] {
    let author = DeviceId::from_slice(&pair().public().to_bytes()).unwrap();
    let secret = GroupSecret::new([1; 32]);
    let name = NameSeal::Clear(GroupName::parse("choir").unwrap());
    let action = Action::Create {
        name,
        key: secret.mark(),
        policy: Policy::Open,
        admins: [author].into(),
    };
    let (group, previous, time_ms) = (GroupId::new([0; 32]), [0; 32], 1_700_000_000_000);
    let first = signed(GroupEntry {
        group,
        number: 0,
        previous,
        author,
        time_ms,
        action,
    });
    let of = Membership::begin(&first).unwrap();
    let second = signed(of.next_entry(
        author,
        time_ms + 1,
        Action::SetPolicy {
            policy: Policy::Approval,
        },
    ));
    [first, second]
}

fn request() -> RelayMessage {
    let [first, _] = log();
    let what = Box::new(GroupRequest::Log {
        group: first.group(),
        from: 1,
    });
    RelayMessage::Group { request: 7, what }
}

/// Name and bytes (or text) of every vector.
fn vectors() -> Vec<Vector> {
    let secret = GroupSecret::new([1; 32]);
    let [first, second] = log();
    let name = GroupName::parse("choir").unwrap();
    vec![
        (
            "mark of a group's secret of 32 × 01",
            hex(secret.mark().as_bytes()),
        ),
        ("domain of that secret", hex(&secret.domain())),
        (
            "key of a note with the salt 16 × 03",
            hex(&secret.note_key(&[3; 16])),
        ),
        (
            "mark of the name \"choir\" with the salt 32 × 04",
            hex(&name.mark(&[4; 32])),
        ),
        ("first entry of a log", hex(first.bytes())),
        ("id of that group", first.group().to_string()),
        ("second entry of that log", hex(second.bytes())),
        ("seal id of that group", first.group().seal_id().to_string()),
        ("word to ask with", GroupInvite(first.group()).to_string()),
        (
            "relay frame: a group's log from its second entry",
            hex(&encode_relay_frame(&request())),
        ),
    ]
}

#[test]
fn the_code_makes_the_pinned_bytes_and_understands_them() {
    assert_pinned("vectors/groups-v1.txt", &vectors());
    let [first, second] = log();
    assert_eq!(SignedEntry::open(first.bytes()).unwrap(), first);
    let group = Membership::replay(first.group(), [&first, &second]).unwrap();
    assert_eq!(group.policy(), &Policy::Approval);
    let bytes = encode_relay_frame(&request());
    assert_eq!(decode_relay_frame(&bytes[4..]), Ok(Some(request())));
}

#[test]
fn the_specification_quotes_every_vector() {
    assert_quoted(&vectors());
}
