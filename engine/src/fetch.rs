//! One fetch: finding holders, choosing a version, getting root, manifest and data.
//!
//! The fetch owns its sources and requests; which source gets which span is decided in
//! `scheduler.rs`, what happens to slow and silent ones in `stalls.rs`. Invariants: a request ends
//! exactly once, when everything it asked for is stored, refused, damaged or given up; a position
//! is asked for twice at most at any time, and twice only in the endgame.

use crate::carrier_choice::Carrier;
use crate::command::{Command, RequestId, Waiting};
use crate::distance::Distance;
use crate::journal::{Journal, JournalEvent};
use crate::map::Providers;
use crate::neighbourhood::Neighbourhood;
use crate::policy::Policy;
use crate::request::Request;
use crate::site::{Site, SiteId};
use crate::source::{Continuity, Session, Source};
use crate::spans::SpanTable;
use crate::spending::Spending;
use crate::time::Time;
use crate::version::Newer;
use hither_proto::{Announcement, Delta, DeviceId, HolderKind, Refusal, ShareId, Space};
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Most devices considered as sources of one fetch.
pub(crate) const MAX_SOURCES: usize = 256;
/// Most stores among them.
const MAX_STORES: usize = 16;
/// Most control sessions of one fetch.
const MAX_SESSIONS: usize = 64;
/// After how long a device that does not have the share is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// What a fetch is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Looking for devices that have the share.
    Locating,
    /// Getting this space.
    Fetching(Space),
    /// Between two spaces: the loop is decoding or preparing what was got.
    Preparing,
}

/// How a fetch stands.
#[derive(Debug, Clone, PartialEq)]
pub struct FetchProgress {
    /// What it is doing.
    pub phase: Phase,
    /// Why it makes no progress, if it makes none.
    pub waiting: Option<Waiting>,
    /// Devices that were asked for something and are not done.
    pub giving: u32,
    /// Plaintext bytes still to get of the current space.
    pub missing_bytes: u64,
    /// Devices on the same network that fetch the same, and wait for what is got here.
    pub neighbours: u32,
    /// True when the owner is connected: what it does not have, it will not have again.
    pub owner: bool,
}

/// What the loop should do with a chunk that begins to arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Verify and store it, then report.
    Wanted,
    /// Read past it: it was asked for once and is not needed any more.
    Unneeded,
    /// Nobody asked for it: the device breaks the protocol.
    Unsolicited,
}

/// One fetch of one share.
#[derive(Debug)]
pub(crate) struct Fetch {
    /// This device.
    pub device: DeviceId,
    pub share: ShareId,
    pub(crate) owner: DeviceId,
    pub pin: Option<u64>,
    /// The version that a resumed fetch would like to go on with.
    pub preferred: Option<u64>,
    pub version: Option<u64>,
    /// When a version is to be chosen.
    pub decide_at: Option<Time>,
    /// Tracks what is known of versions that nobody who is connected has shown.
    pub newer: Newer,
    pub phase: Phase,
    pub spans: SpanTable,
    /// Makes this device read the share in another order than its neighbours.
    pub seed: u64,
    /// Counts the places chosen so far, once others outside the neighbourhood are seen to fetch too.
    pub places: Option<u64>,
    /// Other networks that sources are on.
    pub sites: BTreeMap<SiteId, Site>,
    /// Neighbours that fetch too.
    pub neighbourhood: Neighbourhood,
    /// What it may cost and has cost.
    pub spending: Spending,
    /// Counts the wishes, so that each looks elsewhere.
    pub wishes: u64,
    /// Some source could give more, and there is nothing for it.
    pub endgame: bool,
    /// All data is got; what others claim may still wait for it.
    pub data_done: bool,
    pub sources: BTreeMap<DeviceId, Source>,
    pub requests: BTreeMap<RequestId, Request>,
    /// Spans that were taken away from a source.
    pub moved: BTreeSet<u32>,
    pub journal: Journal,
    /// Who gave which span of the data.
    pub providers: Providers,
    pub check_at: Option<Time>,
    /// Since when something is missing and nothing is in flight.
    pub idle_since: Option<Time>,
    pub gone: bool,
    /// The owner was reached and does not know the share.
    pub unknown: bool,
}

impl Fetch {
    pub fn new(
        device: DeviceId,
        share: ShareId,
        owner: DeviceId,
        pin: Option<u64>,
        preferred: Option<u64>,
        seed: u64,
    ) -> Self {
        Self {
            device,
            share,
            owner,
            pin,
            preferred,
            version: None,
            decide_at: None,
            newer: Newer::default(),
            phase: Phase::Locating,
            spans: SpanTable::new(Vec::new(), RoaringBitmap::new()),
            seed,
            places: None,
            sites: BTreeMap::new(),
            neighbourhood: Neighbourhood::default(),
            spending: Spending::default(),
            wishes: 0,
            endgame: false,
            data_done: false,
            sources: BTreeMap::new(),
            requests: BTreeMap::new(),
            moved: BTreeSet::new(),
            journal: Journal::default(),
            providers: Providers::default(),
            check_at: None,
            idle_since: None,
            gone: false,
            unknown: false,
        }
    }

    // --- devices and sessions ---

    /// A device or store is there that may have the share. Beyond [`MAX_SOURCES`] somebody must
    /// make room (`room.rs`), but for the owner. What was known as a device is not made a store
    /// by hearsay, nor the other way round.
    pub fn holder_seen(&mut self, device: DeviceId, kind: HolderKind, now: Time) {
        let stores = || {
            self.sources
                .values()
                .filter(|s| s.kind == HolderKind::Store)
                .count()
        };
        let full = self.sources.len() >= MAX_SOURCES
            || (kind == HolderKind::Store && stores() >= MAX_STORES);
        if full
            && device != self.owner
            && !self.sources.contains_key(&device)
            && !self.make_room(kind)
        {
            return;
        }
        let source = self
            .sources
            .entry(device)
            .or_insert_with(|| Source::new(device, kind, now));
        source.retry_now(now);
        source.reprice(&self.spending.prices);
    }

    /// A source (or any) may be reached again: it is tried at once. Makes nobody a source.
    pub fn retry(&mut self, device: Option<DeviceId>, now: Time) {
        let meant = |source: &&mut Source| device.is_none_or(|device| device == source.device);
        self.sources
            .values_mut()
            .filter(meant)
            .for_each(|source| source.retry_now(now));
    }

    /// What was learned of sources by their silence means nothing any more; those that are not
    /// reached are tried at once.
    pub fn network_changed(&mut self, now: Time) {
        self.sources
            .values_mut()
            .for_each(|source| source.network_changed(now));
    }

    pub fn device_gone(&mut self, device: DeviceId) {
        // Who lied is remembered: a goodbye is no way to be trusted again. The owner is worth a try
        // whatever is heard. Stores say no goodbye; a device that does so in the name of
        // one changes nothing.
        let closed = |s: &Source| {
            matches!(s.session, Session::Closed { .. }) && s.kind == HolderKind::Device
        };
        if device != self.owner
            && self
                .sources
                .get(&device)
                .is_some_and(|s| closed(s) && !s.banned)
        {
            self.sources.remove(&device);
        }
    }

    pub fn session_opened(
        &mut self,
        device: DeviceId,
        head_version: u64,
        distance: Distance,
        now: Time,
    ) {
        let Some(source) = self.sources.get_mut(&device) else {
            return;
        };
        source.opened(head_version, distance, now);
        let carrier = if distance.relayed {
            Carrier::Relayed
        } else {
            Carrier::Quic
        };
        source.carriers.set_available(carrier, true);
        source.settle_way(&self.spending.prices, now);
        self.gone = false;
        self.unknown &= device != self.owner;
        self.head_shown(device == self.owner, head_version, now);
    }

    /// A device that is there knows this version now. It has it only when it announces it.
    pub fn head(&mut self, device: DeviceId, version: u64, now: Time) {
        let Some(source) = self.sources.get_mut(&device) else {
            return;
        };
        source.head_version = source.head_version.max(version);
        if source.session == Session::Open {
            self.head_shown(device == self.owner, version, now);
        }
    }

    pub fn session_refused(&mut self, device: DeviceId, refusal: Refusal, now: Time) {
        let pause = match refusal {
            Refusal::Busy(ms) => Duration::from_millis(u64::from(ms)),
            Refusal::NotFound => {
                self.unknown |= device == self.owner;
                ASK_AGAIN
            }
            Refusal::Protocol => Duration::from_secs(60),
            Refusal::Gone => {
                self.gone |= device == self.owner;
                Duration::from_secs(60)
            }
        };
        self.session_ended(device, pause, now);
        if let (Refusal::Busy(_), Some(source)) = (refusal, self.sources.get_mut(&device)) {
            source.come_back(now, pause);
        }
        // Hearsay made it a store, and it is none: it may still turn out to be a device.
        let store = |s: &Source| s.kind == HolderKind::Store && !s.banned;
        if refusal == Refusal::Protocol && self.sources.get(&device).is_some_and(store) {
            self.sources.remove(&device);
        }
    }

    pub fn session_failed(&mut self, device: DeviceId, now: Time) {
        if self
            .sources
            .get(&device)
            .is_some_and(|s| s.session == Session::Open)
        {
            self.journal.note(now, device, JournalEvent::Lost);
        }
        self.session_ended(device, Duration::ZERO, now);
    }

    fn session_ended(&mut self, device: DeviceId, pause: Duration, now: Time) {
        self.drop_requests_of(device, now);
        self.no_answer(now);
        if let Some(source) = self.sources.get_mut(&device) {
            Carrier::ALL
                .into_iter()
                .for_each(|carrier| source.carriers.set_available(carrier, false));
            source.closed(now, pause);
        }
    }

    pub fn announced(&mut self, device: DeviceId, announcement: Announcement, now: Time) {
        if let Some(source) = self.sources.get_mut(&device) {
            source.announced(announcement, now);
        }
    }

    pub fn delta(
        &mut self,
        device: DeviceId,
        delta: &Delta,
        now: Time,
        commands: &mut Vec<Command>,
    ) {
        let gap = self
            .sources
            .get_mut(&device)
            .is_some_and(|s| s.delta(delta, now) == Continuity::Gap);
        if gap {
            commands.push(Command::CloseSession {
                share: self.share,
                device,
            });
            self.session_ended(device, Duration::ZERO, now);
        }
    }

    pub fn set_available(
        &mut self,
        device: DeviceId,
        carrier: Carrier,
        available: bool,
        now: Time,
    ) {
        if let Some(source) = self.sources.get_mut(&device) {
            source.carriers.set_available(carrier, available);
            source.settle_way(&self.spending.prices, now);
        }
    }

    /// A device whose session is open is somewhere else now, or reached in another way. What is on
    /// its way from it counts for its new site.
    pub fn moved(&mut self, device: DeviceId, distance: Distance, now: Time) {
        let Some(source) = self
            .sources
            .get_mut(&device)
            .filter(|s| s.session == Session::Open)
        else {
            return;
        };
        let (before, outstanding) = (source.site(), source.carriers.outstanding());
        source.found_at(distance);
        source.settle_way(&self.spending.prices, now);
        let after = source.site();
        if before != after {
            if let Some(site) = before.and_then(|site| self.sites.get_mut(&site)) {
                site.settled(outstanding, now);
            }
            if let Some(site) = after {
                self.sites.entry(site).or_default().asked(outstanding, now);
            }
        }
    }

    // --- chunks ---

    pub fn arrival(
        &mut self,
        device: DeviceId,
        id: RequestId,
        position: u32,
        now: Time,
    ) -> Arrival {
        let Some(request) = self.requests.get_mut(&id) else {
            self.late(device, position);
            return Arrival::Unneeded;
        };
        if request.device != device {
            return Arrival::Unsolicited;
        }
        if !request.awaited.remove(position) {
            // What was given up may have been on its way already; anything else was never asked
            // for.
            if !request.given_up.remove(position) {
                return Arrival::Unsolicited;
            }
            self.late(device, position);
            return Arrival::Unneeded;
        }
        let length = u64::from(self.spans.length(position).unwrap_or(0));
        if let Some(source) = self.sources.get_mut(&device) {
            source.last_progress = now;
        }
        let carrier = request.carrier;
        self.arrived_from(device, carrier, length, now);
        self.paid(device, carrier, length, now);
        let Some(request) = self.requests.get_mut(&id) else {
            return Arrival::Unneeded;
        };
        if self.spans.is_missing(position) {
            request.arrived.insert(position);
            return Arrival::Wanted;
        }
        if self.space() == Some(Space::Data) {
            self.journal.wasted(device, length);
        }
        self.end_if_done(id, now);
        Arrival::Unneeded
    }

    /// What was given up came after all, in vain.
    fn late(&mut self, device: DeviceId, position: u32) {
        let length = self
            .spans
            .length(position)
            .filter(|_| self.space() == Some(Space::Data));
        if let Some(length) = length {
            self.journal.wasted(device, u64::from(length));
        }
    }

    /// Chunks were verified and written. They may come from a request, or have been copied from
    /// what was here.
    pub fn stored(
        &mut self,
        id: Option<RequestId>,
        positions: &[u32],
        now: Time,
        commands: &mut Vec<Command>,
    ) {
        let request = id.and_then(|id| self.requests.get(&id));
        let (device, relayed) = (
            request.map(|r| r.device),
            request.is_some_and(|r| r.carrier == Carrier::Relayed),
        );
        if id.is_some() && device.is_none() {
            return; // A late copy of something planned before: its positions mean something else now.
        }
        let asked = id
            .and_then(|id| self.requests.get(&id))
            .map(|r| r.arrived.clone())
            .unwrap_or_default();
        for &position in positions {
            let length = u64::from(self.spans.length(position).unwrap_or(0));
            let new = self.spans.got(position);
            if self.space() != Some(Space::Data) {
                continue;
            }
            // Positions that were not asked for are repeats of one that was: nobody sent them.
            let provider = device.filter(|_| asked.contains(position));
            if new {
                self.credit(position, provider);
            }
            if let Some(device) = provider {
                match new {
                    true => self.journal.kept(device, length, relayed),
                    false => self.journal.wasted(device, length),
                }
            }
        }
        if let Some(id) = id {
            if let Some(request) = self.requests.get_mut(&id) {
                for position in positions {
                    request.arrived.remove(*position);
                }
            }
            // Serving root and manifest proves nothing about the data: a liar would get a full
            // window for it.
            let data = self.space() == Some(Space::Data);
            if let Some(source) = device
                .filter(|_| data)
                .and_then(|d| self.sources.get_mut(&d))
            {
                source.proven = true;
            }
            self.end_if_done(id, now);
        }
        self.cancel_needless(positions, now, commands);
        self.finish_space(commands);
    }

    /// Takes back requests of which nothing is missing any more: another copy came first.
    fn cancel_needless(&mut self, positions: &[u32], now: Time, commands: &mut Vec<Command>) {
        let spans: BTreeSet<u32> = positions.iter().map(|p| self.spans.index_of(*p)).collect();
        let needless: Vec<RequestId> = self
            .requests
            .iter()
            .filter(|(_, r)| spans.contains(&r.span) && !r.awaited.is_empty())
            .filter(|(_, r)| r.awaited.is_disjoint(self.spans.missing()))
            .map(|(id, _)| *id)
            .collect();
        for id in needless {
            if let Some(request) = self.requests.get(&id) {
                commands.push(Command::Cancel {
                    share: self.share,
                    device: request.device,
                    request: id,
                });
            }
            self.abandon(id, now);
        }
    }

    /// A chunk's bytes were not what its id says: the device is not asked again for this share.
    pub fn damaged(&mut self, id: RequestId, now: Time, commands: &mut Vec<Command>) {
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        request.damaged += 1;
        let device = request.device;
        self.ban(device, now, commands);
    }

    /// Local evidence against a device: wrong bytes, or a manifest that does not parse under its
    /// signed head.
    pub fn ban(&mut self, device: DeviceId, now: Time, commands: &mut Vec<Command>) {
        self.journal.note(now, device, JournalEvent::Lied);
        self.drop_requests_of(device, now);
        if let Some(source) = self.sources.get_mut(&device) {
            source.banned = true;
            commands.push(Command::CloseSession {
                share: self.share,
                device,
            });
        }
    }

    /// A chunk could not be written: it is to be got again.
    pub fn lost(&mut self, positions: &RoaringBitmap) {
        positions.iter().for_each(|p| self.spans.lost(p));
        self.requests
            .values_mut()
            .for_each(|r| r.arrived -= positions);
    }

    // --- time ---

    /// Does what is due: opens sessions, decides the version, repairs, schedules.
    pub fn advance(
        &mut self,
        policy: &dyn Policy,
        now: Time,
        next: &mut u64,
        commands: &mut Vec<Command>,
    ) {
        self.open_sessions(now, commands);
        self.decide(now, commands);
        self.reconsider(now);
        self.wake_resting(now);
        self.give_way(now, commands);
        let looked = self.give_up_stalled(now, commands);
        self.schedule(policy, now, next, commands);
        if looked && self.endgame {
            self.race(policy, now, next, commands);
        }
        self.watch(now);
    }

    /// How many more sessions may be opened. The owner's is opened in any case: it may be the only
    /// one that helps.
    fn session_room(&self) -> usize {
        let closed = |s: &&Source| matches!(s.session, Session::Closed { .. });
        MAX_SESSIONS
            .saturating_sub(self.sources.len() - self.sources.values().filter(closed).count())
    }

    fn open_sessions(&mut self, now: Time, commands: &mut Vec<Command>) {
        let mut room = self.session_room();
        for source in self.sources.values_mut().filter(|s| !s.banned) {
            if let Session::Closed { retry_at } = source.session
                && retry_at <= now
                && (room > 0 || source.device == self.owner)
            {
                room = room.saturating_sub(1);
                source.session = Session::Opening;
                let (device, kind) = (source.device, source.kind);
                commands.push(Command::OpenSession {
                    share: self.share,
                    device,
                    kind,
                });
            }
        }
    }

    pub fn next_timeout(&self, now: Time) -> Option<Time> {
        let room = self.session_room() > 0;
        let retries = self
            .sources
            .values()
            .filter(|s| !s.banned)
            .filter_map(|s| match s.session {
                Session::Closed { retry_at } if room || s.device == self.owner => Some(retry_at),
                _ => None,
            });
        let rests = self.sources.values().filter_map(|s| s.rests_until(now));
        let claims = self.neighbourhood.own.due();
        let due = self
            .decide_at
            .into_iter()
            .chain(self.check_at)
            .chain(self.wake_at(now))
            .chain(claims);
        retries.chain(rests).chain(due).min()
    }

    pub fn progress(&self, now: Time) -> FetchProgress {
        let giving: BTreeSet<DeviceId> = self.requests.values().map(|r| r.device).collect();
        FetchProgress {
            phase: self.phase,
            waiting: self.waiting(now),
            giving: giving.len() as u32,
            missing_bytes: self.spans.missing_bytes(),
            neighbours: self.neighbourhood.members.len() as u32,
            owner: self
                .sources
                .get(&self.owner)
                .is_some_and(|s| s.session == Session::Open && !s.banned),
        }
    }
}
