//! Uploads to the store of this node.
//!
//! The reading half takes the payloads off the stream, each into a buffer of its own that goes to
//! the disk without a further copy, and is then used again; the store verifies and writes them on
//! other threads and makes the reading half wait when it is behind, which stops the sender by the
//! stream's flow control. The writing half says what has become durable meanwhile.

use super::records::{ShareRecord, bucket, share_key};
use super::refuse::{self, busy};
use super::registry::{RegistryError, decode, encode};
use super::traffic::Slot;
use super::visit::{self, Deposit, book};
use crate::node::{Node, now_ms};
use crate::ops::labels::{Request, Service};
use crate::state::{Expect, StateError};
use crate::store::{MAX_LIST, Missing, PutError, PutSession, RECORD, Store};
use hither_carrier::{FramingError, RecvHalf, RelayReader, SendHalf, Stream, write_relay_message};
use hither_proto::limits::MAX_RANGES;
use hither_proto::{
    DeviceId, Put, PutRecord, Ranges, RelayMessage, RelayRefusal, RelayRefusalCode, ShareId,
    SignedHead, Space, UserId,
};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

/// Longest wait for the next frame: a device may read slowly from its disk.
const SILENCE: Duration = Duration::from_secs(60);
/// Longest wait for the payload of one chunk: 16 MiB over a thin uplink.
const SLOW_CHUNK: Duration = Duration::from_secs(300);
/// Longest wait for the device to take an answer.
const STALLED: Duration = Duration::from_secs(30);
/// When to come back after something failed here that may pass.
const TROUBLE: Duration = Duration::from_secs(2);
/// When to come back after being one too many, or after another upload of the share has taken over.
const LATER: Duration = Duration::from_secs(5);
/// Longest time that what is still coming in is read and dropped after a refusal.
const PARTING: Duration = Duration::from_secs(2);
/// Attempts at writing down a complete version beside other changes of its record.
const ATTEMPTS: usize = 8;

/// Why an upload ended before its time.
enum Ended {
    /// The stream broke: there is nobody to tell.
    Broken,
    Refused(RelayRefusal),
}

impl From<RelayRefusal> for Ended {
    fn from(refusal: RelayRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<RelayRefusalCode> for Ended {
    fn from(code: RelayRefusalCode) -> Self {
        Self::Refused(code.into())
    }
}

impl From<std::io::Error> for Ended {
    fn from(_: std::io::Error) -> Self {
        Self::Broken
    }
}

impl From<FramingError> for Ended {
    fn from(error: FramingError) -> Self {
        match error {
            FramingError::Io(_) => Self::Broken,
            FramingError::TooLong(_) | FramingError::Message(_) | FramingError::NoPayload => {
                RelayRefusalCode::Invalid.into()
            }
        }
    }
}

impl From<StateError> for Ended {
    fn from(error: StateError) -> Self {
        refuse::of_state(&error).into()
    }
}

impl From<RegistryError> for Ended {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Revoked => RelayRefusalCode::Revoked.into(),
            RegistryError::NotRegistered => RelayRefusalCode::NotRegistered.into(),
            RegistryError::State(error) => error.into(),
            _ => busy(TROUBLE).into(),
        }
    }
}

impl From<PutError> for Ended {
    fn from(error: PutError) -> Self {
        match error {
            PutError::Quota { .. } => RelayRefusalCode::Quota.into(),
            PutError::NoSpace => RelayRefusalCode::NoSpace.into(),
            PutError::Released => RelayRefusalCode::NotFound.into(),
            PutError::Superseded => busy(LATER).into(),
            PutError::Store(error) => {
                tracing::error!(%error, "an upload met trouble in the store");
                busy(TROUBLE).into()
            }
            PutError::Older
            | PutError::List(_)
            | PutError::Position
            | PutError::Length { .. }
            | PutError::Damaged { .. }
            | PutError::Incomplete { .. } => {
                tracing::debug!(%error, "an upload was refused");
                RelayRefusalCode::Invalid.into()
            }
        }
    }
}

/// Serves one upload: after [`hither_proto::RelayPurpose::Upload`]. `reader` goes on where the
/// first frame ended and takes frames of at most [`hither_proto::limits::MAX_RELAY_FRAME`] bytes.
pub(crate) async fn run(node: Arc<Node>, stream: Stream, reader: RelayReader) {
    node.metrics.services.of(Service::Upload).add_one();
    let _counted = node.metrics.upload();
    let depositor = depositor(&node, &stream.device).await;
    // Not for anyone: what a connection may send beyond the narrow window is held in memory.
    if depositor.is_ok() {
        stream.widen();
    }
    let Stream {
        mut send,
        mut recv,
        device,
        ..
    } = stream;
    // Visitors have an end of their own.
    let visits = matches!(depositor, Ok(Depositor::Visitor));
    let revocation = node.services.revocation_of(device);
    let ended = tokio::select! {
        ended = upload(&node, (device, depositor), &mut send, &mut recv, reader) => ended,
        // Or too many others were, to tell: then it comes again.
        () = revocation, if !visits => Err(node.registry.authorize(&device).await.map_or_else(Ended::from, |_| busy(LATER).into())),
    };
    let refusal = match ended {
        Ok(()) | Err(Ended::Broken) => return,
        Err(Ended::Refused(refusal)) => refusal,
    };
    tracing::debug!(?device, %refusal, "an upload ended");
    node.metrics.refused(Service::Upload, refusal.code);
    // On TCP what was sent to us and not read would make the kernel drop the connection, and the
    // refusal with it.
    let part = async {
        let mut sink = vec![0; 64 * 1024];
        while recv.read(&mut sink).await.is_ok_and(|read| read > 0) {}
    };
    let _ = tokio::join!(
        refuse::relay_half(&mut send, refusal),
        timeout(PARTING, part)
    );
}

/// The uploader.
enum Depositor {
    /// A device of this user.
    Device(UserId),
    /// A page that was let in by somebody's invitation.
    Visitor,
}

async fn depositor(node: &Node, device: &DeviceId) -> Result<Depositor, Ended> {
    match node.registry.authorize(device).await {
        Ok(user) => Ok(Depositor::Device(user)),
        Err(RegistryError::NotRegistered) => {
            let visits = book::visits_of(node.state.as_ref(), device).await;
            let visits = visits.map_err(|error| visit::refusal_of(&error))?;
            match visits.is_empty() {
                true => Err(RelayRefusalCode::NotRegistered.into()),
                false => Ok(Depositor::Visitor),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// An upload, and the user for whom it counts.
struct Deposited {
    user: UserId,
    /// It is a visitor's.
    visit: Option<Deposit>,
    put: Put,
    head: SignedHead,
}

async fn upload(
    node: &Arc<Node>,
    (device, depositor): (DeviceId, Result<Depositor, Ended>),
    send: &mut SendHalf,
    recv: &mut RecvHalf,
    mut reader: RelayReader,
) -> Result<(), Ended> {
    if node.is_draining() {
        return Err(RelayRefusalCode::GoingAway.into());
    }
    let depositor = depositor?;
    let store = node.store.as_ref().ok_or(RelayRefusalCode::Role)?;
    let slot = node
        .services
        .traffic
        .uploads
        .enter(device)
        .ok_or_else(|| busy(LATER))?;
    let RelayMessage::Put(put) = next(&mut reader, recv).await? else {
        return Err(RelayRefusalCode::Invalid.into());
    };
    let mut put = *put;
    let head =
        SignedHead::open(&put.head, put.share, device).map_err(|_| RelayRefusalCode::Invalid)?;
    let (user, visit) = match depositor {
        Depositor::Device(user) => {
            placed_here(node, &user, &device, &put.share).await?;
            (user, None)
        }
        Depositor::Visitor => {
            let deposit = visit::deposit(node, &device, &put.share).await?;
            put.keep_s = deposit.keep(put.keep_s);
            (deposit.user, Some(deposit))
        }
    };
    let deposited = Deposited {
        user,
        visit,
        put,
        head,
    };
    let Some(key) = deposited.visit.as_ref().map(|visit| visit.key) else {
        return take(node, store, (device, deposited), slot, send, recv, reader).await;
    };
    let visitors = &node.services.traffic.visitor_uploads;
    let _place = visitors.enter(*key.as_bytes()).ok_or_else(|| busy(LATER))?;
    tokio::select! {
        taken = take(node, store, (device, deposited), slot, send, recv, reader) => taken,
        () = visit::visit_over(node, &key) => Err(RelayRefusalCode::Invitation.into()),
    }
}

/// Takes a version whose owner has a place for it.
async fn take(
    node: &Arc<Node>,
    store: &Store,
    (device, deposited): (DeviceId, Deposited),
    slot: Slot,
    send: &mut SendHalf,
    recv: &mut RecvHalf,
    mut reader: RelayReader,
) -> Result<(), Ended> {
    let Deposited {
        user,
        visit,
        put,
        head,
    } = deposited;
    let session = begin(store, user, device, &put, head.clone()).await?;
    let room = visit.map(|visit| visit.bytes);
    take_lists(&session, &head, room, &mut reader, recv).await?;
    let began = Instant::now();
    let missing = session.missing().await?;
    node.metrics.requests.of(Request::Put).since(began);
    say(send, &tell_missing(&missing)).await?;
    let share = Share {
        owner: device,
        share: put.share,
    };
    tokio::try_join!(
        take_chunks(node, &session, &mut reader, recv),
        tell_stored(node, share, &session, send)
    )?;
    write_down(node, store, &user, share, &put).await?;
    node.services.traffic.changes.tell(share.owner, share.share);
    // Who hears that it is done may begin the next one.
    drop(slot);
    say(send, &RelayMessage::PutDone).await?;
    send.finish().await?;
    send.delivered().await?;
    Ok(())
}

#[derive(Clone, Copy)]
struct Share {
    owner: DeviceId,
    share: ShareId,
}

/// The next message, of which there must be one.
async fn next(reader: &mut RelayReader, recv: &mut RecvHalf) -> Result<RelayMessage, Ended> {
    match timeout(SILENCE, reader.next(recv)).await {
        Ok(message) => message?.ok_or(Ended::Broken),
        Err(_) => Err(Ended::Broken),
    }
}

async fn say(send: &mut SendHalf, message: &RelayMessage) -> Result<(), Ended> {
    match timeout(STALLED, write_relay_message(send, message)).await {
        Ok(written) => Ok(written?),
        Err(_) => Err(Ended::Broken),
    }
}

/// Returns whether the device's user was given a place on this node for the share. Another user's
/// share, one on another node and one that nobody placed are one answer.
async fn placed_here(
    node: &Node,
    user: &UserId,
    owner: &DeviceId,
    share: &ShareId,
) -> Result<(), Ended> {
    let entry = node
        .state
        .get(bucket::SHARES, &share_key(owner, share))
        .await?;
    let record: ShareRecord = match entry {
        Some(entry) => decode(&entry.value, "a share")?,
        None => return Err(RelayRefusalCode::NotFound.into()),
    };
    if record.user == user.as_bytes() && record.store == node.id().as_bytes() {
        return Ok(());
    }
    Err(RelayRefusalCode::NotFound.into())
}

async fn begin(
    store: &Store,
    user: UserId,
    device: DeviceId,
    put: &Put,
    head: SignedHead,
) -> Result<PutSession, Ended> {
    let keep = (put.keep_s > 0).then(|| Duration::from_secs(put.keep_s));
    Ok(store
        .put(user, device, head, put.read_key.clone(), keep)
        .await?)
}

/// Takes the lists of both spaces, which say what the version consists of.
///
/// `room`: what it may consist of, bytes; `None`: what the user's quota allows.
async fn take_lists(
    session: &PutSession,
    head: &SignedHead,
    room: Option<u64>,
    reader: &mut RelayReader,
    recv: &mut RecvHalf,
) -> Result<(), Ended> {
    let head = head.head();
    let mut left = u64::from(head.manifest_chunks) + u64::from(head.chunks);
    let mut bytes = Vec::new();
    let mut listed = u64::from(head.root_length);
    while left > 0 {
        let RelayMessage::PutList {
            space,
            first,
            records,
        } = next(reader, recv).await?
        else {
            return Err(RelayRefusalCode::Invalid.into());
        };
        let lengths = records.iter().map(|record| u64::from(record.length));
        listed = lengths.fold(listed, u64::saturating_add);
        if room.is_some_and(|room| listed > room) {
            return Err(RelayRefusalCode::Quota.into());
        }
        bytes.clear();
        records
            .iter()
            .for_each(|record| push_record(&mut bytes, record));
        for (part, bytes) in (0u32..).zip(bytes.chunks(MAX_LIST * RECORD)) {
            session
                .list(space, first + part * MAX_LIST as u32, bytes)
                .await?;
        }
        left = left.saturating_sub(records.len() as u64);
    }
    Ok(())
}

fn push_record(bytes: &mut Vec<u8>, record: &PutRecord) {
    bytes.extend_from_slice(record.id.as_bytes());
    bytes.extend_from_slice(&record.length.to_be_bytes());
}

/// Says what has to be sent, within the bound of the message; where there is more than fits, too
/// much is asked for.
fn tell_missing(missing: &Missing) -> RelayMessage {
    let half = |ranges: &Ranges| Ranges::covering(&ranges.to_bitmap(), MAX_RANGES / 2);
    RelayMessage::Missing {
        root: missing.root,
        manifest: half(&missing.manifest),
        data: half(&missing.data),
    }
}

/// Takes chunks until the device says that it was all, then waits until it is durable.
async fn take_chunks(
    node: &Node,
    session: &PutSession,
    reader: &mut RelayReader,
    recv: &mut RecvHalf,
) -> Result<(), Ended> {
    loop {
        match next(reader, recv).await? {
            RelayMessage::PutChunk {
                space,
                position,
                length,
            } => {
                // Before anything is allocated for it.
                if session.length(space, position).await? != length {
                    return Err(RelayRefusalCode::Invalid.into());
                }
                let mut payload = session.buffer(length);
                let taking = reader.payload_to(recv, payload.as_mut());
                timeout(SLOW_CHUNK, taking)
                    .await
                    .map_err(|_| Ended::Broken)??;
                node.metrics.uploaded.add(u64::from(length));
                node.metrics.chunks_in.add_one();
                session.chunk(space, position, payload.freeze()).await?;
            }
            RelayMessage::PutEnd => {
                let began = Instant::now();
                session.end().await?;
                node.metrics.requests.of(Request::PutEnd).since(began);
                return Ok(());
            }
            _ => {}
        }
    }
}

/// Says what has become durable, until the version is complete.
async fn tell_stored(
    node: &Node,
    share: Share,
    session: &PutSession,
    send: &mut SendHalf,
) -> Result<(), Ended> {
    while let Some(stored) = session.stored().await? {
        let told = stored.space == Space::Data;
        say(
            send,
            &RelayMessage::Stored {
                space: stored.space,
                ranges: stored.ranges,
            },
        )
        .await?;
        if told {
            node.services.traffic.changes.tell(share.owner, share.share);
        }
    }
    Ok(())
}

/// Lets every node know that the share can be read here. A share that was released meanwhile is
/// given up.
async fn write_down(
    node: &Node,
    store: &Store,
    user: &UserId,
    share: Share,
    put: &Put,
) -> Result<(), Ended> {
    let key = share_key(&share.owner, &share.share);
    for _ in 0..ATTEMPTS {
        let entry = node.state.get(bucket::SHARES, &key).await?;
        let placed = match &entry {
            Some(entry) => Some(decode::<ShareRecord>(&entry.value, "a share")?),
            None => None,
        };
        let ours = |record: &ShareRecord| {
            record.user == user.as_bytes() && record.store == node.id().as_bytes()
        };
        let (Some(entry), Some(mut record)) = (entry, placed.filter(ours)) else {
            store
                .release(*user, share.owner, share.share)
                .await
                .map_err(PutError::from)?;
            return Err(RelayRefusalCode::NotFound.into());
        };
        record.read_key = put.read_key.expose().to_vec();
        record.keep_s = put.keep_s;
        record.stored_ms = now_ms();
        let expect = Expect::Revision(entry.revision);
        match node
            .state
            .put(bucket::SHARES, &key, encode(&record), expect)
            .await
        {
            Ok(_) => return Ok(()),
            Err(StateError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(busy(TROUBLE).into())
}
