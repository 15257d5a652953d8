//! A page and a relay in one process: the core on one side, on the other one end of TLS for each
//! pipe and a store that serves one small share, honestly or not.

#![allow(dead_code, reason = "each test uses a part of it")]

use hither_proto::{
    Announcement, ChunkId, ChunkKey, ChunkRecord, CircuitMessage, DeviceId, DeviceName, Head,
    Holder, HolderKind, ManifestBuilder, Message, Opened, Proof, ProofKey, Purpose, Ranges,
    Refusal, RelayAddress, RelayMessage, RelayPurpose, RelayRefusalCode, Root, ShareSecret, Side,
    SignedHead, Space, StreamBinding, Ticket, decode_frame, decode_relay_frame, encode_frame,
    encode_relay_frame,
};
use hither_web_core::Core;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::signature::{Ed25519KeyPair, KeyPair};
use rustls::crypto::ring as provider;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, ServerConnection};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::sync::Arc;

/// The page's number of its share.
pub const SHARE: u32 = 1;
const SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

pub fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

pub fn device(seed: u8) -> DeviceId {
    DeviceId::from_slice(pair(seed).public_key().as_ref()).unwrap()
}

/// Takes every client; these tests look at what the client does.
#[derive(Debug)]
struct Anybody;

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }
    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        unreachable!("TLS 1.3 only")
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// The relay's end of one pipe.
pub struct Peer {
    tls: ServerConnection,
    own: DeviceId,
    pub plain: Vec<u8>,
    pub purpose: Option<Purpose>,
    /// It is to become a circuit.
    circuit: bool,
    /// The device at the other end of the circuit.
    inner: Option<Box<Peer>>,
    /// It knows the share's secret, as a device does.
    knows_secret: bool,
}

impl Peer {
    pub fn new(seed: u8) -> Self {
        let spki = [&SPKI[..], device(seed).as_bytes()].concat();
        let der = [&PKCS8[..], &[seed; 32]].concat();
        let signing =
            provider::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(der.as_slice())).unwrap();
        let key = CertifiedKey::new(vec![CertificateDer::from(spki)], signing);
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
                .with_protocol_versions(&[&rustls::version::TLS13])
                .unwrap()
                .with_client_cert_verifier(Arc::new(Anybody))
                .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::new(
                    key,
                ))));
        config.alpn_protocols = vec![b"hither/1".to_vec()];
        let mut tls = ServerConnection::new(Arc::new(config)).unwrap();
        tls.set_buffer_limit(None);
        Self {
            tls,
            own: device(seed),
            plain: Vec::new(),
            purpose: None,
            circuit: false,
            inner: None,
            knows_secret: false,
        }
    }

    /// Takes bytes of the page; `false`: it does not go on.
    pub fn receive(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            if self.tls.read_tls(&mut bytes).is_err() {
                return false;
            }
            let Ok(state) = self.tls.process_new_packets() else {
                return false;
            };
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            self.tls.reader().read_exact(&mut plain).unwrap();
            self.plain.extend(plain);
        }
        true
    }

    /// The next frame, without its length.
    pub fn frame(&mut self) -> Option<Vec<u8>> {
        let length = u32::from_be_bytes(*self.plain.first_chunk::<4>()?) as usize;
        if self.plain.len() < 4 + length {
            return None;
        }
        Some(self.plain.drain(..4 + length).skip(4).collect())
    }

    pub fn say(&mut self, bytes: &[u8]) {
        self.tls.writer().write_all(bytes).unwrap();
    }

    pub fn out(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut out).unwrap();
        }
        out
    }

    /// The binding of proofs.
    pub fn binding(&self, page: DeviceId) -> StreamBinding {
        let exporter = self
            .tls
            .export_keying_material([0; 32], b"EXPORTER-hither-v2", Some(&[0; 8]))
            .unwrap();
        StreamBinding::new(exporter, page, self.own)
    }
}

pub fn seal(plain: &[u8], key: [u8; 32]) -> (ChunkRecord, Vec<u8>) {
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap());
    let mut sealed = plain.to_vec();
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    cipher
        .seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed)
        .unwrap();
    let record = ChunkRecord {
        id: ChunkId::new(*blake3::hash(&sealed).as_bytes()),
        key: ChunkKey::new(key),
        length: plain.len() as u32,
    };
    (record, sealed)
}

/// A share as a store keeps it.
pub struct Shared {
    pub secret: ShareSecret,
    pub owner: DeviceId,
    pub head: SignedHead,
    pub root: Vec<u8>,
    pub manifest: Vec<Vec<u8>>,
    pub data: Vec<Vec<u8>>,
    /// The bytes of the files, one after the other.
    pub plain: Vec<u8>,
}

/// A folder with these files, cut into chunks of `chunk` bytes.
pub fn shared(files: &[(&str, usize)], chunk: usize, version: u64) -> Shared {
    let total: usize = files.iter().map(|(_, size)| size).sum();
    let plain: Vec<u8> = (0..total).map(|i| (i * 31 % 251) as u8).collect();
    let mut builder = ManifestBuilder::new(65536).unwrap();
    builder.folder(0, "top", 0o755, 0).unwrap();
    for (name, size) in files {
        builder.file(1, name, 0o644, 0, *size as u64).unwrap();
    }
    let sealed = |(n, part): (usize, &[u8])| seal(part, [n as u8 + 1; 32]);
    let data: Vec<_> = plain.chunks(chunk).enumerate().map(sealed).collect();
    let records = data.iter().map(|(record, _)| record.clone()).collect();
    let manifest = builder.finish(records).unwrap();
    let (record, sealed_manifest) = seal(&manifest.encode(), [99; 32]);
    let root = Root::new(vec![record]).unwrap();
    let secret = ShareSecret::new([1; 16]);
    let salt = [6; 16];
    let (of_root, sealed_root) = seal(&root.encode(), *secret.root_key(version, &salt).expose());
    let head = Head {
        share: secret.share_id(),
        version,
        root: of_root.id,
        root_length: sealed_root.len() as u32,
        salt,
        chunks: manifest.chunks().len() as u32,
        manifest_chunks: 1,
        bytes: total as u64,
        published_ms: 5,
    };
    let signer = pair(7);
    let head = SignedHead::sign(head, |m| signer.sign(m).as_ref().try_into().unwrap());
    Shared {
        secret,
        owner: device(7),
        head,
        root: sealed_root,
        manifest: vec![sealed_manifest],
        data: data.into_iter().map(|(_, sealed)| sealed).collect(),
        plain,
    }
}

/// Ways in which a store misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Manner {
    #[default]
    Honest,
    /// It has no such share.
    Unknown,
    /// It cannot prove that it knows the share.
    Imposter,
    /// It gives other bytes.
    Liar(Space),
    /// It sends what nobody asked for.
    Unasked,
    /// Its head is another device's.
    Forger,
    /// It says nothing at all.
    Silent,
}

/// Everything that the page was told.
#[derive(Debug, Default)]
pub struct Heard {
    pub opened: Option<u32>,
    pub read: BTreeMap<u32, Vec<u8>>,
    pub ended: Vec<u32>,
    pub failed: Vec<(u32, u8)>,
    pub malformed: usize,
    pub sources: usize,
    /// Bytes of positions that the store was asked for, in order.
    pub wanted: Vec<u32>,
}

/// A page, and the relay that it reaches.
pub struct World {
    pub core: Core,
    pub now: f64,
    pub shared: Shared,
    pub manner: Manner,
    pub heard: Heard,
    pub peers: BTreeMap<u32, Peer>,
    pub page: DeviceId,
    wake: Option<f64>,
    inputs: VecDeque<Vec<u8>>,
    /// The page takes what it is given at once.
    pub takes: bool,
    /// The owner's device is at the relay.
    pub owner_is_there: bool,
}

pub fn message(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    [&[kind], parts.concat().as_slice()].concat()
}

impl World {
    pub fn new(shared: Shared, manner: Manner) -> Self {
        let mut world = Self {
            core: Core::new(),
            now: 0.0,
            shared,
            manner,
            heard: Heard::default(),
            peers: BTreeMap::new(),
            page: device(9),
            wake: None,
            inputs: VecDeque::new(),
            takes: true,
            owner_is_there: false,
        };
        // Chunks are opened by the core, so that the test sees plaintext.
        world.tell(message(1, &[&[9; 32], &[1]]));
        let relay = device(5).to_string();
        world.tell(message(2, &[&0u32.to_le_bytes(), relay.as_bytes()]));
        world
    }

    pub fn ticket(&self) -> String {
        Ticket {
            secret: self.shared.secret.clone(),
            owner: self.shared.owner,
            hints: vec![],
            relays: vec![],
            pin: None,
        }
        .to_string()
    }

    pub fn open(&mut self) {
        let ticket = self.ticket();
        self.tell(message(3, &[&SHARE.to_le_bytes(), ticket.as_bytes()]));
    }

    pub fn read(&mut self, reading: u32, entry: u32, offset: u64) {
        self.tell(message(
            11,
            &[
                &SHARE.to_le_bytes(),
                &reading.to_le_bytes(),
                &entry.to_le_bytes(),
                &offset.to_le_bytes(),
            ],
        ));
    }

    pub fn tell(&mut self, input: Vec<u8>) {
        self.inputs.push_back(input);
        while let Some(input) = self.inputs.pop_front() {
            let outputs = self.core.handle(self.now, &input);
            self.carry_out(&outputs);
        }
    }

    /// Lets time pass until `done` or so many milliseconds later.
    pub fn wait(&mut self, ms: f64, done: impl Fn(&Self) -> bool) {
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
                    self.peers.insert(number(1), Peer::new(5));
                    self.inputs.push_back(message(4, &[&output[1..5]]));
                }
                2 => self.to_peer(number(1), &output[5..]),
                3 => drop(self.peers.remove(&number(1))),
                6 => self.heard.opened = Some(number(1)),
                7 => {
                    let (reading, skip, give) =
                        (number(5), number(9) as usize, number(13) as usize);
                    let bytes = &output[50..][skip..skip + give];
                    self.heard.read.entry(reading).or_default().extend(bytes);
                    if self.takes {
                        let bytes = (bytes.len() as u64).to_le_bytes();
                        self.inputs.push_back(message(12, &[&output[1..9], &bytes]));
                    }
                }
                8 => self.heard.ended.push(number(5)),
                9 => self.heard.failed.push((number(5), output[9])),
                10 => self.heard.sources += 1,
                11 => {
                    let after = number(1);
                    self.wake = (after != u32::MAX).then(|| self.now + f64::from(after));
                }
                13 => self.heard.malformed += 1,
                _ => {}
            }
        }
    }

    fn to_peer(&mut self, pipe: u32, bytes: &[u8]) {
        let Some(mut peer) = self.peers.remove(&pipe) else {
            return;
        };
        if self.manner == Manner::Silent {
            self.peers.insert(pipe, peer);
            return;
        }
        if !peer.receive(bytes) {
            self.inputs.push_back(message(6, &[&pipe.to_le_bytes()]));
            return;
        }
        self.hear(&mut peer);
        let out = peer.out();
        self.peers.insert(pipe, peer);
        if !out.is_empty() {
            self.inputs
                .push_back(message(5, &[&pipe.to_le_bytes(), &out]));
        }
    }

    /// Answers what has come on a stream, or on the circuit in it.
    fn hear(&mut self, peer: &mut Peer) {
        while peer.inner.is_none()
            && let Some(frame) = peer.frame()
        {
            if peer.circuit {
                self.connect(peer, &frame);
            } else if let Some(said) = decode_frame(&frame).unwrap() {
                self.answer(peer, said);
            }
        }
        if let Some(mut inner) = peer.inner.take() {
            if inner.receive(&std::mem::take(&mut peer.plain)) {
                self.hear(&mut inner);
            }
            peer.say(&inner.out());
            peer.inner = Some(inner);
        }
    }

    fn connect(&self, peer: &mut Peer, frame: &[u8]) {
        let said = decode_relay_frame(frame).unwrap();
        let wanted = match said {
            Some(RelayMessage::Circuit(message)) => match *message {
                CircuitMessage::Connect { to, knock } => knock
                    .verify(&self.shared.secret, &self.page, &to)
                    .then_some(to),
                _ => None,
            },
            _ => None,
        };
        if self.owner_is_there && wanted == Some(self.shared.owner) {
            let connected = RelayMessage::Circuit(Box::new(CircuitMessage::Connected));
            peer.say(&encode_relay_frame(&connected));
            let mut inner = Peer::new(7);
            inner.knows_secret = true;
            peer.inner = Some(Box::new(inner));
        } else {
            let refused = RelayMessage::Refused(RelayRefusalCode::NotFound.into());
            peer.say(&encode_relay_frame(&refused));
        }
    }

    fn answer(&mut self, peer: &mut Peer, said: Message) {
        let say = |peer: &mut Peer, message: &Message| peer.say(&encode_frame(message));
        match said {
            Message::Open {
                purpose: Some(purpose),
                proof,
                ..
            } => {
                peer.purpose = Some(purpose);
                let key = match peer.knows_secret {
                    true => ProofKey::of_secret(&self.shared.secret),
                    false => ProofKey::of_read_key(&self.shared.secret.read_key()),
                };
                let binding = peer.binding(self.page);
                let known = proof.verify(&key, &binding, Side::Opener, purpose);
                if (self.manner == Manner::Unknown && !peer.knows_secret) || !known {
                    return say(peer, &Message::Refused(Refusal::NotFound));
                }
                let key = match self.manner {
                    Manner::Imposter => ProofKey::of_fleet(b"another"),
                    _ => key,
                };
                let own = Proof::make(&key, &binding, Side::Acceptor, purpose);
                if purpose == Purpose::Lookup {
                    let store = Holder {
                        kind: HolderKind::Store,
                        address: RelayAddress {
                            key: device(5),
                            ..address()
                        },
                    };
                    let elsewhere = Message::Elsewhere {
                        proof: Some(own),
                        holders: vec![store],
                    };
                    return say(peer, &elsewhere);
                }
                let head = match self.manner {
                    Manner::Forger => {
                        let other = pair(8);
                        let head = self.shared.head.head().clone();
                        SignedHead::sign(head, |m| other.sign(m).as_ref().try_into().unwrap())
                    }
                    _ => self.shared.head.clone(),
                };
                let opened = Opened {
                    proof: own,
                    head: head.to_unchecked(),
                    device_name: DeviceName::clean("store"),
                    tcp_port: None,
                };
                say(peer, &Message::Opened(Box::new(opened)));
                if purpose == Purpose::Control {
                    let announcement = Announcement {
                        version: self.shared.head.head().version,
                        epoch: 1,
                        seq: 1,
                        complete: true,
                        held: Ranges::default(),
                        has_manifest: true,
                    };
                    say(peer, &Message::Announce(announcement));
                } else if self.manner == Manner::Unasked {
                    self.give(peer, 77, Space::Data, 0);
                }
            }
            Message::RelayOpen {
                purpose: Some(RelayPurpose::Circuit),
                ..
            } => peer.circuit = true,
            Message::Ping { nonce } => say(peer, &Message::Pong { nonce }),
            Message::ChunkTokenRequest => say(
                peer,
                &Message::ChunkToken {
                    token: None,
                    lives_ms: 0,
                },
            ),
            Message::Want(want) => {
                for position in want.ranges.positions() {
                    if want.space == Space::Data {
                        self.heard.wanted.push(position);
                    }
                    self.give(peer, want.request, want.space, position);
                }
                let request = want.request;
                say(peer, &Message::Served { request });
            }
            _ => {}
        }
    }

    fn give(&self, peer: &mut Peer, request: u64, space: Space, position: u32) {
        let mut sealed = match space {
            Space::Root => self.shared.root.clone(),
            Space::Manifest => self.shared.manifest[position as usize].clone(),
            Space::Data => self.shared.data[position as usize].clone(),
        };
        if self.manner == Manner::Liar(space) {
            sealed[0] ^= 1;
        }
        let header = Message::Chunk {
            request,
            position,
            length: sealed.len() as u32,
        };
        peer.say(&encode_frame(&header));
        peer.say(&sealed);
    }
}

fn address() -> RelayAddress {
    let url = format!("hither://relay.example:47447/#{}", device(5));
    url.parse::<hither_proto::RelayUrl>().unwrap().address()
}
