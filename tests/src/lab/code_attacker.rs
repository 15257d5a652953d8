//! Devices that attack codes of three words: one that announces a word that somebody else's code
//! begins with and plays the device that shows it, and one that enters codes in ways that no honest
//! device does.

use super::device::Device;
use super::going::Going;
use super::holder::drive;
use super::namespace::Namespace;
use hither_carrier::code_seal::CodeChannel;
use hither_carrier::{
    Dial, Discovery, DiscoveryOptions, Endpoint, EndpointConfig, Identity, Incoming, Link,
    MessageReader, Stream, write_message,
};
use hither_proto::limits::{MAX_FRAME, PROTOCOL};
use hither_proto::{
    CodeKeys, CodeKind, CodeMessage, CodePake, CodeRefusal, CodeSide, DeviceId, DevicePurpose,
    Message, SpokenCode, Word,
};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long it waits for an answer.
const ANSWER: Duration = Duration::from_secs(5);

/// The behaviour of the device that plays the shower.
#[derive(Debug, Clone)]
pub enum Plays {
    /// Runs the exchange with another code of the same first word.
    Guesses(SpokenCode),
    /// Passes every message on to the device that really shows the code, and back.
    Middle(DeviceId, SocketAddr),
    /// Has the right code, and gives this instead of a sealed ticket.
    Gives(SpokenCode, Vec<u8>),
}

/// A device that announces a nameplate. Ends when dropped.
#[derive(Debug)]
pub struct Impostor {
    /// Its device id.
    pub id: DeviceId,
    asked: Arc<AtomicUsize>,
    confirmed: Arc<AtomicUsize>,
    _going: Going,
}

impl Impostor {
    /// Puts one in the place of a device, whose daemon must not run.
    pub fn start(place: &Device, nameplate: Word, plays: Plays) -> Self {
        let (asked, confirmed) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let counted = (Arc::clone(&asked), Arc::clone(&confirmed));
        let (_going, id) = Going::start(place, move |ready, stop| {
            drive(announce(nameplate, plays, counted, ready, stop))
        });
        Self {
            id,
            asked,
            confirmed,
            _going,
        }
    }

    /// How often a code was begun to be entered at it.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// How often somebody took it for the device that shows the code.
    pub fn believed(&self) -> usize {
        self.confirmed.load(Ordering::Relaxed)
    }
}

type Counted = (Arc<AtomicUsize>, Arc<AtomicUsize>);

async fn announce(
    nameplate: Word,
    plays: Plays,
    counted: Counted,
    ready: Sender<DeviceId>,
    stop: CancellationToken,
) {
    let identity = Identity::generate().unwrap();
    let endpoint = Arc::new(Endpoint::bind(&identity, &EndpointConfig::default()).unwrap());
    let device = identity.device_id();
    let options = DiscoveryOptions::default();
    let (port, tcp_port) = (endpoint.port(), endpoint.tcp_port());
    let (discovery, mut seen) = Discovery::start(device, port, tcp_port, options).unwrap();
    discovery.nameplates().set(vec![nameplate]);
    ready.send(device).unwrap();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = seen.recv() => {} // Whom it sees does not matter to it.
            incoming = endpoint.accept() => {
                if let Some(Incoming::Stream(stream)) = incoming {
                    let (of, plays) = (Arc::clone(&endpoint), plays.clone());
                    let counted = counted.clone();
                    tokio::spawn(async move { play(&of, device, stream, plays, counted).await });
                }
            }
        }
    }
    discovery.shutdown().await;
    endpoint.close().await;
}

/// A stream with the messages about codes on it.
struct Line {
    stream: Stream,
    reader: MessageReader,
}

impl Line {
    async fn to(endpoint: &Endpoint, device: DeviceId, at: SocketAddr) -> Option<Self> {
        let link = endpoint.dial(Dial::quic(device, &[at])).await.ok()?;
        Self::on(&link).await
    }

    async fn on(link: &Link) -> Option<Self> {
        let mut line = Self {
            stream: link.open().await.ok()?,
            reader: MessageReader::new(MAX_FRAME),
        };
        let open = Message::DeviceOpen {
            protocol: PROTOCOL,
            purpose: Some(DevicePurpose::Code),
        };
        write_message(&mut line.stream.send, &open).await.ok()?;
        Some(line)
    }

    async fn hear(&mut self) -> Option<CodeMessage> {
        let next = timeout(ANSWER, self.reader.next(&mut self.stream.recv)).await;
        match next.ok()?.ok()?? {
            Message::Code(message) => Some(*message),
            _ => None,
        }
    }

    async fn say(&mut self, message: CodeMessage) -> Option<()> {
        let message = Message::Code(Box::new(message));
        write_message(&mut self.stream.send, &message).await.ok()
    }
}

/// Plays the device that shows the code, on one stream.
async fn play(
    endpoint: &Endpoint,
    device: DeviceId,
    stream: Stream,
    plays: Plays,
    (asked, confirmed): Counted,
) -> Option<()> {
    let mut line = Line {
        stream,
        reader: MessageReader::new(MAX_FRAME),
    };
    // The opening of the stream.
    line.reader.next(&mut line.stream.recv).await.ok()??;
    let start = line.hear().await?;
    asked.fetch_add(1, Ordering::Relaxed);
    match plays {
        Plays::Middle(real, at) => {
            let mut real = Line::to(endpoint, real, at).await?;
            real.say(start).await?;
            line.say(real.hear().await?).await?;
            real.say(line.hear().await?).await?;
            let answer = real.hear().await?;
            if matches!(answer, CodeMessage::Confirm(_)) {
                confirmed.fetch_add(1, Ordering::Relaxed);
            }
            line.say(answer).await?;
            line.say(real.hear().await?).await
        }
        Plays::Guesses(code) | Plays::Gives(code, _) => {
            let CodeMessage::Start { name, kind, pake } = start else {
                return None;
            };
            let (secret, other) = (code.secret(), line.stream.device);
            let run = CodePake::show(&secret, &other, &device, [3; 32]);
            let own = run.message();
            let key = run.finish(&pake).ok()?;
            line.say(CodeMessage::Answer(own)).await?;
            let keys = CodeKeys::new(&key, &line.stream.binding, kind, name, (&pake, &own));
            let heard = line.hear().await?;
            if heard == CodeMessage::Confirm(keys.confirmation(CodeSide::Enters)) {
                confirmed.fetch_add(1, Ordering::Relaxed);
            }
            let confirmation = keys.confirmation(CodeSide::Shows);
            line.say(CodeMessage::Confirm(confirmation)).await?;
            if let Plays::Gives(_, gift) = plays {
                let mut channel = CodeChannel::new(&keys, CodeSide::Shows).ok()?;
                let sealed = channel.seal(&gift).ok()?;
                line.say(CodeMessage::Sealed(sealed.into())).await?;
            }
            // Until the other side has had enough.
            line.hear().await.map(drop)
        }
    }
}

/// A device that enters codes, in the network of a device whose daemon does not run.
#[derive(Debug)]
pub struct Joiner<'a> {
    place: &'a Device,
    shower: (DeviceId, SocketAddr),
}

impl<'a> Joiner<'a> {
    /// One that turns to the device at an address.
    pub fn new(place: &'a Device, device: &str, at: &str) -> Self {
        Self {
            place,
            shower: (device.parse().unwrap(), at.parse().unwrap()),
        }
    }

    fn run<T: Send + 'static, F>(
        &self,
        work: impl FnOnce(Link, DeviceId) -> F + Send + 'static,
    ) -> T
    where
        F: Future<Output = T>,
    {
        let (network, (device, at)) = (self.place.network().handle(), self.shower);
        let thread = thread::spawn(move || {
            Namespace::enter(&network);
            drive(async move {
                let identity = Identity::generate().unwrap();
                let endpoint = Endpoint::bind(&identity, &EndpointConfig::default()).unwrap();
                let link = endpoint.dial(Dial::quic(device, &[at])).await.unwrap();
                let done = work(link, identity.device_id()).await;
                endpoint.close().await;
                done
            })
        });
        thread.join().unwrap()
    }

    /// Enters a code as an honest device does, up to its confirmation; gives the answer to that, or
    /// the refusal before it.
    pub fn guesses(&self, code: SpokenCode, kind: CodeKind) -> Option<CodeMessage> {
        self.run(move |link, own| async move {
            let mut line = Line::on(&link).await?;
            let (secret, shows) = (code.secret(), link.device());
            let run = CodePake::enter(&secret, &own, &shows, [5; 32]);
            let (name, pake) = (secret.name(), run.message());
            line.say(CodeMessage::Start { name, kind, pake }).await?;
            let answer = match line.hear().await? {
                CodeMessage::Answer(answer) => answer,
                other => return Some(other),
            };
            let key = run.finish(&answer).ok()?;
            let keys = CodeKeys::new(&key, &line.stream.binding, kind, name, (&pake, &answer));
            let confirmation = keys.confirmation(CodeSide::Enters);
            line.say(CodeMessage::Confirm(confirmation)).await?;
            line.hear().await
        })
    }

    /// Opens so many streams about codes, on each of which it says nothing, or nonsense; gives how
    /// many were opened. They are held for as long as `meanwhile` takes.
    pub fn crowds(&self, streams: usize, meanwhile: impl FnOnce()) -> usize {
        let opened = Arc::<Mutex<usize>>::default();
        let (tell, told) = std::sync::mpsc::channel();
        let (release, held) = tokio::sync::oneshot::channel::<()>();
        let (network, (device, at)) = (self.place.network().handle(), self.shower);
        let counted = Arc::clone(&opened);
        let thread = thread::spawn(move || {
            Namespace::enter(&network);
            drive(async move {
                let identity = Identity::generate().unwrap();
                let endpoint = Endpoint::bind(&identity, &EndpointConfig::default()).unwrap();
                let mut lines = Vec::new();
                let mut link = endpoint.dial(Dial::quic(device, &[at])).await.unwrap();
                for number in 0..streams {
                    // A connection more is made where no more streams are given.
                    let line = timeout(Duration::from_millis(100), Line::on(&link)).await;
                    match line.ok().flatten() {
                        Some(mut line) => {
                            if number % 2 == 0 {
                                let _ = line.say(CodeMessage::Refused(CodeRefusal::Busy)).await;
                            }
                            lines.push(line);
                        }
                        None => match endpoint.dial(Dial::quic(device, &[at])).await {
                            Ok(another) => link = another,
                            Err(_) => break,
                        },
                    }
                }
                *counted.lock().unwrap() = lines.len();
                tell.send(()).unwrap();
                let _ = held.await;
                drop(lines);
                endpoint.close().await;
            });
        });
        told.recv().unwrap();
        meanwhile();
        let _ = release.send(());
        thread.join().unwrap();
        // The thread has ended: nobody else holds it.
        Arc::into_inner(opened).unwrap().into_inner().unwrap()
    }
}
