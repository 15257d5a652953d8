//! Giving: who fetches what this device shares, how far each is, and when one has all of it.
//!
//! The record is `hither_swarm::Givings`; here it gets names for people, is told to whoever
//! watches, and ends shares that were meant for one fetch. A device has all of it when it says so
//! in the last word of its fetch, whoever gave it the bytes. That word need not be true: whoever
//! knows the share's secret can end a share that was given away once, as whoever fetches it can.

mod kept;
mod notice;

use crate::groups::Groups;
use crate::library::Library;
use crate::records::ShareRecord;
use futures::future::BoxFuture;
use futures::stream::{self, Stream};
use hither_api::{Event, Giving as Direction, GivingInfo};
use hither_proto::{DeviceId, FetchReceived, ShareId, StoreFetch, display_name};
use hither_relay_client::{RelayClient, StoreFetches};
use hither_swarm::{Completion, Giving, Swarm};
use hither_util::tasks::Tasks;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, watch};

/// How often changes are told at most.
const LOOK: Duration = Duration::from_millis(250);
/// How long a rate is shown when nothing changes any more.
const STILL: Duration = Duration::from_secs(1);
/// Completions that a slow listener may be behind; beyond, it misses the oldest, and sees them in
/// what it is told of the devices.
const BEHIND: usize = 256;

/// Sees what is given.
pub(crate) struct GivingService {
    pub swarm: Arc<Swarm>,
    pub library: Arc<Library>,
    pub relays: Arc<RelayClient>,
    pub groups: Arc<Groups>,
    pub tasks: Tasks,
    /// True if the desktop is told when somebody has all of something.
    pub notify: bool,
    pub completed: broadcast::Sender<GivingInfo>,
    /// The devices that came to have all of something, over restarts.
    pub kept: Arc<KeptGivings>,
}

pub(crate) use kept::KeptGivings;

/// Makes the channel for [`GivingService::completed`].
pub(crate) fn completions() -> broadcast::Sender<GivingInfo> {
    broadcast::Sender::new(BEHIND)
}

/// Begins to look for devices that have all of something.
pub(crate) fn start(service: &Arc<GivingService>) {
    let of = Arc::clone(service);
    service.tasks.spawn_forever(async move {
        loop {
            for one in of.swarm.givings().completions().await {
                complete(&of, one).await;
            }
        }
    });
}

/// A device has all of a share: everybody who watches is told, before the share may end by it.
async fn complete(service: &Arc<GivingService>, one: Completion) {
    let Some(record) = service.library.share_record(one.share) else {
        return;
    };
    let giving = service.swarm.givings().of(one.share, one.device);
    service.keep(one.share, one.device).await;
    let name = service.name(one.device);
    tracing::debug!(share = ?one.share, device = ?one.device, version = one.version, "a device has all of a share");
    // A follower has every version in turn: its user hears of the first.
    let first = giving.as_ref().is_some_and(|giving| giving.times <= 1);
    if let Some(giving) = giving {
        let _ = service.completed.send(service.info(giving)); // Nobody may listen.
    }
    if service.notify && first {
        let title = format!("{name} has all of {}", display_name(&record.name));
        service
            .tasks
            .spawn(async move { notice::show(&title).await });
    }
    if (record.once || service.is_delivered(&record, one.share))
        && let Some(share) = service.swarm.shares().get(one.share)
    {
        tracing::info!(share = ?one.share, "a share ended: who it was for has all of it");
        let library = Arc::clone(&service.library);
        let ended = tokio::task::spawn_blocking(move || library.unshare(&share)).await;
        if let Ok(Err(error)) = ended {
            tracing::error!(%error, "a share could not be ended although it should");
        }
    }
}

/// Relays tell who reads from their stores.
impl StoreFetches for GivingService {
    fn heard(self: Arc<Self>, fetches: Vec<StoreFetch>) -> BoxFuture<'static, Vec<FetchReceived>> {
        Box::pin(async move {
            let mut received = Vec::with_capacity(fetches.len());
            for one in fetches {
                // A share that has ended is of no interest any more.
                let is_shared = self.library.share_record(one.share).is_some();
                if is_shared {
                    let givings = self.swarm.givings();
                    givings.said_to_store(one.share, one.device, &one.progress, one.revision);
                }
                // The relay forgets a completion only when it is durable here.
                let known = !is_shared || !one.progress.complete;
                if known || self.keep(one.share, one.device).await {
                    received.push(one.received());
                }
            }
            received
        })
    }
}

impl GivingService {
    /// Tells the record of what is given what outlived the last run. Blocks.
    pub(crate) fn restore(&self) -> Result<(), hither_content::storage::StorageError> {
        let is_shared = |share| self.library.share_record(share).is_some();
        self.kept.restore(self.swarm.givings(), is_shared)
    }

    /// True when all the devices that a share was only sent to have all of it.
    fn is_delivered(&self, record: &ShareRecord, share: ShareId) -> bool {
        let has = |device: &String| {
            let device = device.parse::<DeviceId>().ok();
            let giving = device.and_then(|device| self.swarm.givings().of(share, device));
            giving.is_some_and(|giving| giving.times > 0)
        };
        !record.offered.is_empty() && record.offered.iter().all(has)
    }

    /// Makes durable that a device has all of a share, if it does; returns whether that is so.
    async fn keep(self: &Arc<Self>, share: ShareId, device: DeviceId) -> bool {
        let giving = self.swarm.givings().of(share, device);
        let Some(finished) = giving.and_then(|giving| giving.finished()) else {
            return true;
        };
        let of = Arc::clone(self);
        let kept = tokio::task::spawn_blocking(move || {
            let is_shared = |share| of.library.share_record(share).is_some();
            of.kept.keep(&finished, is_shared)
        });
        match kept.await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::error!(%error, "who has all of a share could not be written down");
                false
            }
            Err(_) => false,
        }
    }

    /// The name of a device as this one knows it: one of its user's, one that the user said yes to,
    /// a member of a group; else its short id.
    fn name(&self, device: DeviceId) -> String {
        let known = Some(self.relays.name_of(device)).filter(|name| !name.is_empty());
        known
            .or_else(|| self.groups.member_name(&device))
            .map_or_else(|| device.short(), |name| display_name(&name))
    }

    fn info(&self, giving: Giving) -> GivingInfo {
        let share = self.swarm.shares().get(giving.share);
        let record = self.library.share_record(giving.share);
        let current = share.as_ref().and_then(|share| share.current());
        let head = |version| share.as_ref()?.head_of(version);
        let of_version = head(giving.version).map(|head| head.head().bytes);
        let total = of_version
            .or_else(|| current.as_ref().map(|version| version.head.head().bytes))
            .unwrap_or_default();
        let name = record
            .map(|record| record.name)
            .or_else(|| Some(current?.manifest().name().to_string()))
            .unwrap_or_default();
        let bytes = if giving.complete {
            total
        } else {
            giving.has.min(total)
        };
        let left = total.saturating_sub(bytes);
        GivingInfo {
            direction: Direction::Giving,
            share: giving.share.to_string(),
            name: display_name(&name),
            device: giving.device.to_string(),
            device_name: self.name(giving.device),
            kind: giving.way,
            open: giving.open,
            given: giving.given,
            giving_rate: giving.rate,
            version: giving.version,
            bytes,
            total,
            rate: giving.growth,
            remaining: (giving.growth > 0 && left > 0).then(|| left.div_ceil(giving.growth)),
            complete: giving.complete,
            times: giving.times,
            since: giving.since,
            done: giving.done,
            by_store: giving.by_store,
        }
    }

    /// The givings of now and of before: those that are there first, then the latest. At most 1024.
    pub(crate) fn list(&self, only: Option<ShareId>) -> Vec<GivingInfo> {
        let mut all = self.swarm.givings().all();
        all.retain(|giving| {
            let is_meant = only.is_none_or(|only| only == giving.share);
            // A device that only asked what there is has fetched nothing.
            is_meant && !giving.hidden && (giving.version > 0 || giving.given > 0 || giving.open)
        });
        all.sort_by_key(|giving| {
            let active = giving.open && !giving.complete;
            (!active, std::cmp::Reverse(giving.since), giving.device)
        });
        all.into_iter().map(|giving| self.info(giving)).collect()
    }

    /// Leaves those out of the list that fetch nothing now. Blocks.
    pub(crate) fn clear(&self) -> Result<(), hither_content::storage::StorageError> {
        let is_shared = |share| self.library.share_record(share).is_some();
        for one in self.swarm.givings().hide() {
            if let Some(finished) = one.finished() {
                self.kept.keep(&finished, is_shared)?;
            }
        }
        Ok(())
    }

    /// How many devices fetch something now.
    pub(crate) fn active(&self) -> u64 {
        let all = self.swarm.givings().all();
        all.iter().filter(|one| one.open && !one.complete).count() as u64
    }
}

/// The state of a listener.
struct Listener {
    service: Arc<GivingService>,
    only: Option<ShareId>,
    changes: watch::Receiver<u64>,
    completed: broadcast::Receiver<GivingInfo>,
    /// The things told of each device.
    told: HashMap<(String, String), GivingInfo>,
    /// Still to be told.
    next: Vec<Event>,
    ended: bool,
    /// When it was looked last.
    looked: Option<Instant>,
}

/// Tells how everything stands, then each change of it as `giving`, and each device that came to
/// have all of something as `fetched`. Of one share, until it ends.
pub(crate) fn watch(
    service: Arc<GivingService>,
    only: Option<ShareId>,
) -> impl Stream<Item = Event> {
    let mut changes = service.swarm.givings().changes();
    changes.mark_changed();
    let listener = Listener {
        changes,
        completed: service.completed.subscribe(),
        service,
        only,
        told: HashMap::new(),
        next: Vec::new(),
        ended: false,
        looked: None,
    };
    stream::unfold(listener, |mut listener| async move {
        let event = listener.event().await?;
        Some((event, listener))
    })
}

impl Listener {
    async fn event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.next.pop() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            self.look().await?;
        }
    }

    /// Waits until there may be something to tell.
    async fn look(&mut self) -> Option<()> {
        let moving = self
            .told
            .values()
            .any(|one| one.rate > 0 || one.giving_rate > 0);
        tokio::select! {
            biased;
            one = self.completed.recv() => {
                match one {
                    Ok(one) if self.is_meant(&one.share) => {
                        self.next.push(Event::Fetched(Box::new(one)));
                    }
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
                return Some(());
            }
            changed = self.changes.changed() => changed.ok()?,
            () = tokio::time::sleep(STILL), if moving => {}
        }
        // Changes are told a little later, with what else comes meanwhile.
        if let Some(looked) = self.looked {
            tokio::time::sleep(LOOK.saturating_sub(looked.elapsed())).await;
        }
        self.looked = Some(Instant::now());
        self.list();
        Some(())
    }

    fn is_meant(&self, share: &str) -> bool {
        self.only.is_none_or(|only| only.to_string() == share)
    }

    /// Notes what is different from what was told.
    fn list(&mut self) {
        if let Some(only) = self.only
            && self.service.swarm.shares().get(only).is_none()
        {
            // Completions are told before a share ends by them.
            while let Ok(one) = self.completed.try_recv() {
                if self.is_meant(&one.share) {
                    self.next.insert(0, Event::Fetched(Box::new(one)));
                }
            }
            self.ended = true;
            return;
        }
        let now = self.service.list(self.only);
        let key = |one: &GivingInfo| (one.share.clone(), one.device.clone());
        let listed: HashMap<_, _> = now.iter().map(|one| (key(one), one.clone())).collect();
        self.next = now
            .into_iter()
            .rev()
            .filter(|one| self.told.get(&key(one)) != Some(one))
            .map(|one| Event::Giving(Box::new(one)))
            .collect();
        self.told = listed;
    }
}
