//! A stranger: a device on the network that knows no ticket and tries everything with what others
//! say to it.
//!
//! Whatever is sent to it first on a stream it sends back to its author: on a stream of its own on
//! the same connection, and on new connections over QUIC and TCP; what is answered there it gives
//! as its own answer to the first stream. It announces itself by multicast, so that everybody on
//! the network sees it.

use super::device::Device;
use super::going::Going;
use super::holder::drive;
use hither_carrier::{
    Discovery, DiscoveryEvent, DiscoveryOptions, Endpoint, EndpointConfig, Identity, Incoming,
    Link, MessageReader, Stream, write_message,
};
use hither_proto::limits::{MAX_FRAME, MAX_FRAME_UNPROVEN};
use hither_proto::{DeviceId, Message};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long it waits for an answer.
const ANSWER: Duration = Duration::from_secs(3);

/// What a stranger was told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loot {
    /// Streams on which it was asked, blindly, whether it knows something.
    pub queries: usize,
    /// Streams on which a share was named to it and a proof shown.
    pub opens: usize,
    /// What it sent back to its author.
    pub reflected: usize,
    /// Reflected queries that were answered as if it knew the share.
    pub recognised: usize,
    /// Reflected opens that let it in.
    pub admitted: usize,
    /// Streams that went on after it had answered with somebody's own words: it was taken for a
    /// holder.
    pub believed: usize,
}

/// A stranger that reflects. Ends when dropped.
#[derive(Debug)]
pub struct Stranger {
    /// Its device id.
    pub id: DeviceId,
    /// Where it listens on both carriers.
    pub port: (u16, Option<u16>),
    loot: Arc<Mutex<Loot>>,
    _going: Going,
}

impl Stranger {
    /// Puts one in the place of a device, whose daemon must not run; it listens when this returns.
    pub fn start(place: &Device) -> Self {
        let loot = Arc::<Mutex<Loot>>::default();
        let told = Arc::clone(&loot);
        let (_going, (id, port)) =
            Going::start(place, move |ready, stop| drive(run(told, ready, stop)));
        Self {
            id,
            port,
            loot,
            _going,
        }
    }

    /// Returns what it was told so far.
    pub fn loot(&self) -> Loot {
        lock(&self.loot).clone()
    }
}

fn lock(loot: &Mutex<Loot>) -> MutexGuard<'_, Loot> {
    loot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a device is: its addresses, and its TCP port.
type Seen = (Vec<SocketAddr>, Option<u16>);

/// What all streams of a stranger share.
#[derive(Clone)]
struct Attack {
    endpoint: Arc<Endpoint>,
    links: Arc<Mutex<HashMap<DeviceId, Link>>>,
    seen: Arc<Mutex<HashMap<DeviceId, Seen>>>,
    loot: Arc<Mutex<Loot>>,
}

type Ready = Sender<(DeviceId, (u16, Option<u16>))>;

async fn run(loot: Arc<Mutex<Loot>>, ready: Ready, stop: CancellationToken) {
    let identity = Identity::generate().unwrap();
    let endpoint = Arc::new(Endpoint::bind(&identity, &EndpointConfig::default()).unwrap());
    let (device, port, tcp_port) = (identity.device_id(), endpoint.port(), endpoint.tcp_port());
    let (discovery, mut seen) =
        Discovery::start(device, port, tcp_port, DiscoveryOptions::default()).unwrap();
    ready.send((device, (port, tcp_port))).unwrap();
    let attack = Attack {
        endpoint: Arc::clone(&endpoint),
        links: Arc::default(),
        seen: Arc::default(),
        loot,
    };
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(event) = seen.recv() => {
                if let DiscoveryEvent::Seen { device, addresses, tcp_port, .. } = event {
                    attack.seen.lock().unwrap().insert(device, (addresses, tcp_port));
                }
            }
            incoming = endpoint.accept() => match incoming {
                Some(Incoming::Link(link)) => {
                    attack.links.lock().unwrap().insert(link.device(), link);
                }
                Some(Incoming::Stream(stream)) => {
                    let attack = attack.clone();
                    tokio::spawn(async move { attack.reflect(stream).await });
                }
                None => break,
            }
        }
    }
    discovery.shutdown().await;
    endpoint.close().await;
}

impl Attack {
    /// Every way back to a device: the connection that it made, and two new ones.
    async fn ways(&self, device: DeviceId) -> Vec<Link> {
        let mut ways: Vec<Link> = self
            .links
            .lock()
            .unwrap()
            .get(&device)
            .cloned()
            .into_iter()
            .collect();
        let seen = self.seen.lock().unwrap().get(&device).cloned();
        if let Some((addresses, tcp_port)) = seen {
            let at: Vec<SocketAddr> = match tcp_port {
                Some(port) => addresses
                    .iter()
                    .map(|at| SocketAddr::new(at.ip(), port))
                    .collect(),
                None => addresses.clone(),
            };
            ways.extend(
                self.endpoint
                    .dial(hither_carrier::Dial::quic(device, &addresses))
                    .await
                    .ok(),
            );
            ways.extend(
                self.endpoint
                    .dial(hither_carrier::Dial::tcp(device, &at))
                    .await
                    .ok(),
            );
        }
        ways
    }

    /// Begins a stream with somebody's own words; gives what is answered, and the stream.
    async fn echo(&self, link: &Link, words: &Message) -> Option<(Message, Stream, MessageReader)> {
        let mut stream = link.open().await.ok()?;
        write_message(&mut stream.send, words).await.ok()?;
        lock(&self.loot).reflected += 1;
        let mut reader = MessageReader::new(MAX_FRAME);
        let answer = timeout(ANSWER, reader.next(&mut stream.recv))
            .await
            .ok()?
            .ok()??;
        Some((answer, stream, reader))
    }

    async fn reflect(&self, mut stream: Stream) {
        let device = stream.device;
        let mut reader = MessageReader::new(MAX_FRAME_UNPROVEN);
        let Ok(Ok(Some(first))) = timeout(ANSWER, reader.next(&mut stream.recv)).await else {
            return;
        };
        let asked = matches!(first, Message::BlindQuery { .. });
        match &first {
            Message::BlindQuery { .. } => lock(&self.loot).queries += 1,
            Message::Open { .. } => lock(&self.loot).opens += 1,
            _ => return,
        }
        // The words of its own opener are the best answer that a stranger has, then what it got for
        // them.
        let mut answers = Vec::new();
        for way in self.ways(device).await {
            let Some((answer, ..)) = self.echo(&way, &first).await else {
                continue;
            };
            match &answer {
                Message::BlindReply { .. } => lock(&self.loot).recognised += 1,
                Message::Opened(_) => lock(&self.loot).admitted += 1,
                _ => continue,
            }
            answers.push(answer);
        }
        if let (Message::BlindQuery { query, .. }, true) = (&first, answers.is_empty()) {
            let reply = hither_proto::BlindReply::from_slice(query.as_bytes()).unwrap();
            answers.push(Message::BlindReply { reply });
        }
        for answer in answers {
            if write_message(&mut stream.send, &answer).await.is_err() {
                return;
            }
        }
        // An opener that believes goes on: with an open after a query, with pings and wants after
        // an open.
        if let Ok(Ok(Some(next))) = timeout(ANSWER, reader.next(&mut stream.recv)).await {
            let mut loot = lock(&self.loot);
            loot.believed += 1;
            if asked && matches!(next, Message::Open { .. }) {
                loot.opens += 1;
            }
        }
    }
}
