//! The asker's side: what this device wants of folders that others expose.

use super::records::{self, DoneRecord, SENT, SentRecord, SentState};
use super::{ExposedService, MAX_SENT};
use crate::failure;
use crate::mail::{Content, Outcome, ShareNote};
use hither_api::{
    ApiError, DriveEntryInfo, DriveInfo, DriveListRequest, DriveListing, DriveRequest, ErrorCode,
};
use hither_content::storage::StorageError;
use hither_proto::limits::MAX_ASK_VALID;
use hither_proto::{
    AskId, DeviceId, DriveEntry, DriveKind, DriveLetter, DriveList, DrivePath, DrivePhase,
    DriveRefusal, DriveUpload, DriveUploaded, EntryName, Ticket, display_name,
};
use hither_util::clock::unix_seconds;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// The answer to a list.
pub(super) type Page = Result<(Vec<DriveEntry>, bool), DriveRefusal>;

/// How long a list is waited for: longer than a disk there may take.
const LIST: Duration = Duration::from_secs(30);
/// Most lists that are waited for at a time.
const MAX_PAGES: usize = 64;
/// For how long an upload may be begun unless its user says otherwise, seconds: a day.
const VALID: u32 = 86_400;

/// How often is looked for what is late, at the least and at the most.
const LOOK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Ends what others do not begin in time.
pub(super) fn start(service: &Arc<ExposedService>) {
    let of = Arc::clone(service);
    service.tasks.spawn_forever(async move {
        let mut changes = of.changes();
        loop {
            let looking = Arc::clone(&of);
            let next = tokio::task::spawn_blocking(move || looking.end_late()).await;
            let next = next.ok().flatten().unwrap_or(LOOK.1);
            tokio::select! {
                () = tokio::time::sleep(next.clamp(LOOK.0, LOOK.1)) => {}
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    });
}

impl ExposedService {
    /// Asks another device what is in a folder that it exposes, and waits for the answer.
    ///
    /// Errors: no device is meant, it does not answer, or it refuses.
    pub(crate) async fn list_there(
        self: &Arc<Self>,
        request: DriveListRequest,
    ) -> Result<DriveListing, ApiError> {
        let to = self.nearby.find(&request.on).await?;
        let list = DriveList {
            id: new_id()?,
            path: path(&request.path)?,
            after: request.after.as_deref().map(after).transpose()?,
            valid_s: LIST.as_secs() as u32,
        };
        let (sender, answer) = oneshot::channel();
        let id = list.id;
        {
            let mut state = self.state();
            state.pages.retain(|_, (_, sender)| !sender.is_closed());
            if state.pages.len() >= MAX_PAGES {
                let message = "Too many lists are waited for.";
                return Err(ApiError::new(ErrorCode::Refused, message));
            }
            state.pages.insert(id, (to.device, sender));
        }
        let until = self.time.seconds() + LIST.as_secs();
        let of = Arc::clone(self);
        let post = move || of.post(to.device, &DriveLetter::List(list), until);
        tokio::task::spawn_blocking(post)
            .await
            .map_err(failure::internal)??;
        let name = display_name(&to.name);
        match tokio::time::timeout(LIST, answer).await {
            Ok(Ok(Ok((entries, more)))) => Ok(DriveListing {
                device: to.device.to_string(),
                name: to.name,
                path: request.path,
                entries: entries.iter().map(entry_info).collect(),
                more,
            }),
            Ok(Ok(Err(why))) => Err(refused_list(&name, &request.path, why)),
            Ok(Err(_)) | Err(_) => {
                let message = format!("{name} does not answer.");
                Err(ApiError::new(ErrorCode::NoHolder, message)
                    .with_hint("See who is there: hither devices"))
            }
        }
    }

    /// A list, or that there is none, came.
    pub(super) fn listed(&self, from: DeviceId, id: AskId, page: Page) {
        let mut state = self.state();
        if state.pages.get(&id).is_some_and(|(of, _)| *of == from)
            && let Some((_, sender)) = state.pages.remove(&id)
        {
            let _ = sender.send(page); // Whoever waited is gone.
        }
    }

    /// Asks another device to share and upload something: the request is durable when this answers.
    ///
    /// Errors: no device is meant, the path is none, or it cannot be kept.
    pub(crate) async fn upload_there(
        self: &Arc<Self>,
        request: DriveRequest,
    ) -> Result<DriveInfo, ApiError> {
        let to = self.nearby.find(&request.on).await?.device;
        let upload = DriveUpload {
            id: new_id()?,
            path: path(&request.path)?,
            watch: request.watch,
            valid_s: request
                .valid_seconds
                .unwrap_or(VALID)
                .clamp(1, MAX_ASK_VALID),
        };
        if upload.path.split().is_none() {
            let message = "Say what is to be uploaded: a path below an exposed folder.";
            return Err(ApiError::new(ErrorCode::BadRequest, message)
                .with_hint("See what there is: hither list --on DEVICE"));
        }
        let (of, id) = (Arc::clone(self), upload.id);
        tokio::task::spawn_blocking(move || of.keep_and_send(to, upload))
            .await
            .map_err(failure::internal)??;
        self.upload_info(&id.to_string())
    }

    fn keep_and_send(self: &Arc<Self>, to: DeviceId, upload: DriveUpload) -> Result<(), ApiError> {
        let (id, until) = (upload.id, self.time.seconds() + u64::from(upload.valid_s));
        let record = SentRecord {
            to: to.to_string(),
            path: upload.path.to_string(),
            watch: upload.watch,
            at: unix_seconds(),
            until,
            state: SentState::Sent,
            progress: (0, 0),
            refusal: None,
            done: None,
        };
        let kept = self.make_room_for_sent();
        kept.and_then(|()| records::put(self.storage.as_ref(), SENT, id.as_bytes(), &record))
            .map_err(|e| failure::storage(&e))?;
        self.state().sent.insert(id, record);
        if let Err(error) = self.post(to, &DriveLetter::Upload(upload), until) {
            // Nobody will ever hear of it.
            let _ = self.change(id, |record| record.state = SentState::Cancelled);
            return Err(error);
        }
        self.changed();
        Ok(())
    }

    /// The letter of an upload is at its reader, or never will be. Blocks.
    pub(super) fn letter_sent(&self, to: DeviceId, id: AskId, outcome: &Outcome) {
        let state = match outcome.state {
            hither_api::SentState::Delivered => SentState::Delivered,
            hither_api::SentState::Failed | hither_api::SentState::Declined => SentState::Refused,
            hither_api::SentState::AtRelay | hither_api::SentState::Waiting => return,
        };
        let to = to.to_string();
        let is_sent = |record: &SentRecord| record.to == to && record.state == SentState::Sent;
        // It may have gone on already.
        if !self.state().sent.get(&id).is_some_and(is_sent) {
            return;
        }
        if let Err(error) = self.change(id, |record| record.state = state) {
            tracing::warn!(%error, "how an upload stands cannot be kept");
        }
    }

    fn make_room_for_sent(&self) -> Result<(), StorageError> {
        let mut state = self.state();
        while state.sent.len() >= MAX_SENT {
            let oldest = state.sent.iter();
            let oldest = oldest.min_by_key(|(_, one)| (!one.state.is_final(), one.at));
            let Some(id) = oldest.map(|(id, _)| *id) else {
                break;
            };
            records::remove(self.storage.as_ref(), SENT, id.as_bytes())?;
            state.sent.remove(&id);
        }
        Ok(())
    }

    /// Changes a request that has not ended; it is durable when this returns. `false`: there is
    /// none. Blocks.
    fn change(
        &self,
        id: AskId,
        change: impl FnOnce(&mut SentRecord),
    ) -> Result<bool, StorageError> {
        let mut state = self.state();
        let open = state.sent.get(&id).filter(|one| !one.state.is_final());
        let Some(mut record) = open.cloned() else {
            return Ok(false);
        };
        change(&mut record);
        records::put(self.storage.as_ref(), SENT, id.as_bytes(), &record)?;
        state.sent.insert(id, record);
        drop(state);
        self.changed();
        Ok(true)
    }

    fn is_of(&self, id: AskId, device: DeviceId) -> bool {
        let to = device.to_string();
        self.state().sent.get(&id).is_some_and(|one| one.to == to)
    }

    /// An upload goes on. It is not made durable: the next word says more.
    pub(super) fn goes_on(
        &self,
        from: DeviceId,
        id: AskId,
        phase: DrivePhase,
        bytes: u64,
        total: u64,
    ) {
        if !self.is_of(id, from) {
            return;
        }
        let state = match phase {
            DrivePhase::Waiting => SentState::Waiting,
            DrivePhase::Reading => SentState::Reading,
            DrivePhase::Uploading => SentState::Uploading,
        };
        if let Some(record) = self.state().sent.get_mut(&id)
            && !record.state.is_final()
        {
            (record.state, record.progress) = (state, (bytes, total));
        }
        self.changed();
    }

    /// It is done: the ticket is durable when this returns, and in the inbox if nobody waits for it.
    /// Blocks.
    pub(super) fn uploaded(
        &self,
        from: DeviceId,
        id: AskId,
        done: &DriveUploaded,
    ) -> Result<Option<Content>, StorageError> {
        let Ok(ticket) = done.ticket.parse::<Ticket>() else {
            tracing::warn!(?from, "an answer without a ticket is dropped");
            return Ok(None);
        };
        if !self.is_of(id, from) {
            tracing::warn!(?from, "an answer to what was not asked is dropped");
            return Ok(None);
        }
        let kept = DoneRecord {
            share: done.share.to_string(),
            ticket: ticket.to_string(),
            name: done.name.as_str().to_owned(),
            version: done.version,
            files: done.files,
            bytes: done.bytes,
            sent_bytes: done.sent_bytes,
            stored: done.stored,
        };
        let is_seen = self.state().watched.contains_key(&id);
        let again = {
            let state = self.state();
            let before = state.sent.get(&id).and_then(|one| one.done.as_ref());
            before == Some(&kept)
        };
        let taken = self.change(id, |record| {
            (record.state, record.done) = (SentState::Done, Some(kept));
        })?;
        let note = ShareNote {
            ticket: ticket.to_string(),
            name: done.name.as_str().to_owned(),
            files: done.files,
            bytes: done.bytes,
        };
        // After a crash between this record and the inbox the same letter comes again.
        Ok((!is_seen && (taken || again)).then_some(Content::Ticket(note)))
    }

    /// Nothing comes of it. Blocks.
    pub(super) fn refused(
        &self,
        from: DeviceId,
        id: AskId,
        why: DriveRefusal,
    ) -> Result<(), StorageError> {
        if self.is_of(id, from) {
            self.change(id, |record| {
                record.state = SentState::Refused;
                record.refusal = Some(why.name().into());
            })?;
        }
        Ok(())
    }

    /// Takes a request back: the other device is told.
    ///
    /// Errors: there is none, or it has ended.
    pub(crate) async fn cancel_there(
        self: &Arc<Self>,
        wanted: &str,
    ) -> Result<DriveInfo, ApiError> {
        let (id, record) = self.sent(wanted)?;
        let of = Arc::clone(self);
        let work = move || {
            let cancelled = of.change(id, |record| record.state = SentState::Cancelled);
            if !cancelled.map_err(|e| failure::storage(&e))? {
                let message = "That request has ended already.";
                return Err(ApiError::new(ErrorCode::BadRequest, message));
            }
            let to = record.to.parse().map_err(failure::internal)?;
            // A begun upload may take longer than it may take to begin.
            let until = record.until.max(of.time.seconds()) + u64::from(VALID);
            of.post(to, &DriveLetter::Cancel(id), until)
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(failure::internal)??;
        self.upload_info(&id.to_string())
    }

    fn sent(&self, wanted: &str) -> Result<(AskId, SentRecord), ApiError> {
        let state = self.state();
        let mut found = state
            .sent
            .iter()
            .filter(|(id, _)| !wanted.is_empty() && id.to_string().starts_with(wanted));
        match (found.next(), found.next()) {
            (Some((id, record)), None) => Ok((*id, record.clone())),
            _ => {
                let message = format!("There is no upload {}.", display_name(wanted));
                Err(ApiError::new(ErrorCode::NotFound, message)
                    .with_hint("See them all with: hither upload"))
            }
        }
    }

    /// How an upload that this device asked for stands.
    ///
    /// Errors: there is none.
    pub(crate) fn upload_info(&self, wanted: &str) -> Result<DriveInfo, ApiError> {
        let (id, record) = self.sent(wanted)?;
        Ok(self.info(id, record))
    }

    /// Every upload that this device asked for, the latest first.
    pub(crate) fn uploads_there(&self) -> Vec<DriveInfo> {
        let mut all: Vec<_> = {
            let state = self.state();
            let all = state.sent.iter();
            all.map(|(id, record)| (*id, record.clone())).collect()
        };
        all.sort_by_key(|(_, record)| std::cmp::Reverse(record.at));
        let infos = all.into_iter();
        infos.map(|(id, record)| self.info(id, record)).collect()
    }

    /// Ends uploads that were not begun in time, and takes them back: the request may still lie at a
    /// relay. Gives the time until the next one ends. Blocks.
    fn end_late(&self) -> Option<Duration> {
        let now = self.time.seconds();
        let waits: Vec<(AskId, SentRecord)> = {
            let state = self.state();
            let waits = state.sent.iter().filter(|(_, one)| one.state.waits());
            waits.map(|(id, one)| (*id, one.clone())).collect()
        };
        let (late, others): (Vec<_>, Vec<_>) =
            waits.into_iter().partition(|(_, one)| one.until <= now);
        for (id, record) in late {
            if let Ok(to) = record.to.parse()
                && let Err(error) = self.post(to, &DriveLetter::Cancel(id), now + u64::from(VALID))
            {
                tracing::debug!(%error, "that an upload is late is not told");
            }
            if let Err(error) = self.change(id, |record| record.state = SentState::Expired) {
                tracing::warn!(%error, "the end of a request cannot be kept");
            }
        }
        let next = others.iter().map(|(_, one)| one.until).min()?;
        Some(Duration::from_secs(next.saturating_sub(now)))
    }

    fn info(&self, id: AskId, record: SentRecord) -> DriveInfo {
        let name = record.to.parse().map(|device| self.name_of(device));
        let done = record.done;
        DriveInfo {
            upload: id.to_string(),
            name: name.unwrap_or_default(),
            device: record.to,
            path: record.path,
            watch: record.watch,
            state: record.state.name().into(),
            made: record.at,
            bytes: record.progress.0,
            total: record.progress.1,
            refusal: record.refusal,
            done: done.map(|done| hither_api::DriveDone {
                share: done.share,
                ticket: done.ticket,
                name: done.name,
                version: done.version,
                files: done.files,
                bytes: done.bytes,
                sent_bytes: done.sent_bytes,
                stored: done.stored,
            }),
        }
    }

    /// Somebody looks at an upload as it goes on, until what this gives is dropped.
    pub(crate) fn watch(self: &Arc<Self>, wanted: &str) -> Option<Watching> {
        let (id, _) = self.sent(wanted).ok()?;
        *self.state().watched.entry(id).or_default() += 1;
        Some(Watching(Arc::clone(self), id))
    }
}

/// Somebody looks at an upload.
pub(crate) struct Watching(Arc<ExposedService>, AskId);

impl Drop for Watching {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if let Some(count) = state.watched.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                state.watched.remove(&self.1);
            }
        }
    }
}

fn new_id() -> Result<AskId, ApiError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(failure::internal)?;
    Ok(AskId::new(id))
}

fn path(text: &str) -> Result<DrivePath, ApiError> {
    DrivePath::parse(text).map_err(|_| {
        let message = format!("{} is no path below an exposed folder.", display_name(text));
        ApiError::new(ErrorCode::BadRequest, message)
            .with_hint("See what there is: hither list --on DEVICE")
    })
}

fn after(text: &str) -> Result<EntryName, ApiError> {
    EntryName::parse(text)
        .map_err(|error| ApiError::new(ErrorCode::BadRequest, format!("That is no name: {error}.")))
}

fn entry_info(entry: &DriveEntry) -> DriveEntryInfo {
    DriveEntryInfo {
        name: entry.name.as_str().to_owned(),
        kind: match entry.kind {
            DriveKind::File => "file",
            DriveKind::Folder => "folder",
            DriveKind::Symlink => "symlink",
        }
        .into(),
        bytes: entry.bytes,
        modified: entry.modified_ms / 1000,
    }
}

fn refused_list(name: &str, path: &str, why: DriveRefusal) -> ApiError {
    let path = display_name(path);
    let (code, message) = match why {
        DriveRefusal::Nothing => (
            ErrorCode::NotFound,
            format!("{name} exposes nothing like {path} to this device."),
        ),
        DriveRefusal::Unsuitable => (ErrorCode::Refused, format!("{path} is no folder.")),
        DriveRefusal::Silent => (
            ErrorCode::Refused,
            format!("The disk of {path} does not answer at {name}."),
        ),
        DriveRefusal::Busy => (
            ErrorCode::Refused,
            format!("{name} was asked too much; try again in a minute."),
        ),
        _ => (ErrorCode::Refused, format!("{name} cannot list {path}.")),
    };
    ApiError::new(code, message)
}
