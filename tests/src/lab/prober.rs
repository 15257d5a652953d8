//! Everything that can be said to a device, by everybody who may try, on each carrier, wherever it
//! can stand on a stream.

use super::crowd::listens;
use super::device::Device;
use super::holder::drive;
use super::namespace::Namespace;
use hither_carrier::{
    CarrierKind, Endpoint, EndpointConfig, Identity, Link, MessageReader, Stream, write_message,
};
use hither_proto::limits::{MAX_FRAME, PROTOCOL};
use hither_proto::{
    Announcement, AttemptId, BlindKey, BlindQuery, BlindReply, Candidate, CandidateKind,
    Candidates, ChunkToken, Claims, CodeConfirmation, CodeMessage, Delta, DeviceId, DeviceName,
    DevicePurpose, IceCredentials, Introduction, Letter, Message, MessageId, OfferKind, Opened,
    PositionRange, Progress, Proof, ProofKey, ProofKind, Purpose, Ranges, Refusal, RelayPurpose,
    ShareSecret, Side, Space, Terms, Ticket, UncheckedHead, Want,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long an answer is waited for.
const ANSWER: Duration = Duration::from_millis(600);

/// Who tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caller {
    /// Knows no ticket: its proofs are made of another secret.
    Stranger,
    /// Knows the ticket.
    Holder,
}

/// Where a message stands on its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum At {
    /// First.
    First,
    /// After a blind query.
    AfterQuery,
    /// After an open for control.
    Control,
    /// After an open for bulk.
    Bulk,
    /// After an open for mail.
    Mail,
    /// After an open for an introduction.
    Introduction,
    /// After an open for a code.
    Code,
}

/// What is seen first after a message: the kind of an answer, `"ended"`, or `"nothing"`.
pub type Outcomes = BTreeMap<(Caller, String, At, &'static str), &'static str>;

/// The kind of a message. A kind that is added does not compile here until it is among the samples.
fn kind(message: &Message) -> &'static str {
    match message {
        Message::Open {
            purpose: Some(Purpose::Control),
            ..
        } => "open, control",
        Message::Open {
            purpose: Some(Purpose::Bulk),
            ..
        } => "open, bulk",
        Message::Open { .. } => "open, something else",
        Message::Code(code) if matches!(**code, CodeMessage::Refused(_)) => "code refused",
        Message::Code(_) => "code",
        Message::BlindQuery { .. } => "blind query",
        Message::BlindReply { .. } => "blind reply",
        Message::Opened(_) => "opened",
        Message::Refused(_) => "refused",
        Message::Announce(_) => "announce",
        Message::HaveDelta(_) => "delta",
        Message::Claims(_) => "claims",
        Message::Terms(_) => "terms",
        Message::Progress(_) => "progress",
        Message::Want(_) => "want",
        Message::Cancel { .. } => "cancel",
        Message::Chunk { .. } => "chunk",
        Message::Served { .. } => "served",
        Message::Busy { .. } => "busy",
        Message::NotHeld { .. } => "not held",
        Message::ChunkTokenRequest => "chunk token request",
        Message::ChunkToken { .. } => "chunk token",
        Message::NewHead(_) => "new head",
        Message::Ping { .. } => "ping",
        Message::Pong { .. } => "pong",
        Message::RelayOpen { .. } => "relay open",
        Message::Elsewhere { .. } => "elsewhere",
        Message::DeviceOpen {
            purpose: Some(DevicePurpose::Mail),
            ..
        } => "device open, mail",
        Message::DeviceOpen {
            purpose: Some(DevicePurpose::Introduction),
            ..
        } => "device open, introduction",
        Message::DeviceOpen {
            purpose: Some(DevicePurpose::Name),
            ..
        } => "device open, name",
        Message::DeviceOpen {
            purpose: Some(DevicePurpose::Code),
            ..
        } => "device open, code",
        Message::DeviceOpen { .. } => "device open, something else",
        Message::Letter(_) => "letter",
        Message::LetterTaken { .. } => "letter taken",
        Message::Introduction(_) => "introduction",
        Message::Candidates(_) => "candidates",
        Message::Named(_) => "named",
    }
}

fn device_open(purpose: Option<DevicePurpose>) -> Message {
    Message::DeviceOpen {
        protocol: PROTOCOL,
        purpose,
    }
}

/// What a caller knows.
#[derive(Clone)]
struct Knows {
    ticket: Ticket,
    secret: ShareSecret,
}

impl Knows {
    fn open(&self, stream: &Stream, purpose: Purpose) -> Message {
        let proof = Proof::make(
            &ProofKey::of_secret(&self.secret),
            &stream.binding,
            Side::Opener,
            purpose,
        );
        self.opening(proof, ProofKind::Secret, Some(purpose))
    }

    fn opening(&self, proof: Proof, proof_kind: ProofKind, purpose: Option<Purpose>) -> Message {
        let (share, owner) = (self.ticket.share(), self.ticket.owner);
        Message::Open {
            protocol: PROTOCOL,
            share,
            proof,
            proof_kind,
            owner: Some(owner),
            purpose,
        }
    }

    fn query(&self, stream: &Stream) -> Message {
        let query = BlindQuery::make(&BlindKey::of_secret(&self.secret), &stream.binding);
        Message::BlindQuery {
            protocol: PROTOCOL,
            query,
        }
    }

    /// One of every kind, made for a stream.
    fn samples(&self, stream: &Stream) -> Vec<Message> {
        let ranges = || -> Ranges { PositionRange::new(0, 4).into_iter().collect() };
        let key = ProofKey::of_secret(&self.secret);
        let acceptor = Proof::make(&key, &stream.binding, Side::Acceptor, Purpose::Control);
        let by_key = ProofKey::of_read_key(&self.secret.read_key());
        let reader = Proof::make(&by_key, &stream.binding, Side::Opener, Purpose::Bulk);
        let blind = BlindKey::of_secret(&self.secret);
        let (version, epoch, seq) = (1, 1, 1);
        let holding = Announcement {
            version,
            epoch,
            seq,
            complete: true,
            held: Ranges::default(),
            has_manifest: true,
        };
        let delta = Delta {
            version,
            epoch,
            seq: 2,
            added: ranges(),
            removed: Ranges::default(),
        };
        let claims = Claims {
            version,
            fetching: true,
            active: ranges(),
            tentative: Ranges::default(),
        };
        vec![
            self.open(stream, Purpose::Control),
            self.open(stream, Purpose::Bulk),
            self.opening(acceptor, ProofKind::Secret, Some(Purpose::Lookup)),
            self.opening(reader, ProofKind::ReadKey, Some(Purpose::Lookup)),
            self.query(stream),
            Message::BlindReply {
                reply: BlindReply::make(&blind, &stream.binding),
            },
            Message::Opened(Box::new(Opened {
                proof: acceptor,
                head: UncheckedHead::default(),
                device_name: DeviceName::clean("mallory"),
                tcp_port: Some(1),
            })),
            Message::Refused(Refusal::Gone),
            Message::Announce(holding),
            Message::HaveDelta(delta),
            Message::Claims(claims),
            Message::Terms(Terms::default()),
            Message::Progress(Progress {
                version,
                bytes: 1 << 40,
                complete: true,
            }),
            Message::Want(Want {
                request: 1,
                space: Space::Root,
                version,
                ranges: ranges(),
            }),
            Message::Cancel { request: 1 },
            Message::ChunkTokenRequest,
            Message::ChunkToken {
                token: Some(ChunkToken::new([5; 16])),
                lives_ms: 600_000,
            },
            Message::Chunk {
                request: 1,
                position: 0,
                length: 64,
            },
            Message::Served { request: 1 },
            Message::Busy {
                request: 1,
                retry_after_ms: u32::MAX,
            },
            Message::NotHeld {
                request: 1,
                ranges: ranges(),
            },
            Message::NewHead(UncheckedHead::default()),
            Message::Ping { nonce: 7 },
            Message::Pong { nonce: 7 },
            Message::RelayOpen {
                protocol: PROTOCOL,
                purpose: Some(RelayPurpose::Device),
            },
            Message::Elsewhere {
                proof: None,
                holders: Vec::new(),
            },
            Message::Candidates(Box::new(candidates())),
            device_open(Some(DevicePurpose::Code)),
            Message::Code(Box::new(CodeMessage::Confirm(code_confirmation()))),
            device_open(Some(DevicePurpose::Mail)),
            device_open(Some(DevicePurpose::Introduction)),
            device_open(Some(DevicePurpose::Name)),
            device_open(None),
            Message::Letter(Letter {
                id: MessageId::new([7; 16]),
                sealed: vec![7; 512].into(),
            }),
            Message::LetterTaken {
                id: MessageId::new([7; 16]),
            },
            Message::Introduction(Introduction {
                device_name: DeviceName::clean("mallory"),
                kind: OfferKind::Files,
                summary: "free money".into(),
                files: u64::MAX,
                bytes: u64::MAX,
            }),
            Message::Named(DeviceName::clean("mallory")),
        ]
    }
}

/// Has whoever takes it check an address of somebody else.
fn candidates() -> Candidates {
    let victim = "203.0.113.7:47447".parse().expect("an address");
    Candidates {
        attempt: AttemptId::new([7; 16]),
        credentials: IceCredentials {
            ufrag: "mallory".into(),
            password: "m".repeat(22),
        },
        candidates: Candidate::new(CandidateKind::Host, victim)
            .into_iter()
            .collect(),
        padding: 1024,
    }
}

fn code_confirmation() -> CodeConfirmation {
    CodeConfirmation::from_slice(&[7; 32]).expect("32 bytes")
}

/// Says a message at a place of a new stream; gives what is seen then.
async fn say(link: Link, knows: Knows, at: At, number: usize) -> (&'static str, &'static str) {
    let mut stream = link.open().await.unwrap();
    let message = knows.samples(&stream).swap_remove(number);
    let before = match at {
        At::First => None,
        At::AfterQuery => Some(knows.query(&stream)),
        At::Control => Some(knows.open(&stream, Purpose::Control)),
        At::Bulk => Some(knows.open(&stream, Purpose::Bulk)),
        At::Mail => Some(device_open(Some(DevicePurpose::Mail))),
        At::Introduction => Some(device_open(Some(DevicePurpose::Introduction))),
        At::Code => Some(device_open(Some(DevicePurpose::Code))),
    };
    let mut reader = MessageReader::new(MAX_FRAME);
    if let Some(before) = before {
        // Whatever comes of it: a stranger goes on talking to who has refused it.
        let _ = write_message(&mut stream.send, &before).await;
        if !matches!(at, At::Mail | At::Introduction | At::Code) {
            let _ = timeout(ANSWER, reader.next(&mut stream.recv)).await;
        }
    }
    let seen = async {
        write_message(&mut stream.send, &message).await.ok()?;
        loop {
            let next = reader.next(&mut stream.recv).await.ok()??;
            // Told on a control stream without being asked.
            let unasked = matches!(
                next,
                Message::Announce(_) | Message::Terms(_) | Message::Claims(_)
            ) || matches!(
                next,
                Message::Ping { .. } | Message::NewHead(_) | Message::HaveDelta(_)
            );
            if !unasked {
                return Some(kind(&next));
            }
        }
    };
    let seen = timeout(ANSWER, seen)
        .await
        .map_or("nothing", |seen| seen.unwrap_or("ended"));
    (kind(&message), seen)
}

/// Tries everything from the place of a device, whose daemon must not run.
pub fn probe(place: &Device, victim: &Device, ticket: &str) -> Outcomes {
    let (ticket, network) = (ticket.parse::<Ticket>().unwrap(), place.network().handle());
    let (id, tcp) = listens(victim);
    let udp = SocketAddr::new(tcp.ip(), victim.status().udp_port.unwrap());
    let probing = thread::spawn(move || {
        Namespace::enter(&network);
        drive(all(ticket, id, udp, tcp))
    });
    probing.join().unwrap()
}

async fn all(ticket: Ticket, victim: DeviceId, udp: SocketAddr, tcp: SocketAddr) -> Outcomes {
    let mut outcomes = Outcomes::new();
    for caller in [Caller::Stranger, Caller::Holder] {
        let secret = match caller {
            Caller::Stranger => ShareSecret::new([7; 16]),
            Caller::Holder => ticket.secret.clone(),
        };
        let knows = Knows {
            ticket: ticket.clone(),
            secret,
        };
        for carrier in [CarrierKind::Quic, CarrierKind::Tcp] {
            for at in [
                At::First,
                At::AfterQuery,
                At::Control,
                At::Bulk,
                At::Mail,
                At::Introduction,
                At::Code,
            ] {
                // A device of its own for each place, so that none is in another one's way.
                let identity = Identity::generate().unwrap();
                let endpoint = Endpoint::bind(&identity, &EndpointConfig::default()).unwrap();
                let link = match carrier {
                    CarrierKind::Quic => endpoint
                        .dial(hither_carrier::Dial::quic(victim, &[udp]))
                        .await
                        .unwrap(),
                    _ => endpoint
                        .dial(hither_carrier::Dial::tcp(victim, &[tcp]))
                        .await
                        .unwrap(),
                };
                let count = {
                    let stream = link.open().await.unwrap();
                    knows.samples(&stream).len()
                };
                for numbers in (0..count).collect::<Vec<_>>().chunks(8) {
                    let mut said = JoinSet::new();
                    for number in numbers {
                        said.spawn(say(link.clone(), knows.clone(), at, *number));
                    }
                    for (message, seen) in said.join_all().await {
                        outcomes.insert((caller, carrier.to_string(), at, message), seen);
                    }
                }
                endpoint.close().await;
            }
        }
    }
    outcomes
}
