//! The page as a device and as a visitor, against a relay in the same process that breaks its
//! streams when it likes: letters, uploads of any files, wrong answers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod common;

use common::{Peer, device, message};
use hither_proto::seal::{self, CipherFailed, SealCipher};
use hither_proto::{
    ChunkId, ChunkRecord, DeviceEntry, DeviceId, InboxLink, Manifest, Message, MessageId,
    PutRecord, Ranges, RelayAddress, RelayMessage, RelayPurpose, RelayRefusalCode, Root,
    ShareSecret, SignedHead, Space, Ticket, UncheckedHead, UserId, Visiting, VisitorSecret,
    Welcome, decode_frame, decode_relay_frame, encode_relay_frame,
};
use hither_web_core::Core;
use proptest::prelude::*;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};

/// Seeds: of the relay, the page, and another device.
const RELAY: u8 = 5;
const PAGE: u8 = 9;
const OTHER: u8 = 7;

/// A relay's memory, and how it behaves.
#[derive(Default)]
struct Relay {
    chunks: BTreeMap<ChunkId, Vec<u8>>,
    head: Option<UncheckedHead>,
    lists: BTreeMap<u32, [Vec<PutRecord>; 2]>,
    /// Payload that follows on a pipe: space, position, length.
    coming: BTreeMap<u32, (Space, u32, usize)>,
    root: Vec<u8>,
    letters: Vec<(DeviceId, MessageId, Vec<u8>)>,
    received: Vec<u64>,
    puts: u32,
    chunks_taken: u32,
    /// The stream of an upload breaks after so many chunks, so often.
    breaks: Vec<u32>,
    refuses: Option<RelayRefusalCode>,
    done: bool,
}

struct World {
    core: Core,
    now: f64,
    wake: Option<f64>,
    inputs: VecDeque<Vec<u8>>,
    peers: BTreeMap<u32, Peer>,
    purposes: BTreeMap<u32, RelayPurpose>,
    relay: Relay,
    files: Vec<Vec<u8>>,
    /// The core encrypts, as for a page without WebCrypto.
    seal_here: bool,
    events: Vec<(Value, Vec<u8>)>,
    records: Vec<u8>,
    malformed: usize,
    /// Bytes that were asked for and have no id yet; and the most of it.
    asked: u64,
}

fn encrypt(key: &[u8], plain: &[u8]) -> Vec<u8> {
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap());
    let mut sealed = plain.to_vec();
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    cipher
        .seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed)
        .unwrap();
    sealed
}

fn decrypt(key: &[u8], sealed: &[u8]) -> Vec<u8> {
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap());
    let mut sealed = sealed.to_vec();
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    let plain = cipher.open_in_place(nonce, Aad::empty(), &mut sealed);
    plain.unwrap().to_vec()
}

fn address() -> RelayAddress {
    RelayAddress {
        key: device(RELAY),
        udp: vec!["relay.example:4817".parse().unwrap()],
        tcp: vec![],
    }
}

impl World {
    fn new(seal_here: bool) -> Self {
        let mut world = Self {
            core: Core::new(),
            now: 0.0,
            wake: None,
            inputs: VecDeque::new(),
            peers: BTreeMap::new(),
            purposes: BTreeMap::new(),
            relay: Relay::default(),
            files: Vec::new(),
            seal_here,
            events: Vec::new(),
            records: Vec::new(),
            malformed: 0,
            asked: 0,
        };
        world.tell(message(1, &[&[PAGE; 32], &[u8::from(seal_here)]]));
        let relay = device(RELAY).to_string();
        world.tell(message(2, &[&0u32.to_le_bytes(), relay.as_bytes()]));
        world
    }

    fn command(&mut self, json: &Value, bytes: &[u8]) {
        let input = command(json, bytes);
        self.tell(input);
    }

    fn tell(&mut self, input: Vec<u8>) {
        self.inputs.push_back(input);
        while let Some(input) = self.inputs.pop_front() {
            let outputs = self.core.handle(self.now, &input);
            self.carry_out(&outputs);
        }
    }

    fn wait(&mut self, ms: f64, done: impl Fn(&Self) -> bool) {
        let until = self.now + ms;
        while !done(self) && self.now < until {
            self.now = self.wake.unwrap_or(until).clamp(self.now + 1.0, until);
            self.tell(message(10, &[]));
        }
    }

    fn carry_out(&mut self, mut outputs: &[u8]) {
        while let Some((length, rest)) = outputs.split_first_chunk::<4>() {
            let (output, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
            outputs = rest;
            let number = |at: usize| u32::from_le_bytes(output[at..at + 4].try_into().unwrap());
            match output[0] {
                1 => {
                    self.peers.insert(number(1), Peer::new(RELAY));
                    self.inputs.push_back(message(4, &[&output[1..5]]));
                }
                2 => self.to_relay(number(1), &output[5..]),
                3 => drop(self.peers.remove(&number(1))),
                11 => {
                    let after = number(1);
                    self.wake = (after != u32::MAX).then(|| self.now + f64::from(after));
                }
                13 => self.malformed += 1,
                64 => {
                    let (json, bytes) = output[5..].split_at(number(1) as usize);
                    let event: Value = serde_json::from_slice(json).unwrap();
                    self.page_hears(&event, bytes);
                    self.events.push((event, bytes.to_vec()));
                }
                _ => {}
            }
        }
    }

    fn events(&self, on: &str) -> Vec<&Value> {
        let of = self.events.iter().filter(|(event, _)| event["on"] == on);
        of.map(|(event, _)| event).collect()
    }

    // --- the page ---

    fn page_hears(&mut self, event: &Value, bytes: &[u8]) {
        let n = |name: &str| event[name].as_u64().unwrap() as usize;
        let answer = |what: &str| json!({ "do": what, "upload": event["upload"] });
        match event["on"].as_str().unwrap() {
            "need" => {
                let part = &self.files[n("file")][n("offset")..][..n("length")];
                self.asked += part.len() as u64;
                assert!(self.asked <= 8 << 20, "memory stays flat");
                self.inputs.push_back(command(&answer("piece"), part));
                self.unsealed(part);
            }
            "cuts" => {
                let mut sealed = Vec::new();
                let plain = std::mem::take(&mut *PLAIN.lock().unwrap());
                let mut rest = plain.as_slice();
                let lengths = event["lengths"].as_array().unwrap();
                for (length, key) in lengths.iter().zip(bytes.chunks(32)) {
                    let (chunk, after) = rest.split_at(length.as_u64().unwrap() as usize);
                    sealed.extend(encrypt(key, chunk));
                    rest = after;
                }
                *PLAIN.lock().unwrap() = rest.to_vec();
                self.inputs.push_back(command(&answer("sealed"), &sealed));
            }
            "records" => {
                assert_eq!(n("first") * 68, self.records.len());
                self.records.extend(bytes);
            }
            "progress" => self.asked = 0,
            "take" => {
                let mut plain = Vec::new();
                for part in event["parts"].as_array().unwrap() {
                    let n = |at: usize| part[at].as_u64().unwrap() as usize;
                    plain.extend(&self.files[n(0)][n(1)..][..n(2)]);
                }
                let chunks = if self.seal_here {
                    plain
                } else {
                    let (mut sealed, mut rest) = (Vec::new(), plain.as_slice());
                    let lengths = event["lengths"].as_array().unwrap();
                    for (length, key) in lengths.iter().zip(bytes.chunks(32)) {
                        let (chunk, after) = rest.split_at(length.as_u64().unwrap() as usize);
                        sealed.extend(encrypt(key, chunk));
                        rest = after;
                    }
                    sealed
                };
                let (put, first) = (&event["put"], &event["first"]);
                let said = json!({ "do": "chunks", "upload": event["upload"], "put": put, "first": first });
                self.inputs.push_back(command(&said, &chunks));
            }
            _ => {}
        }
    }

    /// Bytes that were read and are not cut yet: the page keeps them until the core says where to cut.
    fn unsealed(&self, part: &[u8]) {
        if !self.seal_here {
            PLAIN.lock().unwrap().extend(part);
        }
    }

    // --- the relay ---

    fn to_relay(&mut self, pipe: u32, bytes: &[u8]) {
        let Some(mut peer) = self.peers.remove(&pipe) else {
            return;
        };
        if !peer.receive(bytes) || !self.serve(pipe, &mut peer) {
            self.purposes.remove(&pipe);
            self.inputs.push_back(message(6, &[&pipe.to_le_bytes()]));
            return;
        }
        let out = peer.out();
        self.peers.insert(pipe, peer);
        if !out.is_empty() {
            let input = message(5, &[&pipe.to_le_bytes(), &out]);
            self.inputs.push_back(input);
        }
    }

    /// `false`: the stream breaks.
    fn serve(&mut self, pipe: u32, peer: &mut Peer) -> bool {
        loop {
            if let Some((space, position, length)) = self.relay.coming.get(&pipe).copied() {
                if peer.plain.len() < length {
                    return true;
                }
                self.relay.coming.remove(&pipe);
                let payload: Vec<u8> = peer.plain.drain(..length).collect();
                if !self.take_chunk(pipe, peer, space, position, payload) {
                    return false;
                }
                continue;
            }
            let Some(frame) = peer.frame() else {
                return true;
            };
            if !self.purposes.contains_key(&pipe) {
                let Some(Message::RelayOpen { purpose, .. }) = decode_frame(&frame).unwrap() else {
                    panic!("a stream begins with its purpose");
                };
                self.purposes.insert(pipe, purpose.unwrap());
                continue;
            }
            let said = decode_relay_frame(&frame).unwrap().unwrap();
            self.answer(pipe, peer, said);
        }
    }

    fn answer(&mut self, pipe: u32, peer: &mut Peer, said: RelayMessage) {
        let mut say = |message: RelayMessage| peer.say(&encode_relay_frame(&message));
        match said {
            RelayMessage::Hello { .. } | RelayMessage::Visit { .. }
                if self.relay.refuses.is_some() =>
            {
                say(RelayMessage::Refused(self.relay.refuses.unwrap().into()));
            }
            RelayMessage::Hello { .. } => say(RelayMessage::Welcome(Box::new(welcome()))),
            RelayMessage::Visit { invitation } => {
                let secret = VisitorSecret::new([3; 16]);
                assert_eq!(invitation, Some(secret.invitation()));
                say(RelayMessage::Visiting(Box::new(visiting())));
            }
            RelayMessage::Ping { nonce } => say(RelayMessage::Pong { nonce }),
            RelayMessage::Send {
                request,
                to,
                id,
                sealed,
                ..
            } => {
                if !self.relay.letters.iter().any(|(_, known, _)| *known == id) {
                    self.relay.letters.push((to, id, sealed.to_vec()));
                }
                say(RelayMessage::Sent {
                    request,
                    forwarded: true,
                });
            }
            RelayMessage::Received { seq } => self.relay.received.push(seq),
            RelayMessage::Place { request, .. } => {
                say(RelayMessage::Placed {
                    request,
                    store: address(),
                });
            }
            RelayMessage::Put(put) => {
                self.relay.puts += 1;
                self.relay.head = Some(put.head.clone());
                self.relay.lists.insert(pipe, Default::default());
            }
            RelayMessage::PutList {
                space,
                first,
                records,
            } => {
                let lists = self.relay.lists.get_mut(&pipe).unwrap();
                let list = &mut lists[usize::from(space == Space::Data)];
                assert_eq!(list.len(), first as usize);
                list.extend(records);
                self.missing(pipe, peer);
            }
            RelayMessage::PutChunk {
                space,
                position,
                length,
            } => {
                self.relay
                    .coming
                    .insert(pipe, (space, position, length as usize));
            }
            RelayMessage::PutEnd => {
                self.relay.done = true;
                say(RelayMessage::PutDone);
            }
            _ => {}
        }
    }

    fn head(&self) -> SignedHead {
        let unchecked = self.relay.head.as_ref().unwrap();
        SignedHead::open(
            unchecked,
            ShareSecret::new([1; 16]).share_id(),
            device(PAGE),
        )
        .unwrap()
    }

    /// Says what is missing once both lists are complete.
    fn missing(&mut self, pipe: u32, peer: &mut Peer) {
        let head = self.head();
        let [manifest, data] = &self.relay.lists[&pipe];
        let whole = manifest.len() == head.head().manifest_chunks as usize
            && data.len() == head.head().chunks as usize;
        if !whole {
            return;
        }
        let lacks = |list: &[PutRecord]| {
            let lacking = (0..)
                .zip(list)
                .filter(|(_, r)| !self.relay.chunks.contains_key(&r.id));
            Ranges::from_bitmap(&lacking.map(|(at, _)| at).collect())
        };
        let missing = RelayMessage::Missing {
            root: true,
            manifest: lacks(manifest),
            data: lacks(data),
        };
        peer.say(&encode_relay_frame(&missing));
    }

    fn take_chunk(
        &mut self,
        pipe: u32,
        peer: &mut Peer,
        space: Space,
        at: u32,
        bytes: Vec<u8>,
    ) -> bool {
        let id = ChunkId::new(*blake3::hash(&bytes).as_bytes());
        if space == Space::Root {
            assert_eq!(id, self.head().head().root);
            self.relay.root = bytes;
            return true;
        }
        let list = &self.relay.lists[&pipe][usize::from(space == Space::Data)];
        assert_eq!(
            list[at as usize],
            PutRecord {
                id,
                length: bytes.len() as u32
            }
        );
        self.relay.chunks.insert(id, bytes);
        self.relay.chunks_taken += 1;
        if self
            .relay
            .breaks
            .first()
            .is_some_and(|after| self.relay.chunks_taken > *after)
        {
            self.relay.breaks.remove(0);
            self.relay.chunks_taken = 0;
            return false;
        }
        let ranges = Ranges::from_bitmap(&[at].into_iter().collect());
        peer.say(&encode_relay_frame(&RelayMessage::Stored { space, ranges }));
        true
    }

    /// The files as a reader of the share finds them.
    fn read_back(&self, secret: &ShareSecret) -> Vec<(String, Vec<u8>)> {
        let head = self.head();
        let key = secret.root_key(1, &head.head().salt);
        let root = Root::decode(&decrypt(key.expose(), &self.relay.root)).unwrap();
        let open =
            |record: &ChunkRecord| decrypt(record.key.expose(), &self.relay.chunks[&record.id]);
        let manifest: Vec<u8> = root.records().iter().flat_map(open).collect();
        let manifest = Manifest::decode(&manifest).unwrap();
        let content: Vec<u8> = manifest.chunks().iter().flat_map(open).collect();
        let mut files = Vec::new();
        for entry in manifest.entries() {
            if let hither_proto::EntryKind::File { size, offset } = entry.kind {
                let bytes = content[offset as usize..][..size as usize].to_vec();
                files.push((entry.name.as_str().to_owned(), bytes));
            }
        }
        files.sort();
        files
    }

    fn upload(&mut self, records: &[u8]) {
        let files: Vec<Value> = (0..).zip(&self.files).map(|(at, bytes): (u32, _)| {
            json!({ "path": ["d", format!("{at:03}")], "size": bytes.len(), "modified_ms": 5 })
        }).collect();
        let said = json!({
            "do": "upload", "upload": 1, "name": "files", "files": files, "published_ms": 7, "keep_s": 0,
            "secret": "01".repeat(16), "domain": "02".repeat(32), "salt": "03".repeat(16),
        });
        PLAIN.lock().unwrap().clear();
        self.records = records.to_vec();
        self.command(&said, records);
    }

    fn as_device(&mut self) {
        let said = json!({ "do": "device", "name": "browser", "made_ms": 1, "instance": 5 });
        self.command(&said, &[]);
    }
}

/// The page's plaintext between reading and cutting; one test uses it at a time.
static PLAIN: std::sync::Mutex<Vec<u8>> = std::sync::Mutex::new(Vec::new());
static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn command(json: &Value, bytes: &[u8]) -> Vec<u8> {
    let json = json.to_string();
    let length = (json.len() as u32).to_le_bytes();
    message(64, &[&length, json.as_bytes(), bytes])
}

fn entry(seed: u8) -> DeviceEntry {
    DeviceEntry {
        device: device(seed),
        online: true,
        last_seen_ms: 1,
        card: bytes::Bytes::new(),
        same_network: false,
        web: false,
    }
}

fn welcome() -> Welcome {
    Welcome {
        user: UserId::new([1; 16]),
        ping_ms: 30_000,
        devices: vec![entry(PAGE), entry(OTHER)],
        stores: vec![],
        front: None,
        max_message: 256 * 1024,
        web: None,
    }
}

fn visiting() -> Visiting {
    Visiting {
        ping_ms: 30_000,
        host: Some(device(OTHER)),
        origin: None,
        seconds: 600,
        bytes: 1 << 30,
        max_message: 256 * 1024,
        stores: vec![],
        online: true,
    }
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new_keyed(&[seed as u8; 32])
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn w2_any_files_arrive_whatever_breaks(
        sizes in prop::collection::vec(prop_oneof![Just(0usize), 1usize..5_000, 200_000usize..900_000], 1..8),
        breaks in prop::collection::vec(0u32..12, 0..4),
        seal_here in any::<bool>(),
    ) {
        let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut world = World::new(seal_here);
        world.files = (0..).zip(&sizes).map(|(seed, size)| noise(seed, *size)).collect();
        world.relay.breaks = breaks;
        world.as_device();
        world.upload(&[]);
        world.wait(600_000.0, |world| !world.events("uploaded").is_empty());
        prop_assert!(world.events("upload_failed").is_empty(), "{:?}", world.events("upload_failed"));
        prop_assert_eq!(world.events("uploaded").len(), 1);
        prop_assert_eq!(world.malformed, 0);
        let ticket: Ticket = world.events("uploaded")[0]["ticket"].as_str().unwrap().parse().unwrap();
        prop_assert_eq!(ticket.owner, device(PAGE));
        let expected: Vec<_> = (0..).zip(&world.files).map(|(at, bytes): (u32, _)| (format!("{at:03}"), bytes.clone())).collect();
        prop_assert_eq!(world.read_back(&ticket.secret), expected);
    }
}

#[test]
fn w2_an_upload_goes_on_behind_its_records_and_sends_only_what_is_missing() {
    let _one = ONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut world = World::new(false);
    world.files = vec![noise(1, 3_000_000), noise(2, 100)];
    world.as_device();
    world.upload(&[]);
    world.wait(60_000.0, |world| !world.events("uploaded").is_empty());
    let (needs, takes) = (world.events("need").len(), world.events("take").len());
    assert!(needs > 0 && takes > 0);
    let records = world.records.clone();
    let head = world.relay.head.clone();
    // A page that was loaded again: nothing is read twice that has an id, and nothing is sent.
    world.upload(&records);
    world.wait(60_000.0, |world| world.events("uploaded").len() == 2);
    assert_eq!(
        (world.events("need").len(), world.events("take").len()),
        (needs, takes)
    );
    assert_eq!(world.relay.head, head, "the same version");
    // Half of it: the rest is read on from there.
    world.upload(&records[..68 * 10]);
    world.wait(60_000.0, |world| world.events("uploaded").len() == 3);
    assert_eq!(world.relay.head, head);
    assert!(world.events("need").len() > needs && world.events("need").len() < 2 * needs + 1);
}

#[test]
fn w2_a_file_that_changed_is_refused() {
    let _one = ONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut world = World::new(true);
    world.files = vec![noise(1, 400_000)];
    world.upload(&[]);
    assert_eq!(world.events("prepared").len(), 1);
    world.files = vec![noise(9, 400_000)];
    world.as_device();
    world.wait(60_000.0, |world| !world.events("upload_failed").is_empty());
    assert_eq!(world.events("upload_failed")[0]["code"], "changed");
    assert!(!world.relay.done);
}

/// The other device's cipher is not needed: what it could read is tested against its own vectors.
struct NoCipher;

impl SealCipher for NoCipher {
    fn seal(
        &self,
        _: &[u8; 32],
        _: &[u8],
        _: &[u8],
        _: &[u8],
    ) -> Result<(Vec<u8>, Vec<u8>), CipherFailed> {
        Err(CipherFailed)
    }
    fn open(
        &self,
        _: &[u8; 32],
        _: &[u8; 32],
        _: &[u8],
        _: &[u8],
        _: &[u8],
    ) -> Result<Vec<u8>, CipherFailed> {
        Err(CipherFailed)
    }
}

#[test]
fn w4_letters_are_sent_once_acknowledged_and_not_before_the_page_says_so() {
    let mut world = World::new(true);
    world.as_device();
    let id = "07".repeat(16);
    let send = json!({ "do": "send", "to": device(OTHER).to_string(), "id": id, "made_ms": 1,
        "letter": { "kind": "text", "text": "hello" } });
    world.command(&send, &[]);
    world.command(&send, &[]);
    assert_eq!(world.relay.letters.len(), 1);
    assert_eq!(world.events("sent").len(), 2);
    // A carrier's identity, that of the other device, opens it.
    let (to, id, sealed) = world.relay.letters[0].clone();
    assert_eq!(to, device(OTHER));
    let opened = vector(
        17,
        &[
            &[OTHER; 32],
            device(PAGE).as_bytes(),
            id.as_bytes(),
            &sealed,
        ],
    );
    assert!(String::from_utf8_lossy(&opened).contains("hello"));
    let none = seal::open(
        &NoCipher,
        (to, &[0; 32]),
        device(PAGE),
        seal::SealPurpose::Message,
        &id,
        &sealed,
    );
    assert!(none.is_err());
    // One that comes is told, and acknowledged on the page's word only.
    let answer = vector(
        18,
        &[
            &[OTHER; 32],
            device(PAGE).as_bytes(),
            id.as_bytes(),
            &opened,
        ],
    );
    let pipe = *world.purposes.keys().next().unwrap();
    let deliver = RelayMessage::Deliver {
        seq: 4,
        from: device(OTHER),
        id,
        sealed: answer.into(),
        taken_ms: 9,
    };
    let mut peer = world.peers.remove(&pipe).unwrap();
    peer.say(&encode_relay_frame(&deliver));
    let out = peer.out();
    world.peers.insert(pipe, peer);
    world.tell(message(5, &[&pipe.to_le_bytes(), &out]));
    assert_eq!(world.events("letter")[0]["letter"]["text"], "hello");
    assert!(world.relay.received.is_empty());
    world.command(&json!({ "do": "received", "seq": 4 }), &[]);
    assert_eq!(world.relay.received, [4]);
}

fn vector(which: u8, parts: &[&[u8]]) -> Vec<u8> {
    hither_web_core::vectors::compute(&message(which, parts)).unwrap()
}

#[test]
fn w4_a_connection_comes_back_and_a_page_that_was_removed_stays_away() {
    let mut world = World::new(true);
    world.as_device();
    for _ in 0..3 {
        let pipe = *world.peers.keys().next().unwrap();
        world.peers.remove(&pipe);
        world.purposes.remove(&pipe);
        world.tell(message(6, &[&pipe.to_le_bytes()]));
        let online = world
            .events("state")
            .iter()
            .filter(|e| e["state"] == "online")
            .count();
        world.wait(120_000.0, |world| {
            world
                .events("state")
                .iter()
                .filter(|e| e["state"] == "online")
                .count()
                > online
        });
    }
    world.relay.refuses = Some(RelayRefusalCode::Revoked);
    let pipe = *world.peers.keys().next().unwrap();
    world.peers.remove(&pipe);
    world.tell(message(6, &[&pipe.to_le_bytes()]));
    world.wait(3_600_000.0, |_| false);
    let states = world.events("state");
    assert_eq!(states.last().unwrap()["state"], "removed");
    assert_eq!(states.last().unwrap()["code"], "removed");
}

#[test]
fn w2_a_visitor_shows_its_number_and_writes_with_its_proof() {
    let mut world = World::new(true);
    let link = InboxLink {
        host: device(OTHER),
        secret: VisitorSecret::new([3; 16]),
        name: hither_proto::DeviceName::clean("Anna's laptop"),
    };
    world.command(
        &json!({ "do": "visit", "link": "hither-inbox1qqq", "name": "" }),
        &[],
    );
    assert_eq!(world.events("no_link")[0]["code"], "ticket");
    world.command(
        &json!({ "do": "visit", "link": link.to_string(), "name": "Bob" }),
        &[],
    );
    let told = world.events("link")[0];
    assert_eq!(
        (told["kind"].as_str(), told["name"].as_str()),
        (Some("inbox"), Some("Anna's laptop"))
    );
    assert_eq!(
        told["number"],
        link.secret.number(&device(PAGE), &device(OTHER))
    );
    assert_eq!(world.events("visiting")[0]["seconds"], 600);
    let send = json!({ "do": "send", "to": device(OTHER).to_string(), "id": "07".repeat(16), "made_ms": 1,
        "letter": { "kind": "files", "files": [{ "name": "a.txt", "length": 5 }] } });
    world.command(&send, b"hello");
    let (_, id, sealed) = world.relay.letters[0].clone();
    let opened = vector(
        17,
        &[
            &[OTHER; 32],
            device(PAGE).as_bytes(),
            id.as_bytes(),
            &sealed,
        ],
    );
    let inside = hither_proto::mail::Inside::decode(&opened).unwrap();
    let visitor = inside.visitor().unwrap();
    assert_eq!(
        visitor.proof,
        link.secret.proof(&device(PAGE), &device(OTHER))
    );
    assert_eq!(visitor.name.as_str(), "Bob");
}

proptest! {
    #[test]
    fn w4_garbage_from_the_page_or_the_relay_breaks_nothing(
        json in prop_oneof![".{0,60}", Just(r#"{"do":"leave"}"#.to_owned()), Just(r#"{"do":"chunks","upload":1,"put":1,"first":0}"#.to_owned())],
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut world = World::new(true);
        world.as_device();
        let length = (json.len() as u32).to_le_bytes();
        world.tell(message(64, &[&length, json.as_bytes(), &bytes]));
        world.tell(message(64, &[&bytes]));
        let pipe = world.peers.keys().next().copied().unwrap_or(0);
        world.tell(message(5, &[&pipe.to_le_bytes(), &bytes]));
        world.wait(10_000.0, |_| false);
    }
}
