//! One upload: a version of a share goes to a store that the relay named.
//!
//! The sending half and the half that reads the store's messages run beside each other: the store
//! reports the chunks it misses, then those that have become durable while more are being sent.
//! Nothing waits for a single chunk.

use super::KeptRecord;
use super::ahead::Ahead;
use super::chunks::{Chunks, Missing, ReadFailed};
use super::flow::Flow;
use crate::store_upload::StoreUploadService;
use hither_carrier::{Link, RecvHalf, RelayReader, SendHalf, write_put_chunk, write_relay_message};
use hither_content::storage::StorageError;
use hither_proto::{Put, Ranges, RelayAddress, RelayMessage, RelayPurpose, RelayRefusal, Space};
use hither_relay_client::{RelayConnection, RelayError, RelayStream, RequestError, dial, open};
use hither_swarm::{Limit, Share, Version};
use hither_util::hex::Hex;
use roaring::RoaringBitmap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Longest wait for the store to take a chunk, and for any word of it: 16 MiB go over a thin uplink
/// in that time.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often one upload goes over to another carrier.
const MAX_CHANGES: u32 = 3;
/// How long a refusal may take to arrive when the store takes nothing any more.
const LAST_WORD: Duration = Duration::from_secs(2);

/// Why an upload ended before it was complete.
#[derive(Debug, thiserror::Error)]
pub(super) enum UploadError {
    /// The relay gave no place.
    #[error("the relay gave no place: {0}")]
    Place(#[from] RequestError),
    /// The store cannot be reached, or the stream to it broke.
    #[error(transparent)]
    Relay(#[from] RelayError),
    /// A chunk cannot be sent.
    #[error(transparent)]
    Read(#[from] ReadFailed),
    /// It could not be written down that the share is being placed.
    #[error("the daemon's store failed: {0}")]
    Records(#[from] StorageError),
}

impl UploadError {
    /// The refusal behind it.
    pub(super) const fn refusal(&self) -> Option<RelayRefusal> {
        match self {
            Self::Place(RequestError::Refused(refusal))
            | Self::Relay(RelayError::Refused(refusal)) => Some(*refusal),
            _ => None,
        }
    }
}

/// The share that is uploaded, and its way.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) share: Arc<Share>,
    pub(super) version: Arc<Version>,
    pub(super) connection: Arc<RelayConnection>,
    /// The key of the relay that was joined.
    pub(super) relay: String,
    /// When the share ends by itself, Unix seconds.
    pub(super) expires: Option<u64>,
}

/// Closes the link of an upload, however that ends.
struct Closing(Link);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close("the upload ended");
    }
}

/// Uploads a version; returns its record when all of it is durable at the store. `told` hears how
/// many bytes of ciphertext are there, and of how many.
pub(super) async fn run(
    service: &Arc<StoreUploadService>,
    job: &Job,
    told: impl Fn(u64, u64),
) -> Result<KeptRecord, UploadError> {
    let (share, connection) = (&job.share, &job.connection);
    let chunks = Chunks::of(&job.version);
    let total = chunks.total();
    let mut record = begun(service, job).await?;
    let near = service
        .store_uploads
        .nearest
        .measure(service.swarm.endpoint(), &connection.welcome().stores)
        .await;
    let store = connection.place(share.id, total, near).await?;
    record.store = Some(Hex(store.encode()));
    // Chunks that are durable there are not sent again: going over to another carrier costs those
    // that were on their way.
    let mut changes = 0;
    while let Sent::Left = over(service, job, &store, &chunks, &told, changes < MAX_CHANGES).await?
    {
        changes += 1;
    }
    (record.version, record.bytes, record.checked) =
        (job.version.number(), total, service.library.time.seconds());
    save(service, job, record.clone()).await?;
    tracing::info!(share = ?share.id, version = record.version, bytes = total, "uploaded");
    Ok(record)
}

/// How an attempt over one carrier ended.
enum Sent {
    /// All of it is there.
    All,
    /// The other carrier may carry more.
    Left,
}

/// Uploads over the carrier that goes first now; it may be left where it `may` be.
async fn over(
    service: &Arc<StoreUploadService>,
    job: &Job,
    store: &RelayAddress,
    chunks: &Chunks,
    told: &impl Fn(u64, u64),
    may: bool,
) -> Result<Sent, UploadError> {
    let link = dial(service.swarm.endpoint(), store).await?;
    let _closing = Closing(link.clone());
    let RelayStream {
        stream,
        mut reader,
        link,
    } = open(link, RelayPurpose::Upload).await?;
    let limit = service
        .swarm
        .throttles()
        .up(stream.device, None, Some(stream.remote.ip()));
    let (way, progress) = (Flow::new(service, &link, &stream), stream.progress());
    let ahead = Ahead::new();
    let (mut send, mut recv) = (stream.send, stream.recv);
    let (asked, missing) = oneshot::channel();
    let told = |bytes, total| {
        way.stored(bytes);
        ahead.stored(bytes);
        told(bytes, total);
    };
    let hear = hear(&mut recv, &mut reader, chunks, asked, &told);
    let say = say(
        service,
        &mut send,
        chunks,
        put(job, service.library.time.seconds()),
        missing,
        (&limit, &way, &ahead),
    );
    let mut hear = std::pin::pin!(hear);
    tokio::select! {
        heard = &mut hear => heard?,
        () = way.fails(&progress), if may => return Ok(Sent::Left),
        said = say => {
            match said {
                Ok(()) => {
                    way.waits();
                    tokio::select! {
                        heard = hear => heard?,
                        () = way.fails(&progress), if may => return Ok(Sent::Left),
                    }
                }
                // When the store takes nothing any more, it may have said why.
                Err(error @ UploadError::Relay(_)) => {
                    return match timeout(LAST_WORD, hear).await {
                        Ok(Err(refused @ UploadError::Relay(RelayError::Refused(_)))) => Err(refused),
                        _ => Err(error),
                    };
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(Sent::All)
}

/// Writes down that the share is being placed, unless that is known already.
async fn begun(service: &Arc<StoreUploadService>, job: &Job) -> Result<KeptRecord, UploadError> {
    let known = service.store_uploads.entry(job.share.id).record;
    if let Some(record) = known.filter(|record| record.relay == job.relay && !record.release) {
        return Ok(record);
    }
    let record = KeptRecord::new(job.relay.clone());
    save(service, job, record.clone()).await?;
    service
        .store_uploads
        .change(job.share.id, |entry| entry.record = Some(record.clone()));
    Ok(record)
}

async fn save(
    service: &Arc<StoreUploadService>,
    job: &Job,
    record: KeptRecord,
) -> Result<(), StorageError> {
    let (service, share) = (Arc::clone(service), job.share.id);
    let saving = tokio::task::spawn_blocking(move || service.records.put_kept(share, &record));
    // The task neither panics nor is it cancelled while the runtime lives.
    saving.await.unwrap_or(Ok(()))
}

/// The upload of a job; `now`: seconds of the clock of deadlines.
fn put(job: &Job, now: u64) -> RelayMessage {
    RelayMessage::Put(Box::new(Put {
        share: job.share.id,
        head: job.version.head.to_unchecked(),
        read_key: job.share.secret.read_key(),
        keep_s: job.expires.map_or(0, |at| at.saturating_sub(now).max(1)),
    }))
}

/// The sending half: what there is, then what is missing of it.
async fn say(
    service: &Arc<StoreUploadService>,
    send: &mut SendHalf,
    chunks: &Chunks,
    put: RelayMessage,
    missing: oneshot::Receiver<Missing>,
    (limit, way, ahead): (&Limit, &Flow, &Ahead),
) -> Result<(), UploadError> {
    tell(send, &put).await?;
    for list in chunks.lists() {
        tell(send, &list).await?;
    }
    // Without an answer the hearing half ends, and with it everything.
    let Ok(missing) = missing.await else {
        return std::future::pending().await;
    };
    way.rests();
    let mut read = chunks.read(service, missing);
    while let Some(chunk) = read.recv().await {
        let (header, payload) = chunk?;
        if !ahead.takes(payload.len()) {
            // The store is to say that it has some of what is on its way: a way that carries nothing
            // shows here.
            way.waits();
            ahead.room(payload.len()).await;
            way.rests();
        }
        // A device that waits for this one goes first.
        service.swarm.foreground().give_way(payload.len()).await;
        limit.take(payload.len()).await;
        way.sends();
        in_time(write_put_chunk(send, &header, payload)).await?;
        way.rests();
    }
    way.sends();
    tell(send, &RelayMessage::PutEnd).await
}

async fn tell(send: &mut SendHalf, message: &RelayMessage) -> Result<(), UploadError> {
    in_time(write_relay_message(send, message)).await
}

async fn in_time(write: impl Future<Output = std::io::Result<()>>) -> Result<(), UploadError> {
    match timeout(PATIENCE, write).await {
        Ok(written) => Ok(written.map_err(RelayError::from)?),
        Err(_) => Err(RelayError::Silent.into()),
    }
}

/// The hearing half: what is missing, what is durable, until the version is complete.
async fn hear(
    recv: &mut RecvHalf,
    reader: &mut RelayReader,
    chunks: &Chunks,
    asked: oneshot::Sender<Missing>,
    told: &impl Fn(u64, u64),
) -> Result<(), UploadError> {
    let mut asked = Some(asked);
    let mut stored = Stored::default();
    loop {
        let message = timeout(PATIENCE, reader.next(recv))
            .await
            .map_err(|_| RelayError::Silent)?;
        match message
            .map_err(RelayError::from)?
            .ok_or(RelayError::Ended)?
        {
            RelayMessage::Missing {
                root,
                manifest,
                data,
            } => {
                let missing = Missing {
                    root,
                    manifest,
                    data,
                };
                let bytes = chunks
                    .bytes_missing(&missing)
                    .ok_or(RelayError::Unexpected)?;
                stored.there = chunks.total().saturating_sub(bytes);
                told(stored.there, chunks.total());
                let asked = asked.take().ok_or(RelayError::Unexpected)?;
                let _ = asked.send(missing); // the other half may have failed
            }
            RelayMessage::Stored { space, ranges } => {
                stored.more(chunks, space, &ranges);
                told(stored.there.min(chunks.total()), chunks.total());
            }
            RelayMessage::PutDone => return Ok(()),
            RelayMessage::Refused(refusal) => return Err(RelayError::Refused(refusal).into()),
            _ => {}
        }
    }
}

/// The chunks that the store has reported durable; each counts once.
#[derive(Default)]
struct Stored {
    there: u64,
    manifest: RoaringBitmap,
    data: RoaringBitmap,
}

impl Stored {
    fn more(&mut self, chunks: &Chunks, space: Space, ranges: &Ranges) {
        let known = match space {
            Space::Root => return,
            Space::Manifest => &mut self.manifest,
            Space::Data => &mut self.data,
        };
        let new = Ranges::from_bitmap(&(ranges.to_bitmap() - &*known));
        // A position that does not exist counts nothing.
        self.there += chunks.bytes(space, &new).unwrap_or(0);
        *known |= new.to_bitmap();
    }
}
