//! Pairing by a scanned code, against a device at the other end of a circuit in the same process.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod common;

use common::{Peer, device, message};
use hither_carrier::code_seal::CodeChannel;
use hither_proto::{
    CircuitMessage, CodeGift, CodeKeys, CodeKind, CodeMessage, CodePake, CodeSide, DeviceName,
    Message, PairGrant, PairText, RelayMessage, decode_frame, decode_relay_frame, encode_frame,
    encode_relay_frame,
};
use hither_web_core::Core;
use serde_json::{Value, json};
use std::collections::VecDeque;

/// Seeds: of the relay, the page, and the device that shows the code.
const RELAY: u8 = 5;
const PAGE: u8 = 9;
const SHOWS: u8 = 7;

/// The device that shows the code.
struct Shows {
    text: PairText,
    /// The answer of its user.
    yes: bool,
    keys: Option<CodeKeys>,
    channel: Option<CodeChannel>,
    name: String,
    taken: bool,
}

impl Shows {
    fn hear(&mut self, peer: &mut Peer) {
        while let Some(frame) = peer.frame() {
            let Some(Message::Code(said)) = decode_frame(&frame).unwrap() else {
                continue;
            };
            let say = |peer: &mut Peer, message| {
                peer.say(&encode_frame(&Message::Code(Box::new(message))));
            };
            match *said {
                CodeMessage::Start { name, kind, pake } => {
                    let secret = self.text.secret();
                    assert_eq!((name, kind), (secret.name(), CodeKind::Pair));
                    let run = CodePake::show(&secret, &device(PAGE), &device(SHOWS), [4; 32]);
                    let own = run.message();
                    let key = run.finish(&pake).unwrap();
                    let binding = peer.binding(device(PAGE));
                    let keys = CodeKeys::new(&key, &binding, kind, name, (&pake, &own));
                    self.keys = Some(keys);
                    say(peer, CodeMessage::Answer(own));
                }
                CodeMessage::Confirm(theirs) => {
                    let keys = self.keys.as_ref().unwrap();
                    assert!(theirs == keys.confirmation(CodeSide::Enters));
                    say(
                        peer,
                        CodeMessage::Confirm(keys.confirmation(CodeSide::Shows)),
                    );
                    self.channel = Some(CodeChannel::new(keys, CodeSide::Shows).unwrap());
                }
                CodeMessage::Sealed(sealed) => {
                    let channel = self.channel.as_mut().unwrap();
                    match CodeGift::decode(&channel.open(&sealed).unwrap()).unwrap() {
                        Some(CodeGift::Introduction(name)) => {
                            self.name = name.as_str().into();
                            let answer = if self.yes {
                                granted()
                            } else {
                                CodeGift::Declined
                            };
                            for gift in [CodeGift::Wait, answer] {
                                let sealed = channel.seal(&gift.encode()).unwrap();
                                say(peer, CodeMessage::Sealed(sealed.into()));
                            }
                        }
                        Some(CodeGift::Taken) => self.taken = true,
                        other => panic!("{other:?}"),
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

fn granted() -> CodeGift {
    let url = format!(
        "hither://relay.example:4817/#{}.{}",
        device(RELAY),
        "ab".repeat(16)
    );
    CodeGift::Grant(Box::new(PairGrant {
        name: DeviceName::clean("laptop"),
        devices: vec![],
        relays: vec![url.parse().unwrap()],
    }))
}

struct World {
    core: Core,
    inputs: VecDeque<Vec<u8>>,
    relay: Option<(u32, Peer)>,
    inner: Option<Peer>,
    shows: Shows,
    events: Vec<Value>,
}

impl World {
    fn new(yes: bool) -> Self {
        let text = PairText {
            secret: [3; 32].into(),
            device: device(SHOWS),
            hints: vec![],
        };
        let shows = Shows {
            text,
            yes,
            keys: None,
            channel: None,
            name: String::new(),
            taken: false,
        };
        let mut world = Self {
            core: Core::new(),
            inputs: VecDeque::new(),
            relay: None,
            inner: None,
            shows,
            events: vec![],
        };
        world.tell(message(1, &[&[PAGE; 32], &[1]]));
        let relay = device(RELAY).to_string();
        world.tell(message(2, &[&0u32.to_le_bytes(), relay.as_bytes()]));
        world
    }

    fn pair(&mut self, text: &str) {
        let json = json!({ "do": "pair", "text": text, "name": "browser" }).to_string();
        let length = (json.len() as u32).to_le_bytes();
        self.tell(message(64, &[&length, json.as_bytes()]));
    }

    fn tell(&mut self, input: Vec<u8>) {
        self.inputs.push_back(input);
        while let Some(input) = self.inputs.pop_front() {
            let outputs = self.core.handle(0.0, &input);
            let mut outputs = outputs.as_slice();
            while let Some((length, rest)) = outputs.split_first_chunk::<4>() {
                let (output, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
                outputs = rest;
                let number = || u32::from_le_bytes(output[1..5].try_into().unwrap());
                match output[0] {
                    1 => {
                        self.relay = Some((number(), Peer::new(RELAY)));
                        self.inputs.push_back(message(4, &[&output[1..5]]));
                    }
                    2 => self.to_relay(&output[5..]),
                    64 => {
                        let json = &output[5..5 + number() as usize];
                        self.events.push(serde_json::from_slice(json).unwrap());
                    }
                    _ => {}
                }
            }
        }
    }

    fn to_relay(&mut self, bytes: &[u8]) {
        let Some((pipe, mut relay)) = self.relay.take() else {
            return;
        };
        assert!(relay.receive(bytes));
        while self.inner.is_none()
            && let Some(frame) = relay.frame()
        {
            let Ok(Some(RelayMessage::Circuit(said))) = decode_relay_frame(&frame) else {
                continue;
            };
            let CircuitMessage::Connect { to, .. } = *said else {
                panic!("it asks for a circuit");
            };
            assert_eq!(to, device(SHOWS));
            let connected = RelayMessage::Circuit(Box::new(CircuitMessage::Connected));
            relay.say(&encode_relay_frame(&connected));
            self.inner = Some(Peer::new(SHOWS));
        }
        if let Some(inner) = &mut self.inner {
            assert!(inner.receive(&std::mem::take(&mut relay.plain)));
            self.shows.hear(inner);
            relay.say(&inner.out());
        }
        let out = relay.out();
        self.relay = Some((pipe, relay));
        if !out.is_empty() {
            self.inputs
                .push_back(message(5, &[&pipe.to_le_bytes(), &out]));
        }
    }

    fn event(&self, on: &str) -> Option<&Value> {
        self.events.iter().find(|event| event["on"] == on)
    }
}

#[test]
fn w2_a_page_is_paired_by_a_code_when_the_other_person_says_yes() {
    let mut world = World::new(true);
    let text = world.shows.text.to_string();
    world.pair(&text);
    let words = world.event("pair_words").unwrap()["words"].clone();
    let shown = world.shows.keys.as_ref().unwrap().words().to_string();
    let words: Vec<_> = words
        .as_array()
        .unwrap()
        .iter()
        .map(|w| w.as_str().unwrap())
        .collect();
    assert_eq!(words, shown.split([' ', '-']).collect::<Vec<_>>());
    assert_eq!(world.shows.name, "browser");
    assert!(world.shows.taken);
    let paired = world.event("paired").unwrap();
    assert_eq!(paired["name"], "laptop");
    assert_eq!(paired["invitation"], "ab".repeat(16));
}

#[test]
fn w2_a_no_and_a_text_that_is_no_code_are_told() {
    let mut world = World::new(false);
    let text = world.shows.text.to_string();
    world.pair(&text);
    assert_eq!(world.event("pair_failed").unwrap()["code"], "declined");
    assert!(world.event("paired").is_none() && !world.shows.taken);
    let mut world = World::new(true);
    world.pair("hither-pair1qqq");
    assert_eq!(world.event("pair_failed").unwrap()["code"], "ticket");
}
