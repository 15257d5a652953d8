//! Transfers: one per share being fetched, each a task of its own that survives the command that
//! began it.
//!
//! `stage.rs` is what the disk threads see, `run.rs` the task, `offer.rs` the question, `target.rs`
//! where it is written, `data.rs` the getting of files, `meter.rs` the numbers, `follows.rs` what
//! is followed, `trash.rs` what later versions replaced, `selection.rs` the part that is wanted,
//! `listing.rs` a look at what is in a share,
//! `in_order.rs` and `outlet.rs` a file on its way to standard output.

mod data;
mod end;
mod follows;
mod in_order;
pub(crate) mod listing;
mod lookup;
mod meter;
mod missing;
mod offer;
pub(crate) mod outlet;
mod run;
mod selection;
mod stage;
mod start;
mod target;
pub(crate) mod trash;

use crate::costs;
use crate::index::IndexService;
use crate::library::Library;
use crate::live_view::Kept;
use crate::records::{Records, TransferRecord, TransferState};
use crate::settings::Setting;
use hither_api::{CostMode, Event, Existing, Paths, Phase, SourceBytes, SourceKind, TransferInfo};
use hither_content::storage::StorageError;
use hither_engine::{SourceSummary, Time};
use hither_proto::{DeviceId, DeviceName, Manifest, ShareId, Ticket};
use hither_relay_client::RelayClient;
use hither_swarm::{ChunkSink, Share, Swarm};
use hither_util::sync::Mutex;
use hither_util::tasks::Tasks;
use meter::Meter;
use outlet::Outlet;
use stage::Stages;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc};

pub(crate) use end::discard;
pub(crate) use selection::check as check_paths;
pub(crate) use start::{Request, begin, resume, resume_all};

/// Ended transfers that are remembered, the oldest forgotten first.
const MAX_ENDED: usize = 200;
/// Events that a slow listener may be behind before it misses some.
const EVENTS: usize = 64;

/// The agreement of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Agreement {
    /// Whatever is offered.
    Always,
    /// The one thing that was shown, and what becomes of what is there already.
    Offer(String, Option<Existing>),
}

/// The user's wish for a running transfer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Control {
    Accept(Agreement),
    /// How readily paid sources are used, and what all of it may cost, from now on; `None`: as
    /// before.
    Spend {
        mode: Option<CostMode>,
        max_cost: Option<f64>,
    },
    Pause,
    Cancel,
    /// The daemon ends: stop, and go on by itself next time.
    Suspend,
}

/// The service that fetches shares.
pub(crate) struct TransferService {
    pub device: DeviceId,
    pub name: DeviceName,
    pub transfers: Transfers,
    pub swarm: Arc<Swarm>,
    pub library: Arc<Library>,
    pub relays: Arc<RelayClient>,
    pub index: Arc<IndexService>,
    pub records: Records,
    pub paths: Paths,
    pub tasks: Tasks,
    /// How readily paid sources are used, unless a fetch overrides it.
    pub mode: Setting<CostMode>,
    /// True if the user has set a price.
    pub priced: Setting<bool>,
    /// The currency that stands behind amounts; empty for none.
    pub currency: Setting<String>,
    /// How long a fetch looks for a holder.
    pub wait: Setting<Duration>,
    /// The trash of followed copies.
    pub trash: trash::TrashKeeper,
}

/// One fetch.
pub(crate) struct Transfer {
    pub id: String,
    pub share: Arc<Share>,
    pub ticket: Ticket,
    record: Mutex<TransferRecord>,
    meter: Mutex<Meter>,
    stages: Stages,
    /// Bytes that came from this device itself, and from sources of earlier runs.
    earlier: Mutex<Vec<SourceBytes>>,
    pub events: broadcast::Sender<Event>,
    /// The offer and the end of the present run, for those who begin to listen late.
    told: Mutex<Vec<Event>>,
    control: Mutex<Option<mpsc::UnboundedSender<Control>>>,
    /// The view of the last run at its end.
    kept: Mutex<Option<Kept>>,
    /// When the last run began, and how long all before it were at work, seconds.
    counted_from: Mutex<(Time, f64)>,
    /// The place at which it leaves what is read from standard output.
    pub outlet: Outlet,
    /// The content of the share, at the end of a look at that.
    listed: Mutex<Option<(u64, Arc<Manifest>)>>,
    /// How often in a row it ended by trouble that may pass.
    failures: AtomicU32,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

impl Transfer {
    fn new(record: TransferRecord, ticket: Ticket, share: Arc<Share>) -> Self {
        let phase = match record.state {
            TransferState::Active => Phase::Connecting,
            TransferState::Paused => Phase::Paused,
            TransferState::Done => Phase::Done,
            TransferState::Failed => Phase::Failed,
        };
        share.add_ticket_relays(&ticket.relays);
        let mut meter = Meter::new(phase);
        meter.total = record.total;
        if record.state == TransferState::Done {
            meter.bytes = record.total;
        }
        Self {
            id: record.id.clone(),
            share,
            ticket,
            earlier: Mutex::new(record.sources.clone()),
            record: Mutex::new(record),
            meter: Mutex::new(meter),
            stages: Stages::new(),
            events: broadcast::Sender::new(EVENTS),
            told: Mutex::default(),
            control: Mutex::new(None),
            kept: Mutex::default(),
            counted_from: Mutex::default(),
            outlet: Outlet::default(),
            listed: Mutex::default(),
            failures: AtomicU32::new(0),
        }
    }

    pub(crate) fn record(&self) -> TransferRecord {
        lock(&self.record).clone()
    }

    /// Changes the record and makes it durable.
    fn update(
        &self,
        service: &TransferService,
        change: impl FnOnce(&mut TransferRecord),
    ) -> Result<(), hither_api::ApiError> {
        let record = {
            let mut record = lock(&self.record);
            change(&mut record);
            record.clone()
        };
        service
            .records
            .put_transfer(&record)
            .map_err(|e| crate::failure::storage(&e))
    }

    /// Counts one more end by trouble; returns how many there were in a row.
    fn fail_once_more(&self) -> u32 {
        self.failures.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Forgets trouble of before.
    fn went_well(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    fn meter(&self) -> MutexGuard<'_, Meter> {
        lock(&self.meter)
    }

    fn emit(&self, event: Event) {
        let mut told = lock(&self.told);
        if matches!(event, Event::Offer { .. }) {
            told.retain(|told| !matches!(told, Event::Offer { .. })); // Only the last one can be answered.
        }
        if event.is_last() || matches!(event, Event::Offer { .. }) {
            told.push(event.clone());
        }
        let _ = self.events.send(event); // Nobody need listen.
    }

    /// Listens from now on; what was told before comes beside it, without a gap and without a
    /// repetition.
    pub(crate) fn listen(&self) -> (broadcast::Receiver<Event>, Vec<Event>) {
        let told = lock(&self.told);
        (self.events.subscribe(), told.clone())
    }

    /// Seconds that it had been at work at a moment of the last run, those of earlier runs included
    /// and pauses left out.
    pub(crate) fn at_work(&self, moment: Time) -> f64 {
        let (began, before) = *lock(&self.counted_from);
        before + moment.since(began).as_secs_f64()
    }

    /// Returns its progress, as an event.
    pub(crate) fn progress(&self) -> Event {
        self.meter().event()
    }

    /// Returns what is offered now, if something is: the head that an answer names.
    pub(crate) fn offered(&self) -> Option<String> {
        let told = lock(&self.told);
        told.iter().rev().find_map(|event| match event {
            Event::Offer { head, .. } => Some(head.clone()),
            _ => None,
        })
    }

    /// Returns whether only what is in the share is asked about.
    pub(crate) fn is_listing(&self) -> bool {
        lock(&self.record).listing
    }

    /// Tells the running task something; `false` when it does not run.
    pub(crate) fn control(&self, control: Control) -> bool {
        lock(&self.control)
            .as_ref()
            .is_some_and(|sender| sender.send(control).is_ok())
    }

    /// Keeps a follow that waits to be tried again from that.
    pub(crate) fn pause_waiting(
        &self,
        service: &TransferService,
    ) -> Result<(), hither_api::ApiError> {
        if self.is_running() || self.record().state != TransferState::Active {
            return Ok(());
        }
        self.meter().phase = Phase::Paused;
        self.update(service, |record| record.state = TransferState::Paused)
    }

    /// True when everything is there and nothing more is to come.
    pub(crate) fn is_done(&self) -> bool {
        lock(&self.record).state == TransferState::Done
    }

    pub(crate) fn is_running(&self) -> bool {
        lock(&self.control).is_some()
    }

    /// Bytes by source so far: earlier runs, this device itself, and what the engine's journal
    /// counts.
    pub(crate) fn sources(&self, service: &TransferService) -> Vec<SourceBytes> {
        // The totals alone: a journal may hold stories of tens of thousands of spans.
        let given = || {
            service
                .swarm
                .core()
                .with(|e, _| e.journal(self.share.id).map(|j| j.sources().clone()))
        };
        let given = self.is_running().then(given).flatten().unwrap_or_default();
        self.sources_with(service, &given)
    }

    fn sources_with(
        &self,
        service: &TransferService,
        given: &BTreeMap<DeviceId, SourceSummary>,
    ) -> Vec<SourceBytes> {
        let mut sources = lock(&self.earlier).clone();
        for (device, summary) in given.iter().filter(|(_, s)| s.bytes + s.cost > 0) {
            let relayed = (SourceKind::Relayed, summary.relayed, summary.relayed_cost);
            let direct = summary.bytes.saturating_sub(summary.relayed);
            let direct_cost = summary.cost.saturating_sub(summary.relayed_cost);
            // Last what is as it is now.
            let now = service.swarm.links().way(*device);
            let parts = match now {
                SourceKind::Relayed => [
                    (
                        service.swarm.links().direct_way(*device),
                        direct,
                        direct_cost,
                    ),
                    relayed,
                ],
                way => [relayed, (way, direct, direct_cost)],
            };
            for (kind, bytes, cost) in parts
                .into_iter()
                .filter(|(_, bytes, cost)| bytes + cost > 0)
            {
                give(
                    service,
                    &mut sources,
                    *device,
                    (kind, bytes, costs::units(cost)),
                );
            }
        }
        sources.sort_by_key(|s| std::cmp::Reverse(s.bytes));
        sources
    }

    /// Expected seconds left, and the bytes of each of the last seconds.
    pub(crate) fn pace(&self) -> (Option<u64>, Vec<u64>) {
        let meter = self.meter();
        (meter.remaining(), meter.history())
    }

    /// Returns the view of the last run at its end, if there was one since the daemon started.
    pub(crate) fn kept_view(&self) -> Option<Kept> {
        lock(&self.kept).clone()
    }

    /// Like [`info`](Self::info), with how a followed copy stands. Blocks, but for no disk that
    /// does not answer.
    pub(crate) fn full_info(&self, service: &TransferService) -> TransferInfo {
        let follow = self.follow_info(service);
        TransferInfo {
            follow,
            ..self.info(service)
        }
    }

    /// True when its user is told of costs: a price was set here, or by a device that gave, or the
    /// user bounded what it may cost.
    pub(crate) fn tells_costs(&self, service: &TransferService) -> bool {
        let record = lock(&self.record);
        service.priced.get() || record.priced || record.max_cost.is_some() || self.share.is_priced()
    }

    /// The currency of what is told of costs.
    pub(crate) fn currency(&self, service: &TransferService) -> Option<String> {
        let currency = service.currency.get();
        (!currency.is_empty() && self.tells_costs(service)).then_some(currency)
    }

    /// Sources as they are told: without costs where no price is set.
    pub(crate) fn told(
        &self,
        service: &TransferService,
        mut sources: Vec<SourceBytes>,
    ) -> Vec<SourceBytes> {
        if !self.tells_costs(service) {
            sources.iter_mut().for_each(|source| source.cost = 0.0);
        }
        sources
    }

    /// Its state, as its user is told.
    pub(crate) fn info(&self, service: &TransferService) -> TransferInfo {
        let info = self.whole_info(service);
        TransferInfo {
            sources: self.told(service, info.sources),
            ..info
        }
    }

    /// Its state, with what everything cost by the prices that are counted with.
    pub(crate) fn whole_info(&self, service: &TransferService) -> TransferInfo {
        let currency = self.currency(service);
        let record = self.record();
        let meter = self.meter();
        TransferInfo {
            transfer: record.id,
            share: record.share,
            name: record.name,
            path: record.path,
            phase: meter.phase,
            bytes: meter.bytes,
            total: meter.total,
            rate: if self.is_running() { meter.rate() } else { 0 },
            devices: meter.devices,
            started: record.started,
            ended: record.ended,
            seconds: record.seconds,
            reason: record.reason,
            follow: None,
            names: record.names,
            currency,
            sources: {
                drop(meter);
                self.sources(service)
            },
        }
    }
}

/// Adds what a device gave in one way.
fn give(
    service: &TransferService,
    sources: &mut Vec<SourceBytes>,
    device: DeviceId,
    (kind, bytes, cost): (SourceKind, u64, f64),
) {
    let id = device.to_string();
    match sources
        .iter_mut()
        .find(|s| s.device == id && s.kind == kind)
    {
        Some(source) => (source.bytes, source.cost) = (source.bytes + bytes, source.cost + cost),
        None => sources.push(SourceBytes {
            name: service
                .swarm
                .links()
                .name(device)
                .map(|name| name.to_string())
                .unwrap_or_default(),
            device: id,
            kind,
            bytes,
            cost,
        }),
    }
}

/// All transfers.
#[derive(Default)]
pub(crate) struct Transfers {
    by_id: Mutex<HashMap<String, Arc<Transfer>>>,
}

impl Transfers {
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Transfer>> {
        lock(&self.by_id).get(id).cloned()
    }

    /// Every transfer, the latest first.
    pub(crate) fn all(&self) -> Vec<Arc<Transfer>> {
        let mut all: Vec<_> = lock(&self.by_id).values().cloned().collect();
        all.sort_by_key(|t| std::cmp::Reverse((lock(&t.record).started, t.id.clone())));
        all
    }

    /// The running transfer of a share.
    pub(crate) fn running(&self, share: ShareId) -> Option<Arc<Transfer>> {
        lock(&self.by_id)
            .values()
            .find(|t| t.share.id == share && t.is_running())
            .cloned()
    }

    /// The records of all transfers.
    pub(crate) fn records(&self) -> Vec<TransferRecord> {
        self.all()
            .iter()
            .map(|transfer| transfer.record())
            .collect()
    }

    fn insert(&self, transfer: Arc<Transfer>) {
        lock(&self.by_id).insert(transfer.id.clone(), transfer);
    }

    pub(crate) fn remove(&self, id: &str) {
        lock(&self.by_id).remove(id);
    }

    /// Forgets the oldest ended transfers beyond [`MAX_ENDED`].
    /// Forgets those that are done, or failed and left nothing that could go on. Blocks.
    pub(crate) fn clear(&self, service: &TransferService) -> Result<(), StorageError> {
        for one in self.all() {
            let record = one.record();
            let is_over = match record.state {
                TransferState::Done => true,
                TransferState::Failed => record.partial.is_none() && !record.follow,
                TransferState::Active | TransferState::Paused => false,
            };
            if is_over && !one.is_running() {
                service.records.remove_transfer(&one.id)?;
                self.remove(&one.id);
            }
        }
        Ok(())
    }

    fn forget_old(&self, service: &TransferService) {
        let ended = self
            .all()
            .into_iter()
            .filter(|t| t.record().state == TransferState::Done);
        for old in ended.skip(MAX_ENDED) {
            self.remove(&old.id);
            if let Err(error) = service.records.remove_transfer(&old.id) {
                tracing::warn!(%error, "an old transfer could not be forgotten");
            }
        }
    }
}

impl ChunkSink for Transfer {
    fn put(
        &self,
        space: hither_proto::Space,
        position: u32,
        sealed: &mut Vec<u8>,
        written: &dyn Fn(&[u32]),
    ) -> Result<Vec<u32>, hither_swarm::PutError> {
        self.stages.put(space, position, sealed, written)
    }
}
