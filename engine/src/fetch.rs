//! One fetch: finding holders, choosing a version, getting root, manifest and data.
//!
//! A fetch composes its parts: the sources, the choice of the version, the span table, the
//! requests, the neighbourhood and the spending each own their state. Everything that concerns
//! several of them is here and below: sessions in this file, chunks in `chunks.rs`, how requests
//! end in `endings.rs`, which source gets which span in `scheduler.rs` and `endgame.rs`, the
//! progress of a fetch in `progress.rs`.

mod chunks;
mod endgame;
mod endings;
mod progress;
mod scheduler;

use crate::carrier_choice::Carrier;
use crate::command::{Command, SessionId, Waiting};
use crate::distance::Distance;
use crate::journal::{Journal, JournalEvent};
use crate::map::Providers;
use crate::neighbourhood::Neighbourhood;
use crate::plan::Plan;
use crate::price::{Budget, Prices};
use crate::reading_order::ReadingOrder;
use crate::requests::Requests;
use crate::round::Round;
use crate::snapshot::Snapshot;
use crate::source::Continuity;
use crate::sources::Sources;
use crate::spans::SpanTable;
use crate::spending::Spending;
use crate::stalls::Stalls;
use crate::target::Target;
use crate::time::Time;
use crate::version::{Presence, VersionChoice};
use hither_proto::{
    Announcement, Claims, Delta, DeviceId, HolderKind, Refusal, ShareId, Space, Terms,
};
use roaring::RoaringBitmap;
use std::time::Duration;

/// The phase of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Looking for devices that have the share.
    Locating,
    /// Getting this space.
    Fetching(Space),
    /// Between two spaces: the loop is decoding or preparing what was got.
    Preparing,
}

/// The progress of a fetch.
#[derive(Debug, Clone, PartialEq)]
pub struct FetchProgress {
    /// Its phase.
    pub phase: Phase,
    /// The reason for making no progress, if it makes none.
    pub waiting: Option<Waiting>,
    /// Devices that were asked for something and are not done.
    pub giving: u32,
    /// Plaintext bytes still to get of the current space.
    pub missing_bytes: u64,
    /// Devices on the same network that fetch the same, and wait for what is got here.
    pub neighbours: u32,
    /// True when the owner is connected: chunks that it does not have, it will not have again.
    pub owner: bool,
}

/// The treatment of a chunk that begins to arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Verify and store it, then report.
    Wanted,
    /// Read past it: it was asked for once and is not needed any more.
    Unneeded,
    /// It was never requested: the device breaks the protocol.
    Unsolicited,
}

/// The goal of a fetch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FetchGoal {
    pub share: ShareId,
    pub owner: DeviceId,
    /// The only acceptable version, if there is one.
    pub pin: Option<u64>,
    /// The version that a resumed fetch would like to go on with.
    pub preferred: Option<u64>,
}

/// One fetch of one share.
#[derive(Debug)]
pub(crate) struct Fetch {
    share: ShareId,
    phase: Phase,
    /// All data is got; what others claim may still wait for it.
    data_done: bool,
    /// Some source could give more, and there is nothing for it.
    endgame: bool,
    version: VersionChoice,
    sources: Sources,
    spans: SpanTable,
    requests: Requests,
    neighbourhood: Neighbourhood,
    order: ReadingOrder,
    spending: Spending,
    stalls: Stalls,
    journal: Journal,
    /// The sources that gave each span of the data.
    providers: Providers,
}

impl Fetch {
    /// A fetch by `device` that reads the share in the order of `seed`.
    pub fn new(device: DeviceId, goal: FetchGoal, seed: u64) -> Self {
        Self {
            share: goal.share,
            phase: Phase::Locating,
            data_done: false,
            endgame: false,
            version: VersionChoice::new(goal.pin, goal.preferred),
            sources: Sources::new(goal.owner),
            spans: SpanTable::new(Vec::new(), RoaringBitmap::new()),
            requests: Requests::default(),
            neighbourhood: Neighbourhood::new(device, goal.share),
            order: ReadingOrder::new(seed),
            spending: Spending::default(),
            stalls: Stalls::default(),
            journal: Journal::default(),
            providers: Providers::default(),
        }
    }

    /// The space that is being got; `None` before and between spaces.
    const fn space(&self) -> Option<Space> {
        match self.phase {
            Phase::Fetching(space) => Some(space),
            Phase::Locating | Phase::Preparing => None,
        }
    }

    /// The same with its version.
    fn target(&self) -> Option<Target> {
        let (version, space) = (self.version.chosen()?, self.space()?);
        Some(Target { version, space })
    }

    fn snapshot(&self, now: Time) -> Snapshot<'_> {
        Snapshot::new(&self.sources, &self.spans, self.target(), now)
    }

    // --- what the loop decides ---

    /// Notes that this device has seen the head of a version at some time.
    pub fn set_known_version(&mut self, version: u64) {
        self.version.set_known(version);
    }

    /// Notes whether the owner of the share is there.
    pub const fn set_owner_presence(&mut self, presence: Presence) {
        self.version.set_owner_presence(presence);
    }

    /// Sets what the fetch may spend.
    pub const fn set_budget(&mut self, budget: Budget) {
        self.spending.set_budget(budget);
    }

    /// Sets what sources cost here.
    pub fn set_prices(&mut self, prices: Prices) {
        self.spending.set_prices(prices);
        self.sources
            .iter_mut()
            .for_each(|source| source.reprice(&prices));
    }

    /// Begins a space; what was asked for before means nothing any more.
    pub fn plan(&mut self, plan: Plan, round: &mut Round<'_>) {
        let now = round.now;
        for (id, request) in self.requests.take_all() {
            round.command(Command::Cancel {
                share: self.share,
                device: request.device,
                request: id,
            });
            self.settle_bytes(request.device, request.carrier, &request.awaited, now);
        }
        self.sources
            .iter_mut()
            .for_each(|source| source.forget_requests());
        self.version.planned(plan.version);
        self.spans = SpanTable::new(plan.lengths, plan.wanted);
        self.providers = if plan.space == Space::Data {
            Providers::new(self.spans.len())
        } else {
            Providers::default()
        };
        self.order.reset();
        self.neighbourhood.reset(now);
        self.data_done = false;
        self.spending.begin(now);
        self.phase = Phase::Fetching(plan.space);
        self.finish_space(round);
    }

    /// Reports that everything planned is got, when it is.
    fn finish_space(&mut self, round: &mut Round<'_>) {
        if let Some(space) = self.space().filter(|_| self.spans.is_complete()) {
            self.phase = Phase::Preparing;
            self.data_done = space == Space::Data;
            round.command(Command::SpaceComplete {
                share: self.share,
                space,
            });
        }
    }

    // --- devices and sessions ---

    /// Adds a device or store that may have the share.
    pub fn holder_seen(&mut self, device: DeviceId, kind: HolderKind, now: Time) {
        self.sources.seen(device, kind, self.spending.prices(), now);
    }

    /// Tries a source (or all of them) at once. Makes no device a source.
    pub fn retry(&mut self, device: Option<DeviceId>, now: Time) {
        self.sources.retry(device, now);
    }

    /// Forgets what was learned of sources by their silence, and tries those that are not connected
    /// at once.
    pub fn network_changed(&mut self, now: Time) {
        self.sources.network_changed(now);
    }

    /// Removes a device that announced its departure.
    pub fn device_gone(&mut self, device: DeviceId) {
        self.sources.said_goodbye(device);
    }

    /// Notes that the session with a device is open, and which version it knows.
    pub fn session_opened(
        &mut self,
        device: DeviceId,
        head_version: u64,
        distance: Distance,
        now: Time,
    ) {
        let Some(source) = self.sources.get_mut(device) else {
            return;
        };
        source.opened(head_version, distance, now);
        let carrier = if distance.relayed {
            Carrier::Relayed
        } else {
            Carrier::Quic
        };
        source.carriers.set_available(carrier, true);
        source.update_carrier(self.spending.prices(), now);
        self.sources.opened(device);
        self.version
            .head_shown(self.sources.is_owner(device), head_version, now);
    }

    /// Notes that a device that is there knows this version now. It has it only when it announces
    /// it.
    pub fn head(&mut self, device: DeviceId, version: u64, now: Time) {
        let Some(source) = self.sources.get_mut(device) else {
            return;
        };
        source.head_version = source.head_version.max(version);
        if source.is_open() {
            self.version
                .head_shown(self.sources.is_owner(device), version, now);
        }
    }

    /// Takes note of a session that the other side refused.
    pub fn session_refused(&mut self, device: DeviceId, refusal: Refusal, now: Time) {
        let pause = self.sources.refused(device, refusal);
        self.session_ended(device, pause, now);
        match refusal {
            Refusal::Busy(_) => {
                if let Some(source) = self.sources.get_mut(device) {
                    source.come_back(now, pause);
                }
            }
            Refusal::Protocol => self.sources.is_no_store(device),
            Refusal::NotFound | Refusal::Gone => {}
        }
    }

    /// Takes note of a session that broke, or could not be opened.
    pub fn session_failed(&mut self, device: DeviceId, now: Time) {
        if self.sources.get(device).is_some_and(|s| s.is_open()) {
            self.journal.note(now, device, JournalEvent::Lost);
        }
        self.session_ended(device, Duration::ZERO, now);
    }

    fn session_ended(&mut self, device: DeviceId, pause: Duration, now: Time) {
        self.drop_requests_of(device, now);
        self.version.no_answer(now);
        self.sources.closed(device, pause, now);
    }

    /// Notes what a device announces.
    pub fn announced(&mut self, device: DeviceId, announcement: Announcement, now: Time) {
        if let Some(source) = self.sources.get_mut(device) {
            source.announced(announcement, now);
        }
    }

    /// Applies a change to what a device announced; after a gap its session is opened again.
    pub fn delta(&mut self, device: DeviceId, delta: &Delta, round: &mut Round<'_>) {
        let gap = self
            .sources
            .get_mut(device)
            .is_some_and(|s| s.delta(delta, round.now) == Continuity::Gap);
        if gap {
            round.command(Command::CloseSession {
                share: self.share,
                device,
            });
            self.session_ended(device, Duration::ZERO, round.now);
        }
    }

    /// Notes the terms on which a device gives. A store sends none: what it costs is for its reader
    /// to configure.
    pub fn terms(&mut self, device: DeviceId, terms: Terms) {
        let source = self.sources.get_mut(device);
        if let Some(source) = source.filter(|s| s.kind == HolderKind::Device) {
            source.set_terms(terms, self.spending.prices());
        }
    }

    /// Notes what a device claims.
    pub fn claims_said(&mut self, device: DeviceId, said: &Claims, now: Time) {
        let source = self.sources.get_mut(device);
        if let Some(source) = source.filter(|s| s.kind == HolderKind::Device) {
            source.claims(said, now);
        }
        if self.neighbourhood.contains(device) {
            self.neighbourhood.gather_claims(&self.sources, &self.spans);
        }
    }

    /// Notes whether a carrier to a device connects.
    pub fn set_available(
        &mut self,
        device: DeviceId,
        carrier: Carrier,
        available: bool,
        now: Time,
    ) {
        if let Some(source) = self.sources.get_mut(device) {
            source.carriers.set_available(carrier, available);
            source.update_carrier(self.spending.prices(), now);
        }
    }

    /// Notes that a device whose session is open is reached in another way now.
    pub fn moved(&mut self, device: DeviceId, distance: Distance, now: Time) {
        self.sources
            .moved(device, distance, self.spending.prices(), now);
    }

    // --- claims ---

    /// The claims of this fetch; `None` while there is nothing to share yet.
    pub fn claims(&self) -> Option<Claims> {
        let shares = self.space() == Some(Space::Data) || self.data_done;
        let version = self.version.chosen().filter(|_| shares)?;
        Some(self.neighbourhood.claims_of(version, &self.spans))
    }

    /// Returns whether claims are to be sent now.
    pub fn claims_due(&self, now: Time) -> bool {
        self.neighbourhood.own_claims().is_due(now)
    }

    /// Returns the claims to send to these sessions now.
    pub fn take_claims(&mut self, sessions: &[SessionId], now: Time) -> Vec<Command> {
        if !self.neighbourhood.own_claims_mut().take_due(now) {
            return Vec::new();
        }
        let Some(claims) = self.claims() else {
            return Vec::new();
        };
        let command = |session: &SessionId| Command::Claims {
            session: *session,
            claims: claims.clone(),
        };
        sessions.iter().map(command).collect()
    }

    /// Ends the claims on what is held here, and announced next.
    pub fn announced_here(&mut self, held: &RoaringBitmap, now: Time) {
        self.neighbourhood.announced(held, &self.spans, now);
    }

    // --- time ---

    /// Does what is due: opens sessions, chooses the version, gives up on what stalls, schedules.
    pub fn advance(&mut self, round: &mut Round<'_>) {
        let now = round.now;
        self.open_sessions(round);
        self.decide(round);
        self.reconsider(now);
        self.stalls.wake_resting(&mut self.sources, now);
        self.give_way(round);
        let looked = self.give_up_stalled(round);
        self.schedule(round);
        if looked && self.endgame {
            self.race(round);
        }
        self.watch(now);
    }

    fn open_sessions(&mut self, round: &mut Round<'_>) {
        for (device, kind) in self.sources.open_due(round.now) {
            round.command(Command::OpenSession {
                share: self.share,
                device,
                kind,
            });
        }
    }

    /// Chooses the version when it is due. The version that was to be given up may be offered
    /// again: then it is kept.
    fn decide(&mut self, round: &mut Round<'_>) {
        if !self.version.take_due(round.now) || self.is_offered() {
            return;
        }
        if let Some(version) = self.version.decide(&self.sources, round.now) {
            self.phase = Phase::Preparing;
            round.command(Command::VersionChosen {
                share: self.share,
                version,
            });
        }
    }

    fn is_offered(&self) -> bool {
        self.target()
            .is_some_and(|target| self.sources.offer(target, self.spans.missing()))
    }

    /// Starts over with a newer version, when no source offers the missing chunks of the chosen one
    /// but some source has a newer one.
    fn reconsider(&mut self, now: Time) {
        let hopeless = |device| {
            self.sources
                .get(device)
                .is_none_or(|source| source.stalls_again())
        };
        if self.space().is_some()
            && self.version.may_restart(&self.sources)
            && self.requests.iter().all(|(_, r)| hopeless(r.device))
            && !self.is_offered()
        {
            self.version.restart(now);
        }
    }

    /// Finds the members of the neighbourhood for this turn.
    fn update_neighbourhood(&mut self, target: Target, now: Time) {
        let at = Snapshot::new(&self.sources, &self.spans, Some(target), now);
        self.neighbourhood.update(target, &at);
    }

    /// Asks to be woken while anything is in flight.
    fn watch(&mut self, now: Time) {
        let neighbours = !self.neighbourhood.is_empty() && !self.spans.none_idle();
        let awaits = neighbours || self.requests.waiting().next().is_some();
        let idle = self.requests.is_empty() && self.space().is_some();
        self.stalls.watch(awaits, idle, now);
    }

    /// When something is due next.
    pub fn next_timeout(&self, now: Time) -> Option<Time> {
        let due = [
            self.sources.next_timeout(now),
            self.version.decide_at(),
            self.stalls.check_at(),
            self.stalls.wake_at(&self.sources, now),
            self.neighbourhood.own_claims().due(),
        ];
        due.into_iter().flatten().min()
    }
}
