//! Getting the files: the target, what is here already, the chunks, checkpoints, the move into
//! place.
//!
//! Invariant: a position is recorded and announced only after a checkpoint made it durable.

use super::run::{End, Got, Run, Wake, blocking};
use super::stage::{Repeats, Stage};
use super::target::{discard_partial, open_target};
use super::{Transfer, follows, lock};
use crate::failure;
use crate::transfer::TransferService;
use hither_api::{ErrorCode, Event, NamesInfo, Phase, RenamedInfo, SourceBytes, SourceKind};
use hither_content::{
    FetchTarget, Finished, Kept, Located, ManifestFile, Place, Stamps, Trashed, WriteError,
};
use hither_proto::{ChunkId, Manifest, Message, Progress, ShareId, SignedHead, Space};
use hither_swarm::{TransferInput, Version};
use roaring::RoaringBitmap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::task::{JoinError, JoinHandle};

/// How often what was written is made durable and announced: alone, and while neighbours wait for
/// it.
const CHECKPOINT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(80));
/// The disk is left alone for so many times as long as the checkpoint before took.
const PAUSE: u32 = 3;
/// Places of equal chunks on this device that are tried.
const PLACES: usize = 4;

/// Files that are here whole.
pub(super) struct Data {
    pub path: PathBuf,
    pub bytes: u64,
}

/// The running state.
struct Getting<'a> {
    run: &'a mut Run,
    version: Arc<Version>,
    /// The version as it was on this device before.
    earlier: Option<Arc<Version>>,
    manifest: Arc<Manifest>,
    target: Arc<FetchTarget>,
    durable: RoaringBitmap,
    written: RoaringBitmap,
    /// Positions that cannot be given to others, because not all of their bytes are written.
    unkept: RoaringBitmap,
    /// True if this device shows and serves the version while fetching it.
    serves: bool,
    checkpoint: Option<JoinHandle<Saved>>,
    began_checkpoint: Instant,
    next_checkpoint: Instant,
}

/// Gets the files of one version.
pub(super) async fn get(
    run: &mut Run,
    head: SignedHead,
    manifest_file: Arc<ManifestFile>,
    manifest: Arc<Manifest>,
) -> Result<Got<Data>, End> {
    run.set_phase(Phase::Comparing);
    let (target, durable) = open_target(run, &manifest).await?;
    // The same version as it is here already: what is whole of it need not come again.
    let earlier = run.transfer.share.version(head.head().version);
    let version = Arc::new(Version::new(head, manifest_file, target.holding()));
    let unkept = unkept(&target);
    let serves = serve(run, &version, &(&durable - &unkept));
    if !unkept.is_empty() {
        let total = target.bytes();
        run.transfer
            .update(&run.service, |record| record.total = total)?;
        run.transfer.meter().total = total;
    }
    let repeats = {
        let manifest = Arc::clone(&manifest);
        blocking(move || Repeats::find(&manifest)).await?
    };
    let mut getting = Getting {
        run,
        version,
        earlier,
        manifest,
        target,
        durable,
        written: RoaringBitmap::new(),
        unkept,
        serves,
        checkpoint: None,
        began_checkpoint: Instant::now(),
        next_checkpoint: Instant::now() + CHECKPOINT.1,
    };
    // The bytes counted by an earlier run, or an earlier version, are counted anew.
    getting.run.transfer.meter().bytes = 0;
    getting.count(&getting.durable.clone());
    getting.tell_progress(false);
    let outcome = getting.go(repeats).await;
    if let (Err(End::Cancelled), true) = (&outcome, serves) {
        unserve(&getting.run.service, &getting.run.transfer);
    }
    if outcome.is_err() {
        getting.last_checkpoint().await;
    }
    outcome
}

/// Takes what is there already, all of it with the content of the version, for what would have been
/// fetched.
pub(super) async fn adopt(
    run: &mut Run,
    head: SignedHead,
    manifest_file: Arc<ManifestFile>,
    manifest: &Arc<Manifest>,
    here: Finished,
) -> Result<Data, End> {
    let bytes = run
        .only
        .as_ref()
        .map_or_else(|| manifest.bytes(), |only| only.size(manifest).1);
    let path = here.place.path();
    let version = Arc::new(Version::new(head, manifest_file, here.holding));
    let serves = serve(run, &version, &RoaringBitmap::new());
    if serves {
        remember(run, &version, (here.place, here.stamps)).await?;
    }
    let (number, apart) = (version.number(), here.apart);
    run.transfer.update(&run.service, |record| {
        (record.path, record.total) = (path.display().to_string(), bytes);
        (record.apart, record.reason) = (apart, None);
        if record.follow {
            record.followed = Some(number);
            record.choose(manifest.name().as_str(), !manifest.is_single_file());
        }
    })?;
    credit_local(run, bytes);
    let mut meter = run.transfer.meter();
    (meter.bytes, meter.total) = (bytes, bytes);
    drop(meter);
    run.transfer.share.has(Progress {
        version: number,
        bytes,
        complete: run.only.is_none(),
    });
    Ok(Data { path, bytes })
}

/// Remembers a version that is in place, so that it is served from now on.
async fn remember(
    run: &Run,
    version: &Arc<Version>,
    (place, stamps): (Place, Stamps),
) -> Result<(), End> {
    let (service, transfer) = (Arc::clone(&run.service), Arc::clone(&run.transfer));
    let of = Arc::clone(version);
    blocking(move || {
        service
            .library
            .remember_fetched(&transfer, &of, &place, &stamps)
    })
    .await??;
    run.service
        .library
        .hold_whole(run.transfer.share.id, version);
    Ok(())
}

/// Bytes that were here already are a source like any other.
pub(super) fn credit_local(run: &Run, bytes: u64) {
    if bytes == 0 {
        return;
    }
    let (device, name) = (run.service.device.to_string(), run.service.name.to_string());
    let mut earlier = lock(&run.transfer.earlier);
    match earlier.iter_mut().find(|s| s.kind == SourceKind::Local) {
        Some(source) => source.bytes += bytes,
        None => earlier.push(SourceBytes {
            device,
            name,
            kind: SourceKind::Local,
            bytes,
            cost: 0.0,
        }),
    }
}

/// The outcome of a checkpoint: the positions that are durable now.
type Saved = Result<RoaringBitmap, WriteError>;

/// The end of the checkpoint that runs; for ever away when none does.
async fn ended(checkpoint: &mut Option<JoinHandle<Saved>>) -> Result<Saved, JoinError> {
    match checkpoint {
        Some(running) => running.await,
        None => std::future::pending().await,
    }
}

/// Shows and serves the version while it is fetched, unless it is here whole already.
fn serve(run: &Run, version: &Arc<Version>, durable: &RoaringBitmap) -> bool {
    if run.is_whole(version.number()) {
        return false;
    }
    let share = &run.transfer.share;
    share.advance(Arc::clone(version));
    // The sessions that are open were shown the head of the version before, if any: who does not
    // reach the owner learns of this one here.
    run.service
        .swarm
        .core()
        .routes
        .tell_sessions(share.id, &Message::NewHead(version.head.to_unchecked()));
    let head = version.head.head();
    run.service
        .swarm
        .core()
        .with(|engine, now| engine.hold(share.id, head.version, head.chunks, durable.clone(), now));
    true
}

/// A cancelled version is taken back; the one before is shown again.
fn unserve(service: &TransferService, transfer: &Transfer) {
    let share = transfer.share.id;
    match transfer.share.restore_previous() {
        Some(previous) => service.library.hold_whole(share, &previous),
        None => service.swarm.core().with(|engine, _| engine.release(share)),
    }
}

fn unkept(target: &FetchTarget) -> RoaringBitmap {
    let mut unkept = RoaringBitmap::new();
    for range in target.unkept() {
        unkept.insert_range(range);
    }
    unkept
}

/// Returns the ids to fetch: every id of which some position is missing, by its first position. A
/// repeat is written with its first one, but a crash may have kept only some of them.
fn wanted(
    repeats: &Repeats,
    repeated: &RoaringBitmap,
    have: &RoaringBitmap,
    chunks: u32,
) -> RoaringBitmap {
    let missing = RoaringBitmap::from_iter(0..chunks) - have;
    let firsts = (0..chunks).filter(|p| !repeated.contains(*p));
    firsts
        .filter(|first| repeats.of(*first).iter().any(|p| missing.contains(*p)))
        .collect()
}

impl Getting<'_> {
    async fn go(&mut self, repeats: Repeats) -> Result<Got<Data>, End> {
        let repeated: RoaringBitmap = repeats.repeated().collect();
        self.copy_what_is_here(&repeats, &repeated).await?;
        let have = &self.durable | &self.written;
        let copied = (&self.written | &repeated) - &self.durable;
        let lengths: Vec<u32> = self.manifest.chunks().iter().map(|c| c.length).collect();
        let unneeded: RoaringBitmap = self
            .unkept
            .iter()
            .filter(|p| self.target.is_unneeded(*p))
            .collect();
        if self.run.transfer.record().placing {
            let here = (&have | &unneeded).len();
            if here == u64::from(self.version.head.head().chunks) {
                return self.finish().await;
            }
            self.run
                .transfer
                .update(&self.run.service, |record| record.placing = false)?;
        }
        let wanted = wanted(
            &repeats,
            &repeated,
            &(&have | &unneeded),
            lengths.len() as u32,
        );
        let (manifest, target) = (Arc::clone(&self.manifest), Arc::clone(&self.target));
        self.run
            .transfer
            .stages
            .set(Stage::Data {
                manifest,
                target,
                repeats,
            })
            .await;
        self.run.set_phase(Phase::Fetching);
        self.run.transfer.meter().restart_rate();
        self.run
            .plan(self.version.number(), Space::Data, lengths, wanted);
        let share = self.run.transfer.share.id;
        self.run
            .service
            .swarm
            .core()
            .with(|engine, _| engine.copied(share, &copied));
        self.fetch().await
    }

    /// Counts positions as done.
    fn count(&self, positions: &RoaringBitmap) {
        let chunks = self.manifest.chunks();
        let bytes: u64 = positions
            .iter()
            .filter_map(|p| chunks.get(p as usize))
            .map(|c| u64::from(c.length))
            .sum();
        self.run.transfer.meter().bytes += bytes;
    }

    /// Copies chunks that other shares, or an earlier version, have on this device.
    async fn copy_what_is_here(
        &mut self,
        repeats: &Repeats,
        repeated: &RoaringBitmap,
    ) -> Result<(), End> {
        let missing: Vec<u32> = (0..self.manifest.chunks().len() as u32)
            .filter(|p| !repeated.contains(*p) && !self.durable.contains(*p))
            .collect();
        let work = Arc::new(CopyWork {
            service: Arc::clone(&self.run.service),
            share: self.run.transfer.share.id,
            earlier: self.earlier.clone(),
            manifest: Arc::clone(&self.manifest),
            target: Arc::clone(&self.target),
            missing: missing
                .into_iter()
                .map(|first| (first, repeats.of(first)))
                .collect(),
            next: AtomicU32::new(0),
        });
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let mut copying = tokio::task::JoinSet::new();
        for _ in 0..cores {
            let work = Arc::clone(&work);
            copying.spawn_blocking(move || work.copy());
        }
        let mut copied = RoaringBitmap::new();
        while let Some(part) = copying.join_next().await {
            copied |= part
                .map_err(failure::internal)?
                .map_err(|e| failure::write(&e))?;
        }
        if !copied.is_empty() {
            self.count(&copied);
            self.credit_local(&copied);
            self.written |= copied;
        }
        Ok(())
    }

    /// Counts positions that were copied on this device.
    fn credit_local(&self, copied: &RoaringBitmap) {
        let chunks = self.manifest.chunks();
        let bytes: u64 = copied
            .iter()
            .filter_map(|p| chunks.get(p as usize))
            .map(|c| u64::from(c.length))
            .sum();
        credit_local(self.run, bytes);
    }

    async fn fetch(&mut self) -> Result<Got<Data>, End> {
        loop {
            let due = self.checkpoint.is_none() && !self.written.is_empty();
            let wake = tokio::select! {
                biased;
                wake = self.run.wake() => wake?,
                saved = ended(&mut self.checkpoint) => {
                    self.checkpoint = None;
                    self.settled(saved)?;
                    continue;
                }
                () = tokio::time::sleep_until(self.next_checkpoint.into()), if due => {
                    self.checkpoint();
                    continue;
                }
            };
            match wake {
                Wake::Input(TransferInput::Written(positions)) => self.wrote(&positions),
                Wake::Input(TransferInput::SpaceComplete(Space::Data)) => {
                    return self.finish().await;
                }
                Wake::Input(TransferInput::WriteFailed(error)) => {
                    return Err(failure::put(&error).into());
                }
                Wake::Input(TransferInput::VersionChosen(version)) => {
                    if let Some(newer) = self.run.moved_over(self.version.number(), version) {
                        return self.abandon(newer).await;
                    }
                }
                Wake::Input(_) => {}
                Wake::Tick => self
                    .run
                    .give_up_if_alone()
                    .map_err(|end| self.with_missing(end))?,
            }
            // While inputs come without a pause too.
            if self
                .checkpoint
                .as_ref()
                .is_some_and(JoinHandle::is_finished)
            {
                self.settle().await?;
            }
            self.checkpoint();
        }
    }

    /// Chunks were written: the first position was fetched, the others are repeats of it.
    fn wrote(&mut self, positions: &[u32]) {
        self.credit_local(&positions.iter().skip(1).copied().collect());
        let positions: RoaringBitmap = positions.iter().copied().collect();
        let new = positions - &self.written - &self.durable;
        self.count(&new);
        self.written |= new;
    }

    /// A fetch that ends because something is not to be had says what that is.
    fn with_missing(&self, end: End) -> End {
        let End::Failed(mut error) = end else {
            return end;
        };
        if error.code == ErrorCode::NoHolder {
            let missing =
                super::missing::describe(&self.manifest, &(&self.durable | &self.written));
            error.message = format!("{} {missing}", error.message);
        }
        End::Failed(error)
    }

    /// Starts a checkpoint when one is due.
    fn checkpoint(&mut self) {
        if self.checkpoint.is_none()
            && !self.written.is_empty()
            && Instant::now() >= self.next_checkpoint
        {
            let (target, written) = (Arc::clone(&self.target), self.written.clone());
            let (records, id) = (
                self.run.service.records.clone(),
                self.run.transfer.id.clone(),
            );
            let all = &self.durable | &written;
            self.began_checkpoint = Instant::now();
            self.checkpoint = Some(tokio::task::spawn_blocking(move || {
                target.checkpoint()?;
                if let Err(error) = records.put_durable(&id, &all) {
                    tracing::error!(%error, "progress could not be recorded; it is not announced");
                    return Ok(RoaringBitmap::new());
                }
                Ok(written)
            }));
        }
    }

    /// Waits for the checkpoint that runs.
    async fn settle(&mut self) -> Result<(), End> {
        match self.checkpoint.take() {
            Some(running) => self.settled(running.await),
            None => Ok(()),
        }
    }

    fn settled(&mut self, saved: Result<Saved, JoinError>) -> Result<(), End> {
        let positions = saved
            .map_err(failure::internal)?
            .map_err(|e| failure::write(&e))?;
        let usual = if self.run.neighbours > 0 {
            CHECKPOINT.1
        } else {
            CHECKPOINT.0
        };
        self.next_checkpoint = Instant::now() + usual.max(self.began_checkpoint.elapsed() * PAUSE);
        self.written -= &positions;
        if self.serves {
            let share = self.run.transfer.share.id;
            let given = &positions - &self.unkept;
            self.run
                .service
                .swarm
                .core()
                .with(|engine, now| engine.durable(share, &given, now));
        }
        self.durable |= positions;
        self.tell_progress(false);
        Ok(())
    }

    /// Saves what can be saved when the transfer stops.
    async fn last_checkpoint(&mut self) {
        self.run.transfer.stages.set(Stage::Idle).await;
        // Everything written has been reported by now.
        while let Some(input) = self.run.waiting_input() {
            if let TransferInput::Written(positions) = input {
                self.wrote(&positions);
            }
        }
        self.next_checkpoint = Instant::now();
        let saved = async {
            self.settle().await?;
            self.next_checkpoint = Instant::now();
            self.checkpoint();
            self.settle().await
        };
        if saved.await.is_err() {
            tracing::warn!(
                "what was written last could not be made durable; it will be fetched again"
            );
        }
    }

    /// Starts over with a newer version; the partial files go.
    async fn abandon(&mut self, newer: SignedHead) -> Result<Got<Data>, End> {
        self.last_checkpoint().await;
        if self.serves {
            unserve(&self.run.service, &self.run.transfer);
        }
        discard_partial(self.run).await?;
        Ok(Got::NewVersion(Box::new(newer)))
    }

    /// Everything is written: make it durable, move it into place, remember it.
    async fn finish(&mut self) -> Result<Got<Data>, End> {
        self.run.set_phase(Phase::Writing);
        self.settle().await?;
        self.run.transfer.stages.set(Stage::Idle).await;
        let later = self.run.transfer.record().followed.is_some();
        if later {
            self.ready_to_place().await?;
        }
        let target = Arc::clone(&self.target);
        let finished = blocking(move || target.place())
            .await?
            .map_err(|e| failure::finish(&e))?;
        let path = finished.place.path();
        self.tell_kept(&finished.kept, finished.kept_more);
        let names = self.tell_names();
        let apart = finished.apart;
        self.version.set_holding(finished.holding);
        let transfer = Arc::clone(&self.run.transfer);
        if self.serves {
            remember(self.run, &self.version, (finished.place, finished.stamps)).await?;
        }
        let (version, manifest) = (self.version.number(), &self.manifest);
        self.run.transfer.update(&self.run.service, |record| {
            record.path = path.display().to_string();
            record.placing = false;
            record.apart = apart;
            record.reason = None;
            record.names = names;
            if record.follow {
                record.followed = Some(version);
                record.choose(manifest.name().as_str(), !manifest.is_single_file());
                follows::add_conflicts(record, &finished.kept, finished.kept_more);
            }
        })?;
        self.tidy(finished.trashed).await?;
        if let Err(error) = self.run.service.records.clear_durable(&transfer.id) {
            tracing::warn!(%error, "old progress could not be forgotten");
        }
        self.tell_progress(self.is_all());
        Ok(Got::Whole(Data {
            path,
            bytes: self.target.bytes(),
        }))
    }
}

impl Getting<'_> {
    /// Tells those who give how much of the version is here.
    fn tell_progress(&self, complete: bool) {
        let bytes = self.run.transfer.meter().bytes;
        self.run.transfer.share.has(Progress {
            version: self.version.number(),
            bytes: bytes.min(self.version.head.head().bytes),
            complete,
        });
    }

    /// Returns whether every chunk of the version is here, but for what cannot be written here. A part
    /// that is all that is wanted is not all of it.
    fn is_all(&self) -> bool {
        if self.run.only.is_some() {
            return false;
        }
        let mut here = &self.durable | &self.written;
        here |= &self.unkept;
        here.len() == u64::from(self.version.head.head().chunks)
    }
}

impl Getting<'_> {
    /// All of a later version is durable, and that is written down: whatever comes now, it is moved
    /// into place before anything else is looked at.
    async fn ready_to_place(&mut self) -> Result<(), End> {
        self.next_checkpoint = Instant::now();
        self.checkpoint();
        self.settle().await?;
        self.run
            .transfer
            .update(&self.run.service, |record| record.placing = true)?;
        Ok(())
    }

    /// Removes what is left of the partial files, and remembers what went to the trash.
    async fn tidy(&self, trashed: Option<Trashed>) -> Result<(), End> {
        let (target, service) = (Arc::clone(&self.target), Arc::clone(&self.run.service));
        let id = self.run.transfer.id.clone();
        let tidied = blocking(move || {
            if let Some(trashed) = trashed
                && let Err(error) = service.trash.put(&trashed)
            {
                tracing::warn!(transfer = id, %error, "what is in the trash was not noted");
            }
            target.tidy()
        })
        .await?;
        if let Err(error) = tidied {
            tracing::warn!(%error, "partial files stay behind");
        }
        self.run
            .transfer
            .update(&self.run.service, |record| record.partial = None)?;
        Ok(())
    }

    /// Tells what could not be called as in the share, and returns it.
    fn tell_names(&self) -> NamesInfo {
        let transfer = &self.run.transfer;
        let renamed = self.target.names().renamed(&self.manifest);
        let first = renamed
            .first
            .into_iter()
            .map(|(path, written)| RenamedInfo { path, written });
        let names = NamesInfo {
            renamed: first.collect(),
            renamed_total: renamed.total,
            skipped: renamed.skipped,
            skipped_total: renamed.skipped_total,
        };
        if !names.is_nothing() {
            let (renamed, skipped) = (names.renamed_total, names.skipped_total);
            tracing::info!(
                transfer = transfer.id,
                renamed,
                skipped,
                "some names cannot be written here"
            );
            transfer.emit(Event::Names {
                transfer: transfer.id.clone(),
                names: names.clone(),
            });
        }
        names
    }

    /// Tells what of the user stays where this version has something else.
    fn tell_kept(&self, kept: &[Kept], kept_more: u64) {
        let transfer = &self.run.transfer;
        for kept in kept {
            let path = kept.path.display().to_string();
            let copy = kept.copy.as_ref().map(|copy| copy.display().to_string());
            tracing::warn!(
                transfer = transfer.id,
                path,
                ?copy,
                "something that was not fetched stays"
            );
            transfer.emit(Event::Conflict {
                transfer: transfer.id.clone(),
                path,
                copy,
            });
        }
        if kept_more > 0 {
            let message = format!("{kept_more} more files that were not fetched stay as they are.");
            tracing::warn!(transfer = transfer.id, "{message}");
            transfer.emit(Event::Warning { message });
        }
    }
}

/// The places of a chunk on this device. Blocks.
pub(super) fn places(service: &TransferService, id: &ChunkId) -> Vec<Located> {
    let found = service.library.chunk_map.lookup(id, PLACES);
    found.unwrap_or_else(|error| {
        tracing::warn!(%error, "the chunk map cannot be read; everything is fetched");
        Vec::new()
    })
}

/// Copying by several threads that take turns.
struct CopyWork {
    service: Arc<TransferService>,
    share: ShareId,
    /// The version as it was on this device before: where it was then is not where it is got now.
    earlier: Option<Arc<Version>>,
    manifest: Arc<Manifest>,
    target: Arc<FetchTarget>,
    /// First positions, each with all positions of its id.
    missing: Vec<(u32, Vec<u32>)>,
    next: AtomicU32,
}

impl CopyWork {
    fn copy(&self) -> Result<RoaringBitmap, WriteError> {
        let mut copied = RoaringBitmap::new();
        if self.service.library.chunk_map.holdings().is_empty() {
            return Ok(copied);
        }
        let mut buffer = Vec::new();
        while let Some((first, all)) = self
            .missing
            .get(self.next.fetch_add(1, Ordering::Relaxed) as usize)
        {
            if self.copy_one(*first, all, &mut buffer)? {
                copied.extend(all);
            }
        }
        Ok(copied)
    }

    /// Copies one chunk from wherever it is here; `false` when it is nowhere intact.
    fn copy_one(&self, first: u32, all: &[u32], buffer: &mut Vec<u8>) -> Result<bool, WriteError> {
        let Some(record) = self.manifest.chunks().get(first as usize) else {
            return Ok(false);
        };
        for place in places(&self.service, &record.id) {
            let earlier = self
                .earlier
                .as_ref()
                .filter(|earlier| (place.share, place.version) == (self.share, earlier.number()));
            let known = || {
                let share = self.service.swarm.shares().get(place.share)?;
                share.version(place.version)
            };
            let Some(version) = earlier.map(Arc::clone).or_else(known) else {
                continue;
            };
            match self.copy_from(&version, place.position, all, buffer) {
                Ok(()) => return Ok(true),
                Err(hither_content::CopyError::Write(error)) => return Err(error),
                Err(_) => {} // Changed or gone meanwhile: another place, or the network.
            }
        }
        Ok(false)
    }

    fn copy_from(
        &self,
        version: &Version,
        position: u32,
        all: &[u32],
        buffer: &mut Vec<u8>,
    ) -> Result<(), hither_content::CopyError> {
        let holding = version.holding();
        all.iter()
            .try_for_each(|to| self.target.copy_local(*to, &holding, position, buffer))
    }
}
