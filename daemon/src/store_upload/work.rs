//! The loop that uploads and releases: looks what is due whenever something changed, and works on a
//! few at once.

use super::chunks::ReadFailed;
use super::records::KeptRecord;
use super::upload::{self, Job, UploadError};
use super::{Doing, RETRY, Trouble, check, policy};
use crate::records::ShareRecord;
use crate::store_upload::StoreUploadService;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use hither_api::ErrorCode;
use hither_proto::{RelayRefusalCode, ShareId};
use hither_relay_client::{Relay, RelayConnection, RequestError};
use hither_swarm::{Share, Version};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Most uploads at once: a large one must not hold up a small one, and many must not hold up what
/// the LAN asks for.
pub(super) const AT_ONCE: usize = 2;
/// How often everything is looked at although nothing happened: rules about networks, and what
/// should be at a store.
const LOOK: Duration = Duration::from_secs(60);
/// Pause after something that only people change: the files are not what they were, the device is
/// not known.
const LONG: Duration = Duration::from_secs(600);
/// Longest pause after the relay had no room: asking costs one message, and there may be room any
/// moment.
const FULL: Duration = Duration::from_secs(60);

/// The work that is being done for a share.
struct Running {
    /// The version that is being uploaded; `None`: it is being released.
    version: Option<u64>,
    /// The address of the relay on whose authority it is done.
    relay: SocketAddr,
    stop: CancellationToken,
}

/// The outcome of it.
enum Outcome {
    Uploaded(KeptRecord),
    Failed(UploadError),
    Released(Result<(), RequestError>),
    Stopped,
}

type Works = FuturesUnordered<BoxFuture<'static, (ShareId, Outcome)>>;

/// One thing to do.
enum Due {
    Upload(Job),
    Release(ShareId, Arc<RelayConnection>),
}

/// Runs as long as the daemon does.
pub(super) async fn run(service: Arc<StoreUploadService>) {
    let mut changes = service.relays.changes();
    let mut world = service.swarm.host_state().changes();
    let mut works = Works::new();
    let mut running: HashMap<ShareId, Running> = HashMap::new();
    let mut connected = 0;
    loop {
        let before = std::mem::replace(&mut connected, service.relays.connected().len());
        if connected > before {
            service.store_uploads.reconnected();
            service
                .tasks
                .spawn_forever(check::everything(Arc::clone(&service)));
        }
        let mut look = Look {
            service: &service,
            running: &running,
            next: Instant::now() + LOOK,
        };
        look.stop_what_is_past();
        let due = look.due();
        let next = look.next;
        for due in due.into_iter().take(AT_ONCE.saturating_sub(running.len())) {
            begin(&service, due, &mut running, &works);
        }
        tokio::select! {
            Some((share, outcome)) = works.next(), if !works.is_empty() => {
                running.remove(&share);
                conclude(&service, share, outcome).await;
            }
            () = service.store_uploads.wake.notified() => {}
            Ok(()) = changes.changed() => {}
            Ok(()) = world.changed() => {}
            () = tokio::time::sleep_until(next.into()) => {}
        }
    }
}

fn begin(
    service: &Arc<StoreUploadService>,
    due: Due,
    running: &mut HashMap<ShareId, Running>,
    works: &Works,
) {
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    match due {
        Due::Upload(job) => {
            let (share, version, relay) =
                (job.share.id, job.version.number(), job.connection.remote());
            running.insert(
                share,
                Running {
                    version: Some(version),
                    relay,
                    stop,
                },
            );
            let service = Arc::clone(service);
            works.push(Box::pin(async move {
                let told = |bytes, total| {
                    service.store_uploads.change(share, |entry| {
                        entry.doing = Doing::Uploading { bytes, total };
                        // Taken up again, an upload of the same version is the same one.
                        if entry.begun.is_none_or(|(begun, _)| begun != version) {
                            entry.begun = Some((version, bytes));
                        }
                    });
                };
                let outcome = tokio::select! {
                    done = upload::run(&service, &job, told) => match done {
                        Ok(record) => Outcome::Uploaded(record),
                        Err(error) => Outcome::Failed(error),
                    },
                    () = stopped.cancelled() => Outcome::Stopped,
                };
                (share, outcome)
            }));
        }
        Due::Release(share, connection) => {
            running.insert(
                share,
                Running {
                    version: None,
                    relay: connection.remote(),
                    stop,
                },
            );
            works.push(Box::pin(async move {
                (share, Outcome::Released(connection.release(share).await))
            }));
        }
    }
}

async fn conclude(service: &Arc<StoreUploadService>, share: ShareId, outcome: Outcome) {
    match outcome {
        Outcome::Uploaded(record) => {
            let store = record.store();
            service.store_uploads.change(share, |entry| {
                // It may have been released while the last word of the store was on its way.
                let release = entry.record.as_ref().is_some_and(|record| record.release);
                entry.record = Some(KeptRecord { release, ..record });
                (entry.doing, entry.failures, entry.not_before) = (Doing::Nothing, 0, None);
            });
            if let Some(store) = store {
                service.swarm.store_uploaded(share, &store);
            }
        }
        Outcome::Failed(error) => {
            tracing::info!(?share, %error, "an upload failed");
            // It may have a later version than this device knows of.
            if error
                .refusal()
                .is_some_and(|refusal| refusal.code == RelayRefusalCode::Invalid)
            {
                check::one(service, share).await;
            }
            let (trouble, pauses) = trouble(&error);
            if matches!(error, UploadError::Read(ReadFailed::Changed)) {
                recheck(service, share).await;
            }
            service
                .store_uploads
                .change(share, |entry| entry.failed(trouble, pauses));
        }
        Outcome::Released(Err(error)) if !is_gone(&error) => {
            tracing::info!(?share, %error, "a share could not be released");
            let trouble = Trouble {
                reason: None,
                words: error.to_string(),
            };
            service.store_uploads.change(share, |entry| {
                entry.failed(trouble, Duration::ZERO..=RETRY.1)
            });
        }
        Outcome::Released(_) => forget(service, share).await,
        Outcome::Stopped => service
            .store_uploads
            .change(share, |entry| entry.doing = Doing::Nothing),
    }
}

/// The relay does not know the share (any more): that is what was wanted.
fn is_gone(error: &RequestError) -> bool {
    matches!(error, RequestError::Refused(refusal) if refusal.code == RelayRefusalCode::NotFound)
}

/// A share is at no store any more. A share that did not fit before may fit now.
async fn forget(service: &Arc<StoreUploadService>, share: ShareId) {
    if let Some(store) = service
        .store_uploads
        .entry(share)
        .record
        .and_then(|record| record.store())
    {
        service.swarm.store_released(share, store.key);
    }
    let of = Arc::clone(service);
    let removing = tokio::task::spawn_blocking(move || of.records.remove_kept(share));
    if let Ok(Err(error)) = removing.await {
        tracing::error!(%error, "a released share could not be forgotten; it is released again after a restart");
    }
    service.store_uploads.forget(share);
    let full = |doing: &Doing| {
        let reasons = [Some(ErrorCode::OverQuota), Some(ErrorCode::NoSpace)];
        matches!(doing, Doing::Waits(trouble) if reasons.contains(&trouble.reason))
    };
    service
        .store_uploads
        .lock()
        .values_mut()
        .filter(|entry| full(&entry.doing))
        .for_each(|entry| entry.not_before = None);
}

/// Files changed since they were shared: what cannot be given is not announced any more.
async fn recheck(service: &Arc<StoreUploadService>, share: ShareId) {
    let Some(share) = service.swarm.shares().get(share) else {
        return;
    };
    let Some(version) = share.current() else {
        return;
    };
    let of = Arc::clone(service);
    let _ = tokio::task::spawn_blocking(move || of.library.recheck(&share, &version)).await;
}

/// Returns the trouble shown to users for a failure, and the shortest and longest pause after it.
fn trouble(error: &UploadError) -> (Trouble, RangeInclusive<Duration>) {
    let asked = error.refusal().map_or(Duration::ZERO, |r| {
        Duration::from_millis(r.retry_after_ms.into())
    });
    let most = if matches!(error, UploadError::Place(_)) {
        FULL
    } else {
        RETRY.1
    };
    let (reason, words, pauses) = match (error, error.refusal().map(|refusal| refusal.code)) {
        (_, Some(RelayRefusalCode::Quota)) => (
            Some(ErrorCode::OverQuota),
            "over quota at the relay".into(),
            asked..=most,
        ),
        (_, Some(RelayRefusalCode::NoSpace)) => (
            Some(ErrorCode::NoSpace),
            "the relay has no space left".into(),
            asked..=most,
        ),
        (_, Some(RelayRefusalCode::Revoked | RelayRefusalCode::NotRegistered)) => (
            Some(ErrorCode::Refused),
            "the relay does not know this device".into(),
            LONG..=LONG,
        ),
        (_, Some(RelayRefusalCode::Busy | RelayRefusalCode::GoingAway)) => {
            (None, "the relay is busy".into(), asked..=RETRY.1)
        }
        (UploadError::Read(ReadFailed::Changed), _) => {
            let words = "its files changed since it was shared; share it again";
            (Some(ErrorCode::Changing), words.into(), LONG..=LONG)
        }
        (error, _) => (None, error.to_string(), asked..=RETRY.1),
    };
    (Trouble { reason, words }, pauses)
}

/// One look at everything.
struct Look<'a> {
    service: &'a StoreUploadService,
    running: &'a HashMap<ShareId, Running>,
    /// When to look again.
    next: Instant,
}

impl Look<'_> {
    /// Stops uploads of what was replaced, ended or forbidden meanwhile.
    fn stop_what_is_past(&self) {
        for (share, running) in self
            .running
            .iter()
            .filter(|(_, running)| running.version.is_some())
        {
            let current = self
                .service
                .swarm
                .shares()
                .get(*share)
                .and_then(|share| share.current());
            let released = self
                .service
                .store_uploads
                .entry(*share)
                .record
                .is_some_and(|record| record.release);
            let forbidden = self.link(running.relay).is_err();
            if released || forbidden || current.map(|version| version.number()) != running.version {
                running.stop.cancel();
            }
        }
    }

    /// Checks that a relay may be uploaded to over the link as it is.
    fn link(&self, relay: SocketAddr) -> Result<(), policy::Forbidden> {
        policy::link(
            &self.service.rules.get(),
            &self.service.swarm.host_state().facts(),
            relay,
        )
    }

    /// Returns the work that is due, in order: the work that frees room first, then the smallest
    /// shares.
    fn due(&mut self) -> Vec<Due> {
        let relays = self.service.relays.all();
        let shares = self.service.library.share_records();
        self.release_what_ended(&shares);
        let mut due = self.releases(&relays);
        let mut uploads: Vec<Job> = Vec::new();
        for (share, record) in shares {
            if share.owner != self.service.device || record.domain.is_none() {
                continue;
            }
            let Some(version) = share.current() else {
                continue;
            };
            if share.is_behind().is_some() {
                // A store takes no older version in place of a later one; the user has been told
                // what to do.
                let words =
                    "others have a later version, as after a restore from a backup; share it again";
                self.show(
                    share.id,
                    Doing::Waits(Trouble {
                        reason: None,
                        words: words.into(),
                    }),
                );
                continue;
            }
            match self.upload(&share, &record, &version, &relays) {
                Ok(Some(job)) => {
                    self.show(share.id, Doing::Nothing);
                    uploads.push(job);
                }
                Ok(None) => {}
                Err(doing) => self.show(share.id, doing),
            }
        }
        uploads.sort_by_key(|job| job.version.head.head().bytes);
        due.extend(uploads.into_iter().map(Due::Upload));
        due
    }

    /// Returns whether something may be tried for a share now; remembers when it may.
    fn may(&mut self, share: ShareId) -> bool {
        if self.running.contains_key(&share) {
            return false;
        }
        match self
            .service
            .store_uploads
            .entry(share)
            .not_before
            .filter(|at| *at > Instant::now())
        {
            Some(at) => {
                self.next = self.next.min(at);
                false
            }
            None => true,
        }
    }

    /// A share may have ended in the very moment in which it was being placed, or of a crash.
    fn release_what_ended(&self, shares: &[(Arc<Share>, ShareRecord)]) {
        let known: HashSet<ShareId> = shares.iter().map(|(share, _)| share.id).collect();
        let ended: Vec<ShareId> = {
            let entries = self.service.store_uploads.lock();
            let kept = entries
                .iter()
                .filter(|(_, e)| e.record.as_ref().is_some_and(|record| !record.release));
            kept.map(|(share, _)| *share)
                .filter(|share| !known.contains(share))
                .collect()
        };
        for share in ended {
            self.service.store_uploads.release(share);
        }
    }

    fn releases(&mut self, relays: &[Arc<Relay>]) -> Vec<Due> {
        let released: Vec<(ShareId, KeptRecord)> = {
            let entries = self.service.store_uploads.lock();
            let records = entries
                .iter()
                .filter_map(|(share, entry)| Some((*share, entry.record.clone()?)));
            records.filter(|(_, record)| record.release).collect()
        };
        let mut due = Vec::new();
        for (share, record) in released.into_iter().filter(|(share, _)| self.may(*share)) {
            // Of a relay that was left nothing can be asked: the record stays, should it be joined
            // again.
            let relay = relays.iter().find(|relay| relay.key() == record.relay);
            due.extend(
                relay
                    .and_then(|relay| relay.connection())
                    .map(|of| Due::Release(share, of)),
            );
        }
        due
    }

    /// The upload of a share when one is due, or what is to be shown instead.
    fn upload(
        &mut self,
        share: &Arc<Share>,
        record: &ShareRecord,
        version: &Arc<Version>,
        relays: &[Arc<Relay>],
    ) -> Result<Option<Job>, Doing> {
        let rules = self.service.rules.get();
        let entry = self.service.store_uploads.entry(share.id);
        if let Err(why) = policy::share(&rules, record.no_upload, version.head.head().bytes) {
            if why == policy::Forbidden::Asked && entry.record.is_some_and(|record| !record.release)
            {
                self.service.store_uploads.release(share.id);
            }
            return Err(why.into());
        }
        if entry.is_kept(version.number(), self.service.library.time.seconds()) {
            self.show(share.id, Doing::Nothing);
            return Ok(None);
        }
        let released = entry.record.as_ref().filter(|record| record.release);
        let leaving =
            released.is_some_and(|record| relays.iter().any(|relay| relay.key() == record.relay));
        if leaving || !self.may(share.id) {
            return Ok(None); // First it is released, then it is placed anew.
        }
        let Some((relay, connection)) = home(relays, entry.record.as_ref()) else {
            let words = "no relay is connected".into();
            return Err(Doing::Waits(Trouble {
                reason: Some(ErrorCode::NoRelay),
                words,
            }));
        };
        policy::network(&rules, connection.remote())?;
        self.link(connection.remote())?;
        let relay = relay.key();
        let (share, version) = (Arc::clone(share), Arc::clone(version));
        Ok(Some(Job {
            share,
            version,
            connection,
            relay,
            expires: record.expires,
        }))
    }

    /// Shows users why a share is not being uploaded.
    fn show(&self, share: ShareId, doing: Doing) {
        let same = match (&self.service.store_uploads.entry(share).doing, &doing) {
            (Doing::Nothing, Doing::Nothing) => true,
            (Doing::Off(was), Doing::Off(is)) | (Doing::Waits(was), Doing::Waits(is)) => was == is,
            _ => false,
        };
        if !same {
            self.service
                .store_uploads
                .change(share, |entry| entry.doing = doing);
        }
    }
}

/// The relay that keeps a share, or would: the one where it is already as long as it is joined,
/// else the first that is connected.
fn home(
    relays: &[Arc<Relay>],
    record: Option<&KeptRecord>,
) -> Option<(Arc<Relay>, Arc<RelayConnection>)> {
    let kept = record.and_then(|record| relays.iter().find(|relay| relay.key() == record.relay));
    match kept {
        Some(relay) => Some((Arc::clone(relay), relay.connection()?)),
        None => relays
            .iter()
            .find_map(|relay| Some((Arc::clone(relay), relay.connection()?))),
    }
}
