//! What devices say to a relay, and what they make of its answers.

use super::version::{Version, id, ranges};
use super::{World, soon};
use bytes::Bytes;
use hither_carrier::{
    CarrierKind, Endpoint, EndpointConfig, Identity, Link, MessageReader, RecvHalf, RelayReader,
    SendHalf, Stream, write_message, write_put_chunk, write_relay_message,
};
use hither_proto::limits::{MAX_FRAME, MAX_RELAY_FRAME, PROTOCOL};
use hither_proto::{
    CircuitMessage, DeviceId, IndexMessage, Invitation, Message, Opened, Proof, ProofKey,
    ProofKind, Purpose, Put, PutRecord, ReadKey, Refusal, RelayMessage, RelayPurpose,
    RelayRefusalCode, ShareId, ShareSecret, Side, Space, Want,
};
use std::net::SocketAddr;
use tokio::sync::Mutex;

/// A device with its sockets.
pub struct Device {
    pub identity: Identity,
    pub endpoint: Endpoint,
    /// The QUIC link to the relay: a node takes few of one device.
    link: Mutex<Option<Link>>,
}

impl Device {
    pub fn new() -> Self {
        let identity = Identity::generate().unwrap();
        let sockets = EndpointConfig {
            loopback_only: true,
            ..EndpointConfig::default()
        };
        let endpoint = Endpoint::bind(&identity, &sockets).unwrap();
        Self {
            identity,
            endpoint,
            link: Mutex::default(),
        }
    }

    pub fn id(&self) -> DeviceId {
        self.identity.device_id()
    }

    pub async fn open(&self, world: &World, carrier: CarrierKind) -> Stream {
        let at = &world.node.address;
        let addresses = |list: &[hither_proto::HostPort]| {
            list.iter().filter_map(|at| at.socket_addr()).collect()
        };
        match carrier {
            CarrierKind::Quic => {
                let mut link = self.link.lock().await;
                if link
                    .as_ref()
                    .is_none_or(|link| link.device() != at.key || link.close_reason().is_some())
                {
                    let to: Vec<SocketAddr> = addresses(&at.udp);
                    *link = Some(
                        self.endpoint
                            .dial(hither_carrier::Dial::quic(at.key, &to))
                            .await
                            .unwrap(),
                    );
                }
                link.as_ref().unwrap().open().await.unwrap()
            }
            CarrierKind::Tcp => {
                let to: Vec<SocketAddr> = addresses(&at.tcp);
                self.endpoint
                    .dial(hither_carrier::Dial::tcp(at.key, &to))
                    .await
                    .unwrap()
                    .open()
                    .await
                    .unwrap()
            }
            CarrierKind::Relayed => panic!("a relay is reached directly"),
        }
    }

    /// Begins a stream of the relay protocol.
    pub async fn relay(&self, world: &World, purpose: RelayPurpose, carrier: CarrierKind) -> Relay {
        let mut stream = self.open(world, carrier).await;
        let open = Message::RelayOpen {
            protocol: PROTOCOL,
            purpose: Some(purpose),
        };
        write_message(&mut stream.send, &open).await.unwrap();
        let Stream { send, recv, .. } = stream;
        Relay {
            send,
            recv,
            reader: RelayReader::new(MAX_RELAY_FRAME),
        }
    }

    /// Begins one end of a circuit.
    pub async fn circuit(
        &self,
        world: &World,
        message: CircuitMessage,
        carrier: CarrierKind,
    ) -> Relay {
        let mut relay = self.relay(world, RelayPurpose::Circuit, carrier).await;
        relay.say(&RelayMessage::Circuit(Box::new(message))).await;
        relay
    }

    /// The long connection of a device that is registered.
    pub async fn talk(&self, world: &World) -> Relay {
        let mut relay = self
            .relay(world, RelayPurpose::Device, CarrierKind::Quic)
            .await;
        relay
            .say(&RelayMessage::Hello {
                invitation: None,
                instance: 0,
            })
            .await;
        assert!(matches!(relay.hear().await, RelayMessage::Welcome(_)));
        relay
    }

    /// The long connection of a page that visits a device.
    pub async fn visit(&self, world: &World, invitation: Invitation) -> Relay {
        let mut relay = self
            .relay(world, RelayPurpose::Device, CarrierKind::Tcp)
            .await;
        let invitation = Some(invitation);
        relay.say(&RelayMessage::Visit { invitation }).await;
        assert!(matches!(relay.hear().await, RelayMessage::Visiting(_)));
        relay
    }

    /// A stream to the index, or why there is none.
    pub async fn index(&self, world: &World) -> Result<Relay, RelayRefusalCode> {
        let mut relay = self
            .relay(world, RelayPurpose::Index, CarrierKind::Quic)
            .await;
        relay
            .say(&RelayMessage::Index(Box::new(IndexMessage::Hello)))
            .await;
        match relay.hear().await {
            RelayMessage::Index(message) if matches!(*message, IndexMessage::Welcome { .. }) => {
                Ok(relay)
            }
            RelayMessage::Refused(refusal) => Err(refusal.code),
            other => panic!("{other:?}"),
        }
    }

    /// Asks where a share may be uploaded; the relay records it.
    pub async fn place(&self, world: &World, share: ShareId, bytes: u64) -> RelayMessage {
        let mut relay = self.talk(world).await;
        relay
            .say(&RelayMessage::Place {
                request: 7,
                share,
                bytes,
                near: Vec::new(),
            })
            .await;
        loop {
            let answer = relay.hear().await;
            if let RelayMessage::Placed { request: 7, .. }
            | RelayMessage::Failed { request: 7, .. } = answer
            {
                return answer;
            }
        }
    }

    /// Places a version and uploads it.
    pub async fn share(&self, world: &World, version: &Version) {
        let placed = self.place(world, version.share(), version.bytes()).await;
        assert!(matches!(placed, RelayMessage::Placed { .. }), "{placed:?}");
        let uploaded = self.upload(world, version, usize::MAX).await;
        assert_eq!(uploaded.end, End::Done);
    }

    /// Uploads a version over TCP, at most `most` chunks of it, then breaks off.
    pub async fn upload(&self, world: &World, version: &Version, most: usize) -> Uploaded {
        self.upload_over(world, version, most, CarrierKind::Tcp)
            .await
    }

    pub async fn upload_over(
        &self,
        world: &World,
        version: &Version,
        most: usize,
        carrier: CarrierKind,
    ) -> Uploaded {
        let mut relay = self.relay(world, RelayPurpose::Upload, carrier).await;
        relay.begin(version).await;
        relay.finish_upload(version, most).await
    }

    /// Opens a stream to read a share; the answer is checked.
    pub async fn read(
        &self,
        world: &World,
        open: &Open,
        carrier: CarrierKind,
    ) -> Result<Reader, Refusal> {
        let mut stream = self.open(world, carrier).await;
        let binding = stream.binding;
        let by_key = ProofKey::of_read_key(&open.key);
        let key = match open.kind {
            ProofKind::ReadKey => by_key.clone(),
            ProofKind::Secret => ProofKey::of_secret(&ShareSecret::new([9; 16])),
        };
        let proof = Proof::make(&key, &binding, Side::Opener, open.purpose);
        let right = |proof: &Proof| proof.verify(&by_key, &binding, Side::Acceptor, open.purpose);
        let message = Message::Open {
            protocol: PROTOCOL,
            share: open.share,
            proof,
            proof_kind: open.kind,
            owner: open.owner,
            purpose: Some(open.purpose),
        };
        write_message(&mut stream.send, &message).await.unwrap();
        let mut reader = MessageReader::new(MAX_FRAME);
        let answer = soon(reader.next(&mut stream.recv))
            .await
            .unwrap()
            .expect("an answer");
        let Stream { send, recv, .. } = stream;
        match answer {
            Message::Refused(refusal) => Err(refusal),
            Message::Opened(opened) => {
                assert!(right(&opened.proof));
                Ok(Reader {
                    opened: Some(*opened),
                    first: None,
                    send,
                    recv,
                    reader,
                })
            }
            elsewhere @ Message::Elsewhere { proof, .. } if open.purpose == Purpose::Lookup => {
                assert!(right(&proof.unwrap()));
                Ok(Reader {
                    opened: None,
                    first: Some(elsewhere),
                    send,
                    recv,
                    reader,
                })
            }
            other => panic!("an unexpected answer: {other:?}"),
        }
    }
}

/// How a reader introduces itself.
#[derive(Clone)]
pub struct Open {
    pub share: ShareId,
    pub owner: Option<DeviceId>,
    pub key: ReadKey,
    pub kind: ProofKind,
    pub purpose: Purpose,
}

impl Open {
    pub fn of(version: &Version, purpose: Purpose) -> Self {
        Self {
            share: version.share(),
            owner: Some(version.owner),
            key: version.secret.read_key(),
            kind: ProofKind::ReadKey,
            purpose,
        }
    }
}

/// A stream of the relay protocol.
pub struct Relay {
    pub send: SendHalf,
    pub recv: RecvHalf,
    pub reader: RelayReader,
}

/// How an upload ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Done,
    /// Broken off by the test.
    Broken,
    Refused(RelayRefusalCode),
}

/// What an upload was told.
#[derive(Debug)]
pub struct Uploaded {
    pub end: End,
    /// Positions of root, manifest and data that were asked for.
    pub asked: u64,
    /// Positions that were reported as stored.
    pub stored: u64,
}

impl Relay {
    pub async fn say(&mut self, message: &RelayMessage) {
        write_relay_message(&mut self.send, message).await.unwrap();
    }

    /// The next message that is no ping.
    pub async fn hear(&mut self) -> RelayMessage {
        loop {
            match soon(self.reader.next(&mut self.recv))
                .await
                .unwrap()
                .expect("an answer")
            {
                RelayMessage::Ping { .. } => {}
                message => return message,
            }
        }
    }

    /// The next message that `wanted` picks.
    pub async fn find<T>(&mut self, wanted: impl Fn(RelayMessage) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.hear().await) {
                return found;
            }
        }
    }

    /// Sends head and lists.
    pub async fn begin(&mut self, version: &Version) {
        let put = Put {
            share: version.share(),
            head: version.head.to_unchecked(),
            read_key: version.secret.read_key(),
            keep_s: 0,
        };
        let mut messages = vec![RelayMessage::Put(Box::new(put))];
        for (space, chunks) in [
            (Space::Manifest, &version.manifest),
            (Space::Data, &version.data),
        ] {
            let records: Vec<_> = chunks
                .iter()
                .map(|chunk| PutRecord {
                    id: id(chunk),
                    length: chunk.len() as u32,
                })
                .collect();
            for (part, records) in records.chunks(100).enumerate() {
                let first = part as u32 * 100;
                messages.push(RelayMessage::PutList {
                    space,
                    first,
                    records: records.to_vec(),
                });
            }
        }
        for message in messages {
            // A refusal may come first; whoever reads next sees it.
            if write_relay_message(&mut self.send, &message).await.is_err() {
                return;
            }
        }
    }

    /// Sends what is missing, at most `most` chunks; with all of them sent it waits for the end.
    pub async fn finish_upload(mut self, version: &Version, most: usize) -> Uploaded {
        let (root, manifest, data) = match self.hear().await {
            RelayMessage::Missing {
                root,
                manifest,
                data,
            } => (root, manifest, data),
            RelayMessage::Refused(refusal) => {
                return Uploaded {
                    end: End::Refused(refusal.code),
                    asked: 0,
                    stored: 0,
                };
            }
            other => panic!("an unexpected answer: {other:?}"),
        };
        let mut chunks: Vec<(Space, u32)> = Vec::new();
        chunks.extend(root.then_some((Space::Root, 0)));
        chunks.extend(
            manifest
                .positions()
                .map(|position| (Space::Manifest, position)),
        );
        chunks.extend(data.positions().map(|position| (Space::Data, position)));
        let asked = chunks.len() as u64;
        let breaks = chunks.len() > most;
        let Self {
            mut send,
            mut recv,
            mut reader,
        } = self;
        let sending = async {
            for (space, position) in chunks.into_iter().take(most) {
                let bytes = version.chunk(space, position);
                let header = RelayMessage::PutChunk {
                    space,
                    position,
                    length: bytes.len() as u32,
                };
                if write_put_chunk(&mut send, &header, bytes).await.is_err() {
                    break;
                }
            }
            if !breaks {
                let _ = write_relay_message(&mut send, &RelayMessage::PutEnd).await;
            }
            // The way stays open until everything was heard.
            send
        };
        let hearing = async {
            let mut stored = 0;
            loop {
                match soon(reader.next(&mut recv)).await {
                    Ok(Some(RelayMessage::Stored { ranges, .. })) => {
                        stored += ranges.total();
                        if breaks && stored == most as u64 {
                            return (End::Broken, stored);
                        }
                    }
                    Ok(Some(RelayMessage::PutDone)) => return (End::Done, stored),
                    Ok(Some(RelayMessage::Refused(refusal))) => {
                        return (End::Refused(refusal.code), stored);
                    }
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => return (End::Broken, stored),
                }
            }
        };
        let (_send, (end, stored)) = tokio::join!(sending, hearing);
        Uploaded { end, asked, stored }
    }
}

/// A stream of the link protocol, opened.
#[derive(Debug)]
pub struct Reader {
    pub opened: Option<Opened>,
    first: Option<Message>,
    pub send: SendHalf,
    pub recv: RecvHalf,
    pub reader: MessageReader,
}

/// Everything that came for one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub chunks: Vec<(u32, Bytes)>,
    pub not_held: Vec<u32>,
}

impl Reader {
    pub async fn say(&mut self, message: &Message) {
        write_message(&mut self.send, message).await.unwrap();
    }

    /// The next message that is not a ping.
    pub async fn hear(&mut self) -> Message {
        if let Some(first) = self.first.take() {
            return first;
        }
        loop {
            match soon(self.reader.next(&mut self.recv))
                .await
                .unwrap()
                .expect("a message")
            {
                Message::Ping { .. } => {}
                message => return message,
            }
        }
    }

    /// Waits until the relay ends it.
    pub async fn is_ended(&mut self) {
        while let Ok(Some(_)) = soon(self.reader.next(&mut self.recv)).await {}
    }

    pub async fn want(
        &mut self,
        request: u64,
        version: u64,
        space: Space,
        positions: std::ops::Range<u32>,
    ) {
        let ranges = ranges(positions);
        self.say(&Message::Want(Want {
            request,
            space,
            version,
            ranges,
        }))
        .await;
    }

    /// Hears the whole answer to a request.
    pub async fn answer(&mut self, request: u64) -> Answer {
        let mut answer = Answer::default();
        loop {
            match self.hear().await {
                Message::Chunk {
                    request: of,
                    position,
                    ..
                } => {
                    assert_eq!(of, request);
                    let payload = soon(self.reader.payload(&mut self.recv))
                        .await
                        .unwrap()
                        .freeze();
                    answer.chunks.push((position, payload));
                }
                Message::NotHeld {
                    request: of,
                    ranges,
                } => {
                    assert_eq!(of, request);
                    answer.not_held.extend(ranges.positions());
                }
                Message::Served { request: of } => {
                    assert_eq!(of, request);
                    return answer;
                }
                other => panic!("an unexpected message: {other:?}"),
            }
        }
    }
}
