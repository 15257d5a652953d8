//! The task of one transfer: head → root → manifest → offer → data → done.
//!
//! Everything that can end it is an [`End`]; what was durable by then stays, so that it can go on.

use super::data::{self, Data};
use super::offer::Answer;
use super::stage::Stage;
use super::{Control, Transfer, in_order, lookup};
use crate::transfer::TransferService;
use crate::{costs, failure};
use hither_api::{ApiError, ErrorCode, Event, Phase};
use hither_content::{ManifestFile, Selection};
use hither_engine::{Plan, Waiting};
use hither_proto::limits::CHUNK_TAG;
use hither_proto::{Manifest, Pin, Progress, SignedHead, Space};
use hither_swarm::{ChunkSink, TransferInput, TransferRoute};
use roaring::RoaringBitmap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// How often deadlines are looked at and the rate is sampled.
const TICK: Duration = Duration::from_millis(200);
/// Time for others to answer before a version that is whole on this device is taken as the latest:
/// in any case, and at most while somebody who may have a later one is being connected to.
const LOCAL_HEAD: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// A list of files and chunks longer than this is not fetched before somebody agreed, bytes: half a
/// million files, or 4 TiB.
const LARGE_MANIFEST: u64 = 64 << 20;
/// How long somebody else may turn up who has what the owner, who is there, does not have.
const FOR_OTHERS: Duration = Duration::from_secs(5);

/// Why a transfer's task ends.
pub(super) enum End {
    Done {
        path: PathBuf,
        bytes: u64,
        /// All of it was here before, and not by this fetch.
        already: bool,
    },
    /// The content of the share is known, and nothing else is wanted.
    Listed {
        version: u64,
        manifest: Arc<Manifest>,
    },
    Paused,
    Cancelled,
    Suspended,
    Failed(ApiError),
}

impl From<ApiError> for End {
    fn from(error: ApiError) -> Self {
        Self::Failed(error)
    }
}

/// The state that the task owns.
pub(super) struct Run {
    pub service: Arc<TransferService>,
    pub transfer: Arc<Transfer>,
    inputs: mpsc::UnboundedReceiver<TransferInput>,
    control: mpsc::UnboundedReceiver<Control>,
    pub began: Instant,
    /// When deadlines are looked at next.
    tick: Instant,
    /// When a holder was last there.
    reached: Instant,
    ever_reached: bool,
    /// Devices on the same network that wait for what is got here.
    pub neighbours: u32,
    wait: Option<Duration>,
    /// True while nobody gives anything at the moment.
    alone: watch::Sender<bool>,
    /// The part of the version at hand that is fetched; `None`: everything.
    pub only: Option<Arc<Selection>>,
}

/// The outcome of getting a part of a version.
pub(super) enum Got<T> {
    Whole(T),
    /// The version begun is not to be had any more; this newer one is.
    NewVersion(Box<SignedHead>),
}

/// The event that woke the task.
pub(super) enum Wake {
    Input(TransferInput),
    Tick,
}

pub(super) async fn run(
    service: Arc<TransferService>,
    transfer: Arc<Transfer>,
    control: mpsc::UnboundedReceiver<Control>,
    wait: Option<Duration>,
) {
    let (sender, inputs) = mpsc::unbounded_channel();
    let share = transfer.share.id;
    let route = TransferRoute {
        inputs: sender,
        sink: Arc::clone(&transfer) as Arc<dyn ChunkSink>,
        relays: transfer.ticket.relays.clone(),
    };
    service.swarm.core().routes.add_transfer(share, route);
    let now = Instant::now();
    let mut run = Run {
        service: Arc::clone(&service),
        transfer: Arc::clone(&transfer),
        inputs,
        control,
        began: now,
        tick: now + TICK,
        reached: now,
        ever_reached: false,
        neighbours: 0,
        wait,
        alone: watch::Sender::new(true),
        only: None,
    };
    run.announce_interest();
    let looking = run.look_up();
    let end = match run.drive().await {
        Ok(end) | Err(end) => end,
    };
    looking.cancel();
    service.swarm.core().routes.remove_transfer(share);
    transfer.stages.set(Stage::Idle).await;
    run.conclude(end);
}

impl Run {
    /// Tells the engine what is wanted and who might have it.
    fn announce_interest(&self) {
        let (share, owner) = (self.transfer.share.id, self.transfer.share.owner);
        let pin = self.transfer.ticket.pin.as_ref().map(|pin| pin.version);
        let preferred = self.begun_head().map(|head| head.head().version);
        let nearby = self.service.swarm.links().nearby();
        self.service
            .swarm
            .core()
            .with(|engine, _| engine.start_fetch(share, owner, pin, preferred));
        self.set_budget();
        // A copy that is followed and is here says so when it is clear that it is the latest.
        if self.transfer.record().followed.is_none() {
            self.transfer.share.has(Progress::default());
        }
        let known = self
            .transfer
            .share
            .newest()
            .map_or(0, |head| head.head().version);
        let presence = self.service.relays.presence(owner);
        self.service.swarm.core().with(|engine, now| {
            engine.set_known_version(share, known, now);
            engine.set_owner_presence(share, presence, now);
            engine.handle_device_seen(share, owner, now);
            nearby
                .into_iter()
                .for_each(|device| engine.handle_device_seen(share, device, now));
        });
    }

    /// Tells the engine what may be spent.
    fn set_budget(&self) {
        let budget = costs::budget(&self.service, &self.transfer);
        self.service
            .swarm
            .core()
            .with(|engine, now| engine.set_budget(self.transfer.share.id, budget, now));
    }

    /// Has relays queried for the share's holders, until the token is cancelled.
    fn look_up(&self) -> CancellationToken {
        let token = self.service.tasks.token.child_token();
        let (stop, of) = (
            token.clone(),
            lookup::run(
                Arc::clone(&self.service),
                Arc::clone(&self.transfer),
                self.alone.subscribe(),
            ),
        );
        self.service.tasks.spawn(async move {
            tokio::select! {
                () = of => {}
                () = stop.cancelled() => {}
            }
        });
        token
    }

    /// The head of the version that an earlier run began.
    pub(super) fn begun_head(&self) -> Option<SignedHead> {
        let stored = self.transfer.record().head?;
        let unchecked = hither_proto::UncheckedHead::decode(&stored.0).ok()?;
        SignedHead::open(
            &unchecked,
            self.transfer.share.id,
            self.transfer.share.owner,
        )
        .ok()
    }

    /// From nothing to the end. A newer version, when the one begun is not to be had any more,
    /// starts over.
    async fn drive(&mut self) -> Result<End, End> {
        let mut head = self.first_version().await?;
        loop {
            let manifest_file = match self.manifest(&head).await? {
                Got::Whole(file) => file,
                Got::NewVersion(newer) => {
                    self.transfer.stages.set(Stage::Idle).await;
                    head = *newer;
                    continue;
                }
            };
            let manifest = {
                let file = Arc::clone(&manifest_file);
                blocking(move || file.decode())
                    .await?
                    .map_err(|e| failure::manifest(&e))?
            };
            let manifest = Arc::new(manifest);
            let version = head.head().version;
            if self.transfer.is_listing() {
                return Ok(End::Listed { version, manifest });
            }
            let (got, already) = match self.offer(&head, &manifest).await? {
                Answer::Skip => {
                    head = self.newer_than(version).await?;
                    continue;
                }
                Answer::Yes if self.transfer.record().spooled => {
                    let bytes = in_order::get(self, &head, &manifest).await?;
                    return Ok(End::Done {
                        path: "-".into(),
                        bytes,
                        already: false,
                    });
                }
                Answer::Yes => {
                    let got = data::get(self, head, manifest_file, manifest).await?;
                    (got, false)
                }
                Answer::Here(here) => {
                    let here = data::adopt(self, head, manifest_file, &manifest, *here).await?;
                    (Got::Whole(here), true)
                }
            };
            match got {
                Got::Whole(Data { path, bytes }) if self.transfer.record().follow => {
                    self.tell_version(version, &path, bytes);
                    head = self.newer_than(version).await?;
                }
                Got::Whole(Data { path, bytes }) => {
                    return Ok(End::Done {
                        path,
                        bytes,
                        already,
                    });
                }
                Got::NewVersion(newer) => head = *newer,
            }
        }
    }

    /// The version to begin with: the latest, or when it is here and later ones are followed, the
    /// one after.
    async fn first_version(&mut self) -> Result<SignedHead, End> {
        let record = self.transfer.record();
        let followed = record.followed.filter(|_| record.follow);
        if let Some(begun) = self.begun_head() {
            // A crash came while a version was moved into place: that is done first, and needs
            // nobody.
            if record.placing {
                return Ok(begun);
            }
            // Or right after that.
            if followed == Some(begun.head().version) && record.partial.is_some() {
                super::target::discard_partial(self).await?;
            }
        }
        // The user's own files that stay there make no version whole, and are not fetched again.
        if let Some(here) =
            followed.filter(|here| record.apart && self.transfer.share.version(*here).is_some())
        {
            return self.newer_than(here).await;
        }
        let chosen = self.choose_version().await;
        // Nobody is there, and what is here is what was fetched, but for the user's changes.
        if let (Err(End::Failed(error)), Some(here)) = (&chosen, followed)
            && error.code == ErrorCode::NoHolder
            && self.transfer.share.version(here).is_some()
        {
            return self.newer_than(here).await;
        }
        let head = chosen?;
        let version = head.head().version;
        if followed == Some(version) && self.is_whole(version) {
            return self.newer_than(version).await;
        }
        Ok(head)
    }

    /// A version is here, and later ones are waited for: they replace it.
    fn tell_version(&self, version: u64, path: &std::path::Path, bytes: u64) {
        self.transfer.went_well();
        let sources = self.transfer.sources(&self.service);
        let sources = self.transfer.told(&self.service, sources);
        self.transfer.emit(Event::Version {
            transfer: self.transfer.id.clone(),
            version,
            path: path.display().to_string(),
            bytes,
            seconds: self.began.elapsed().as_secs_f64(),
            sources,
            currency: self.transfer.currency(&self.service),
        });
    }

    /// Waits for a head above `version`; holders show it as soon as they know it.
    async fn newer_than(&mut self, version: u64) -> Result<SignedHead, End> {
        self.set_phase(Phase::Following);
        let bytes = self.transfer.meter().total;
        self.transfer.share.has(Progress {
            version,
            bytes,
            complete: true,
        });
        loop {
            if let Some(newest) = self
                .transfer
                .share
                .newest()
                .filter(|h| h.head().version > version)
            {
                let newest = self
                    .transfer
                    .share
                    .take_head(newest.head().version)
                    .unwrap_or(newest);
                self.began = Instant::now();
                self.transfer.meter().bytes = 0;
                return Ok(newest);
            }
            self.wake().await?;
        }
    }

    /// Waits until it is clear which version is fetched.
    async fn choose_version(&mut self) -> Result<SignedHead, End> {
        self.set_phase(Phase::Connecting);
        let local = self.local_head().await?;
        let ours = self.transfer.share.owner == self.service.device;
        loop {
            if let Some(head) = local.as_ref().filter(|_| ours || self.is_local_due()) {
                return self.admit(head.clone());
            }
            match self.wake().await? {
                Wake::Input(TransferInput::VersionChosen(version)) => {
                    if let Some(head) = self.transfer.share.take_head(version) {
                        return self.admit(head);
                    }
                }
                Wake::Input(_) => {}
                Wake::Tick => self.give_up_if_alone()?,
            }
        }
    }

    /// Returns whether a version that is whole on this device may be taken: nobody is about to show
    /// a later one.
    fn is_local_due(&self) -> bool {
        let (elapsed, share) = (self.began.elapsed(), self.transfer.share.id);
        let choosing = || {
            self.service
                .swarm
                .core()
                .with(|engine, _| engine.is_choosing(share))
        };
        elapsed > LOCAL_HEAD.1 || (elapsed > LOCAL_HEAD.0 && !choosing())
    }

    /// The head of a version that is whole on this device, after a look at its files.
    async fn local_head(&self) -> Result<Option<SignedHead>, End> {
        let Some(version) = self.transfer.share.current() else {
            return Ok(None);
        };
        let (service, share, of) = (
            Arc::clone(&self.service),
            Arc::clone(&self.transfer.share),
            Arc::clone(&version),
        );
        blocking(move || service.library.recheck(&share, &of)).await?;
        Ok(self
            .is_whole(version.number())
            .then(|| version.head.clone()))
    }

    /// Returns whether every chunk of this version is on this device.
    pub(super) fn is_whole(&self, version: u64) -> bool {
        let share = &self.transfer.share;
        let chunks = share
            .version(version)
            .map(|v| u64::from(v.head.head().chunks));
        let held = self
            .service
            .swarm
            .core()
            .with(|engine, _| engine.held(share.id).map(RoaringBitmap::len));
        chunks.is_some() && chunks == held
    }

    /// A pinned ticket names exactly one root.
    fn admit(&self, head: SignedHead) -> Result<SignedHead, End> {
        match &self.transfer.ticket.pin {
            Some(Pin { version, root })
                if head.head().version != *version || head.head().root != *root =>
            {
                Err(ApiError::new(
                    ErrorCode::Refused,
                    "The version that the ticket names is not offered any more.",
                )
                .into())
            }
            _ => Ok(head),
        }
    }

    /// Gets root and manifest, or takes those that an earlier run left.
    async fn manifest(&mut self, head: &SignedHead) -> Result<Got<Arc<ManifestFile>>, End> {
        let share = Arc::clone(&self.transfer.share);
        if let Some(version) = share.version(head.head().version) {
            return Ok(Got::Whole(Arc::clone(&version.manifest_file)));
        }
        let path = self
            .service
            .library
            .manifest_path(share.id, head.head().version);
        let (at, signed, secret) = (path.clone(), head.clone(), share.secret.clone());
        let left = blocking(move || {
            let file = ManifestFile::open(&at, signed.head(), &secret).ok()?;
            let have: RoaringBitmap = file.verified_positions().ok()?.into_iter().collect();
            Some((Arc::new(file), have))
        })
        .await?;
        let (file, have) = match left {
            Some(left) => left,
            None => match self.root(head, path).await? {
                Got::Whole(file) => (file, RoaringBitmap::new()),
                Got::NewVersion(newer) => return Ok(Got::NewVersion(newer)),
            },
        };
        self.proportionate(&file)?;
        let whole = have.len() == file.root().records().len() as u64;
        if whole && self.transfer.record().placing {
            return Ok(Got::Whole(file));
        }
        let lengths: Vec<u32> = file.root().records().iter().map(|r| r.length).collect();
        let wanted = RoaringBitmap::from_iter(0..lengths.len() as u32) - &have;
        self.transfer
            .stages
            .set(Stage::Manifest {
                file: Arc::clone(&file),
            })
            .await;
        self.plan(head.head().version, Space::Manifest, lengths, wanted);
        if let Got::NewVersion(newer) = self.complete(head, Space::Manifest).await? {
            return Ok(Got::NewVersion(newer));
        }
        let synced = Arc::clone(&file);
        blocking(move || synced.sync())
            .await?
            .map_err(|e| failure::manifest(&e))?;
        Ok(Got::Whole(file))
    }

    /// Returns what comes before the question is little, unless the user has agreed to whatever
    /// comes.
    fn proportionate(&self, file: &ManifestFile) -> Result<(), ApiError> {
        let length = file.root().manifest_length();
        if length <= LARGE_MANIFEST || self.transfer.record().accepted {
            return Ok(());
        }
        let size = failure::size(length);
        Err(ApiError::new(
            ErrorCode::Refused,
            format!("The list of files of this share alone is {size} long."),
        )
        .with_hint("It takes about three times as much memory to read. Pass --yes to fetch it all the same."))
    }

    async fn root(
        &mut self,
        head: &SignedHead,
        path: PathBuf,
    ) -> Result<Got<Arc<ManifestFile>>, End> {
        let secret = self.transfer.share.secret.clone();
        let stage = Stage::Root {
            head: Box::new(head.clone()),
            secret,
            got: Default::default(),
        };
        self.transfer.stages.set(stage).await;
        let lengths = vec![head.head().root_length - CHUNK_TAG];
        self.plan(
            head.head().version,
            Space::Root,
            lengths,
            std::iter::once(0).collect(),
        );
        if let Got::NewVersion(newer) = self.complete(head, Space::Root).await? {
            return Ok(Got::NewVersion(newer));
        }
        let got = match &*self.transfer.stages.get().await {
            Stage::Root { got, .. } => got.lock().take(),
            _ => None,
        };
        let Some((root, sealed)) = got else {
            return Err(failure::internal("the root got lost").into());
        };
        let file = blocking(move || ManifestFile::create(&path, &sealed, root)).await?;
        Ok(Got::Whole(Arc::new(
            file.map_err(|e| failure::manifest(&e))?,
        )))
    }

    pub(super) fn plan(
        &self,
        version: u64,
        space: Space,
        lengths: Vec<u32>,
        wanted: RoaringBitmap,
    ) {
        let share = self.transfer.share.id;
        let plan = Plan {
            version,
            space,
            lengths,
            wanted,
        };
        self.service
            .swarm
            .core()
            .with(|engine, now| engine.plan(share, plan, now));
    }

    /// Waits until a small space (root, manifest) of a version is complete.
    async fn complete(&mut self, of: &SignedHead, space: Space) -> Result<Got<()>, End> {
        loop {
            match self.wake().await? {
                Wake::Input(TransferInput::SpaceComplete(done)) if done == space => {
                    return Ok(Got::Whole(()));
                }
                Wake::Input(TransferInput::WriteFailed(error)) => {
                    return Err(failure::put(&error).into());
                }
                Wake::Input(TransferInput::VersionChosen(version)) => {
                    if let Some(newer) = self.moved_over(of.head().version, version) {
                        return Ok(Got::NewVersion(Box::new(newer)));
                    }
                }
                Wake::Input(_) => {}
                Wake::Tick => self.give_up_if_alone()?,
            }
        }
    }

    /// An input that has come and was not reacted to.
    pub(super) fn waiting_input(&mut self) -> Option<TransferInput> {
        self.inputs.try_recv().ok()
    }

    /// The next thing to react to; what the user wants ends it or is done here.
    pub(super) async fn wake(&mut self) -> Result<Wake, End> {
        tokio::select! {
            biased;
            control = self.control.recv() => match control {
                Some(Control::Accept(to)) => {
                    self.agree(to)?;
                    Ok(Wake::Tick)
                }
                Some(Control::Spend { mode, max_cost }) => {
                    self.transfer.update(&self.service, |record| {
                        record.mode = mode.or(record.mode);
                        record.max_cost = max_cost.or(record.max_cost);
                    })?;
                    self.set_budget();
                    Ok(Wake::Tick)
                }
                Some(Control::Pause) => Err(End::Paused),
                Some(Control::Cancel) => Err(End::Cancelled),
                Some(Control::Suspend) | None => Err(End::Suspended),
            },
            // Before the inputs: while data comes without a pause, holders must be seen to be there too.
            () = tokio::time::sleep_until(self.tick.into()) => {
                self.tick = Instant::now() + TICK;
                Ok(Wake::Tick)
            }
            Some(input) = self.inputs.recv() => Ok(Wake::Input(input)),
        }
    }

    /// The head of the version that the engine chose, when that is another one than what is being
    /// got.
    pub(super) fn moved_over(&self, from: u64, chosen: u64) -> Option<SignedHead> {
        let newer = self
            .transfer
            .share
            .take_head(chosen)
            .filter(|_| chosen != from)?;
        tracing::info!(
            transfer = self.transfer.id,
            from,
            to = chosen,
            "another version is to be had"
        );
        Some(newer)
    }

    fn phase(&self) -> Phase {
        self.transfer.meter().phase
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.transfer.meter().phase = phase;
    }

    /// Looks at what the engine says; ends the transfer when there has been nobody to fetch from
    /// for too long.
    ///
    /// Before anybody was reached the configured time counts. Afterwards a transfer waits without
    /// end for its holders to come back, unless the user set a time.
    pub(super) fn give_up_if_alone(&mut self) -> Result<(), End> {
        let share = self.transfer.share.id;
        let progress = self
            .service
            .swarm
            .core()
            .with(|engine, now| engine.progress(share, now));
        let waiting = progress.as_ref().and_then(|p| p.waiting);
        let owner = progress.as_ref().is_some_and(|p| p.owner);
        self.alone.send_if_modified(|alone| {
            std::mem::replace(alone, waiting.is_some()) != waiting.is_some()
        });
        {
            self.neighbours = progress.as_ref().map_or(0, |p| p.neighbours);
            let mut meter = self.transfer.meter();
            meter.devices = progress.map_or(0, |p| p.giving);
            meter.tick();
            if waiting.is_some() && meter.phase == Phase::Fetching {
                meter.phase = Phase::Waiting;
            } else if waiting.is_none() && meter.phase == Phase::Waiting {
                meter.phase = Phase::Fetching;
            }
        }
        if waiting.is_none() {
            self.reached = Instant::now();
            self.ever_reached = true;
            return Ok(());
        }
        let changed =
            owner && waiting == Some(Waiting::NotHeld) && self.transfer.record().followed.is_none();
        let standing = {
            let record = self.transfer.record();
            record.follow && record.followed.is_some() && self.phase() != Phase::Connecting
        };
        let patience = match (self.wait, self.ever_reached, waiting) {
            (_, _, Some(Waiting::Gone)) => Some(Duration::ZERO),
            // Others may have it and are tried meanwhile; the owner may be about to publish anew.
            (_, _, Some(Waiting::Unknown)) => Some(FOR_OTHERS),
            (_, _, Some(Waiting::NotHeld)) if changed => Some(FOR_OTHERS),
            // A fetch that keeps a copy up to date waits for whoever has the next version.
            (None, _, Some(Waiting::NoHolder | Waiting::NotHeld)) if standing => None,
            (Some(wait), _, _) => Some(wait),
            (None, false, _) | (None, _, Some(Waiting::Damaged | Waiting::TooDear)) => {
                Some(self.service.wait.get())
            }
            (None, true, _) => None,
        };
        if patience.is_some_and(|patience| self.reached.elapsed() >= patience) {
            return Err(self.unreached(waiting, changed).into());
        }
        Ok(())
    }

    /// Why nothing more comes.
    fn unreached(&self, waiting: Option<Waiting>, changed: bool) -> ApiError {
        let (share, owner) = (self.transfer.share.id, self.transfer.share.owner);
        let refused = self.service.swarm.circuit_refusals().take(share);
        if changed {
            return failure::changed_at_owner();
        }
        let silent = matches!(waiting, Some(Waiting::NoHolder) | None) && refused.is_none();
        let error = failure::unreached(waiting, refused);
        if silent && self.service.swarm.links().nearby().contains(&owner) {
            failure::seen_only(error)
        } else {
            error
        }
    }
}

/// Runs something that blocks on the disk.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, End> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| End::Failed(failure::internal(e)))
}
