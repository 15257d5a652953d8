//! A page in a browser that becomes one of a user's devices, as far as the relay and the device that
//! shows the code see it: over QUIC instead of a pipe.

use super::device::Device;
use super::holder::drive;
use super::namespace::Namespace;
use super::visitor::{Talk, relay_of};
use hither_carrier::code_seal::CodeChannel;
use hither_carrier::seal::{SealPurpose, seal};
use hither_carrier::{
    Circuits, Endpoint, EndpointConfig, Identity, LinkError, MessageReader, Stream, write_message,
};
use hither_proto::limits::{MAX_FRAME, PROTOCOL};
use hither_proto::mail::{Body, Content, Letter};
use hither_proto::{
    CircuitMessage, CodeGift, CodeKeys, CodeKind, CodeMessage, CodeName, CodePake, CodeSide,
    DeviceId, DeviceName, DevicePurpose, Invitation, Knock, Message, MessageId, PairGrant,
    PairText, RelayMessage, RelayPurpose, RelayRefusalCode,
};
use std::fs::File;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

/// A page with a key of its own.
pub struct PairedPage {
    identity: Identity,
    network: File,
    relay: (DeviceId, SocketAddr),
    code: PairText,
}

impl std::fmt::Debug for PairedPage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PairedPage({:?})", self.id())
    }
}

/// Asks the relay for circuits to the device that shows the code.
struct Asks {
    endpoint: Arc<Endpoint>,
    relay: (DeviceId, SocketAddr),
    to: DeviceId,
    knock: Knock,
}

impl Circuits for Asks {
    fn open(&self) -> Pin<Box<dyn Future<Output = Result<Stream, LinkError>> + Send + '_>> {
        Box::pin(async {
            let mut talk = Talk::open(&self.endpoint, self.relay, RelayPurpose::Circuit).await;
            let (to, knock) = (self.to, self.knock);
            let connect = CircuitMessage::Connect { to, knock };
            talk.say(&RelayMessage::Circuit(Box::new(connect))).await;
            match talk.hear().await {
                RelayMessage::Circuit(message) if *message == CircuitMessage::Connected => {
                    Ok(talk.stream)
                }
                other => Err(LinkError::Unreachable(format!("{other:?}"))),
            }
        })
    }
}

impl PairedPage {
    /// One in the network of a device, with a link as it was printed and the relay's URL.
    pub fn new(place: &Device, link: &str, relay: &str) -> Self {
        let (_, text) = link.split_once("/p#").expect("a link");
        Self {
            identity: Identity::generate().unwrap(),
            network: place.network().handle(),
            relay: relay_of(relay),
            code: text.parse().unwrap(),
        }
    }

    /// Its key.
    pub fn id(&self) -> DeviceId {
        self.identity.device_id()
    }

    fn run<T: Send>(&self, work: impl AsyncFnOnce(&Self, Arc<Endpoint>) -> T + Send) -> T {
        std::thread::scope(|scope| {
            let working = scope.spawn(|| {
                Namespace::enter(&self.network);
                drive(async {
                    let endpoint = Endpoint::bind(&self.identity, &EndpointConfig::default());
                    work(self, Arc::new(endpoint.unwrap())).await
                })
            });
            working.join().unwrap()
        })
    }

    /// Enters the code, and waits for the yes of the user at the other screen.
    ///
    /// Errors: in words.
    pub fn pair(&self) -> Result<PairGrant, String> {
        self.run(async |this, endpoint| {
            let secret = this.code.secret();
            let CodeName::Scanned(name) = secret.name() else {
                panic!("a code for scanning has such a name");
            };
            let (own, to) = (this.id(), this.code.device);
            let asks = Asks {
                endpoint: Arc::clone(&endpoint),
                relay: this.relay,
                to,
                knock: Knock::for_scanned(&name, &own, &to, [9; Knock::SALT]),
            };
            let link = endpoint.connect_circuits(to, Arc::new(asks)).await;
            let link = link.map_err(|error| error.to_string())?;
            let mut stream = link.open().await.map_err(|error| error.to_string())?;
            let open = Message::DeviceOpen {
                protocol: PROTOCOL,
                purpose: Some(DevicePurpose::Code),
            };
            write_message(&mut stream.send, &open).await.unwrap();
            let binding = stream.binding;
            let mut line = Line(stream, MessageReader::new(MAX_FRAME));
            let run = CodePake::enter(&secret, &own, &to, [5; 32]);
            let (name, kind, pake) = (secret.name(), CodeKind::Pair, run.message());
            line.say(CodeMessage::Start { name, kind, pake }).await;
            let CodeMessage::Answer(answer) = line.hear().await? else {
                return Err("no answer".into());
            };
            let key = run.finish(&answer).map_err(|_| "a wrong answer")?;
            let keys = CodeKeys::new(&key, &binding, kind, name, (&pake, &answer));
            let confirmation = keys.confirmation(CodeSide::Enters);
            line.say(CodeMessage::Confirm(confirmation)).await;
            line.hear().await?;
            let mut channel = CodeChannel::new(&keys, CodeSide::Enters).unwrap();
            let name = CodeGift::Introduction(DeviceName::clean("Firefox"));
            line.say(sealed(&mut channel, &name)).await;
            loop {
                let CodeMessage::Sealed(bytes) = line.hear().await? else {
                    return Err("something that is not sealed".into());
                };
                match CodeGift::decode(&channel.open(&bytes).unwrap()).unwrap() {
                    Some(CodeGift::Wait) => {}
                    Some(CodeGift::Grant(grant)) => {
                        line.say(sealed(&mut channel, &CodeGift::Taken)).await;
                        // The other side ends the stream when it has heard it.
                        let _ = line.hear().await;
                        return Ok(*grant);
                    }
                    other => return Err(format!("{other:?}")),
                }
            }
        })
    }

    /// Joins the relay by what was granted; gives how many devices the relay lists.
    pub fn join(&self, invitation: Option<Invitation>) -> Result<usize, RelayRefusalCode> {
        self.run(async |this, endpoint| {
            let (_, devices) = this.hello(&endpoint, invitation).await?;
            Ok(devices)
        })
    }

    async fn hello(
        &self,
        endpoint: &Endpoint,
        invitation: Option<Invitation>,
    ) -> Result<(Talk, usize), RelayRefusalCode> {
        let mut talk = Talk::open(endpoint, self.relay, RelayPurpose::Device).await;
        let instance = 0;
        talk.say(&RelayMessage::Hello {
            invitation,
            instance,
        })
        .await;
        match talk.hear().await {
            RelayMessage::Welcome(welcome) => Ok((talk, welcome.devices.len())),
            RelayMessage::Refused(refusal) => Err(refusal.code),
            other => panic!("{other:?}"),
        }
    }

    /// Sends a text to the device that showed the code.
    pub fn text(&self, id: u8, text: &str) -> Result<(), RelayRefusalCode> {
        let letter = Letter {
            made_ms: 1_700_000_000_000,
            content: Content::Text(text.into()),
            receipt: false,
            visitor: None,
            after: None,
        };
        self.send(id, &letter.encode())
    }

    /// Sends a letter for a service to the device that showed the code.
    pub fn body(&self, id: u8, kind: &str, payload: Vec<u8>) -> Result<(), RelayRefusalCode> {
        let body = Body {
            kind: kind.into(),
            made_ms: 1_700_000_000_000,
            payload,
            visitor: None,
            after: None,
        };
        self.send(id, &body.encode())
    }

    fn send(&self, id: u8, inside: &[u8]) -> Result<(), RelayRefusalCode> {
        let (id, to) = (MessageId::new([id; 16]), self.code.device);
        let sealed = seal(&self.identity, to, SealPurpose::Message, &id, inside).unwrap();
        self.run(async |this, endpoint| {
            let (mut talk, _) = this.hello(&endpoint, None).await?;
            talk.say(&RelayMessage::Send {
                request: 7,
                to,
                id,
                sealed: sealed.into(),
                keep_s: 0,
            })
            .await;
            talk.answer().await
        })
    }
}

fn sealed(channel: &mut CodeChannel, gift: &CodeGift) -> CodeMessage {
    CodeMessage::Sealed(channel.seal(&gift.encode()).unwrap().into())
}

/// A stream about a code.
struct Line(Stream, MessageReader);

impl Line {
    async fn say(&mut self, message: CodeMessage) {
        let message = Message::Code(Box::new(message));
        let _ = write_message(&mut self.0.send, &message).await; // the next word tells
    }

    async fn hear(&mut self) -> Result<CodeMessage, String> {
        match self.1.next(&mut self.0.recv).await {
            Ok(Some(Message::Code(message))) => match *message {
                CodeMessage::Refused(refusal) => Err(format!("{refusal:?}")),
                message => Ok(message),
            },
            other => Err(format!("{other:?}")),
        }
    }
}
