//! Everything that can be asked of a relay, by everyone who may try: what each is answered, and
//! that the one whose ids stand in it loses nothing. A kind of message that is added does not
//! compile here until it has its row.

use crate::matrix::{
    CALLERS, Caller, Kind, Outcome, Place, Shown, kind, link_messages, relay_messages,
};
use crate::storing_common::{Device, soon};
use hither_carrier::{CarrierKind, MessageReader, Stream, write_message, write_relay_message};
use hither_proto::limits::{MAX_FRAME, PROTOCOL};
use hither_proto::{
    IndexMessage, Message, MessageId, Proof, ProofKey, ProofKind, Purpose, ReadKey, Refusal,
    RelayMessage, RelayPurpose, RelayRefusalCode, ShareSecret, Side,
};
use hither_relay::ops::labels::Request;

/// What a device reaches a relay over by itself.
const CARRIERS: [CarrierKind; 2] = [CarrierKind::Tcp, CarrierKind::Quic];

/// Returns what comes of a message that is the first one of its stream.
fn first(purpose: RelayPurpose, kind: Kind, caller: Caller) -> Outcome {
    let known = match caller {
        Caller::Owner | Caller::Sibling | Caller::Other | Caller::Page => None,
        Caller::Stranger | Caller::Visitor => Some(RelayRefusalCode::NotRegistered),
        Caller::Revoked => Some(RelayRefusalCode::Revoked),
    };
    match purpose {
        // Anyone may ask: who was invited does so before being registered.
        RelayPurpose::Assign => match kind {
            Kind::Assign => Outcome::Answered("assigned"),
            _ => Outcome::Refused(RelayRefusalCode::Invalid),
        },
        RelayPurpose::Device => match (kind, known) {
            (Kind::Hello, None) => Outcome::Answered("welcome"),
            (Kind::Hello, Some(code)) => Outcome::Refused(code),
            // A device is no visitor.
            (Kind::Visit, None) => Outcome::Refused(RelayRefusalCode::Role),
            (Kind::Visit, Some(RelayRefusalCode::Revoked)) => {
                Outcome::Refused(RelayRefusalCode::Revoked)
            }
            (Kind::Visit, Some(_)) => Outcome::Refused(RelayRefusalCode::Invitation),
            _ => Outcome::Refused(RelayRefusalCode::Invalid),
        },
        RelayPurpose::Upload => match (kind, known) {
            // It may upload what it has a place for.
            _ if caller == Caller::Visitor => Outcome::Refused(RelayRefusalCode::Invalid),
            (_, Some(code)) => Outcome::Refused(code),
            (Kind::Put, None) if caller == Caller::Owner => Outcome::Answered("missing"),
            // Its head is signed by another device.
            _ => Outcome::Refused(RelayRefusalCode::Invalid),
        },
        // A node of its own takes no others.
        RelayPurpose::Node => Outcome::Refused(RelayRefusalCode::Role),
        // Whoever knows a ticket may use it, registered or not.
        RelayPurpose::Index => match (kind, caller) {
            (Kind::IndexHello, Caller::Revoked) => Outcome::Refused(RelayRefusalCode::Revoked),
            (Kind::IndexHello, Caller::Visitor) => Outcome::Refused(RelayRefusalCode::Role),
            (Kind::IndexHello, _) => Outcome::Answered("index welcome"),
            _ => Outcome::Refused(RelayRefusalCode::Invalid),
        },
        // The owner is not there, and offered nothing. (What there is when it is, is in
        // serve_circuit.rs.)
        RelayPurpose::Circuit => match (kind, caller) {
            (Kind::Connect, Caller::Revoked) => Outcome::Refused(RelayRefusalCode::Revoked),
            (Kind::Connect, Caller::Visitor) => Outcome::Refused(RelayRefusalCode::Role),
            (Kind::Connect | Kind::Accept, _) => Outcome::Refused(RelayRefusalCode::NotFound),
            _ => Outcome::Refused(RelayRefusalCode::Invalid),
        },
    }
}

/// Returns what comes of a message on the long connection of another device than the one that it
/// names, and what changes for that.
fn later(kind: Kind, caller: Caller) -> (Outcome, &'static [&'static str]) {
    let sibling = match caller {
        Caller::Visitor => return visiting(kind),
        Caller::Sibling | Caller::Page => true,
        Caller::Other => false,
        Caller::Owner | Caller::Stranger | Caller::Revoked => {
            panic!("{caller:?} has no such connection")
        }
    };
    match kind {
        Kind::Ping => (Outcome::Answered("pong"), &[]),
        Kind::Pong | Kind::Received | Kind::FetchesReceived | Kind::Decline => {
            (Outcome::Nothing, &[])
        }
        // Circuits are on streams of their own.
        Kind::Connect | Kind::Accept => (Outcome::Refused(RelayRefusalCode::Invalid), &[]),
        Kind::Cards if sibling => (Outcome::Nothing, &["cards"]),
        Kind::Cards => (Outcome::Nothing, &[]),
        Kind::Send if sibling => (Outcome::Answered("sent"), &["mail"]),
        Kind::Send => (Outcome::Failed(RelayRefusalCode::NotFound), &[]),
        // A place of its own, for a share of the same id: it counts for its own user.
        Kind::Place if sibling => (Outcome::Answered("placed"), &["usage"]),
        Kind::Place => (Outcome::Answered("placed"), &[]),
        // Anybody's device may ask who shows a code; nobody does.
        Kind::Code => (Outcome::Answered("code"), &[]),
        // A page removes nobody.
        Kind::Own if caller == Caller::Page => (Outcome::Failed(RelayRefusalCode::Role), &[]),
        // No device of anybody's.
        Kind::Own => (Outcome::Failed(RelayRefusalCode::NotFound), &[]),
        // No group of its.
        Kind::Group => (Outcome::Failed(RelayRefusalCode::NotFound), &[]),
        // The one that it could release was placed by itself just before: see `Place`.
        Kind::Release => (Outcome::Failed(RelayRefusalCode::NotFound), &[]),
        Kind::Hello | Kind::Visit | Kind::Assign | Kind::Put | Kind::OfUpload | Kind::OfRelay => {
            (Outcome::Refused(RelayRefusalCode::Invalid), &[])
        }
        // The index is on streams of its own.
        Kind::IndexHello
        | Kind::IndexAnnounce
        | Kind::IndexDelta
        | Kind::IndexWithdraw
        | Kind::IndexSubscribe
        | Kind::IndexUnsubscribe
        | Kind::OfIndex => (Outcome::Refused(RelayRefusalCode::Invalid), &[]),
    }
}

/// Returns what comes of a message of somebody who visits the owner, and what changes for that: what
/// is not named is refused.
fn visiting(kind: Kind) -> (Outcome, &'static [&'static str]) {
    match kind {
        Kind::Ping => (Outcome::Answered("pong"), &[]),
        Kind::Pong | Kind::Received => (Outcome::Nothing, &[]),
        Kind::Send => (Outcome::Answered("sent"), &["mail"]),
        // It counts for the owner's user.
        Kind::Place => (Outcome::Answered("placed"), &["usage"]),
        // The owner's is none of its.
        Kind::Release => (Outcome::Failed(RelayRefusalCode::NotFound), &[]),
        Kind::Code | Kind::Own | Kind::Group => (Outcome::Failed(RelayRefusalCode::Role), &[]),
        _ => (Outcome::Refused(RelayRefusalCode::Role), &[]),
    }
}

/// Returns what comes of a message on another device's stream to the index, where the owner has
/// announced its share.
fn indexed(kind: Kind) -> Outcome {
    match kind {
        Kind::Ping => Outcome::Answered("pong"),
        Kind::Pong | Kind::IndexAnnounce | Kind::IndexWithdraw | Kind::IndexUnsubscribe => {
            Outcome::Nothing
        }
        // It has announced nothing yet that could change.
        Kind::IndexDelta => Outcome::Answered("resync"),
        Kind::IndexSubscribe => Outcome::Answered("holders"),
        Kind::IndexHello
        | Kind::OfIndex
        | Kind::Assign
        | Kind::Hello
        | Kind::Visit
        | Kind::Cards
        | Kind::Send
        | Kind::Received
        | Kind::FetchesReceived
        | Kind::Place
        | Kind::Release
        | Kind::Put
        | Kind::OfUpload
        | Kind::Connect
        | Kind::Accept
        | Kind::Decline
        | Kind::Group
        | Kind::Code
        | Kind::Own
        | Kind::OfRelay => Outcome::Refused(RelayRefusalCode::Invalid),
    }
}

/// What comes of a question for a share; `Err(None)`: the stream ends without a word.
fn asked(purpose: Purpose, caller: Caller, shown: Shown) -> Result<&'static str, Option<Refusal>> {
    match (shown, purpose) {
        // That is no message at all.
        (Shown::NoOwner, _) => Err(None),
        _ if caller == Caller::Revoked => Err(Some(Refusal::NotFound)),
        // Who knows the ticket may read, registered or not.
        (Shown::Right, Purpose::Control | Purpose::Bulk) => Ok("opened"),
        (Shown::Right, Purpose::Lookup) => Ok("elsewhere"),
        (
            Shown::Replayed
            | Shown::Borrowed
            | Shown::OtherPurpose
            | Shown::Reflected
            | Shown::Forged
            | Shown::Secret
            | Shown::OtherOwner,
            _,
        ) => Err(Some(Refusal::NotFound)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_message_of_every_kind_by_everyone() {
    let place = Place::new().await;
    let before = place.snapshot().await;
    let purposes = [
        RelayPurpose::Assign,
        RelayPurpose::Device,
        RelayPurpose::Upload,
        RelayPurpose::Node,
        RelayPurpose::Index,
        RelayPurpose::Circuit,
    ];
    for (purpose, caller) in purposes
        .into_iter()
        .flat_map(|purpose| CALLERS.map(|caller| (purpose, caller)))
    {
        for message in relay_messages(&place) {
            let expected = first(purpose, kind(&message), caller);
            let device = place.device(caller);
            let mut relay = device.relay(&place.world, purpose, CarrierKind::Tcp).await;
            match kind(&message) {
                Kind::Put => relay.begin(&place.version).await,
                // A refusal may come first.
                _ => drop(write_relay_message(&mut relay.send, &message).await),
            }
            let outcome = crate::matrix::outcome(&mut relay).await;
            assert_eq!(outcome, expected, "{purpose:?} {caller:?}: {message:?}");
            drop(relay);
            place.left().await;
            assert_eq!(
                place.snapshot().await,
                before,
                "{purpose:?} {caller:?}: {message:?}"
            );
        }
    }
    place.unharmed(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_on_the_long_connection_of_another_device() {
    let place = Place::new().await;
    let cards = || place.world.node.metrics.requests.of(Request::Cards).count();
    for caller in [
        Caller::Other,
        Caller::Sibling,
        Caller::Page,
        Caller::Visitor,
    ] {
        // What it may release afterwards would be its own.
        let mut messages = relay_messages(&place);
        messages.sort_by_key(|message| kind(message) == Kind::Place);
        for mut message in messages {
            if let RelayMessage::Send { id, .. } = &mut message {
                // A repeated one changes nothing.
                *id = MessageId::new([caller as u8 + 10; 16]);
            }
            let before = place.snapshot().await;
            let (expected, changes) = later(kind(&message), caller);
            let mut talk = place.talk(caller).await;
            let stored = cards();
            talk.say(&message).await;
            if expected == Outcome::Nothing {
                talk.say(&RelayMessage::Ping { nonce: 99 }).await;
                let next = talk
                    .find(|message| crate::matrix::told(&message).then_some(message))
                    .await;
                assert_eq!(
                    next,
                    RelayMessage::Pong { nonce: 99 },
                    "{caller:?}: {message:?}"
                );
            } else {
                assert_eq!(
                    crate::matrix::outcome(&mut talk).await,
                    expected,
                    "{caller:?}: {message:?}"
                );
            }
            if kind(&message) == Kind::Cards && expected == Outcome::Nothing {
                soon(async {
                    while cards() == stored {
                        tokio::task::yield_now().await;
                    }
                })
                .await;
            }
            drop(talk);
            place.left().await;
            let after = place.snapshot().await;
            let changed: Vec<_> = before
                .keys()
                .filter(|part| before[*part] != after[*part])
                .collect();
            assert_eq!(
                changed,
                changes.iter().collect::<Vec<_>>(),
                "{caller:?}: {message:?}"
            );
        }
    }
    // The one that was there, the sibling's, the page's and the visitor's.
    place.unharmed(4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_proof_by_everyone_for_every_purpose() {
    let place = Place::new().await;
    let before = place.snapshot().await;
    let key = place.version.secret.read_key();
    for caller in CALLERS {
        let device = place.device(caller);
        let lender = if caller == Caller::Other {
            Caller::Sibling
        } else {
            Caller::Other
        };
        for purpose in [Purpose::Control, Purpose::Bulk, Purpose::Lookup] {
            let cells = Shown::ALL
                .into_iter()
                .flat_map(|shown| CARRIERS.map(|carrier| (shown, carrier)));
            for (shown, carrier) in cells {
                let stream = device.open(&place.world, carrier).await;
                let elsewhere = match shown {
                    Shown::Borrowed => place.device(lender).open(&place.world, carrier).await,
                    _ => device.open(&place.world, carrier).await,
                };
                let make = |key: &ReadKey, stream: &Stream, side| {
                    Proof::make(&ProofKey::of_read_key(key), &stream.binding, side, purpose)
                };
                let other = if purpose == Purpose::Bulk {
                    Purpose::Control
                } else {
                    Purpose::Bulk
                };
                let secret = ProofKey::of_secret(&place.version.secret);
                let by_key = ProofKey::of_read_key(&key);
                let proof = match shown {
                    Shown::Right | Shown::OtherOwner | Shown::NoOwner => {
                        make(&key, &stream, Side::Opener)
                    }
                    Shown::Replayed | Shown::Borrowed => make(&key, &elsewhere, Side::Opener),
                    Shown::OtherPurpose => {
                        Proof::make(&by_key, &stream.binding, Side::Opener, other)
                    }
                    Shown::Reflected => make(&key, &stream, Side::Acceptor),
                    Shown::Forged => make(&ReadKey::new([7; 32]), &stream, Side::Opener),
                    Shown::Secret => Proof::make(&secret, &stream.binding, Side::Opener, purpose),
                };
                let open = Message::Open {
                    protocol: PROTOCOL,
                    share: place.version.share(),
                    proof,
                    proof_kind: if shown == Shown::Secret {
                        ProofKind::Secret
                    } else {
                        ProofKind::ReadKey
                    },
                    owner: match shown {
                        Shown::NoOwner => None,
                        Shown::OtherOwner => Some(place.other.id()),
                        _ => Some(place.owner.id()),
                    },
                    purpose: Some(purpose),
                };
                let answer = match answer(stream, &open).await {
                    Some(Message::Opened(_)) => Ok("opened"),
                    Some(Message::Elsewhere { .. }) => Ok("elsewhere"),
                    Some(Message::Refused(refusal)) => Err(Some(refusal)),
                    None => Err(None),
                    other => panic!("{caller:?} {purpose:?} {shown:?} {carrier}: {other:?}"),
                };
                let cell = format!("{caller:?} {purpose:?} {shown:?} {carrier}");
                assert_eq!(answer, asked(purpose, caller, shown), "{cell}");
            }
        }
        assert_eq!(place.snapshot().await, before, "{caller:?}");
    }
    place.unharmed(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_to_the_index_by_everyone_changes_nothing_of_what_another_device_announced() {
    let place = Place::new().await;
    let before = place.snapshot().await;
    let topic = place.version.secret.index_topic(&place.world.node.id());
    let owner = place.owner.id();
    let sealed = bytes::Bytes::from_static(b"the owner's");
    let announce = IndexMessage::Announce {
        topic,
        holding: crate::matrix::holding(),
        sealed: sealed.clone(),
    };
    let mut announced = place.owner.index(&place.world).await.unwrap();
    announced
        .say(&RelayMessage::Index(Box::new(announce)))
        .await;
    for caller in [
        Caller::Sibling,
        Caller::Other,
        Caller::Stranger,
        Caller::Revoked,
    ] {
        for message in relay_messages(&place) {
            let mut index = match place.device(caller).index(&place.world).await {
                Ok(index) => index,
                Err(refused) => {
                    assert_eq!(
                        (caller, refused),
                        (Caller::Revoked, RelayRefusalCode::Revoked)
                    );
                    continue;
                }
            };
            index.say(&message).await;
            let expected = indexed(kind(&message));
            if expected == Outcome::Nothing {
                index.say(&RelayMessage::Ping { nonce: 5 }).await;
                assert_eq!(
                    crate::matrix::outcome(&mut index).await,
                    Outcome::Answered("pong"),
                    "{message:?}"
                );
            } else {
                assert_eq!(
                    crate::matrix::outcome(&mut index).await,
                    expected,
                    "{caller:?}: {message:?}"
                );
            }
            drop(index);
            // Whoever asks is told of the owner what the owner has said.
            let mut asks = place.stranger.index(&place.world).await.unwrap();
            asks.say(&RelayMessage::Index(Box::new(IndexMessage::Subscribe {
                topic,
                owner,
            })))
            .await;
            let RelayMessage::Index(told) = asks.hear().await else {
                panic!("no answer")
            };
            let IndexMessage::Holders { holders, .. } = *told else {
                panic!("{told:?}")
            };
            let holder = holders
                .iter()
                .find(|holder| holder.device == owner)
                .unwrap();
            assert_eq!(
                (&holder.holding, &holder.sealed),
                (&crate::matrix::holding(), &sealed),
                "{message:?}"
            );
        }
    }
    drop(announced);
    assert_eq!(place.snapshot().await, before);
    place.unharmed(1).await;
}

/// Sends a first frame; `None`: the stream ended without a word.
async fn answer(mut stream: Stream, message: &Message) -> Option<Message> {
    write_message(&mut stream.send, message).await.unwrap();
    soon(MessageReader::new(MAX_FRAME).next(&mut stream.recv))
        .await
        .ok()
        .flatten()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_else_begins_a_stream() {
    let place = Place::new().await;
    let before = place.snapshot().await;
    for caller in CALLERS {
        for message in link_messages(&place) {
            let spoken = match &message {
                // Those that begin streams, in another version.
                Message::Open { .. } | Message::RelayOpen { .. } => true,
                // Devices ask each other like that, and never a relay.
                Message::BlindQuery { .. }
                | Message::BlindReply { .. }
                | Message::Opened(_)
                | Message::Refused(_)
                | Message::Announce(_)
                | Message::HaveDelta(_)
                | Message::Claims(_)
                | Message::Terms(_)
                | Message::Progress(_)
                | Message::Want(_)
                | Message::Cancel { .. }
                | Message::Chunk { .. }
                | Message::Served { .. }
                | Message::Busy { .. }
                | Message::NotHeld { .. }
                | Message::ChunkTokenRequest
                | Message::ChunkToken { .. }
                | Message::NewHead(_)
                | Message::Ping { .. }
                | Message::Pong { .. }
                | Message::Elsewhere { .. }
                | Message::Candidates(_)
                | Message::DeviceOpen { .. }
                | Message::Letter(_)
                | Message::LetterTaken { .. }
                | Message::Introduction(_)
                | Message::Named(_)
                | Message::Code(_) => false,
            };
            let stream = place
                .device(caller)
                .open(&place.world, CarrierKind::Tcp)
                .await;
            // A relay refuses in the language of relays, which is none of links.
            let relay = matches!(message, Message::RelayOpen { .. });
            let answer = answer(stream, &message).await;
            let expected = (spoken && !relay).then_some(Message::Refused(Refusal::Protocol));
            assert_eq!(answer, expected, "{caller:?}: {message:?}");
        }
    }
    assert_eq!(place.snapshot().await, before);
    place.unharmed(1).await;
}

/// A device that somebody else's secret does not help: it knows the share's id and owner, and
/// another share's secret.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_shares_secret_opens_nothing() {
    let place = Place::new().await;
    let open = crate::storing_common::Open {
        key: ShareSecret::new([3; 16]).read_key(),
        ..crate::storing_common::Open::of(&place.version, Purpose::Bulk)
    };
    for device in [&Device::new(), &place.other, &place.sibling] {
        let refused = device
            .read(&place.world, &open, CarrierKind::Quic)
            .await
            .map(drop);
        assert_eq!(refused, Err(Refusal::NotFound));
    }
}
