//! A device that speaks the protocol without a daemon: what it asks of others, and what it answers.

use super::holder::Conduct;
use hither_carrier::{
    Endpoint, Link, MessageReader, RecvHalf, SendHalf, Stream, write_chunk_frame, write_message,
};
use hither_proto::limits::{CHUNK_TAG, MAX_FRAME, MAX_FRAME_UNPROVEN, PROTOCOL};
use hither_proto::{
    Announcement, BlindKey, BlindReply, DeviceName, Holder, HolderKind, HostPort, Message, Opened,
    PositionRange, Proof, ProofKey, ProofKind, Purpose, Ranges, Refusal, RelayAddress, ShareId,
    ShareSecret, Side, SignedHead, Space, Ticket, Want,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Length of the chunks that a liar makes up, plaintext bytes.
const MADE_UP: usize = 64 << 10;

/// A stream whose open was granted.
pub(super) struct Granted {
    send: SendHalf,
    recv: RecvHalf,
    reader: MessageReader,
    opened: Opened,
}

async fn open(
    link: &Link,
    share: ShareId,
    secret: &ShareSecret,
    purpose: Purpose,
) -> Result<Granted, Refusal> {
    let Stream {
        mut send,
        mut recv,
        binding,
        ..
    } = link.open().await.unwrap();
    let proof = Proof::make(
        &ProofKey::of_secret(secret),
        &binding,
        Side::Opener,
        purpose,
    );
    let open = Message::Open {
        protocol: PROTOCOL,
        share,
        proof,
        proof_kind: ProofKind::Secret,
        owner: None,
        purpose: Some(purpose),
    };
    write_message(&mut send, &open).await.unwrap();
    let mut reader = MessageReader::new(MAX_FRAME);
    match reader.next(&mut recv).await.unwrap() {
        Some(Message::Opened(opened)) => Ok(Granted {
            send,
            recv,
            reader,
            opened: *opened,
        }),
        Some(Message::Refused(refusal)) => Err(refusal),
        other => panic!("an open is answered with {other:?}"),
    }
}

/// Asks about a share with a secret that may not be its own; gives the refusal, if it is one.
pub(super) async fn knock(link: &Link, share: ShareId, secret: &ShareSecret) -> Option<Refusal> {
    open(link, share, secret, Purpose::Control).await.err()
}

/// What a holder knows of a share: enough to look like one that has all of it.
pub(super) struct Knowledge {
    ticket: Ticket,
    head: SignedHead,
    /// Ciphertexts of root and manifest, as the owner gave them.
    about: HashMap<(Space, u32), Vec<u8>>,
}

impl Knowledge {
    /// Learns it from the owner, over the link protocol and with the ticket, as every fetcher does.
    pub(super) async fn learn(endpoint: &Endpoint, ticket: Ticket) -> Self {
        let link = endpoint
            .dial(hither_carrier::Dial::quic(ticket.owner, &ticket.hints))
            .await
            .unwrap();
        let mut granted = open(&link, ticket.share(), &ticket.secret, Purpose::Bulk)
            .await
            .unwrap();
        let head = SignedHead::open(&granted.opened.head, ticket.share(), ticket.owner).unwrap();
        let mut about = HashMap::new();
        for (space, count) in [
            (Space::Root, 1),
            (Space::Manifest, head.head().manifest_chunks),
        ] {
            granted
                .ask(space, head.head().version, count, &mut about)
                .await;
        }
        Self {
            ticket,
            head,
            about,
        }
    }
}

impl Granted {
    /// Asks for all positions of a space and takes what comes.
    async fn ask(
        &mut self,
        space: Space,
        version: u64,
        count: u32,
        into: &mut HashMap<(Space, u32), Vec<u8>>,
    ) {
        let ranges: Ranges = PositionRange::new(0, count).into_iter().collect();
        let want = Want {
            request: u64::from(count),
            space,
            version,
            ranges,
        };
        write_message(&mut self.send, &Message::Want(want))
            .await
            .unwrap();
        loop {
            match self.reader.next(&mut self.recv).await.unwrap().unwrap() {
                Message::Chunk { position, .. } => {
                    let payload = self.reader.payload(&mut self.recv).await.unwrap();
                    into.insert((space, position), payload.to_vec());
                }
                Message::Served { .. } => return,
                other => panic!("a want is answered with {other:?}"),
            }
        }
    }
}

/// A holder that answers.
pub(super) struct Answering {
    pub(super) knowledge: Knowledge,
    pub(super) conduct: Conduct,
    pub(super) tcp_port: Option<u16>,
    /// Bytes of file chunks that others asked it for and got.
    pub(super) given: Arc<AtomicU64>,
    /// File chunks that others asked it for.
    pub(super) asked: Arc<AtomicU64>,
}

impl Answering {
    /// Keeps one stream that another device opened. Ends when that device ends it.
    pub(super) async fn keep(self: Arc<Self>, mut stream: Stream) {
        let mut reader = MessageReader::new(MAX_FRAME_UNPROVEN);
        let mut first = reader.next(&mut stream.recv).await;
        let secret = &self.knowledge.ticket.secret;
        if let Ok(Some(Message::BlindQuery { query, .. })) = &first {
            let blind = BlindKey::of_secret(secret);
            let known = query.verify(&blind, &stream.binding);
            let answer = match known {
                true => Message::BlindReply {
                    reply: BlindReply::make(&blind, &stream.binding),
                },
                false => Message::Refused(Refusal::NotFound),
            };
            if write_message(&mut stream.send, &answer).await.is_err() || !known {
                return;
            }
            first = reader.next(&mut stream.recv).await;
        }
        let Ok(Some(Message::Open {
            share,
            purpose: Some(purpose),
            ..
        })) = first
        else {
            return;
        };
        if share != self.knowledge.ticket.share() {
            let _ = write_message(&mut stream.send, &Message::Refused(Refusal::NotFound)).await;
            return;
        }
        reader.set_max(MAX_FRAME);
        let opened = Message::Opened(Box::new(Opened {
            proof: Proof::make(
                &ProofKey::of_secret(secret),
                &stream.binding,
                Side::Acceptor,
                purpose,
            ),
            head: self.knowledge.head.to_unchecked(),
            device_name: DeviceName::clean("friendly neighbour"),
            tcp_port: self.tcp_port,
        }));
        // Whoever asked may go away at any moment; then there is nothing more to do.
        if write_message(&mut stream.send, &opened).await.is_err() {
            return;
        }
        let _ = match purpose {
            Purpose::Control => self.attend(stream, reader).await,
            _ => self.serve(stream, reader).await,
        };
    }

    async fn attend(&self, mut stream: Stream, mut reader: MessageReader) -> std::io::Result<()> {
        let announcement = Announcement {
            version: self.knowledge.head.head().version,
            epoch: 1,
            seq: 1,
            complete: true,
            held: Ranges::default(),
            has_manifest: true,
        };
        write_message(&mut stream.send, &Message::Announce(announcement)).await?;
        if let Conduct::Names(key, at) = self.conduct {
            let at = vec![HostPort::try_from(at).unwrap()];
            let address = RelayAddress {
                key,
                udp: at.clone(),
                tcp: at,
            };
            let holders = vec![Holder {
                kind: HolderKind::Device,
                address,
            }];
            write_message(
                &mut stream.send,
                &Message::Elsewhere {
                    proof: None,
                    holders,
                },
            )
            .await?;
        }
        while let Ok(Some(message)) = reader.next(&mut stream.recv).await {
            if let Message::Ping { nonce } = message {
                write_message(&mut stream.send, &Message::Pong { nonce }).await?;
            }
        }
        Ok(())
    }

    async fn serve(&self, mut stream: Stream, mut reader: MessageReader) -> std::io::Result<()> {
        while let Ok(Some(message)) = reader.next(&mut stream.recv).await {
            let Message::Want(want) = message else {
                continue;
            };
            if want.space == Space::Data {
                self.asked.fetch_add(want.ranges.total(), Ordering::Relaxed);
                if self.conduct != Conduct::Lies {
                    continue;
                }
            }
            for position in want.ranges.positions() {
                let payload = self.payload(want.space, position);
                let length = payload.len() as u32;
                let header = Message::Chunk {
                    request: want.request,
                    position,
                    length,
                };
                write_chunk_frame(&mut stream.send, &header, payload.into()).await?;
                if want.space == Space::Data {
                    self.given.fetch_add(u64::from(length), Ordering::Relaxed);
                }
            }
            write_message(
                &mut stream.send,
                &Message::Served {
                    request: want.request,
                },
            )
            .await?;
        }
        Ok(())
    }

    /// The truth about root and manifest, anything for files.
    fn payload(&self, space: Space, position: u32) -> Vec<u8> {
        match self.knowledge.about.get(&(space, position)) {
            Some(truth) => truth.clone(),
            None => super::noise(u64::from(position), MADE_UP + CHUNK_TAG as usize),
        }
    }
}

/// Asks for all chunks of files on so many streams and reads none of them; gives what must be kept.
pub(super) async fn hoard(ticket: &Ticket, streams: usize) -> Vec<(Link, Granted)> {
    let endpoint = Endpoint::bind(
        &hither_carrier::Identity::generate().unwrap(),
        &Default::default(),
    )
    .unwrap();
    let links = [
        endpoint
            .dial(hither_carrier::Dial::quic(ticket.owner, &ticket.hints))
            .await
            .unwrap(),
        endpoint
            .dial(hither_carrier::Dial::tcp(ticket.owner, &ticket.hints))
            .await
            .unwrap(),
    ];
    let mut held = Vec::new();
    for number in 0..streams {
        let link = &links[number % links.len()];
        let Ok(granted) = open(link, ticket.share(), &ticket.secret, Purpose::Bulk).await else {
            break;
        };
        held.push((link.clone(), granted));
    }
    // Afterwards, because what is not read fills the window that the answers to opens need too.
    for (_, granted) in &mut held {
        let head = SignedHead::open(&granted.opened.head, ticket.share(), ticket.owner).unwrap();
        let (version, chunks) = (head.head().version, head.head().chunks);
        for request in 0..2 {
            let ranges: Ranges = PositionRange::new(0, chunks).into_iter().collect();
            let want = Want {
                request,
                space: Space::Data,
                version,
                ranges,
            };
            write_message(&mut granted.send, &Message::Want(want))
                .await
                .unwrap();
        }
    }
    // Dropping the endpoint would close its links.
    std::mem::forget(endpoint);
    held
}
