//! Where the engine's commands go: the channels of transfers, sessions, lanes and uploads.
//!
//! The channels are unbounded, but what stands in them is bounded: by the engine (requests in flight, upload slots, one
//! announcement per change), and for uploads, where a stranger's requests are answered, by [`Backlog`]. A receiver that
//! is gone is no error, its end is on the way to the engine already.

use crate::upload::Backlog;
use hither_engine::{Carrier, Command, RequestId, SessionId, StreamId};
use hither_proto::{DeviceId, Message, Ranges, ShareId, Space, Want};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::UnboundedSender;

/// What a transfer is told.
#[derive(Debug)]
pub(crate) enum TransferInput {
    /// A holder showed a version that was not known before.
    NewHead,
    /// The engine chose a version.
    VersionChosen(u64),
    /// Everything planned of a space is got.
    SpaceComplete(Space),
    /// A write failed; the transfer cannot go on like this.
    WriteFailed(hither_api::ApiError),
    /// Positions were written and wait for the next checkpoint.
    Written(Vec<u32>),
}

/// What a lane (the fetching side of bulk streams) is told.
#[derive(Debug)]
pub(crate) enum LaneInput {
    Want { request: RequestId, space: Space, version: u64, ranges: Ranges },
    Cancel { request: RequestId },
}

/// What an upload (the serving side of a bulk stream) is told.
#[derive(Debug)]
pub(crate) enum UploadInput {
    Serve { share: ShareId, want: Want },
    Abort { request: u64 },
    Tell(Message),
}

/// What the hub is told: work that needs a new task.
#[derive(Debug)]
pub(crate) enum HubInput {
    OpenSession { share: ShareId, device: DeviceId },
}

/// The lanes and the session that a fetch has with one device.
#[derive(Debug, Default)]
struct Peer {
    lanes: HashMap<Carrier, UnboundedSender<LaneInput>>,
    close: Option<tokio_util::sync::CancellationToken>,
}

#[derive(Debug, Default)]
struct Inner {
    transfers: HashMap<ShareId, UnboundedSender<TransferInput>>,
    peers: HashMap<(ShareId, DeviceId), Peer>,
    sessions: HashMap<SessionId, (ShareId, UnboundedSender<Message>)>,
    uploads: HashMap<StreamId, (UnboundedSender<UploadInput>, Arc<Backlog>)>,
}

/// The routing table.
#[derive(Debug)]
pub(crate) struct Routes {
    inner: Mutex<Inner>,
    hub: UnboundedSender<HubInput>,
}

impl Routes {
    pub(crate) fn new(hub: UnboundedSender<HubInput>) -> Self {
        Self { inner: Mutex::default(), hub }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // --- who listens ---

    pub(crate) fn add_transfer(&self, share: ShareId, sender: UnboundedSender<TransferInput>) {
        self.lock().transfers.insert(share, sender);
    }

    pub(crate) fn remove_transfer(&self, share: ShareId) {
        self.lock().transfers.remove(&share);
    }

    pub(crate) fn tell_transfer(&self, share: ShareId, input: TransferInput) {
        if let Some(sender) = self.lock().transfers.get(&share) {
            let _ = sender.send(input);
        }
    }

    /// A session with `device` began; `close` is cancelled when the engine wants it closed.
    pub(crate) fn add_peer(
        &self,
        share: ShareId,
        device: DeviceId,
        close: tokio_util::sync::CancellationToken,
        lanes: HashMap<Carrier, UnboundedSender<LaneInput>>,
    ) {
        self.lock().peers.insert((share, device), Peer { lanes, close: Some(close) });
    }

    pub(crate) fn remove_peer(&self, share: ShareId, device: DeviceId) {
        self.lock().peers.remove(&(share, device));
    }

    pub(crate) fn add_session(&self, session: SessionId, share: ShareId, sender: UnboundedSender<Message>) {
        self.lock().sessions.insert(session, (share, sender));
    }

    pub(crate) fn remove_session(&self, session: SessionId) {
        self.lock().sessions.remove(&session);
    }

    /// Says something on every session about a share.
    pub(crate) fn tell_sessions(&self, share: ShareId, message: &Message) {
        for (_, sender) in self.lock().sessions.values().filter(|(about, _)| *about == share) {
            let _ = sender.send(message.clone());
        }
    }

    pub(crate) fn add_upload(
        &self,
        stream: StreamId,
        sender: UnboundedSender<UploadInput>,
        backlog: Arc<Backlog>,
    ) {
        self.lock().uploads.insert(stream, (sender, backlog));
    }

    pub(crate) fn remove_upload(&self, stream: StreamId) {
        self.lock().uploads.remove(&stream);
    }

    // --- what the engine says ---

    /// Hands a command to whoever does it. Never blocks.
    pub(crate) fn dispatch(&self, command: Command) {
        match command {
            Command::OpenSession { share, device } => {
                let _ = self.hub.send(HubInput::OpenSession { share, device });
            }
            Command::CloseSession { share, device } => {
                if let Some(close) = self.lock().peers.get(&(share, device)).and_then(|p| p.close.as_ref()) {
                    close.cancel();
                }
            }
            Command::VersionChosen { share, version } => {
                self.tell_transfer(share, TransferInput::VersionChosen(version));
            }
            Command::SpaceComplete { share, space } => {
                self.tell_transfer(share, TransferInput::SpaceComplete(space));
            }
            Command::Want { share, device, carrier, request, space, version, ranges } => {
                if let Some(lane) =
                    self.lock().peers.get(&(share, device)).and_then(|p| p.lanes.get(&carrier))
                {
                    let _ = lane.send(LaneInput::Want { request, space, version, ranges });
                }
            }
            Command::Cancel { share, device, request } => {
                // The engine need not remember over which carrier it asked: the others do not know the request.
                for lane in self.lock().peers.get(&(share, device)).into_iter().flat_map(|p| p.lanes.values())
                {
                    let _ = lane.send(LaneInput::Cancel { request });
                }
            }
            Command::Announce { session, announcement } => {
                self.tell_session(session, Message::Announce(announcement));
            }
            Command::Delta { session, delta } => self.tell_session(session, Message::HaveDelta(delta)),
            Command::Serve { stream, request, share, space, version, ranges } => {
                let want = Want { request, space, version, ranges };
                self.tell_upload(stream, UploadInput::Serve { share, want });
            }
            Command::Abort { stream, request } => self.tell_upload(stream, UploadInput::Abort { request }),
            Command::Busy { stream, request, retry_after_ms } => {
                self.tell_upload(stream, UploadInput::Tell(Message::Busy { request, retry_after_ms }));
            }
            Command::NotHeld { stream, request, ranges } => {
                self.tell_upload(stream, UploadInput::Tell(Message::NotHeld { request, ranges }));
            }
        }
    }

    fn tell_session(&self, session: SessionId, message: Message) {
        if let Some((_, sender)) = self.lock().sessions.get(&session) {
            let _ = sender.send(message);
        }
    }

    fn tell_upload(&self, stream: StreamId, input: UploadInput) {
        if let Some((sender, backlog)) = self.lock().uploads.get(&stream) {
            backlog.added();
            let _ = sender.send(input);
        }
    }
}
