//! One upload that another device asks for: the path is looked up, shared, and uploaded where this
//! device has joined a relay.

use super::asked::DISK;
use super::records::JobRecord;
use super::{ExposedService, Key};
use crate::publish::{self, Exposed};
use crate::store_upload;
use futures::StreamExt;
use hither_api::{ApiError, Done, ErrorCode, Event, UploadState};
use hither_proto::{
    AskId, DeviceId, DriveLetter, DrivePath, DrivePhase, DriveRefusal, DriveUploaded, EntryName,
    ShareId,
};
use hither_swarm::Share;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The asker hears of progress no more often.
const PROGRESS: Duration = Duration::from_secs(1);
/// Of how much use a word about progress is to an asker that is away, seconds.
const STALE: u64 = 10;
/// Longest time without a word of the reader: it tells of every mebibyte, and a slow disk or a turn
/// that others have is no silence yet.
const SILENCE: Duration = Duration::from_secs(600);
/// Longest wait for an upload to begin, while the relay is away or has no room: the share is told of
/// without it.
const TURN: Duration = Duration::from_secs(30);

/// Does an upload and answers it, unless this program ends before.
pub(super) async fn run(
    service: &Arc<ExposedService>,
    key: Key,
    record: &JobRecord,
    stop: CancellationToken,
) {
    let mut job = Job {
        service: Arc::clone(service),
        key,
        told: None,
    };
    let done = job.done(record, &stop).await;
    let ends = service.tasks.token.is_cancelled();
    let why = service.state().running.get(&key).and_then(|one| one.why);
    let letter = match done {
        Ok(done) => Some(DriveLetter::Uploaded(key.1, done)),
        // The next run goes on with what was begun.
        Err(_) if ends && why.is_none() => None,
        Err(refusal) => Some(DriveLetter::Refused(key.1, why.unwrap_or(refusal))),
    };
    let (of, record) = (Arc::clone(service), record.clone());
    let ended = tokio::task::spawn_blocking(move || of.job_ended(key, &record, letter.as_ref()));
    if let Err(error) = ended.await {
        tracing::debug!(%error, "an upload for another device is left for the next run");
    }
}

struct Job {
    service: Arc<ExposedService>,
    key: Key,
    /// When the asker heard of progress last.
    told: Option<Instant>,
}

impl Job {
    async fn done(
        &mut self,
        record: &JobRecord,
        stop: &CancellationToken,
    ) -> Result<DriveUploaded, DriveRefusal> {
        let (service, from) = (Arc::clone(&self.service), self.key.0);
        let path = DrivePath::parse(&record.path).map_err(|_| DriveRefusal::Nothing)?;
        self.tell(DrivePhase::Waiting, 0, 0).await;
        let _turn = tokio::select! {
            turn = service.turns.acquire() => turn.map_err(|_| DriveRefusal::Failed)?,
            () = stop.cancelled() => return Err(DriveRefusal::Cancelled),
        };
        if service.time.seconds() >= record.until {
            return Err(DriveRefusal::Expired);
        }
        let exposed = chosen(&service, from, &path).await?;
        let known = known(&service);
        let (share, done) = self.publish(&exposed, record.watch, &known, stop).await?;
        let stored = known.get(&share.id).copied().flatten();
        let uploaded = self.uploaded(&share, done, stored, stop).await;
        let is_exposed = service.exposed_to(from, &exposed.exposure).is_some();
        if is_exposed && (uploaded.is_ok() || known.contains_key(&share.id)) {
            return uploaded;
        }
        if service.tasks.token.is_cancelled() && is_exposed {
            return uploaded;
        }
        // It was revoked or taken back meanwhile: nothing is left of it.
        end(&service, share).await;
        uploaded.and(Err(DriveRefusal::Nothing))
    }

    /// Shares what was chosen.
    async fn publish(
        &mut self,
        exposed: &Exposed,
        watch: bool,
        known: &Known,
        stop: &CancellationToken,
    ) -> Result<(Arc<Share>, Done), DriveRefusal> {
        let (sender, mut events) = mpsc::unbounded_channel();
        let flag = Arc::new(AtomicBool::new(false));
        // Whatever ends this ends the reading.
        let guard = publish::Cancel(Arc::clone(&flag));
        let (publisher, what) = (Arc::clone(&self.service.publisher), exposed.clone());
        let mut work = tokio::task::spawn_blocking(move || {
            publish::publish_exposed(&publisher, &what, watch, &sender, &flag)
        });
        let why = loop {
            tokio::select! {
                biased;
                done = &mut work => {
                    let done = done.map_err(|_| DriveRefusal::Failed)?;
                    return done.map_err(|error| refusal(&error));
                }
                () = stop.cancelled() => break DriveRefusal::Cancelled,
                Some(event) = events.recv() => {
                    if let Event::Progress { bytes, total, .. } = event {
                        self.tell(DrivePhase::Reading, bytes, total).await;
                    }
                }
                () = tokio::time::sleep(SILENCE) => break DriveRefusal::Silent,
            }
        };
        drop(guard);
        // It may have been published just before it heard of that. The next run goes on with what
        // this one leaves.
        let service = Arc::clone(&self.service);
        let known = known.clone();
        service.tasks.clone().spawn(async move {
            if let Ok(Ok((share, _))) = work.await
                && !known.contains_key(&share.id)
                && !service.tasks.token.is_cancelled()
            {
                end(&service, share).await;
            }
        });
        Err(why)
    }

    /// Waits until what is shared is at a store, where there is one. `before`: the version that was
    /// there before.
    async fn uploaded(
        &mut self,
        share: &Arc<Share>,
        done: Done,
        before: Option<u64>,
        stop: &CancellationToken,
    ) -> Result<DriveUploaded, DriveRefusal> {
        let Done::Shared {
            ticket,
            name,
            version,
            files,
            bytes,
            ..
        } = done
        else {
            return Err(DriveRefusal::Failed);
        };
        let uploads = Arc::clone(&self.service.publisher.store_uploads);
        let (mut stored, mut uploading) = (false, false);
        {
            let mut events = pin!(store_upload::follow(Arc::clone(&uploads), share.id));
            loop {
                let event = tokio::select! {
                    event = events.next() => event,
                    () = stop.cancelled() => return Err(DriveRefusal::Cancelled),
                    // It goes on in the background.
                    () = tokio::time::sleep(TURN), if !uploading => break,
                };
                match event {
                    Some(Event::Upload(upload)) if upload.state == UploadState::Uploading => {
                        uploading = true;
                        let (bytes, total) = (upload.bytes, upload.total);
                        self.tell(DrivePhase::Uploading, bytes, total).await;
                    }
                    Some(Event::Upload(upload)) => {
                        (uploading, stored) = (false, upload.state == UploadState::Uploaded);
                    }
                    // It is shared all the same: the asker fetches it from this device.
                    Some(_) | None => break,
                }
            }
        }
        // With the relay the ticket has changed: it says who else has it.
        let ticket = match stored {
            true => self.service.publisher.tickets.ticket(share).to_string(),
            false => ticket,
        };
        Ok(DriveUploaded {
            share: share.id,
            ticket,
            name: EntryName::parse(&name).map_err(|_| DriveRefusal::Failed)?,
            version,
            files,
            bytes,
            sent_bytes: match before == Some(version) {
                true => 0,
                false => uploads.sent_bytes(share.id, version),
            },
            stored,
        })
    }

    /// Tells the asker how far it is, not too often.
    async fn tell(&mut self, phase: DrivePhase, bytes: u64, total: u64) {
        if self.told.is_some_and(|at| at.elapsed() < PROGRESS) {
            return;
        }
        self.told = Some(Instant::now());
        let (of, (from, id)) = (Arc::clone(&self.service), self.key);
        let letter = progress(id, phase, bytes, total);
        let sent = tokio::task::spawn_blocking(move || {
            of.post(from, &letter, of.time.seconds() + STALE).map(drop)
        });
        if let Ok(Err(error)) = sent.await {
            tracing::debug!(%error, "how an upload goes on is not told");
        }
    }
}

/// The shares that are there, and the version of each that is at a store.
type Known = HashMap<ShareId, Option<u64>>;

fn known(service: &ExposedService) -> Known {
    let stored = |share: &Share| {
        let upload = service.publisher.store_uploads.upload_info(share)?;
        upload.version
    };
    let shares = service.publisher.library.share_records().into_iter();
    let shares = shares.filter(|(_, record)| record.exposed.is_some());
    shares
        .map(|(share, _)| (share.id, stored(&share)))
        .collect()
}

/// Ends a share that nobody may have.
async fn end(service: &Arc<ExposedService>, share: Arc<Share>) {
    let library = Arc::clone(&service.publisher.library);
    let ended = tokio::task::spawn_blocking(move || library.unshare(&share)).await;
    if let Ok(Err(error)) = ended {
        tracing::warn!(%error, "a share that nobody may have cannot be ended");
    }
}

const fn progress(id: AskId, phase: DrivePhase, bytes: u64, total: u64) -> DriveLetter {
    DriveLetter::Progress {
        id,
        phase,
        bytes,
        total,
    }
}

/// The target of a path, when its disk answers.
async fn chosen(
    service: &Arc<ExposedService>,
    from: DeviceId,
    path: &DrivePath,
) -> Result<Exposed, DriveRefusal> {
    let (of, path) = (Arc::clone(service), path.clone());
    let look =
        tokio::task::spawn_blocking(move || of.choose(from, &path).map(|choice| choice.exposed));
    match tokio::time::timeout(DISK, look).await {
        Ok(Ok(found)) => found,
        Ok(Err(_)) => Err(DriveRefusal::Failed),
        Err(_) => Err(DriveRefusal::Silent),
    }
}

/// The words of an error may say where something lies on this device: the asker hears its kind.
fn refusal(error: &ApiError) -> DriveRefusal {
    tracing::info!(%error, "what another device asks for cannot be shared");
    match error.code {
        ErrorCode::NotFound => DriveRefusal::Nothing,
        ErrorCode::Unsharable | ErrorCode::Changing => DriveRefusal::Unsuitable,
        _ => DriveRefusal::Failed,
    }
}
