//! The destinations of the engine's commands: the channels of transfers, sessions, streams and
//! uploads.
//!
//! The channels are unbounded, but what stands in them is bounded: by the engine (requests in
//! flight, upload slots, one announcement per change), and for uploads, where a stranger's requests
//! are answered, by [`Backlog`]. A receiver that is gone is no error, its end is on the way to the
//! engine already.

use crate::download_stream::{ChunkSink, PutError};
use crate::serve_stream::Backlog;
use hither_engine::{Carrier, Command, RequestId, SessionId, StreamId};
use hither_proto::{DeviceId, HolderKind, Message, Ranges, RelayAddress, ShareId, Space, Want};
use hither_util::sync::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, MutexGuard};
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

/// The input of a transfer.
#[derive(Debug)]
pub enum TransferInput {
    /// A holder showed a version that was not known before.
    NewHead,
    /// The engine chose a version.
    VersionChosen(u64),
    /// Everything planned of a space is got.
    SpaceComplete(Space),
    /// A write failed; the transfer cannot go on like this.
    WriteFailed(PutError),
    /// Positions were written and wait for the next checkpoint.
    Written(Vec<u32>),
}

/// The input of a stream (the fetching side of bulk streams).
#[derive(Debug)]
pub(crate) enum DownloadInput {
    Want {
        request: RequestId,
        space: Space,
        version: u64,
        ranges: Ranges,
    },
    Cancel {
        request: RequestId,
    },
}

/// The input of an upload (the serving side of a bulk stream).
#[derive(Debug)]
pub(crate) enum ServeInput {
    Serve { share: ShareId, want: Want },
    Abort { request: u64 },
    Tell(Message),
}

/// The input of the supervisor: work that needs a new task.
#[derive(Debug)]
pub(crate) enum SupervisorInput {
    OpenSession(PeerKey),
    FindRelay(PeerKey),
}

/// A fetch's dealings with one device, from the engine's wish for a session to the session's end.
#[derive(Debug, Clone)]
pub(crate) struct PeerKey {
    pub(crate) share: ShareId,
    pub(crate) device: DeviceId,
    pub(crate) kind: HolderKind,
    /// Tells this session from those with the same device before and after.
    number: u64,
    /// Cancelled when the engine wants it closed, be it open yet or not.
    pub(crate) close: CancellationToken,
}

/// The session that a fetch has or opens with one device, and the streams once it is open.
#[derive(Debug)]
struct Peer {
    number: u64,
    close: CancellationToken,
    streams: HashMap<Carrier, UnboundedSender<DownloadInput>>,
}

/// The destination of everything that concerns one fetch.
pub struct TransferRoute {
    /// Takes what the transfer is to know.
    pub inputs: UnboundedSender<TransferInput>,
    /// Takes its chunks.
    pub sink: Arc<dyn ChunkSink>,
    /// Relays that its ticket names.
    pub relays: Vec<RelayAddress>,
}

#[derive(Default)]
struct Inner {
    transfers: HashMap<ShareId, TransferRoute>,
    peers: HashMap<(ShareId, DeviceId), Peer>,
    sessions: HashMap<SessionId, (ShareId, UnboundedSender<Message>)>,
    uploads: HashMap<StreamId, (UnboundedSender<ServeInput>, Arc<Backlog>)>,
    /// Sessions that the engine has wished for so far.
    wishes: u64,
}

/// The routing table.
pub struct Routes {
    inner: Mutex<Inner>,
    supervisor: UnboundedSender<SupervisorInput>,
}

impl Routes {
    pub(crate) fn new(supervisor: UnboundedSender<SupervisorInput>) -> Self {
        Self {
            inner: Mutex::default(),
            supervisor,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    // --- who listens ---

    /// A fetch of a share begins to run.
    pub fn add_transfer(&self, share: ShareId, route: TransferRoute) {
        self.lock().transfers.insert(share, route);
    }

    /// Returns the sink for the chunks of a share; `None` while it is not fetched.
    pub(crate) fn sink(&self, share: ShareId) -> Option<Arc<dyn ChunkSink>> {
        let inner = self.lock();
        inner
            .transfers
            .get(&share)
            .map(|route| Arc::clone(&route.sink))
    }

    /// Returns whether a fetch of a share runs.
    pub fn is_fetched(&self, share: ShareId) -> bool {
        self.lock().transfers.contains_key(&share)
    }

    /// The relays that the ticket names by which a share is fetched now.
    pub(crate) fn ticket_relays(&self, share: ShareId) -> Vec<RelayAddress> {
        let inner = self.lock();
        let route = inner.transfers.get(&share);
        route.map(|route| route.relays.clone()).unwrap_or_default()
    }

    /// The fetch of a share has ended, or pauses.
    pub fn remove_transfer(&self, share: ShareId) {
        self.lock().transfers.remove(&share);
    }

    pub(crate) fn tell_transfer(&self, share: ShareId, input: TransferInput) {
        if let Some(route) = self.lock().transfers.get(&share) {
            let _ = route.inputs.send(input);
        }
    }

    /// From the wish on: a session that is closed while it is still being opened must not open.
    fn new_peer(&self, share: ShareId, device: DeviceId, kind: HolderKind) -> PeerKey {
        let mut inner = self.lock();
        inner.wishes += 1;
        let (number, close) = (inner.wishes, CancellationToken::new());
        let peer = Peer {
            number,
            close: close.clone(),
            streams: HashMap::new(),
        };
        if let Some(before) = inner.peers.insert((share, device), peer) {
            before.close.cancel();
        }
        PeerKey {
            share,
            device,
            kind,
            number,
            close,
        }
    }

    /// The session is open.
    pub(crate) fn add_download_streams(
        &self,
        key: &PeerKey,
        streams: HashMap<Carrier, UnboundedSender<DownloadInput>>,
    ) {
        if let Some(peer) = self
            .lock()
            .peers
            .get_mut(&(key.share, key.device))
            .filter(|p| p.number == key.number)
        {
            peer.streams = streams;
        }
    }

    /// The session has ended or could not be opened. Says whether it was the latest with that
    /// device: of one that was closed and followed by another the engine need not hear any
    /// more.
    pub(crate) fn remove_peer(&self, key: &PeerKey) -> bool {
        let mut inner = self.lock();
        let latest = inner
            .peers
            .get(&(key.share, key.device))
            .is_some_and(|p| p.number == key.number);
        if latest {
            inner.peers.remove(&(key.share, key.device));
        }
        latest
    }

    /// Returns whether no other session with that device was requested since.
    pub(crate) fn is_latest(&self, key: &PeerKey) -> bool {
        self.lock()
            .peers
            .get(&(key.share, key.device))
            .is_some_and(|peer| peer.number == key.number)
    }

    /// Returns whether any fetch has to do with a device or store.
    pub(crate) fn has_peer(&self, device: DeviceId) -> bool {
        self.lock().peers.keys().any(|(_, peer)| *peer == device)
    }

    /// A session about a share begins; its messages go to `sender`.
    pub fn add_session(
        &self,
        session: SessionId,
        share: ShareId,
        sender: UnboundedSender<Message>,
    ) {
        self.lock().sessions.insert(session, (share, sender));
    }

    /// A session has ended.
    pub fn remove_session(&self, session: SessionId) {
        self.lock().sessions.remove(&session);
    }

    /// Says something on every session about a share.
    pub fn tell_sessions(&self, share: ShareId, message: &Message) {
        for (_, sender) in self
            .lock()
            .sessions
            .values()
            .filter(|(about, _)| *about == share)
        {
            let _ = sender.send(message.clone());
        }
    }

    pub(crate) fn add_upload(
        &self,
        stream: StreamId,
        sender: UnboundedSender<ServeInput>,
        backlog: Arc<Backlog>,
    ) {
        self.lock().uploads.insert(stream, (sender, backlog));
    }

    pub(crate) fn remove_upload(&self, stream: StreamId) {
        self.lock().uploads.remove(&stream);
    }

    // --- the engine's commands ---

    /// Hands a command to whoever does it. Never blocks.
    pub(crate) fn dispatch(&self, command: Command) {
        match command {
            Command::OpenSession {
                share,
                device,
                kind,
            } => {
                let _ = self.supervisor.send(SupervisorInput::OpenSession(
                    self.new_peer(share, device, kind),
                ));
            }
            Command::FindRelay { share, device } => {
                if let Some(Peer { number, close, .. }) = self.lock().peers.get(&(share, device)) {
                    let (kind, number, close) = (HolderKind::Device, *number, close.clone());
                    let _ = self.supervisor.send(SupervisorInput::FindRelay(PeerKey {
                        share,
                        device,
                        kind,
                        number,
                        close,
                    }));
                }
            }
            Command::CloseSession { share, device } => {
                if let Some(peer) = self.lock().peers.get(&(share, device)) {
                    peer.close.cancel();
                }
            }
            Command::VersionChosen { share, version } => {
                self.tell_transfer(share, TransferInput::VersionChosen(version));
            }
            Command::SpaceComplete { share, space } => {
                self.tell_transfer(share, TransferInput::SpaceComplete(space));
            }
            Command::Want {
                share,
                device,
                carrier,
                request,
                space,
                version,
                ranges,
            } => {
                if let Some(stream) = self
                    .lock()
                    .peers
                    .get(&(share, device))
                    .and_then(|p| p.streams.get(&carrier))
                {
                    let _ = stream.send(DownloadInput::Want {
                        request,
                        space,
                        version,
                        ranges,
                    });
                }
            }
            Command::Cancel {
                share,
                device,
                request,
            } => {
                // The engine need not remember over which carrier it asked: the others do not know
                // the request.
                for stream in self
                    .lock()
                    .peers
                    .get(&(share, device))
                    .into_iter()
                    .flat_map(|p| p.streams.values())
                {
                    let _ = stream.send(DownloadInput::Cancel { request });
                }
            }
            Command::Announce {
                session,
                announcement,
            } => {
                self.tell_session(session, Message::Announce(announcement));
            }
            Command::Delta { session, delta } => {
                self.tell_session(session, Message::HaveDelta(delta))
            }
            Command::Claims { session, claims } => {
                self.tell_session(session, Message::Claims(claims))
            }
            Command::Serve {
                stream,
                request,
                share,
                space,
                version,
                ranges,
            } => {
                let want = Want {
                    request,
                    space,
                    version,
                    ranges,
                };
                self.tell_upload(stream, ServeInput::Serve { share, want });
            }
            Command::Abort { stream, request } => {
                self.tell_upload(stream, ServeInput::Abort { request })
            }
            Command::Busy {
                stream,
                request,
                retry_after_ms,
            } => {
                self.tell_upload(
                    stream,
                    ServeInput::Tell(Message::Busy {
                        request,
                        retry_after_ms,
                    }),
                );
            }
            Command::NotHeld {
                stream,
                request,
                ranges,
            } => {
                self.tell_upload(
                    stream,
                    ServeInput::Tell(Message::NotHeld { request, ranges }),
                );
            }
        }
    }

    fn tell_session(&self, session: SessionId, message: Message) {
        if let Some((_, sender)) = self.lock().sessions.get(&session) {
            let _ = sender.send(message);
        }
    }

    fn tell_upload(&self, stream: StreamId, input: ServeInput) {
        if let Some((sender, backlog)) = self.lock().uploads.get(&stream) {
            backlog.added();
            let _ = sender.send(input);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc::unbounded_channel;

    #[test]
    fn a_session_can_be_closed_before_it_is_open_and_does_not_end_the_next() {
        let (supervisor, mut told) = unbounded_channel();
        let routes = Routes::new(supervisor);
        let share = ShareId::from_slice(&[7; ShareId::LEN]).unwrap();
        let device = hither_carrier::Identity::generate().unwrap().device_id();
        let mut open = || {
            routes.dispatch(Command::OpenSession {
                share,
                device,
                kind: HolderKind::Device,
            });
            let SupervisorInput::OpenSession(key) = told.try_recv().unwrap() else {
                panic!("a session was wished for")
            };
            key
        };
        let first = open();
        assert!(!first.close.is_cancelled());
        routes.dispatch(Command::CloseSession { share, device });
        assert!(first.close.is_cancelled());
        let second = open();
        assert!(!second.close.is_cancelled());
        assert!(!routes.remove_peer(&first), "it is not the latest");
        let (stream, mut asked) = unbounded_channel();
        routes.add_download_streams(&first, HashMap::from([(Carrier::Quic, stream.clone())]));
        routes.add_download_streams(&second, HashMap::from([(Carrier::Quic, stream)]));
        routes.dispatch(Command::Cancel {
            share,
            device,
            request: RequestId(1),
        });
        assert!(asked.try_recv().is_ok() && asked.try_recv().is_err());
        // Without a close in between: two sessions at once are one too many.
        let third = open();
        assert!(second.close.is_cancelled() && !third.close.is_cancelled());
        assert!(routes.remove_peer(&third) && !routes.remove_peer(&third));
    }
}
