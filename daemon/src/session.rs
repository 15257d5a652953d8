//! Control streams: two devices, or a device and a store, prove to each other that they know a share, then tell what they
//! hold.
//!
//! One stream per share and direction of asking; the side that was asked announces on it. A session dies when its stream or link does,
//! or when nothing was heard for [`SILENCE`] although pings are answered at once: that, not discovery, tells who is there.
//! Whoever opened it says nothing of its own holdings: who wants to know opens a session itself.

mod direct;

use crate::daemon::Daemon;
use crate::greeting::{HANDSHAKE, OpenError, greet, greet_device};
use crate::routes::{PeerKey, TransferInput};
use crate::shares::Share;
use crate::{circuits, holders, lane, links};
use hither_api::SourceKind;
use hither_carrier::{CarrierKind, Circuits, Link, MessageReader, RecvHalf, SendHalf, Stream, write_message};
use hither_engine::{Carrier, Distance};
use hither_proto::limits::{MAX_FRAME, MAX_FRAME_UNPROVEN, PROTOCOL};
use hither_proto::{
    BlindQuery, BlindReply, DeviceId, GroupId, HolderKind, Message, Opened, Proof, ProofKey, ProofKind,
    Purpose, Refusal, ShareId, Side, SignedHead,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How often a ping is sent.
const PING: Duration = Duration::from_secs(5);
/// Silence after which the other side counts as gone.
const SILENCE: Duration = Duration::from_secs(15);
/// How long the last words of a share that ended may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// After how long a device that fetches the share itself and knows nothing of it yet is worth another try, milliseconds.
const SOON: u32 = 100;

/// Opens a session about a share that is being fetched and keeps it until it ends. The engine is told everything.
pub(crate) async fn run(daemon: Arc<Daemon>, key: PeerKey) {
    let _lanes = key.close.clone().drop_guard(); // they end with this, however it ends
    let device = key.device;
    let Some(share) = daemon.shares.get(key.share) else {
        daemon.core.routes.remove_peer(&key);
        return;
    };
    tracing::debug!(?device, share = ?share.id, "a session is being opened");
    let opened = tokio::select! {
        biased;
        () = key.close.cancelled() => Err(OpenError::Closed),
        opened = open(&daemon, &share, &key) => opened,
    };
    let refusal = match opened {
        Ok(session) => {
            let error = session.run(&daemon, &share, &key).await;
            tracing::debug!(?device, share = ?share.id, error, "a session ended");
            None
        }
        Err(OpenError::Refused(refusal)) => {
            tracing::debug!(?device, share = ?share.id, ?refusal, "a session was refused");
            Some(refusal)
        }
        Err(error) => {
            tracing::debug!(?device, share = ?share.id, %error, "a session could not be opened");
            None
        }
    };
    // Before the engine may wish for the next session, which would take it for a way that works.
    if daemon.core.routes.is_latest(&key) {
        daemon.links.leave_relayed(device, share.id);
    }
    // Under the engine's lock: it must not wish for the next session between the question and the answer.
    daemon.core.with(|engine, now| match refusal {
        _ if !daemon.core.routes.remove_peer(&key) => {}
        Some(refusal) => engine.handle_session_refused(share.id, device, refusal, now),
        None => engine.handle_session_failed(share.id, device, now),
    });
    if key.kind == HolderKind::Store && !daemon.core.routes.has_peer(device) {
        daemon.links.leave(device);
    }
}

/// Both halves of a control stream.
struct Control {
    send: SendHalf,
    recv: RecvHalf,
    reader: MessageReader,
}

struct Session {
    device: DeviceId,
    kind: HolderKind,
    link: Link,
    head: SignedHead,
    tcp: bool,
    control: Control,
}

async fn open(daemon: &Arc<Daemon>, share: &Share, key: &PeerKey) -> Result<Session, OpenError> {
    let (device, kind) = (key.device, key.kind);
    let circuits = (kind == HolderKind::Device)
        .then(|| (share.id, circuits::Way::new(daemon, share, device) as Arc<dyn Circuits>));
    let (link, mut stream) = daemon.links.either(device, daemon.config.tcp, circuits).await?;
    let mut reader = MessageReader::new(MAX_FRAME_UNPROVEN);
    let (opened, head) = match kind {
        HolderKind::Device => greet_device(&mut stream, &mut reader, share, Purpose::Control).await?,
        HolderKind::Store => greet(&mut stream, &mut reader, share, kind, Purpose::Control).await?,
    };
    daemon.endpoint.vouch(device);
    daemon.links.introduced(device, opened.device_name.clone(), opened.tcp_port);
    daemon.links.leads(&link, kind == HolderKind::Store);
    if kind == HolderKind::Store {
        holders::proven(daemon, share.id, device);
    }
    let tcp = opened.tcp_port.is_some();
    let control = Control { send: stream.send, recv: stream.recv, reader };
    Ok(Session { device, kind, link, head, tcp, control })
}

impl Session {
    /// Runs until the session ends; returns why it did.
    async fn run(mut self, daemon: &Arc<Daemon>, share: &Arc<Share>, key: &PeerKey) -> String {
        let (id, close) = (daemon.next_session(), &key.close);
        let (lanes, started) = lane::make(daemon, share, key, self.link.carrier());
        let (sender, mut outgoing) = mpsc::unbounded_channel();
        daemon.core.routes.add_lanes(key, lanes);
        if self.kind == HolderKind::Device {
            daemon.core.routes.add_session(id, share.id, sender.clone());
        }
        self.tell_engine(daemon, share);
        if self.kind == HolderKind::Device
            && let Some(elsewhere) = holders::elsewhere(daemon, share.id)
        {
            let _ = sender.send(elsewhere);
        }
        for lane in started {
            daemon.tasks.spawn(lane);
        }
        let (found, mut moves) = mpsc::channel(1);
        match self.link.carrier() {
            CarrierKind::Relayed => {
                let looking =
                    direct::look(Arc::clone(daemon), Arc::clone(share), self.device, found, close.clone());
                daemon.tasks.spawn(looking);
            }
            _ => drop(found),
        }
        let error = loop {
            self.look_for_tcp(daemon, share, close);
            let talk = Talk { daemon, share, device: self.device, close };
            match talk.run(&mut self.control, &mut outgoing, &mut moves).await {
                Ok(moved) => self.moves(daemon, share, moved),
                Err(error) => break error,
            }
        };
        close.cancel();
        daemon.core.routes.remove_session(id);
        // What the stream says of a link that ended is only that it did.
        self.link.close_reason().map_or(error, |reason| reason.to_string())
    }

    /// Beside QUIC TCP is tried, for bulk data.
    fn look_for_tcp(&self, daemon: &Arc<Daemon>, share: &Share, close: &CancellationToken) {
        if self.tcp && self.link.carrier() == CarrierKind::Quic && daemon.config.tcp {
            daemon.tasks.spawn(try_tcp(
                Arc::clone(daemon),
                share.id,
                self.device,
                self.link.remote(),
                close.clone(),
            ));
        }
    }

    /// Goes on over a direct link.
    fn moves(&mut self, daemon: &Daemon, share: &Share, moved: direct::Moved) {
        tracing::debug!(device = ?self.device, share = ?share.id, link = ?moved.link, "a session moves to a direct way");
        (self.link, self.head, self.tcp) = (moved.link, moved.head, moved.tcp);
        // The other side announces everything anew on it.
        self.control = moved.control;
        daemon.links.leads(&self.link, false);
        learn(daemon, share, &self.head);
        let (version, distance) = (self.head.head().version, self.distance(daemon));
        let carrier = match self.link.carrier() {
            CarrierKind::Tcp => Carrier::Tcp,
            CarrierKind::Quic | CarrierKind::Relayed => Carrier::Quic,
        };
        daemon.core.with(|engine, now| {
            engine.handle_head(share.id, self.device, version, now);
            engine.handle_moved(share.id, self.device, distance, now);
            engine.handle_carrier(share.id, self.device, carrier, true, now);
        });
    }

    fn distance(&self, daemon: &Daemon) -> Distance {
        let way = daemon.links.way(self.device);
        let (same_network, relayed) = (way == SourceKind::Lan, way == SourceKind::Relayed);
        // Whoever is on the same network is behind no link of another one, however late it answers. Of what is behind a
        // relay nothing is known but that it is somewhere else.
        let site = match (relayed, same_network) {
            (true, _) => Some(crate::sites::behind_relay(self.device)),
            (false, true) => None,
            (false, false) => Some(crate::sites::site(self.link.remote().ip())),
        };
        Distance { rtt: self.link.rtt(), same_network, site, relayed }
    }

    fn tell_engine(&self, daemon: &Daemon, share: &Share) {
        let version = self.head.head().version;
        learn(daemon, share, &self.head);
        let distance = self.distance(daemon);
        tracing::debug!(device = ?self.device, share = ?share.id, ?distance, "a session is open");
        daemon.core.with(|engine, now| {
            engine.handle_session_opened(share.id, self.device, version, distance, now);
            if self.link.carrier() == CarrierKind::Tcp {
                engine.handle_carrier(share.id, self.device, Carrier::Quic, false, now);
                engine.handle_carrier(share.id, self.device, Carrier::Tcp, true, now);
            }
        });
    }
}

/// Remembers a head that was checked, and wakes the transfer when it is a new one.
fn learn(daemon: &Daemon, share: &Share, head: &SignedHead) {
    if share.saw(head) {
        daemon.core.routes.tell_transfer(share.id, TransferInput::NewHead);
    }
}

/// Sees whether the bulk carrier connects, and tells the engine when it does.
async fn try_tcp(
    daemon: Arc<Daemon>,
    share: ShareId,
    device: DeviceId,
    remote: std::net::SocketAddr,
    close: CancellationToken,
) {
    let dialled = tokio::select! {
        dialled = daemon.links.tcp(device, Some(remote)) => dialled,
        () = close.cancelled() => return,
    };
    match dialled {
        Ok(_) => {
            daemon.core.with(|engine, now| engine.handle_carrier(share, device, Carrier::Tcp, true, now))
        }
        Err(error) => tracing::debug!(?device, %error, "TCP does not connect; QUIC carries everything"),
    }
}

/// Who speaks on a control stream, and of what.
struct Talk<'a> {
    daemon: &'a Arc<Daemon>,
    share: &'a Arc<Share>,
    device: DeviceId,
    close: &'a CancellationToken,
}

impl Talk<'_> {
    /// Passes messages both ways until the stream is to be left for another one, or something ends it.
    async fn run(
        &self,
        control: &mut Control,
        outgoing: &mut mpsc::UnboundedReceiver<Message>,
        moves: &mut mpsc::Receiver<direct::Moved>,
    ) -> Result<direct::Moved, String> {
        let Control { send, recv, reader } = control;
        let mut ping = tokio::time::interval(PING);
        let mut heard = tokio::time::Instant::now();
        loop {
            let out = tokio::select! {
                () = self.close.cancelled() => return Err("closed here".into()),
                () = self.share.ended.cancelled() => {
                    // Only its owner's word ends a share for others.
                    if self.share.owner == self.daemon.device {
                        let gone = Message::Refused(Refusal::Gone);
                        let _ = tokio::time::timeout(FAREWELL, write_message(send, &gone)).await;
                        let _ = tokio::time::timeout(FAREWELL, send.finish()).await;
                    }
                    return Err("the share ended here".into());
                }
                Some(moved) = moves.recv() => return Ok(moved),
                incoming = reader.next(recv) => match incoming {
                    Ok(Some(message)) => {
                        heard = tokio::time::Instant::now();
                        match handle(self.daemon, self.share, self.device, message) {
                            Some(answer) => answer,
                            None => continue,
                        }
                    }
                    Ok(None) => return Err("the other device closed it".into()),
                    Err(error) => return Err(error.to_string()),
                },
                Some(message) = outgoing.recv() => message,
                _ = ping.tick() => {
                    if heard.elapsed() > SILENCE {
                        return Err("nothing was heard for too long".into());
                    }
                    Message::Ping { nonce: heard.elapsed().as_millis() as u64 }
                }
            };
            // A peer that does not read would block this task: the same patience as for silence.
            match tokio::time::timeout(SILENCE, write_message(send, &out)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(error.to_string()),
                Err(_) => return Err("the other device does not read".into()),
            }
        }
    }
}

fn handle(daemon: &Daemon, share: &Share, device: DeviceId, message: Message) -> Option<Message> {
    match message {
        Message::Announce(announcement) => {
            daemon.core.with(|engine, now| engine.handle_announced(share.id, device, announcement, now));
            None
        }
        Message::HaveDelta(delta) => {
            daemon.core.with(|engine, now| engine.handle_delta(share.id, device, &delta, now));
            None
        }
        Message::Claims(claims) => {
            daemon.core.with(|engine, now| engine.handle_claims(share.id, device, &claims, now));
            None
        }
        Message::Terms(terms) => {
            daemon.core.with(|engine, now| engine.handle_terms(share.id, device, terms, now));
            None
        }
        Message::NewHead(head) => {
            match SignedHead::open(&head, share.id, share.owner) {
                Ok(head) => {
                    learn(daemon, share, &head);
                    let version = head.head().version;
                    daemon.core.with(|engine, now| engine.handle_head(share.id, device, version, now));
                }
                Err(error) => tracing::debug!(?device, %error, "a device showed a bad head"),
            }
            None
        }
        Message::Refused(refusal) if device == share.owner => {
            daemon.core.with(|engine, now| engine.handle_session_refused(share.id, device, refusal, now));
            None
        }
        Message::Elsewhere { holders, .. } => {
            holders::heard(daemon, share, &holders);
            None
        }
        Message::Ping { nonce } => Some(Message::Pong { nonce }),
        _ => None,
    }
}

/// A stream that another device opened: checks its proof and serves it as what it was opened for.
pub(crate) async fn accept(daemon: Arc<Daemon>, mut stream: Stream) {
    let mut reader = MessageReader::new(MAX_FRAME_UNPROVEN);
    let Some((share, purpose)) = admitted(&daemon, &mut stream, &mut reader).await else { return };
    let Some(head) = share.head() else { return };
    let opened = Message::Opened(Box::new(Opened {
        proof: Proof::make(&ProofKey::of_secret(&share.secret), &stream.binding, Side::Acceptor, purpose),
        head: head.to_unchecked(),
        device_name: daemon.name.clone(),
        tcp_port: daemon.endpoint.tcp_port(),
    }));
    if write_message(&mut stream.send, &opened).await.is_err() {
        return;
    }
    reader.set_max(MAX_FRAME);
    match purpose {
        Purpose::Control => attend(&daemon, &share, stream, reader, &head).await,
        Purpose::Bulk => crate::upload::run(&daemon, &share, stream, reader).await,
        Purpose::Lookup => {}
    }
}

/// Reads how a stream begins, answers what is asked before it, and refuses what may not be: `None`, the stream is done with.
async fn admitted(
    daemon: &Daemon,
    stream: &mut Stream,
    reader: &mut MessageReader,
) -> Option<(Arc<Share>, Purpose)> {
    let mut asked = None;
    loop {
        let first = tokio::time::timeout(HANDSHAKE, reader.next(&mut stream.recv)).await;
        let refusal = match first {
            Ok(Ok(Some(Message::BlindQuery { protocol, query }))) if asked.is_none() => {
                match recognised(daemon, stream, protocol, &query) {
                    Ok(share) => {
                        let reply = BlindReply::make(&share.blind, &stream.binding);
                        asked = Some(share.id);
                        write_message(&mut stream.send, &Message::BlindReply { reply }).await.ok()?;
                        continue;
                    }
                    Err(refusal) => refusal,
                }
            }
            Ok(Ok(Some(Message::Open { protocol, share, proof, proof_kind, purpose, .. }))) => {
                // Lookups and read keys are for relays.
                let purpose = purpose.filter(|&of| proof_kind == ProofKind::Secret && of != Purpose::Lookup);
                // Whoever asked about one share has no reason to open another one on the same stream.
                match admit(daemon, stream, protocol, share, proof, purpose) {
                    Ok(admitted) if asked.is_none_or(|asked| asked == share) => return Some(admitted),
                    Ok(_) => Refusal::NotFound,
                    Err(refusal) => refusal,
                }
            }
            _ => {
                stream.send.reset();
                return None;
            }
        };
        tracing::debug!(device = ?stream.device, ?refusal, "a stream was refused");
        if write_message(&mut stream.send, &Message::Refused(refusal)).await.is_ok() {
            let _ = stream.send.finish().await;
        }
        return None;
    }
}

/// The share that another device asks about without naming it.
fn recognised(
    daemon: &Daemon,
    stream: &Stream,
    protocol: u32,
    query: &BlindQuery,
) -> Result<Arc<Share>, Refusal> {
    if protocol != PROTOCOL {
        return Err(Refusal::Protocol);
    }
    let share = daemon.shares.recognise(query, &stream.binding)?.ok_or(Refusal::NotFound)?;
    if is_barred(daemon, &share, &stream.device) { Err(Refusal::NotFound) } else { Ok(share) }
}

/// Returns whether a group has removed the device with which the share was shared: it still knows the secret, and gets nothing
/// more of it here.
fn is_barred(daemon: &Daemon, share: &Share, device: &DeviceId) -> bool {
    let group = daemon.share_record(share.id).and_then(|record| GroupId::from_hex(&record.group?.group).ok());
    daemon.groups.bars(share.id, group, device)
}

/// Who may do what: knowledge of the share's secret, proven on this very stream; of what is shared with a group, unless the
/// group has removed the device.
fn admit(
    daemon: &Daemon,
    stream: &Stream,
    protocol: u32,
    share: ShareId,
    proof: Proof,
    purpose: Option<Purpose>,
) -> Result<(Arc<Share>, Purpose), Refusal> {
    let Some(purpose) = purpose.filter(|_| protocol == PROTOCOL) else { return Err(Refusal::Protocol) };
    let share = daemon.shares.get(share).ok_or(Refusal::NotFound)?;
    let key = ProofKey::of_secret(&share.secret);
    if !proof.verify(&key, &stream.binding, Side::Opener, purpose)
        || is_barred(daemon, &share, &stream.device)
    {
        return Err(Refusal::NotFound);
    }
    share.name_holder(stream.device);
    daemon.endpoint.vouch(stream.device);
    // Who begins to fetch it has nothing to show yet, and will in a moment.
    if share.head().is_none() { Err(Refusal::Busy(SOON)) } else { Ok((share, purpose)) }
}

/// Keeps a session that another device opened.
async fn attend(
    daemon: &Arc<Daemon>,
    share: &Arc<Share>,
    stream: Stream,
    reader: MessageReader,
    shown: &SignedHead,
) {
    let id = daemon.next_session();
    let device = stream.device;
    let (sender, mut outgoing) = mpsc::unbounded_channel();
    daemon.core.routes.add_session(id, share.id, sender.clone());
    // What became the head since was told before this session could hear it.
    if let Some(newer) = share.head().filter(|head| head.head().version != shown.head().version) {
        let _ = sender.send(Message::NewHead(newer.to_unchecked()));
    }
    daemon.core.with(|engine, now| {
        engine.handle_subscribed(id, share.id);
        // Whoever knows the secret wants the share, so it will soon have something of it.
        engine.handle_device_seen(share.id, device, now);
    });
    if let Some(elsewhere) = holders::elsewhere(daemon, share.id) {
        let _ = sender.send(elsewhere);
    }
    daemon.listeners.add(daemon, id, links::place(stream.carrier, stream.remote), sender);
    let close = daemon.tasks.token.child_token();
    // Whoever opened it moves it: by opening another one.
    let (_, mut moves) = mpsc::channel(1);
    let mut control = Control { send: stream.send, recv: stream.recv, reader };
    let talk = Talk { daemon, share, device, close: &close };
    let ended = talk.run(&mut control, &mut outgoing, &mut moves).await;
    let error = ended.err().unwrap_or_default();
    tracing::debug!(?device, share = ?share.id, error, "a session of another device ended");
    daemon.listeners.remove(id);
    daemon.core.routes.remove_session(id);
    daemon.core.with(|engine, _| engine.handle_unsubscribed(id));
}

/// The lanes of one peer, by carrier.
pub(crate) type Lanes = HashMap<Carrier, mpsc::UnboundedSender<crate::routes::LaneInput>>;
