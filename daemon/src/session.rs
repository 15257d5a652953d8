//! Control streams: two devices prove to each other that they know a share's secret, then tell what they hold.
//!
//! One stream per share and direction of asking; both sides announce on it. A session dies when its stream or link does,
//! or when nothing was heard for [`SILENCE`] although pings are answered at once: that, not discovery, tells who is there.

use crate::daemon::Daemon;
use crate::lane;
use crate::routes::TransferInput;
use crate::shares::Share;
use hither_carrier::{CarrierKind, Link, MessageReader, RecvHalf, SendHalf, Stream, write_message};
use hither_engine::{Carrier, SessionId};
use hither_proto::limits::{MAX_FRAME, MAX_FRAME_UNPROVEN, PROTOCOL};
use hither_proto::{DeviceId, Message, Opened, Proof, Purpose, Refusal, ShareId, Side, SignedHead};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How long an open may go unanswered.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How often a ping is sent.
const PING: Duration = Duration::from_secs(5);
/// Silence after which the other side counts as gone.
const SILENCE: Duration = Duration::from_secs(15);
/// Longest frame of an answer to an open: a head and a name.
const MAX_ANSWER: usize = 4096;

/// Why a session could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("refused")]
    Refused(Refusal),
    #[error(transparent)]
    Link(#[from] hither_carrier::LinkError),
    #[error("{0}")]
    Stream(String),
    #[error("the other device does not know the share's secret, or shows a head that its owner did not sign")]
    Imposter,
    #[error("no answer")]
    TimedOut,
}

fn broken(error: impl std::fmt::Display) -> OpenError {
    OpenError::Stream(error.to_string())
}

/// Sends an open on a fresh stream and checks the answer.
pub(crate) async fn greet(
    stream: &mut Stream,
    reader: &mut MessageReader,
    share: &Share,
    purpose: Purpose,
) -> Result<(Opened, SignedHead), OpenError> {
    let open = Message::Open {
        protocol: PROTOCOL,
        share: share.id,
        proof: Proof::make(&share.secret, &stream.exporter, Side::Opener),
        purpose: Some(purpose),
    };
    write_message(&mut stream.send, &open).await.map_err(broken)?;
    reader.set_max(MAX_ANSWER);
    let answer = tokio::time::timeout(HANDSHAKE, reader.next(&mut stream.recv)).await;
    match answer.map_err(|_| OpenError::TimedOut)?.map_err(broken)? {
        Some(Message::Opened(opened)) => {
            let known = opened.proof.verify(&share.secret, &stream.exporter, Side::Acceptor);
            let head = SignedHead::open(&opened.head, share.id, share.owner);
            match head {
                Ok(head) if known => {
                    reader.set_max(MAX_FRAME);
                    Ok((*opened, head))
                }
                _ => Err(OpenError::Imposter),
            }
        }
        Some(Message::Refused(refusal)) => Err(OpenError::Refused(refusal)),
        Some(_) | None => Err(broken("the device answered something else")),
    }
}

/// Opens a session about a share that is being fetched and keeps it until it ends. The engine is told everything.
pub(crate) async fn run(daemon: Arc<Daemon>, share: ShareId, device: DeviceId) {
    let Some(share) = daemon.shares.get(share) else { return };
    match open(&daemon, &share, device).await {
        Ok(session) => {
            let error = session.run(&daemon, &share).await;
            tracing::debug!(?device, share = ?share.id, error, "a session ended");
            daemon.core.with(|engine, now| engine.handle_session_failed(share.id, device, now));
        }
        Err(OpenError::Refused(refusal)) => {
            tracing::debug!(?device, share = ?share.id, ?refusal, "a session was refused");
            daemon.core.with(|engine, now| engine.handle_session_refused(share.id, device, refusal, now));
        }
        Err(error) => {
            tracing::debug!(?device, share = ?share.id, %error, "a session could not be opened");
            daemon.core.with(|engine, now| engine.handle_session_failed(share.id, device, now));
        }
    }
}

/// A link over QUIC, or over TCP where QUIC does not get through.
async fn link(daemon: &Daemon, device: DeviceId) -> Result<Link, OpenError> {
    match daemon.links.quic(device).await {
        Ok(link) => Ok(link),
        Err(error) => daemon.links.tcp(device, None).await.map_err(|_| error.into()),
    }
}

struct Session {
    device: DeviceId,
    carrier: CarrierKind,
    remote: std::net::SocketAddr,
    rtt: Duration,
    head: SignedHead,
    tcp: bool,
    send: SendHalf,
    recv: RecvHalf,
    reader: MessageReader,
}

async fn open(daemon: &Daemon, share: &Share, device: DeviceId) -> Result<Session, OpenError> {
    let link = link(daemon, device).await?;
    let mut stream = link.open().await?;
    let mut reader = MessageReader::new(MAX_FRAME_UNPROVEN);
    let (opened, head) = greet(&mut stream, &mut reader, share, Purpose::Control).await?;
    daemon.links.introduced(device, opened.device_name.clone(), opened.tcp_port);
    Ok(Session {
        device,
        carrier: link.carrier(),
        remote: link.remote(),
        rtt: link.rtt(),
        head,
        tcp: opened.tcp_port.is_some(),
        send: stream.send,
        recv: stream.recv,
        reader,
    })
}

impl Session {
    /// Runs until the session ends; returns why it did.
    async fn run(mut self, daemon: &Arc<Daemon>, share: &Arc<Share>) -> String {
        let id = daemon.next_session();
        let close = daemon.tasks.token.child_token();
        let (lanes, started) = lane::make(daemon, share, self.device, self.carrier, &close);
        let (sender, mut outgoing) = mpsc::unbounded_channel();
        daemon.core.routes.add_peer(share.id, self.device, close.clone(), lanes);
        daemon.core.routes.add_session(id, share.id, sender);
        self.tell_engine(daemon, share, id);
        for lane in started {
            daemon.tasks.spawn(lane);
        }
        if self.tcp && self.carrier == CarrierKind::Quic && daemon.config.tcp {
            daemon.tasks.spawn(try_tcp(
                Arc::clone(daemon),
                share.id,
                self.device,
                self.remote,
                close.clone(),
            ));
        }
        let error = talk(
            daemon,
            share,
            self.device,
            &mut self.send,
            &mut self.recv,
            &mut self.reader,
            &mut outgoing,
            &close,
        )
        .await;
        close.cancel();
        daemon.core.routes.remove_session(id);
        daemon.core.routes.remove_peer(share.id, self.device);
        daemon.core.with(|engine, _| engine.handle_unsubscribed(id));
        error
    }

    fn tell_engine(&self, daemon: &Daemon, share: &Share, id: SessionId) {
        let version = self.head.head().version;
        learn(daemon, share, &self.head);
        daemon.core.with(|engine, now| {
            engine.handle_session_opened(share.id, self.device, version, self.rtt, now);
            if self.carrier == CarrierKind::Tcp {
                engine.handle_carrier(share.id, self.device, Carrier::Quic, false, now);
                engine.handle_carrier(share.id, self.device, Carrier::Tcp, true, now);
            }
            engine.handle_subscribed(id, share.id);
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

/// Passes messages both ways until something ends it.
#[allow(clippy::too_many_arguments, reason = "both halves of a stream and whom they speak for")]
async fn talk(
    daemon: &Arc<Daemon>,
    share: &Arc<Share>,
    device: DeviceId,
    send: &mut SendHalf,
    recv: &mut RecvHalf,
    reader: &mut MessageReader,
    outgoing: &mut mpsc::UnboundedReceiver<Message>,
    close: &CancellationToken,
) -> String {
    let mut ping = tokio::time::interval(PING);
    let mut heard = tokio::time::Instant::now();
    loop {
        let out = tokio::select! {
            () = close.cancelled() => return "closed here".into(),
            incoming = reader.next(recv) => match incoming {
                Ok(Some(message)) => {
                    heard = tokio::time::Instant::now();
                    match handle(daemon, share, device, message) {
                        Some(answer) => answer,
                        None => continue,
                    }
                }
                Ok(None) => return "the other device closed it".into(),
                Err(error) => return error.to_string(),
            },
            Some(message) = outgoing.recv() => message,
            _ = ping.tick() => {
                if heard.elapsed() > SILENCE {
                    return "nothing was heard for too long".into();
                }
                Message::Ping { nonce: heard.elapsed().as_millis() as u64 }
            }
        };
        // A peer that does not read would block this task: the same patience as for silence.
        match tokio::time::timeout(SILENCE, write_message(send, &out)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return "the other device does not read".into(),
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
        Message::NewHead(head) => {
            match SignedHead::open(&head, share.id, share.owner) {
                Ok(head) => learn(daemon, share, &head),
                Err(error) => tracing::debug!(?device, %error, "a device showed a bad head"),
            }
            None
        }
        Message::Ping { nonce } => Some(Message::Pong { nonce }),
        _ => None,
    }
}

/// A stream that another device opened: checks its proof and serves it as what it was opened for.
pub(crate) async fn accept(daemon: Arc<Daemon>, mut stream: Stream) {
    let mut reader = MessageReader::new(MAX_FRAME_UNPROVEN);
    let first = tokio::time::timeout(HANDSHAKE, reader.next(&mut stream.recv)).await;
    let Ok(Ok(Some(Message::Open { protocol, share, proof, purpose }))) = first else {
        stream.send.reset();
        return;
    };
    let (share, purpose) = match admit(&daemon, &stream, protocol, share, proof, purpose) {
        Ok(admitted) => admitted,
        Err(refusal) => {
            tracing::debug!(device = ?stream.device, ?refusal, "a stream was refused");
            let said = write_message(&mut stream.send, &Message::Refused(refusal)).await;
            if said.is_ok() {
                let _ = stream.send.finish().await;
            }
            return;
        }
    };
    let Some(head) = share.head() else { return };
    let opened = Message::Opened(Box::new(Opened {
        proof: Proof::make(&share.secret, &stream.exporter, Side::Acceptor),
        head: head.to_unchecked(),
        device_name: daemon.name.clone(),
        tcp_port: daemon.endpoint.tcp_port(),
    }));
    if write_message(&mut stream.send, &opened).await.is_err() {
        return;
    }
    reader.set_max(MAX_FRAME);
    match purpose {
        Purpose::Control => attend(&daemon, &share, stream, reader).await,
        Purpose::Bulk => crate::upload::run(&daemon, &share, stream, reader).await,
    }
}

/// Who may do what: knowledge of the share's secret, proven on this very connection, and nothing else.
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
    if !proof.verify(&share.secret, &stream.exporter, Side::Opener) || share.head().is_none() {
        return Err(Refusal::NotFound);
    }
    Ok((share, purpose))
}

/// Keeps a session that another device opened.
async fn attend(daemon: &Arc<Daemon>, share: &Arc<Share>, mut stream: Stream, mut reader: MessageReader) {
    let id = daemon.next_session();
    let device = stream.device;
    let (sender, mut outgoing) = mpsc::unbounded_channel();
    daemon.core.routes.add_session(id, share.id, sender);
    daemon.core.with(|engine, now| {
        engine.handle_subscribed(id, share.id);
        // Whoever knows the secret wants the share, so it will soon have something of it.
        engine.handle_device_seen(share.id, device, now);
    });
    let close = daemon.tasks.token.child_token();
    let error =
        talk(daemon, share, device, &mut stream.send, &mut stream.recv, &mut reader, &mut outgoing, &close)
            .await;
    tracing::debug!(?device, share = ?share.id, error, "a session of another device ended");
    daemon.core.routes.remove_session(id);
    daemon.core.with(|engine, _| engine.handle_unsubscribed(id));
}

/// The lanes of one peer, by carrier.
pub(crate) type Lanes = HashMap<Carrier, mpsc::UnboundedSender<crate::routes::LaneInput>>;
