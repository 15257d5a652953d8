//! Control streams: two devices, or a device and a store, prove to each other that they know a
//! share, then tell what they hold.
//!
//! One stream per share and direction of asking; the side that was asked announces on it. A session
//! dies when its stream or link does, or when nothing was heard for [`SILENCE`] although pings are
//! answered at once: that, not discovery, tells who is there. Whoever opened it says nothing of its
//! own holdings: who wants to know opens a session itself.

mod accepted;
mod direct;

pub(crate) use accepted::{accept, barred};

use crate::handshake::{OpenError, greet, greet_device};
use crate::routes::{PeerKey, TransferInput};
use crate::shares::Share;
use crate::swarm::Swarm;
use crate::{circuits, download_stream, punching};
use hither_api::SourceKind;
use hither_carrier::{
    CarrierKind, Circuits, Link, LinkError, MessageReader, RecvHalf, SendHalf, write_message,
};
use hither_engine::{Carrier, Distance};
use hither_proto::limits::MAX_FRAME_UNPROVEN;
use hither_proto::{
    DeviceId, HolderKind, Message, Progress, Purpose, Refusal, ShareId, SignedHead, UncheckedHead,
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
/// After how long a device that fetches the share itself and knows nothing of it yet is worth
/// another try, milliseconds.
const SOON: u32 = 100;
/// Heads of which is remembered that the owner was told of them on one stream.
const MAX_TOLD: usize = 16;

/// Opens a session about a share that is being fetched and keeps it until it ends. The engine is
/// told everything.
pub(crate) async fn run(swarm: Arc<Swarm>, key: PeerKey) {
    let _streams = key.close.clone().drop_guard(); // they end with this, however it ends
    let device = key.device;
    let Some(share) = swarm.shares.get(key.share) else {
        swarm.core.routes.remove_peer(&key);
        return;
    };
    tracing::debug!(?device, share = ?share.id, "a session is being opened");
    let opened = tokio::select! {
        biased;
        () = key.close.cancelled() => Err(OpenError::Closed),
        opened = open(&swarm, &share, &key) => opened,
    };
    let mut given_up = false;
    let refusal = match opened {
        Ok(session) => {
            let error;
            (error, given_up) = session.run(&swarm, &share, &key).await;
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
    if swarm.core.routes.is_latest(&key) {
        swarm.links.leave_relayed(device, share.id);
    }
    // Under the engine's lock: it must not wish for the next session between the question and the
    // answer.
    swarm.core.with(|engine, now| match refusal {
        _ if !swarm.core.routes.remove_peer(&key) => {}
        Some(refusal) => engine.handle_session_refused(share.id, device, refusal, now),
        None => {
            engine.handle_session_failed(share.id, device, now);
            if given_up {
                engine.handle_back(Some(device), now);
            }
        }
    });
    if key.kind == HolderKind::Store && !swarm.core.routes.has_peer(device) {
        swarm.links.leave(device);
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

async fn open(swarm: &Arc<Swarm>, share: &Share, key: &PeerKey) -> Result<Session, OpenError> {
    let (device, kind) = (key.device, key.kind);
    let circuits = (kind == HolderKind::Device).then(|| {
        (
            share.id,
            circuits::CircuitDialer::new(swarm, share, device) as Arc<dyn Circuits>,
        )
    });
    let (link, mut stream) = swarm.links.either(device, swarm.tcp, circuits).await?;
    let mut reader = MessageReader::new(MAX_FRAME_UNPROVEN);
    let (opened, head) = match kind {
        HolderKind::Device => {
            greet_device(&mut stream, &mut reader, share, Purpose::Control).await?
        }
        HolderKind::Store => greet(&mut stream, &mut reader, share, kind, Purpose::Control).await?,
    };
    swarm.endpoint.vouch(device);
    swarm
        .links
        .introduced(device, opened.device_name.clone(), opened.tcp_port);
    swarm.links.leads(&link, kind == HolderKind::Store);
    if kind == HolderKind::Store {
        swarm.store_proven(share.id, device);
    }
    let tcp = opened.tcp_port.is_some();
    let control = Control {
        send: stream.send,
        recv: stream.recv,
        reader,
    };
    Ok(Session {
        device,
        kind,
        link,
        head,
        tcp,
        control,
    })
}

impl Session {
    /// Runs until the session ends; returns why it did, and whether its link was found to lead
    /// nowhere any more: by another one the device may be reached at once.
    async fn run(
        mut self,
        swarm: &Arc<Swarm>,
        share: &Arc<Share>,
        key: &PeerKey,
    ) -> (String, bool) {
        let (id, close) = (swarm.next_session(), &key.close);
        let (streams, started) = download_stream::make(swarm, share, key, self.link.carrier());
        let (sender, mut outgoing) = mpsc::unbounded_channel();
        swarm.core.routes.add_download_streams(key, streams);
        if self.kind == HolderKind::Device {
            swarm.core.routes.add_session(id, share.id, sender.clone());
        }
        self.tell_engine(swarm, share);
        if self.kind == HolderKind::Device
            && let Some(elsewhere) = swarm.elsewhere(share.id)
        {
            let _ = sender.send(elsewhere);
        }
        for download in started {
            swarm.tasks.spawn(download);
        }
        let (found, mut moves) = mpsc::channel(1);
        match self.link.carrier() {
            CarrierKind::Relayed => {
                let looking = direct::Look {
                    swarm: Arc::clone(swarm),
                    share: Arc::clone(share),
                    device: self.device,
                    out: sender.clone(),
                };
                swarm.tasks.spawn(looking.run(found, close.clone()));
            }
            _ => drop(found),
        }
        let error = loop {
            self.look_for_tcp(swarm, share, close);
            let control = ControlStream {
                swarm,
                share,
                device: self.device,
                tells: true,
                answers: None,
                close,
            };
            let shown = Some(self.head.clone());
            match control
                .run(&mut self.control, shown, &mut outgoing, &mut moves)
                .await
            {
                Ok(moved) => self.moves(swarm, share, moved),
                Err(error) => break error,
            }
        };
        close.cancel();
        swarm.core.routes.remove_session(id);
        // The stream's report of a link that ended is only that it did.
        match self.link.close_reason() {
            Some(reason) => (reason.to_string(), reason == LinkError::Closed),
            None => (error, false),
        }
    }

    /// Beside QUIC TCP is tried, for bulk data, unless it was found to carry less.
    fn look_for_tcp(&self, swarm: &Arc<Swarm>, share: &Share, close: &CancellationToken) {
        let worse = swarm.links.paths().first(self.device) == Some(CarrierKind::Quic);
        if self.tcp && !worse && self.link.carrier() == CarrierKind::Quic && swarm.tcp {
            swarm.tasks.spawn(try_tcp(
                Arc::clone(swarm),
                share.id,
                self.device,
                self.link.remote(),
                close.clone(),
            ));
        }
    }

    /// Goes on over a direct link.
    fn moves(&mut self, swarm: &Arc<Swarm>, share: &Arc<Share>, moved: direct::Moved) {
        tracing::debug!(device = ?self.device, share = ?share.id, link = ?moved.link, "a session moves to a direct way");
        (self.link, self.head, self.tcp) = (moved.link, moved.head, moved.tcp);
        // The other side announces everything anew on it.
        self.control = moved.control;
        swarm.links.leads(&self.link, false);
        learn(swarm, share, &self.head);
        let (version, distance) = (counted(share, &self.head), self.distance(swarm));
        let carrier = match self.link.carrier() {
            CarrierKind::Tcp => Carrier::Tcp,
            CarrierKind::Quic | CarrierKind::Relayed => Carrier::Quic,
        };
        swarm.core.with(|engine, now| {
            engine.handle_head(share.id, self.device, version, now);
            engine.handle_moved(share.id, self.device, distance, now);
            engine.handle_carrier(share.id, self.device, carrier, true, now);
        });
    }

    fn distance(&self, swarm: &Swarm) -> Distance {
        let way = swarm.links.way(self.device);
        let (same_network, relayed) = (way == SourceKind::Lan, way == SourceKind::Relayed);
        // A device on the same network is behind no link of another one, however late it answers. A
        // device behind a relay is only known to be somewhere else.
        let site = match (relayed, same_network) {
            (true, _) => Some(crate::sites::behind_relay(self.device)),
            (false, true) => None,
            (false, false) => Some(crate::sites::site(self.link.remote().ip())),
        };
        Distance {
            rtt: self.link.rtt(),
            same_network,
            site,
            relayed,
        }
    }

    fn tell_engine(&self, swarm: &Arc<Swarm>, share: &Arc<Share>) {
        learn(swarm, share, &self.head);
        let version = counted(share, &self.head);
        let distance = self.distance(swarm);
        tracing::debug!(device = ?self.device, share = ?share.id, ?distance, "a session is open");
        swarm.core.with(|engine, now| {
            engine.handle_session_opened(share.id, self.device, version, distance, now);
            if self.link.carrier() == CarrierKind::Tcp {
                engine.handle_carrier(share.id, self.device, Carrier::Quic, false, now);
                engine.handle_carrier(share.id, self.device, Carrier::Tcp, true, now);
            }
        });
    }
}

/// Remembers a head that was checked, and wakes the transfer when it is a new one. An owner that
/// does not know it goes past it.
fn learn(swarm: &Arc<Swarm>, share: &Arc<Share>, head: &SignedHead) {
    if share.saw(head) {
        swarm
            .core
            .routes
            .tell_transfer(share.id, TransferInput::NewHead);
    }
    swarm.mark_if_behind(share);
}

/// The version of a head as the engine counts it: none when another head of that version is
/// preferred, for it knows versions by their numbers and would mix the two.
fn counted(share: &Share, head: &SignedHead) -> u64 {
    if share.is_passed_over(head) {
        0
    } else {
        head.head().version
    }
}

/// Sees whether the bulk carrier connects, and notifies the engine when it does.
async fn try_tcp(
    swarm: Arc<Swarm>,
    share: ShareId,
    device: DeviceId,
    remote: std::net::SocketAddr,
    close: CancellationToken,
) {
    let dialled = tokio::select! {
        dialled = swarm.links.tcp(device, Some(remote)) => dialled,
        () = close.cancelled() => return,
    };
    match dialled {
        Ok(_) => swarm
            .core
            .with(|engine, now| engine.handle_carrier(share, device, Carrier::Tcp, true, now)),
        Err(error) => {
            tracing::debug!(?device, %error, "TCP does not connect; QUIC carries everything")
        }
    }
}

/// The peer on a control stream, and its subject.
struct ControlStream<'a> {
    swarm: &'a Arc<Swarm>,
    share: &'a Arc<Share>,
    device: DeviceId,
    /// The other side is told how much of the share is here.
    tells: bool,
    /// The way to the other side of a session that it opened through a relay: it may begin to look
    /// for a direct path.
    answers: Option<mpsc::UnboundedSender<Message>>,
    close: &'a CancellationToken,
}

impl ControlStream<'_> {
    /// Passes messages both ways until the stream is to be left for another one, or something ends
    /// it.
    async fn run(
        &self,
        control: &mut Control,
        mut shown: Option<SignedHead>,
        outgoing: &mut mpsc::UnboundedReceiver<Message>,
        moves: &mut mpsc::Receiver<direct::Moved>,
    ) -> Result<direct::Moved, String> {
        let mut heads = self.share.heads();
        heads.mark_changed();
        let counts = shown
            .as_ref()
            .is_some_and(|shown| !self.share.is_passed_over(shown));
        let mut told = Vec::new();
        let mut progress = self.share.progress();
        progress.mark_changed();
        let Control { send, recv, reader } = control;
        let mut ping = tokio::time::interval(PING);
        let mut heard = tokio::time::Instant::now();
        loop {
            let out = tokio::select! {
                () = self.close.cancelled() => {
                    let last = *progress.borrow();
                    if let Some(last) = last.filter(|last| self.tells && last.complete) {
                        self.last_word(send, last).await;
                    }
                    return Err("closed here".into());
                }
                () = self.share.ended.cancelled() => {
                    // Only its owner's word ends a share for others.
                    if self.share.owner == self.swarm.device {
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
                        match self.handle(&mut shown, message) {
                            Some(answer) => answer,
                            None => continue,
                        }
                    }
                    Ok(None) => return Err("the other device closed it".into()),
                    Err(error) => return Err(error.to_string()),
                },
                Some(message) = outgoing.recv() => message,
                Ok(()) = progress.changed(), if self.tells => {
                    match *progress.borrow_and_update() {
                        Some(progress) => Message::Progress(progress),
                        None => continue,
                    }
                }
                Ok(()) = heads.changed() => {
                    let Some(shown) = &shown else { continue };
                    if counts && self.share.is_passed_over(shown) {
                        // The next session counts it as what it is.
                        return Err("another head of the same version is preferred".into());
                    }
                    match self.unknown_to_owner(shown, &mut told) {
                        Some(unknown) => Message::NewHead(unknown.to_unchecked()),
                        None => continue,
                    }
                }
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

    /// Says that all of it is here before the stream is closed, which a fetch does right then.
    async fn last_word(&self, send: &mut SendHalf, progress: Progress) {
        let said = async {
            write_message(send, &Message::Progress(progress)).await?;
            send.finish().await?;
            // A stream through a relay ends with the session.
            send.delivered().await
        };
        if !matches!(tokio::time::timeout(FAREWELL, said).await, Ok(Ok(()))) {
            tracing::debug!(device = ?self.device, "the last word of a session may be lost");
        }
    }

    /// Something that the share's owner, who shows `shown`, may not know, and was not told on this
    /// stream.
    fn unknown_to_owner(
        &self,
        shown: &SignedHead,
        told: &mut Vec<SignedHead>,
    ) -> Option<SignedHead> {
        if self.device != self.share.owner {
            return None;
        }
        let unknown = self
            .share
            .unknown_to(shown)
            .into_iter()
            .find(|head| !told.contains(head))?;
        if told.len() >= MAX_TOLD {
            told.remove(0);
        }
        told.push(unknown.clone());
        Some(unknown)
    }

    /// Handles a message; returns the answer to it. `shown`: the head that the other side
    /// showed last.
    fn handle(&self, shown: &mut Option<SignedHead>, message: Message) -> Option<Message> {
        let (swarm, share, device) = (self.swarm, self.share, self.device);
        // Its version of that number is another version.
        let other = |version| {
            shown
                .as_ref()
                .is_some_and(|of| of.head().version == version && share.is_passed_over(of))
        };
        match message {
            Message::Announce(announcement) if !other(announcement.version) => {
                swarm.core.with(|engine, now| {
                    engine.handle_announced(share.id, device, announcement, now)
                });
            }
            Message::HaveDelta(delta) if !other(delta.version) => {
                swarm
                    .core
                    .with(|engine, now| engine.handle_delta(share.id, device, &delta, now));
            }
            Message::Claims(claims) => {
                swarm
                    .core
                    .with(|engine, now| engine.handle_claims(share.id, device, &claims, now));
            }
            Message::Terms(terms) => {
                share.hear_terms(&terms);
                swarm
                    .core
                    .with(|engine, now| engine.handle_terms(share.id, device, terms, now));
            }
            Message::NewHead(head) => self.hear_head(shown, &head),
            // Only who opened the stream fetches over it.
            Message::Progress(said) if !self.tells && shown.is_none() => {
                swarm.givings.said(share.id, device, &said);
            }
            Message::Refused(refusal) if device == share.owner => {
                swarm.core.with(|engine, now| {
                    engine.handle_session_refused(share.id, device, refusal, now)
                });
            }
            Message::Elsewhere { holders, .. } => swarm.hear_holders(share, &holders),
            Message::Candidates(candidates) => {
                punching::hear(swarm, share.id, device, *candidates, self.answers.as_ref());
            }
            Message::Ping { nonce } => return Some(Message::Pong { nonce }),
            _ => {}
        }
        None
    }

    /// The other side shows a head, or reports one to the owner.
    fn hear_head(&self, shown: &mut Option<SignedHead>, head: &UncheckedHead) {
        let (swarm, share, device) = (self.swarm, self.share, self.device);
        let head = match SignedHead::open(head, share.id, share.owner) {
            Ok(head) => head,
            Err(error) => return tracing::debug!(?device, %error, "a device showed a bad head"),
        };
        learn(swarm, share, &head);
        let version = counted(share, &head);
        swarm
            .core
            .with(|engine, now| engine.handle_head(share.id, device, version, now));
        if shown.is_some() {
            *shown = Some(head);
        }
    }
}

/// The streams of one peer, by carrier.
pub(crate) type DownloadStreams =
    HashMap<Carrier, mpsc::UnboundedSender<crate::routes::DownloadInput>>;
