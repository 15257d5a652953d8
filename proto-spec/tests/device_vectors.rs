//! The bytes of what devices say to each other about no share, and of requests.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod pinned;

use hither_proto::{
    Answer, Ask, AskId, AskKind, AskLetter, AskRefusal, DeviceId, DeviceName, DevicePurpose,
    EntryName, Introduction, Letter, Message, MessageId, OfferKind, Thing, Which, decode_frame,
    encode_frame,
};
use pinned::{Vector, assert_pinned, assert_quoted, hex};

fn key() -> DeviceId {
    "12D3KooWHFd1gyNYFqxt7ke9FY2VoVVWY2XSPhvL9vg2pB6wQGfa"
        .parse()
        .unwrap()
}

fn frames() -> Vec<(&'static str, Message)> {
    let id = MessageId::new([7; 16]);
    vec![
        (
            "frame: device open, mail",
            Message::DeviceOpen {
                protocol: 2,
                purpose: Some(DevicePurpose::Mail),
            },
        ),
        (
            "frame: letter",
            Message::Letter(Letter {
                id,
                sealed: vec![9; 4].into(),
            }),
        ),
        ("frame: letter taken", Message::LetterTaken { id }),
        (
            "frame: introduction",
            Message::Introduction(Introduction {
                device_name: DeviceName::clean("phone"),
                kind: OfferKind::Files,
                summary: "a.jpg".into(),
                files: 1,
                bytes: 1000,
            }),
        ),
        ("frame: named", Message::Named(DeviceName::clean("phone"))),
    ]
}

fn letters() -> Vec<(&'static str, AskLetter)> {
    let id = AskId::new([7; 16]);
    let ask = |kind, which| {
        AskLetter::Ask(Ask {
            id,
            kind,
            which,
            digest: false,
            reason: "album".into(),
            valid_s: 3600,
        })
    };
    let thing = Thing {
        name: EntryName::parse("a.jpg").unwrap(),
        media_type: "image/jpeg".into(),
        bytes: 2,
        made_ms: 1000,
        content: Some(vec![1, 2].into()),
        thumbnail: Vec::new().into(),
    };
    vec![
        (
            "ask letter: the latest photo",
            ask(AskKind::Photo, Which::Latest),
        ),
        (
            "ask letter: a file by name",
            ask(AskKind::File, Which::Named("*.pdf".into())),
        ),
        (
            "ask letter: sound of ten seconds",
            ask(AskKind::Audio, Which::Live(10)),
        ),
        ("ask letter: cancel", AskLetter::Cancel(id)),
        ("ask letter: seen", AskLetter::Seen(id)),
        (
            "ask letter: declined",
            AskLetter::Answer(
                id,
                Answer::Refused {
                    refusal: AskRefusal::Declined,
                    words: String::new(),
                },
            ),
        ),
        (
            "ask letter: a text",
            AskLetter::Answer(id, Answer::Text("hello".into())),
        ),
        (
            "ask letter: a small thing",
            AskLetter::Answer(
                id,
                Answer::Things {
                    things: vec![thing],
                    ticket: None,
                },
            ),
        ),
    ]
}

fn vectors() -> Vec<Vector> {
    let mut all = vec![("key words of the device", key().words())];
    all.extend(
        frames()
            .iter()
            .map(|(name, message)| (*name, hex(&encode_frame(message)))),
    );
    all.extend(
        letters()
            .iter()
            .map(|(name, letter)| (*name, hex(&letter.encode()))),
    );
    all
}

#[test]
fn the_code_makes_the_pinned_bytes_and_understands_them() {
    assert_pinned("vectors/devices-v1.txt", &vectors());
    for (name, message) in frames() {
        let bytes = encode_frame(&message);
        assert_eq!(decode_frame(&bytes[4..]), Ok(Some(message)), "{name}");
    }
    for (name, letter) in letters() {
        assert_eq!(
            AskLetter::decode(&letter.encode()),
            Ok(Some(letter)),
            "{name}"
        );
    }
}

#[test]
fn the_specification_quotes_every_vector() {
    assert_quoted(&vectors());
}
