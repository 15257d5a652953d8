//! Reading from the store of this node: the ordinary link protocol, with proofs of a read key.
//!
//! A control stream says what is held and goes on saying it while an upload goes on; a bulk stream
//! (`read_bulk`) gives chunks. To a reader a store is a device like any other that holds the share.

use super::LinkOpen;
use super::fetches::Reader;
use super::read_auth::{admit, our_proof, refuse, version};
use super::read_bulk;
use super::traffic::Listener;
use crate::node::Node;
use crate::ops::labels::{Request, Service};
use crate::store::StoredVersion;
use hither_carrier::{MessageReader, RecvHalf, SendHalf, Stream, write_message};
use hither_proto::limits::MAX_FRAME;
use hither_proto::{
    Announcement, Delta, DeviceId, DeviceName, Message, Opened, Purpose, Ranges, ReadKey, Refusal,
    ShareId, Space,
};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// What the node calls itself towards readers.
const NAME: &str = "relay store";
/// Longest wait for the answer to be taken.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How often a ping is sent.
const PING: Duration = Duration::from_secs(5);
/// Silence after which a reader counts as gone, and longest wait for one that does not read.
const SILENCE: Duration = Duration::from_secs(15);
/// How often is looked whether the share is still here, when nothing says that it has changed: it
/// may have expired.
const LOOK: Duration = Duration::from_secs(30);
/// Shortest time between two updates to one reader; what happens meanwhile is one update.
const PAUSE: Duration = Duration::from_millis(100);

/// What a reader's stream is about.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(super) owner: DeviceId,
    pub(super) share: ShareId,
    /// What the reader proved to know; versions with another one are not for it.
    pub(super) read_key: ReadKey,
}

impl Subject {
    /// The versions that the reader may read, the best first.
    pub(crate) async fn versions(&self, node: &Node) -> Vec<StoredVersion> {
        let Some(store) = &node.store else {
            return Vec::new();
        };
        match store.candidates(self.owner, self.share).await {
            Ok(mut versions) => {
                versions.retain(|version| version.read_key == self.read_key);
                versions
            }
            Err(error) => {
                tracing::error!(%error, "a share could not be looked up in the store");
                Vec::new()
            }
        }
    }
}

/// Serves one stream that began with [`hither_proto::Message::Open`] of purpose control or bulk.
/// `reader` takes frames of at most [`hither_proto::limits::MAX_FRAME_UNPROVEN`] bytes until it is
/// told otherwise.
pub(crate) async fn run(
    node: Arc<Node>,
    mut stream: Stream,
    mut reader: MessageReader,
    open: LinkOpen,
) {
    let service = Service::from(Some(open.purpose));
    node.metrics.services.of(service).add_one();
    let asked = Instant::now();
    let revocation = node.services.revocation_of(stream.device);
    let found = async {
        let admitted = admit(&node, stream.device, &open).await?;
        let store = node.store.as_ref().ok_or(Refusal::NotFound)?;
        let version = version(store, &stream, &open, admitted.owner).await?;
        Ok((admitted, version))
    };
    let (admitted, version) = match found.await {
        Ok(found) => found,
        Err(refusal) => return refuse(&node, stream, service, asked, refusal).await,
    };
    let opened = Message::Opened(Box::new(Opened {
        proof: our_proof(&version.read_key, &stream, &open),
        head: version.head.to_unchecked(),
        device_name: DeviceName::clean(NAME),
        tcp_port: node.endpoint.tcp_port(),
    }));
    if !matches!(
        timeout(HANDSHAKE, write_message(&mut stream.send, &opened)).await,
        Ok(Ok(()))
    ) {
        return;
    }
    node.metrics
        .requests
        .of(Request::Open)
        .since(asked.into_std());
    node.endpoint.vouch(stream.device);
    reader.set_max(MAX_FRAME);
    let subject = Subject {
        owner: admitted.owner,
        share: open.share,
        read_key: version.read_key.clone(),
    };
    let serving = async {
        match open.purpose {
            Purpose::Bulk => {
                read_bulk::run(Arc::clone(&node), stream, reader, subject, version).await
            }
            Purpose::Control | Purpose::Lookup => {
                let error = control(&node, stream, reader, subject, version).await;
                tracing::debug!(%error, "a reader's session ended");
            }
        }
    };
    tokio::select! {
        () = serving => {}
        () = revocation => {}
    }
}

/// Says what is held until the stream ends; returns why it did.
async fn control(
    node: &Arc<Node>,
    stream: Stream,
    mut reader: MessageReader,
    subject: Subject,
    version: StoredVersion,
) -> io::Error {
    let Stream {
        mut send,
        mut recv,
        device,
        ..
    } = stream;
    let mut fetching = Reader::new(subject.owner, subject.share, device);
    // Before looking, so that nothing is missed between the first announcement and the first
    // change.
    let changes = node
        .services
        .traffic
        .changes
        .of(subject.owner, subject.share);
    let mut told = ToldVersion {
        version,
        seq: 1,
        epoch: epoch(),
    };
    if let Err(error) = say(&mut send, &told.announcement()).await {
        return error;
    }
    let ended = talk(
        node,
        &mut send,
        &mut recv,
        &mut reader,
        &subject,
        &mut told,
        (changes, &mut fetching),
    )
    .await;
    // Its last word comes right before its end.
    fetching.keep(node).await;
    match ended {
        Ok(()) => {
            let _ = say(&mut send, &Message::Refused(Refusal::Gone)).await;
            let _ = timeout(HANDSHAKE, send.finish()).await;
            io::Error::other("the share is gone")
        }
        Err(error) => error,
    }
}

/// Passes messages both ways; ends well when the share is no longer here.
async fn talk(
    node: &Arc<Node>,
    send: &mut SendHalf,
    recv: &mut RecvHalf,
    reader: &mut MessageReader,
    subject: &Subject,
    told: &mut ToldVersion,
    (mut changes, fetching): (Listener, &mut Reader),
) -> io::Result<()> {
    let mut ping = interval(PING);
    let mut look = interval(LOOK);
    let mut pause = interval(PAUSE);
    pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
    look.tick().await;
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            incoming = reader.next(recv) => match incoming {
                Ok(Some(message)) => {
                    heard = Instant::now();
                    // The reader's own holdings are of no use to a store, but to the owner.
                    match message {
                        Message::Ping { nonce } => say(send, &Message::Pong { nonce }).await?,
                        Message::Progress(said) => fetching.says(said),
                        _ => {}
                    }
                }
                Ok(None) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) => return Err(io::Error::other(error)),
            },
            () = fetching.due() => fetching.keep(node).await,
            _ = ping.tick() => {
                if heard.elapsed() > SILENCE {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                say(send, &Message::Ping { nonce: 0 }).await?;
            }
            () = async { pause.tick().await; changes.changed().await } => {
                if !update(node, send, subject, told).await? {
                    return Ok(());
                }
            }
            _ = look.tick() => {
                if !update(node, send, subject, told).await? {
                    return Ok(());
                }
            }
        }
    }
}

/// Says what has changed; `false` when nothing is here any more.
async fn update(
    node: &Node,
    send: &mut SendHalf,
    subject: &Subject,
    told: &mut ToldVersion,
) -> io::Result<bool> {
    let Some(version) = subject.versions(node).await.into_iter().next() else {
        return Ok(false);
    };
    for message in told.change_to(version) {
        say(send, &message).await?;
    }
    Ok(true)
}

async fn say(send: &mut SendHalf, message: &Message) -> io::Result<()> {
    timeout(SILENCE, write_message(send, message)).await?
}

/// Counts anew with every stream.
fn epoch() -> u64 {
    let mut bytes = [0; 8];
    // Without random numbers any will do: a reader takes an announcement for the beginning whatever
    // its epoch is.
    let _ = getrandom::fill(&mut bytes);
    u64::from_be_bytes(bytes)
}

/// What a reader was told last.
struct ToldVersion {
    version: StoredVersion,
    epoch: u64,
    seq: u64,
}

impl ToldVersion {
    fn announcement(&self) -> Message {
        let Self {
            version,
            epoch,
            seq,
        } = self;
        let complete = version.complete;
        let held = if complete {
            Ranges::default()
        } else {
            version.held.ranges(Space::Data)
        };
        let manifest = version.held.bitmap(Space::Manifest).len();
        let has_manifest = manifest == u64::from(version.head.head().manifest_chunks)
            && !version.held.bitmap(Space::Root).is_empty();
        Message::Announce(Announcement {
            version: version.head.head().version,
            epoch: *epoch,
            seq: *seq,
            complete,
            held,
            has_manifest,
        })
    }

    /// The messages that bring the reader up to date.
    fn change_to(&mut self, version: StoredVersion) -> Vec<Message> {
        let before = std::mem::replace(&mut self.version, version);
        let now = &self.version;
        let (was, is) = (
            before.held.bitmap(Space::Data),
            now.held.bitmap(Space::Data),
        );
        let number = |version: &StoredVersion| version.head.head().version;
        if number(&before) != number(now) {
            self.seq += 1;
            return vec![
                Message::NewHead(now.head.to_unchecked()),
                self.announcement(),
            ];
        }
        let manifest = |version: &StoredVersion| {
            version.held.bitmap(Space::Manifest).len() + version.held.bitmap(Space::Root).len()
        };
        if before.complete != now.complete || manifest(&before) != manifest(now) {
            self.seq += 1;
            return vec![self.announcement()];
        }
        let (added, removed) = (is - was, was - is);
        if added.is_empty() && removed.is_empty() {
            return Vec::new();
        }
        self.seq += 1;
        vec![Message::HaveDelta(Delta {
            version: number(now),
            epoch: self.epoch,
            seq: self.seq,
            added: Ranges::from_bitmap(&added),
            removed: Ranges::from_bitmap(&removed),
        })]
    }
}
