//! A page of somebody who has an inbox link, as far as a relay and a host see it: over QUIC or TCP
//! instead of a pipe. It keeps to the rules or not: it may guess, forge and repeat.

use super::device::Device;
use super::holder::drive;
use super::namespace::Namespace;
use hither_carrier::seal::{SealPurpose, open, seal};
use hither_carrier::{
    Dial, Endpoint, EndpointConfig, Identity, RelayReader, Stream, write_message, write_put_chunk,
    write_relay_message,
};
use hither_content::{DomainSecret, VersionInputs, seal_chunk, seal_version};
use hither_proto::limits::{MAX_RELAY_FRAME, PROTOCOL};
use hither_proto::mail::{Body, Content, Inside, Letter, ShareNote, Visitor as Says};
use hither_proto::{
    ChunkId, DeviceId, DeviceName, Host, InboxLink, ManifestBuilder, Message, MessageId, Put,
    PutRecord, RelayMessage, RelayPurpose, RelayRefusalCode, RelayUrl, ShareSecret, SignedHead,
    Space, Ticket, VisitorProof,
};
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::timeout;

/// Longest wait for a message.
const ANSWER: Duration = Duration::from_secs(20);
/// The number of every request: there is one at a time.
const REQUEST: u64 = 7;
/// Cuts files where shares of this size are cut.
const AVERAGE: u32 = 65_536;

/// A visitor of a device, with a key of its own.
pub struct Visitor {
    identity: Identity,
    network: std::fs::File,
    relay: (DeviceId, SocketAddr),
    /// The link that it has.
    pub link: InboxLink,
    /// Its name in its own words.
    pub name: String,
}

impl std::fmt::Debug for Visitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Visitor({:?})", self.id())
    }
}

impl Visitor {
    /// One in the network of a device, with a link as it was printed and the relay's URL.
    pub fn new(place: &Device, link: &str, relay: &str) -> Self {
        let (_, text) = link.split_once("/i#").expect("a link");
        Self {
            identity: Identity::generate().unwrap(),
            network: place.network().handle(),
            relay: relay_of(relay),
            link: text.parse().unwrap(),
            name: "Erna".into(),
        }
    }

    /// Its key.
    pub fn id(&self) -> DeviceId {
        self.identity.device_id()
    }

    /// The proof that its link gives it.
    pub fn proof(&self) -> VisitorProof {
        self.link.secret.proof(&self.id(), &self.link.host)
    }

    /// Runs something in its network.
    fn run<T: Send>(&self, work: impl AsyncFnOnce(&Self, Endpoint) -> T + Send) -> T {
        std::thread::scope(|scope| {
            let working = scope.spawn(|| {
                Namespace::enter(&self.network);
                drive(async {
                    let endpoint = Endpoint::bind(&self.identity, &EndpointConfig::default());
                    work(self, endpoint.unwrap()).await
                })
            });
            working.join().unwrap()
        })
    }

    /// A letter of it, sealed for its host, with a proof that may be none.
    pub fn letter(&self, id: u8, content: Content, proof: VisitorProof) -> (MessageId, Vec<u8>) {
        let letter = Letter {
            made_ms: 1_700_000_000_000,
            content,
            receipt: true,
            visitor: Some(self.says(proof)),
            after: None,
        };
        self.sealed(id, &letter.encode())
    }

    /// A letter for a service, as devices of a user send them.
    pub fn body(&self, id: u8, kind: &str, with_proof: bool) -> (MessageId, Vec<u8>) {
        let body = Body {
            kind: kind.into(),
            made_ms: 1_700_000_000_000,
            payload: vec![1; 40],
            visitor: with_proof.then(|| self.says(self.proof())),
            after: None,
        };
        self.sealed(id, &body.encode())
    }

    /// A letter that does not say that it is of a visitor.
    pub fn as_a_device(&self, id: u8, text: &str) -> (MessageId, Vec<u8>) {
        let letter = Letter {
            made_ms: 1_700_000_000_000,
            content: Content::Text(text.into()),
            receipt: false,
            visitor: None,
            after: None,
        };
        self.sealed(id, &letter.encode())
    }

    fn says(&self, proof: VisitorProof) -> Says {
        Says {
            proof,
            name: DeviceName::clean(&self.name),
        }
    }

    fn sealed(&self, id: u8, inside: &[u8]) -> (MessageId, Vec<u8>) {
        let id = MessageId::new([id; 16]);
        let purpose = SealPurpose::Message;
        let sealed = seal(&self.identity, self.link.host, purpose, &id, inside);
        (id, sealed.unwrap())
    }

    /// Visits, and sends letters one after the other.
    ///
    /// Errors: the relay lets it not come, or does not take one.
    pub fn send(&self, letters: &[(MessageId, Vec<u8>)]) -> Result<(), RelayRefusalCode> {
        self.run(async |this, endpoint| {
            let mut talk = this.visit(&endpoint).await?;
            for (id, sealed) in letters {
                talk.say(&RelayMessage::Send {
                    request: REQUEST,
                    to: this.link.host,
                    id: *id,
                    sealed: sealed.clone().into(),
                    keep_s: 0,
                })
                .await;
                talk.answer().await?;
            }
            Ok(())
        })
    }

    /// Visits, and waits for a word of its host about a letter: 1 declined, 2 taken.
    pub fn hears_of(&self, letter: MessageId) -> u8 {
        self.run(async |this, endpoint| {
            let mut talk = this.visit(&endpoint).await.unwrap();
            loop {
                let RelayMessage::Deliver {
                    seq,
                    from,
                    id,
                    sealed,
                    ..
                } = talk.hear().await
                else {
                    continue;
                };
                assert_eq!(from, this.link.host);
                talk.say(&RelayMessage::Received { seq }).await;
                let bytes = open(&this.identity, from, SealPurpose::Message, &id, &sealed);
                let Ok(Inside::Body(body)) = Inside::decode(&bytes.unwrap()) else {
                    continue;
                };
                let is_it = body.payload.ends_with(letter.as_bytes());
                if let Some(what) = body.payload.get(1).filter(|_| is_it) {
                    return *what;
                }
            }
        })
    }

    /// Uploads a share that is one small file, and gives its ticket.
    ///
    /// Errors: the relay lets it not come, or does not take it.
    pub fn upload(&self, name: &str, content: &[u8]) -> Result<ShareNote, RelayRefusalCode> {
        self.run(async |this, endpoint| {
            let upload = Upload::of(&this.identity, name, content);
            let mut talk = this.visit(&endpoint).await?;
            talk.say(&RelayMessage::Place {
                request: REQUEST,
                share: upload.secret.share_id(),
                bytes: upload.bytes(),
                near: Vec::new(),
            })
            .await;
            talk.answer().await?;
            let mut stream = Talk::open(&endpoint, this.relay, RelayPurpose::Upload).await;
            upload.put(&mut stream).await?;
            let ticket = Ticket {
                secret: upload.secret.clone(),
                owner: this.id(),
                hints: Vec::new(),
                relays: Vec::new(),
                pin: None,
            };
            Ok(ShareNote {
                ticket: ticket.to_string(),
                name: name.into(),
                files: 1,
                bytes: content.len() as u64,
            })
        })
    }

    async fn visit(&self, endpoint: &Endpoint) -> Result<Talk, RelayRefusalCode> {
        let mut talk = Talk::open(endpoint, self.relay, RelayPurpose::Device).await;
        talk.say(&RelayMessage::Visit {
            invitation: Some(self.link.secret.invitation()),
        })
        .await;
        match talk.hear().await {
            RelayMessage::Visiting(visiting) => {
                assert_eq!(visiting.host, Some(self.link.host));
                Ok(talk)
            }
            RelayMessage::Refused(refusal) => Err(refusal.code),
            other => panic!("{other:?}"),
        }
    }
}

/// The key and address of a relay with this URL.
pub(super) fn relay_of(url: &str) -> (DeviceId, SocketAddr) {
    let url: RelayUrl = url.parse().unwrap();
    match url.at.host() {
        Host::Ip(ip) => (url.key, SocketAddr::new(*ip, url.at.port())),
        Host::Name(name) => panic!("the lab's relays have addresses, not {name}"),
    }
}

/// A stream to the relay.
pub(super) struct Talk {
    pub(super) stream: Stream,
    reader: RelayReader,
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(ANSWER, work).await.expect("in time")
}

impl Talk {
    /// One of a purpose, alone on its connection.
    pub(super) async fn open(
        endpoint: &Endpoint,
        (relay, at): (DeviceId, SocketAddr),
        purpose: RelayPurpose,
    ) -> Self {
        let link = endpoint.dial(Dial::quic(relay, &[at]).relay()).await;
        let mut stream = link.unwrap().open().await.unwrap();
        let open = Message::RelayOpen {
            protocol: PROTOCOL,
            purpose: Some(purpose),
        };
        write_message(&mut stream.send, &open).await.unwrap();
        Self {
            stream,
            reader: RelayReader::new(MAX_RELAY_FRAME),
        }
    }

    pub(super) async fn say(&mut self, message: &RelayMessage) {
        // A refusal may come first; whoever hears next sees it.
        let _ = write_relay_message(&mut self.stream.send, message).await;
    }

    pub(super) async fn hear(&mut self) -> RelayMessage {
        let next = soon(self.reader.next(&mut self.stream.recv)).await;
        next.unwrap().expect("a message")
    }

    pub(super) async fn answer(&mut self) -> Result<(), RelayRefusalCode> {
        loop {
            match self.hear().await {
                RelayMessage::Sent { .. } | RelayMessage::Placed { .. } => return Ok(()),
                RelayMessage::Failed { refusal, .. } | RelayMessage::Refused(refusal) => {
                    return Err(refusal.code);
                }
                _ => {}
            }
        }
    }
}

/// A share that is one file of one chunk.
struct Upload {
    secret: ShareSecret,
    head: SignedHead,
    root: Vec<u8>,
    manifest: (ChunkId, Vec<u8>),
    data: (ChunkId, Vec<u8>),
}

impl Upload {
    fn of(owner: &Identity, name: &str, content: &[u8]) -> Self {
        let domain = DomainSecret::random().unwrap();
        let secret = ShareSecret::new(*MessageId::new(random()).as_bytes());
        let mut data = content.to_vec();
        let record = seal_chunk(&domain, &mut data).unwrap();
        let data = (record.id, data);
        let mut builder = ManifestBuilder::new(AVERAGE).unwrap();
        let size = content.len() as u64;
        builder.file(0, name, 0o644, 0, size).unwrap();
        let inputs = VersionInputs {
            secret: &secret,
            domain: &domain,
            version: 1,
            salt: [3; 16],
            published_ms: 1_700_000_000_000,
        };
        let sealed = seal_version(&builder.finish(vec![record]).unwrap(), &inputs).unwrap();
        let [only] = sealed.root.records() else {
            panic!("a short list of files is one chunk");
        };
        let mut manifest = sealed.manifest;
        let manifest_id = seal_chunk(&domain, &mut manifest).unwrap().id;
        assert_eq!(manifest_id, only.id);
        Self {
            head: SignedHead::sign(sealed.head, |message| owner.sign(message)),
            root: sealed.sealed_root,
            manifest: (manifest_id, manifest),
            data,
            secret,
        }
    }

    /// Ciphertext of everything.
    fn bytes(&self) -> u64 {
        (self.root.len() + self.manifest.1.len() + self.data.1.len()) as u64
    }

    async fn put(&self, talk: &mut Talk) -> Result<(), RelayRefusalCode> {
        let put = Put {
            share: self.secret.share_id(),
            head: self.head.to_unchecked(),
            read_key: self.secret.read_key(),
            keep_s: 0,
        };
        talk.say(&RelayMessage::Put(Box::new(put))).await;
        for (space, (id, chunk)) in [(Space::Manifest, &self.manifest), (Space::Data, &self.data)] {
            let record = PutRecord {
                id: *id,
                length: chunk.len() as u32,
            };
            talk.say(&RelayMessage::PutList {
                space,
                first: 0,
                records: vec![record],
            })
            .await;
        }
        match talk.hear().await {
            RelayMessage::Missing { .. } => {}
            RelayMessage::Refused(refusal) => return Err(refusal.code),
            other => panic!("{other:?}"),
        }
        for (space, chunk) in [
            (Space::Root, &self.root),
            (Space::Manifest, &self.manifest.1),
            (Space::Data, &self.data.1),
        ] {
            let header = RelayMessage::PutChunk {
                space,
                position: 0,
                length: chunk.len() as u32,
            };
            let payload = chunk.clone().into();
            let sent = write_put_chunk(&mut talk.stream.send, &header, payload).await;
            sent.unwrap();
        }
        talk.say(&RelayMessage::PutEnd).await;
        loop {
            match talk.hear().await {
                RelayMessage::PutDone => return Ok(()),
                RelayMessage::Refused(refusal) => return Err(refusal.code),
                _ => {}
            }
        }
    }
}

fn random() -> [u8; 16] {
    let key = Identity::generate().unwrap().device_id();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&key.as_bytes()[..16]);
    bytes
}
