//! The view that users have of uploads.

use super::{Doing, Entry, Trouble, policy};
use crate::store_upload::StoreUploadService;
use futures::{Stream, stream};
use hither_api::{ApiError, ErrorCode, Event, UploadInfo, UploadState};
use hither_proto::ShareId;
use hither_swarm::Share;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The shortest interval at which progress is reported.
const PROGRESS: Duration = Duration::from_millis(200);

impl StoreUploadService {
    /// How the upload of a share stands; nothing for shares of others, and while no relay has to do
    /// with it.
    pub(crate) fn upload_info(&self, share: &Share) -> Option<UploadInfo> {
        let relays = self.relays.all();
        let entry = self.store_uploads.entry(share.id);
        if share.owner != self.device || (relays.is_empty() && entry.record.is_none()) {
            return None;
        }
        let version = share.current()?.number();
        let word = self
            .library
            .share_record(share.id)
            .is_some_and(|record| record.no_upload);
        let bytes = share.current()?.head.head().bytes;
        let entry = match policy::share(&self.rules.get(), word, bytes) {
            Ok(()) => entry,
            Err(why) => Entry {
                doing: why.into(),
                ..entry
            },
        };
        let at = entry.record.as_ref().and_then(|record| {
            let relay = relays.iter().find(|relay| relay.key() == record.relay)?;
            Some(relay.url.at.to_string())
        });
        Some(info(&entry, version, at))
    }
}

impl StoreUploadService {
    /// Bytes of ciphertext of a version that were sent to its store since this program runs: what
    /// was not there when its upload began.
    pub(crate) fn sent_bytes(&self, share: ShareId, version: u64) -> u64 {
        let entry = self.store_uploads.entry(share);
        let whole = entry
            .record
            .as_ref()
            .filter(|record| record.version == version)
            .map_or(0, |record| record.bytes);
        match entry.begun {
            Some((begun, bytes)) if begun == version => whole.saturating_sub(bytes),
            _ => 0,
        }
    }

    /// Shares that are being uploaded, or wait for it.
    pub(crate) fn uploads(&self) -> u64 {
        let infos = self
            .library
            .share_records()
            .into_iter()
            .filter_map(|(share, _)| self.upload_info(&share));
        let open =
            |info: &UploadInfo| matches!(info.state, UploadState::Waiting | UploadState::Uploading);
        infos.filter(open).count() as u64
    }
}

/// The words of an entry. `version` is the latest, `at` the relay.
fn info(entry: &Entry, version: u64, at: Option<String>) -> UploadInfo {
    let record = entry.record.as_ref().filter(|record| !record.release);
    let whole = record
        .map(|record| record.version)
        .filter(|version| *version > 0);
    let mut info = UploadInfo {
        state: UploadState::Waiting,
        bytes: 0,
        total: 0,
        version: whole,
        store: record.and_then(|record| Some(record.store()?.key.to_string())),
        relay: at,
        reason: None,
        words: "waiting for its turn".into(),
    };
    let not = |Trouble { reason, words }: &Trouble| (*reason, format!("not uploaded: {words}"));
    match &entry.doing {
        Doing::Uploading { bytes, total } => {
            (info.state, info.bytes, info.total) = (UploadState::Uploading, *bytes, *total);
            info.words = format!("uploading {} %", percent(*bytes, *total));
        }
        Doing::Off(trouble) => {
            info.state = UploadState::Off;
            (info.reason, info.words) = not(trouble);
        }
        _ if whole == Some(version) => {
            let bytes = record.map_or(0, |record| record.bytes);
            (info.state, info.bytes, info.total) = (UploadState::Uploaded, bytes, bytes);
            info.words = "on the relay".into();
        }
        Doing::Waits(trouble) => (info.reason, info.words) = not(trouble),
        Doing::Nothing => {}
    }
    info
}

/// Whole percent, 100 only when all is there.
fn percent(bytes: u64, total: u64) -> u64 {
    u64::try_from(u128::from(bytes) * 100 / u128::from(total.max(1)))
        .unwrap_or(100)
        .min(100)
}

/// Tells how an upload goes on, until it is done or nothing comes of it without somebody doing
/// something.
pub(crate) fn follow(
    service: Arc<StoreUploadService>,
    share: ShareId,
) -> impl Stream<Item = Event> {
    let changes = service.store_uploads.changes.subscribe();
    let follow = Follow {
        service,
        share,
        changes,
        told: None,
        ended: false,
    };
    stream::unfold(follow, |mut follow| async move {
        let event = follow.next().await?;
        Some((event, follow))
    })
}

struct Follow {
    service: Arc<StoreUploadService>,
    share: ShareId,
    changes: watch::Receiver<u64>,
    told: Option<UploadInfo>,
    ended: bool,
}

impl Follow {
    async fn next(&mut self) -> Option<Event> {
        while !self.ended {
            self.changes.borrow_and_update();
            let upload = self
                .service
                .swarm
                .shares()
                .get(self.share)
                .and_then(|share| self.service.upload_info(&share));
            let Some(upload) = upload else {
                self.ended = true;
                return Some(Event::Error(no_upload()));
            };
            if upload.state != UploadState::Uploaded && !upload.may_come() {
                self.ended = true;
                return Some(Event::Error(given_up(&upload)));
            }
            if self.told.as_ref() != Some(&upload) {
                if self.told.is_some() && upload.state == UploadState::Uploading {
                    tokio::time::sleep(PROGRESS).await;
                }
                self.ended = upload.state == UploadState::Uploaded;
                self.told = Some(upload.clone());
                return Some(Event::Upload(upload));
            }
            self.changes.changed().await.ok()?;
        }
        None
    }
}

fn no_upload() -> ApiError {
    ApiError::new(
        ErrorCode::NoRelay,
        "It is not uploaded: this device has joined no relay.",
    )
    .with_hint("Join one with: hither relay add URL")
}

fn given_up(upload: &UploadInfo) -> ApiError {
    let words = upload
        .words
        .strip_prefix("not uploaded: ")
        .unwrap_or(&upload.words);
    let code = upload.reason.unwrap_or(ErrorCode::Refused);
    let error = ApiError::new(code, format!("It is shared, but not uploaded: {words}."));
    match code {
        ErrorCode::OverQuota | ErrorCode::NoSpace => error.with_hint(
            "End other shares (hither unshare), or ask the relay's owner for more room.",
        ),
        _ => error,
    }
}
