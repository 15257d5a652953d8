//! The asked side: lists of exposed folders, and uploads that others ask for.

use super::exposures::Choice;
use super::records::{self, JOBS, JobRecord};
use super::{ExposedService, Key, MAX_JOBS, job};
use crate::publish::Exposed;
use hither_content::storage::StorageError;
use hither_content::{Beneath, BeneathEntry, BeneathError, BeneathKind};
use hither_proto::limits::MAX_DRIVE_ENTRIES;
use hither_proto::{
    AskId, DeviceId, DriveEntry, DriveKind, DriveLetter, DriveList, DrivePath, DriveRefusal,
    DriveUpload, EntryName, display_name,
};
use hither_util::clock::unix_seconds;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Most requests of one device in [`PERIOD`].
const MAX_IN_PERIOD: usize = 30;
/// The time over which requests are counted.
const PERIOD: Duration = Duration::from_secs(60);
/// Most uploads of one device that wait or are done.
const MAX_OPEN: usize = 16;
/// Most devices whose requests are counted; they are all known to this one.
const MAX_RATES: usize = 1_024;
/// Longest time that a disk may take to say what is at a path; one that sleeps needs seconds.
pub(super) const DISK: Duration = Duration::from_secs(20);
/// How long an answer waits for an asker that is away, seconds.
pub(super) const KEEP: u64 = 7 * 86_400;

/// When a device asked for something lately.
#[derive(Default)]
pub(super) struct Rate(VecDeque<Instant>);

impl Rate {
    /// Counts a request; `false` when there are too many.
    fn count(&mut self, now: Instant) -> bool {
        self.forget(now);
        if self.0.len() >= MAX_IN_PERIOD {
            return false;
        }
        self.0.push_back(now);
        true
    }

    fn forget(&mut self, now: Instant) {
        while self
            .0
            .front()
            .is_some_and(|at| now.duration_since(*at) >= PERIOD)
        {
            self.0.pop_front();
        }
    }
}

/// An upload that is being done.
pub(super) struct Running {
    pub(super) exposure: String,
    pub(super) stop: CancellationToken,
    /// Why it was stopped.
    pub(super) why: Option<DriveRefusal>,
}

/// Takes up what was asked for before this program ran.
pub(super) fn start(service: &Arc<ExposedService>) {
    let open: Vec<(Key, JobRecord)> = {
        let state = service.state();
        let open = state.jobs.iter().filter(|(_, job)| !job.done);
        open.map(|(key, job)| (*key, job.clone())).collect()
    };
    for (key, job) in open {
        service.begin(key, &job);
    }
}

impl ExposedService {
    /// Returns whether a device is listened to, and asks for no more than it may.
    fn admits(&self, from: DeviceId, id: AskId) -> bool {
        let is_known = self.nearby.may_send(from) || !self.all_exposed_to(from).is_empty();
        if !is_known {
            // A relay passes on what it likes.
            tracing::info!(?from, "a request of a stranger is dropped");
            return false;
        }
        let now = Instant::now();
        let counted = {
            let mut state = self.state();
            if state.rates.len() >= MAX_RATES {
                state.rates.retain(|_, rate| {
                    rate.forget(now);
                    !rate.0.is_empty()
                });
            }
            let is_room = state.rates.len() < MAX_RATES || state.rates.contains_key(&from);
            is_room && state.rates.entry(from).or_default().count(now)
        };
        if !counted {
            self.audit(from, "drive", DriveRefusal::Busy.name());
            self.answer(from, &DriveLetter::Refused(id, DriveRefusal::Busy));
            return false;
        }
        // A page lists no folders, whatever is exposed to all of the user's devices.
        let is_page = self.nearby.is_page(from);
        if is_page {
            self.audit(from, "drive", DriveRefusal::Nothing.name());
            self.answer(from, &DriveLetter::Refused(id, DriveRefusal::Nothing));
        }
        !is_page
    }

    /// Sends an answer. Blocks.
    fn answer(&self, to: DeviceId, letter: &DriveLetter) {
        if let Err(error) = self.post(to, letter, self.time.seconds() + KEEP) {
            tracing::warn!(%error, "an answer cannot be sent");
        }
    }

    /// Another device wants to know what is in a folder. It asks anew when this program ends
    /// meanwhile. Blocks no longer than for what is in memory and the outbox.
    pub(super) fn list_asked(&self, from: DeviceId, list: DriveList) {
        if !self.admits(from, list.id) {
            return;
        }
        let (until, id) = (self.time.seconds() + u64::from(list.valid_s), list.id);
        let Some(of) = self.this() else { return };
        self.tasks.spawn(async move {
            let looking = Arc::clone(&of);
            let path = list.path.to_string();
            let look = tokio::task::spawn_blocking(move || looking.list(from, &list));
            let found = match tokio::time::timeout(DISK, look).await {
                Ok(Ok(found)) => found,
                Ok(Err(_)) => Err(DriveRefusal::Failed),
                Err(_) => Err(DriveRefusal::Silent),
            };
            let outcome = found.as_ref().map_or_else(|why| why.name(), |_| "answered");
            let what = format!("list {path}");
            let letter = match found {
                Ok((entries, more)) => DriveLetter::Entries { id, entries, more },
                Err(why) => DriveLetter::Refused(id, why),
            };
            let sent = tokio::task::spawn_blocking(move || {
                of.audit(from, &what, outcome);
                of.post(from, &letter, until)
            });
            if let Ok(Err(error)) = sent.await {
                tracing::warn!(%error, "a list cannot be sent");
            }
        });
    }

    /// The entries that a device sees in a folder. Blocks.
    fn list(
        &self,
        from: DeviceId,
        list: &DriveList,
    ) -> Result<(Vec<DriveEntry>, bool), DriveRefusal> {
        if list.path.split().is_none() {
            let all = self.all_exposed_to(from).into_iter();
            let after = list.after.as_ref().map(EntryName::as_str);
            let mut entries: Vec<_> = all
                .filter(|one| after.is_none_or(|after| one.name.as_str() > after))
                .filter_map(|one| {
                    Some(DriveEntry {
                        name: EntryName::parse(&one.name).ok()?,
                        kind: DriveKind::Folder,
                        bytes: 0,
                        modified_ms: 0,
                    })
                })
                .collect();
            // There are fewer than fit.
            entries.truncate(MAX_DRIVE_ENTRIES);
            return Ok((entries, false));
        }
        let Choice { beneath, .. } = self.choose(from, &list.path)?;
        let found = beneath.list(list.after.as_ref(), MAX_DRIVE_ENTRIES, &self.own.look());
        let (entries, more) = found.map_err(|error| refusal(&error))?;
        Ok((entries.into_iter().map(told).collect(), more))
    }

    /// The target of a path of another device: the only way from one to the other. Blocks.
    pub(super) fn choose(&self, from: DeviceId, path: &DrivePath) -> Result<Choice, DriveRefusal> {
        let (name, below) = path.split().ok_or(DriveRefusal::Nothing)?;
        let exposure = self.exposed_to(from, name.as_str());
        let exposure = exposure.ok_or(DriveRefusal::Nothing)?;
        let (place, root) = (exposure.place(), exposure.root.into());
        let found = Beneath::open(&place, &root, below, &self.own.look());
        let beneath = found.map_err(|error| refusal(&error))?;
        Ok(Choice {
            exposed: Exposed {
                exposure: exposure.name,
                place: beneath.place().clone(),
                id: beneath.id(),
            },
            beneath,
        })
    }

    /// Another device wants something uploaded; it is durable when this returns. Blocks.
    pub(super) fn upload_asked(
        &self,
        from: DeviceId,
        upload: &DriveUpload,
    ) -> Result<(), StorageError> {
        let key = (from, upload.id);
        if self.state().jobs.contains_key(&key) {
            return Ok(()); // It comes again.
        }
        if !self.admits(from, upload.id) {
            return Ok(());
        }
        let record = JobRecord {
            path: upload.path.to_string(),
            watch: upload.watch,
            at: unix_seconds(),
            until: self.time.seconds() + u64::from(upload.valid_s),
            done: false,
        };
        self.audit(from, &words(&record), "asked");
        if !self.make_room(from)? {
            self.audit(from, &words(&record), DriveRefusal::Busy.name());
            self.answer(from, &DriveLetter::Refused(upload.id, DriveRefusal::Busy));
            return Ok(());
        }
        records::put(self.storage.as_ref(), JOBS, &records::job_key(key), &record)?;
        self.state().jobs.insert(key, record.clone());
        self.begin(key, &record);
        Ok(())
    }

    /// Forgets the oldest that ended when there are too many; `false`: there is no room for another
    /// one of a device. Blocks.
    fn make_room(&self, from: DeviceId) -> Result<bool, StorageError> {
        let mut state = self.state();
        let of_asker = state.jobs.iter().filter(|((asker, _), _)| *asker == from);
        if of_asker.filter(|(_, job)| !job.done).count() >= MAX_OPEN {
            return Ok(false);
        }
        while state.jobs.len() >= MAX_JOBS {
            let ended = state.jobs.iter().filter(|(_, job)| job.done);
            let Some(key) = ended.min_by_key(|(_, job)| job.at).map(|(key, _)| *key) else {
                return Ok(false);
            };
            records::remove(self.storage.as_ref(), JOBS, &records::job_key(key))?;
            state.jobs.remove(&key);
        }
        Ok(true)
    }

    /// Begins what was asked for.
    fn begin(&self, key: Key, record: &JobRecord) {
        let Some(of) = self.this() else { return };
        let stop = self.tasks.token.child_token();
        let exposure = record.path.split('/').next().unwrap_or_default();
        self.state().running.insert(
            key,
            Running {
                exposure: exposure.to_owned(),
                stop: stop.clone(),
                why: None,
            },
        );
        let record = record.clone();
        self.tasks
            .spawn(async move { job::run(&of, key, &record, stop).await });
    }

    /// Ends uploads that are being done.
    pub(super) fn stop_where(&self, why: DriveRefusal, which: impl Fn(&Running) -> bool) {
        for running in self.state().running.values_mut().filter(|one| which(one)) {
            running.why.get_or_insert(why);
            running.stop.cancel();
        }
    }

    /// The asker takes a request back. Blocks.
    pub(super) fn taken_back(&self, from: DeviceId, id: AskId) -> Result<(), StorageError> {
        if let Some(running) = self.state().running.get_mut(&(from, id)) {
            running.why.get_or_insert(DriveRefusal::Cancelled);
            running.stop.cancel();
        }
        Ok(())
    }

    /// An upload ended: the answer is durable, then that it is. `None`: this program ends, and the
    /// next run goes on with it. Blocks.
    pub(super) fn job_ended(&self, key: Key, record: &JobRecord, letter: Option<&DriveLetter>) {
        self.state().running.remove(&key);
        let Some(letter) = letter else { return };
        let outcome = match letter {
            DriveLetter::Refused(_, why) => why.name(),
            _ => "uploaded",
        };
        self.audit(key.0, &words(record), outcome);
        if let Err(error) = self.post(key.0, letter, self.time.seconds() + KEEP) {
            // It is done again when the program begins anew, and comes to the same.
            tracing::warn!(%error, "an answer cannot be sent yet");
            return;
        }
        let done = JobRecord {
            done: true,
            ..record.clone()
        };
        let kept = records::put(self.storage.as_ref(), JOBS, &records::job_key(key), &done);
        if let Err(error) = kept {
            tracing::warn!(%error, "that an upload was answered cannot be kept");
        }
        self.state().jobs.insert(key, done);
    }
}

fn words(record: &JobRecord) -> String {
    let watch = if record.watch { "watch" } else { "upload" };
    format!("{watch} {}", display_name(&record.path))
}

fn told(entry: BeneathEntry) -> DriveEntry {
    DriveEntry {
        name: entry.name,
        kind: match entry.kind {
            BeneathKind::File => DriveKind::File,
            BeneathKind::Folder => DriveKind::Folder,
            BeneathKind::Symlink => DriveKind::Symlink,
        },
        bytes: entry.bytes,
        modified_ms: entry.modified_ms,
    }
}

fn refusal(error: &BeneathError) -> DriveRefusal {
    match error {
        BeneathError::Nothing => DriveRefusal::Nothing,
        BeneathError::Unsuitable => DriveRefusal::Unsuitable,
        BeneathError::Io(error) => {
            tracing::info!(%error, "what another device asks for cannot be read");
            DriveRefusal::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_requests_are_taken_in_a_time_and_no_more() {
        let (mut rate, now) = (Rate::default(), Instant::now());
        for _ in 0..MAX_IN_PERIOD {
            assert!(rate.count(now));
        }
        for _ in 0..1_000 {
            assert!(!rate.count(now + PERIOD / 2));
        }
        assert_eq!(rate.0.len(), MAX_IN_PERIOD, "those too many are not kept");
        assert!(rate.count(now + PERIOD));
    }
}
