//! The facade: inputs sorted by who they come from, commands out.
//!
//! Calls are cheap and never block. After any `handle_*` or command, drain [`Engine::poll_command`]
//! and re-arm the timer with [`Engine::poll_timeout`].

use crate::carrier_choice::Carrier;
use crate::command::{Command, RequestId, SessionId, StreamId};
use crate::distance::Distance;
use crate::fetch::{Arrival, Fetch, FetchGoal, FetchProgress};
use crate::inventory::Inventory;
use crate::journal::Journal;
use crate::map::FetchView;
use crate::plan::Plan;
use crate::policy::{EarliestFinish, Policy};
use crate::price::{Budget, Prices};
use crate::round::Round;
use crate::serving::Serving;
use crate::time::Time;
use crate::version::Presence;
use hither_proto::{
    Announcement, Claims, Delta, DeviceId, HolderKind, Ranges, Refusal, ShareId, Terms, Want,
};
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::time::Duration;

/// The configuration of an engine.
#[derive(Debug)]
pub struct EngineConfig {
    /// This device.
    pub device: DeviceId,
    /// The policy that chooses sources.
    pub policy: Box<dyn Policy>,
}

impl EngineConfig {
    /// The standard policy for `device`.
    pub fn new(device: DeviceId) -> Self {
        Self {
            device,
            policy: Box::new(EarliestFinish),
        }
    }
}

/// The state of one device: its fetches, its holdings and its uploads.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    fetches: BTreeMap<ShareId, Fetch>,
    inventory: Inventory,
    serving: Serving,
    prices: Prices,
    next_request: u64,
    /// Ended fetches that other devices still take for running, and their versions.
    farewells: Vec<(ShareId, u64)>,
    commands: Vec<Command>,
    ready: VecDeque<Command>,
}

impl Engine {
    /// An engine that holds and fetches nothing.
    pub fn new(config: EngineConfig) -> Self {
        Self {
            config,
            fetches: BTreeMap::new(),
            inventory: Inventory::default(),
            serving: Serving::default(),
            prices: Prices::default(),
            next_request: 1,
            farewells: Vec::new(),
            commands: Vec::new(),
            ready: VecDeque::new(),
        }
    }

    // --- getters ---

    /// The progress of a fetch; `None` when there is none of this share.
    pub fn progress(&self, share: ShareId, now: Time) -> Option<FetchProgress> {
        self.fetches.get(&share).map(|f| f.progress(now))
    }

    /// The record of a running fetch.
    pub fn journal(&self, share: ShareId) -> Option<&Journal> {
        self.fetches.get(&share).map(Fetch::journal)
    }

    /// A fetch as it is now, its data as at most `cells` cells; `None` when there is none of this
    /// share. Looks at every span: meant for a few times a second, while somebody watches.
    pub fn view(&self, share: ShareId, cells: u32, now: Time) -> Option<FetchView> {
        self.fetches.get(&share).map(|fetch| fetch.view(cells, now))
    }

    /// Data positions held of a share.
    pub fn held(&self, share: ShareId) -> Option<&RoaringBitmap> {
        self.inventory.held(share)
    }

    /// Shares being fetched.
    pub fn fetching(&self) -> impl Iterator<Item = ShareId> + '_ {
        self.fetches.keys().copied()
    }

    // --- fetching: commands from the loop ---

    /// Begins to fetch a share of `owner`. `pin` names the only acceptable version, `preferred` the
    /// one that was begun. Does nothing when the share is being fetched already.
    pub fn start_fetch(
        &mut self,
        share: ShareId,
        owner: DeviceId,
        pin: Option<u64>,
        preferred: Option<u64>,
    ) {
        let mut hasher = std::hash::DefaultHasher::new();
        (self.config.device.as_bytes(), share.as_bytes()).hash(&mut hasher);
        let seed = hasher.finish();
        let goal = FetchGoal {
            share,
            owner,
            pin,
            preferred,
        };
        let fetch = || Fetch::new(self.config.device, goal, seed);
        self.fetches
            .entry(share)
            .or_insert_with(fetch)
            .set_prices(self.prices);
    }

    /// Records that this device has seen the head of a version at some time: an older version is
    /// chosen only when nobody shows that one in time.
    pub fn set_known_version(&mut self, share: ShareId, version: u64, now: Time) {
        self.with_fetch(share, now, |fetch, _| fetch.set_known_version(version));
    }

    /// Takes note of whether the owner of a share that is being fetched is there.
    pub fn set_owner_presence(&mut self, share: ShareId, presence: Presence, now: Time) {
        self.with_fetch(share, now, |fetch, _| fetch.set_owner_presence(presence));
    }

    /// Returns whether a version of a share that is being fetched is about to be chosen, or a
    /// device that may have a later one is being connected to.
    pub fn is_choosing(&self, share: ShareId) -> bool {
        self.fetches.get(&share).is_some_and(Fetch::is_choosing)
    }

    /// Sets what a fetch may cost. Without it, a fetch is balanced and has no limit.
    pub fn set_budget(&mut self, share: ShareId, budget: Budget, now: Time) {
        self.with_fetch(share, now, |fetch, _| fetch.set_budget(budget));
    }

    /// Sets what sources cost this device; all are free before.
    pub fn set_prices(&mut self, prices: Prices, now: Time) {
        self.prices = prices;
        for share in self.fetching().collect::<Vec<_>>() {
            self.with_fetch(share, now, |fetch, _| fetch.set_prices(prices));
        }
    }

    /// Ends a fetch, done or not; its sessions are closed. Returns its record.
    pub fn end_fetch(&mut self, share: ShareId) -> Option<Journal> {
        let fetch = self.fetches.remove(&share)?;
        self.farewells
            .extend(fetch.claims().map(|claims| (share, claims.version)));
        for device in fetch.devices() {
            self.ready
                .push_back(Command::CloseSession { share, device });
        }
        Some(fetch.into_journal())
    }

    /// Answers [`Command::VersionChosen`] (or decides the version, when the loop knows it) and
    /// follows [`Command::SpaceComplete`]: sets what there is to fetch of a space.
    pub fn plan(&mut self, share: ShareId, plan: Plan, now: Time) {
        self.with_fetch(share, now, |fetch, round| fetch.plan(plan, round));
    }

    /// Records chunks that were verified and written: those of a request, or (`None`) copies of
    /// what was here already.
    pub fn stored(
        &mut self,
        share: ShareId,
        request: Option<RequestId>,
        positions: &[u32],
        now: Time,
    ) {
        self.with_fetch(share, now, |fetch, round| {
            fetch.stored(request, positions, round)
        });
    }

    /// Records chunks that a plan of data did not want, because they were copied from elsewhere on
    /// this device: [`Self::view`] shows them as such.
    pub fn copied(&mut self, share: ShareId, positions: &RoaringBitmap) {
        if let Some(fetch) = self.fetches.get_mut(&share) {
            fetch.copied(positions);
        }
    }

    /// Records a chunk of a request that did not verify: its source lied or its bytes were damaged.
    pub fn damaged(&mut self, share: ShareId, request: RequestId, now: Time) {
        self.with_fetch(share, now, |fetch, round| fetch.damaged(request, round));
    }

    /// Fetches positions again that were written and turned out not to be there.
    pub fn lost(&mut self, share: ShareId, positions: &RoaringBitmap, now: Time) {
        self.with_fetch(share, now, |fetch, _| fetch.lost(positions));
    }

    // --- fetching: what the carriers report ---

    /// Adds a device that was discovered (or is hinted at) and may hold a share that is being
    /// fetched.
    pub fn handle_device_seen(&mut self, share: ShareId, device: DeviceId, now: Time) {
        self.handle_holder_seen(share, device, HolderKind::Device, now);
    }

    /// Adds a device or store that may hold a share that is being fetched. The loop knows its
    /// addresses.
    pub fn handle_holder_seen(
        &mut self,
        share: ShareId,
        device: DeviceId,
        kind: HolderKind,
        now: Time,
    ) {
        if device != self.config.device {
            self.with_fetch(share, now, |fetch, _| fetch.holder_seen(device, kind, now));
        }
    }

    /// Removes a device that announced its departure.
    pub fn handle_device_gone(&mut self, device: DeviceId) {
        self.fetches
            .values_mut()
            .for_each(|fetch| fetch.device_gone(device));
    }

    /// Handles a change of the network under this device: sources that could not be reached, or
    /// gave nothing, may do so now.
    pub fn handle_network_changed(&mut self, now: Time) {
        let shares: Vec<ShareId> = self.fetches.keys().copied().collect();
        for share in shares {
            self.with_fetch(share, now, |fetch, _| fetch.network_changed(now));
        }
    }

    /// Handles a control session that was opened, after both sides proved that they know the
    /// secret.
    pub fn handle_session_opened(
        &mut self,
        share: ShareId,
        device: DeviceId,
        head_version: u64,
        distance: impl Into<Distance>,
        now: Time,
    ) {
        let distance = distance.into();
        self.with_fetch(share, now, |fetch, _| {
            fetch.session_opened(device, head_version, distance, now)
        });
    }

    /// Handles a newer head that a device showed on an open session. The loop has checked its
    /// signature and can give it when [`Command::VersionChosen`] names its version.
    pub fn handle_head(&mut self, share: ShareId, device: DeviceId, version: u64, now: Time) {
        self.with_fetch(share, now, |fetch, _| fetch.head(device, version, now));
    }

    /// Handles a control session that the other side refused.
    pub fn handle_session_refused(
        &mut self,
        share: ShareId,
        device: DeviceId,
        refusal: Refusal,
        now: Time,
    ) {
        self.with_fetch(share, now, |fetch, _| {
            fetch.session_refused(device, refusal, now)
        });
    }

    /// Handles a control session that could not be opened, or broke.
    pub fn handle_session_failed(&mut self, share: ShareId, device: DeviceId, now: Time) {
        self.with_fetch(share, now, |fetch, _| fetch.session_failed(device, now));
    }

    /// Handles an announcement of what another device holds.
    pub fn handle_announced(
        &mut self,
        share: ShareId,
        device: DeviceId,
        announcement: Announcement,
        now: Time,
    ) {
        self.with_fetch(share, now, |fetch, _| {
            fetch.announced(device, announcement, now)
        });
    }

    /// Handles a change of what another device holds.
    pub fn handle_delta(&mut self, share: ShareId, device: DeviceId, delta: &Delta, now: Time) {
        self.with_fetch(share, now, |fetch, round| fetch.delta(device, delta, round));
    }

    /// Handles the claims of another device on first copies.
    pub fn handle_claims(&mut self, share: ShareId, device: DeviceId, claims: &Claims, now: Time) {
        self.with_fetch(share, now, |fetch, _| {
            fetch.claims_said(device, claims, now)
        });
    }

    /// Handles the terms on which another device serves.
    pub fn handle_terms(&mut self, share: ShareId, device: DeviceId, terms: Terms, now: Time) {
        self.with_fetch(share, now, |fetch, _| fetch.terms(device, terms));
    }

    /// Handles the return of a device, or of a route to all of them (`None`): sources that were not
    /// reached are tried at once.
    pub fn handle_back(&mut self, device: Option<DeviceId>, now: Time) {
        let shares: Vec<ShareId> = self.fetches.keys().copied().collect();
        for share in shares {
            self.with_fetch(share, now, |fetch, _| fetch.retry(device, now));
        }
    }

    /// Handles a carrier to a device that connects now, or does not any more.
    pub fn handle_carrier(
        &mut self,
        share: ShareId,
        device: DeviceId,
        carrier: Carrier,
        available: bool,
        now: Time,
    ) {
        self.with_fetch(share, now, |fetch, _| {
            fetch.set_available(device, carrier, available, now)
        });
    }

    /// Handles a device with an open session that is reached over another route now.
    pub fn handle_moved(
        &mut self,
        share: ShareId,
        device: DeviceId,
        distance: Distance,
        now: Time,
    ) {
        self.with_fetch(share, now, |fetch, _| fetch.moved(device, distance, now));
    }

    /// Handles a bulk stream of a carrier to a device that broke.
    pub fn handle_carrier_failed(
        &mut self,
        share: ShareId,
        device: DeviceId,
        carrier: Carrier,
        now: Time,
    ) {
        self.with_fetch(share, now, |fetch, _| {
            fetch.carrier_failed(device, carrier, now)
        });
    }

    /// Handles a chunk that begins to arrive; returns what to do with it.
    pub fn handle_arrival(
        &mut self,
        share: ShareId,
        device: DeviceId,
        request: RequestId,
        position: u32,
        now: Time,
    ) -> Arrival {
        if request.0 >= self.next_request {
            return Arrival::Unsolicited;
        }
        let mut arrival = Arrival::Unneeded;
        self.with_fetch(share, now, |fetch, _| {
            arrival = fetch.arrival(device, request, position, now)
        });
        arrival
    }

    /// Records that bytes of a chunk are coming from a device, on any carrier.
    pub fn handle_moving(&mut self, share: ShareId, device: DeviceId, now: Time) {
        self.with_fetch(share, now, |fetch, _| fetch.moving(device, now));
    }

    /// Handles the end of a request: the other side has sent all it will.
    pub fn handle_served(
        &mut self,
        share: ShareId,
        device: DeviceId,
        request: RequestId,
        now: Time,
    ) {
        self.with_fetch(share, now, |fetch, _| fetch.served(device, request, now));
    }

    /// Handles an answer that some of a request is not held.
    pub fn handle_not_held(
        &mut self,
        share: ShareId,
        device: DeviceId,
        request: RequestId,
        ranges: &Ranges,
        now: Time,
    ) {
        self.with_fetch(share, now, |fetch, _| {
            fetch.not_held(device, request, ranges, now)
        });
    }

    /// Handles an answer that the other side is too busy for a request.
    pub fn handle_busy(
        &mut self,
        share: ShareId,
        device: DeviceId,
        request: RequestId,
        pause: Duration,
        now: Time,
    ) {
        self.with_fetch(share, now, |fetch, _| {
            fetch.busy(device, request, pause, now)
        });
    }

    // --- holding ---

    /// Declares what is held of one version of a share, all of it durable; replaces what was
    /// declared before.
    pub fn hold(
        &mut self,
        share: ShareId,
        version: u64,
        chunks: u32,
        positions: RoaringBitmap,
        now: Time,
    ) {
        self.inventory.hold(share, version, chunks, positions, now);
        self.tell(now);
    }

    /// Adds positions that are verified and durable.
    pub fn durable(&mut self, share: ShareId, positions: &RoaringBitmap, now: Time) {
        self.inventory.durable(share, positions, now);
        if let (Some(fetch), Some(held)) =
            (self.fetches.get_mut(&share), self.inventory.held(share))
        {
            fetch.announced_here(held, now);
        }
        self.tell(now);
    }

    /// Removes positions that are not held any more.
    pub fn withdraw(&mut self, share: ShareId, positions: &RoaringBitmap, now: Time) {
        self.inventory.withdraw(share, positions, now);
        self.tell(now);
    }

    /// Removes a share that is not held any more.
    pub fn release(&mut self, share: ShareId) {
        self.inventory.release(share, &mut self.commands);
        self.ready.extend(self.commands.drain(..));
    }

    // --- serving: what the carriers report ---

    /// Handles a control stream about a share that another device opened: it receives the holdings
    /// and the claims.
    pub fn handle_subscribed(&mut self, session: SessionId, share: ShareId) {
        self.inventory.subscribe(session, share, &mut self.commands);
        let claims = self.fetches.get(&share).and_then(Fetch::claims);
        self.commands
            .extend(claims.map(|claims| Command::Claims { session, claims }));
        self.ready.extend(self.commands.drain(..));
    }

    /// Handles the end of a control stream.
    pub fn handle_unsubscribed(&mut self, session: SessionId) {
        self.inventory.unsubscribe(session);
    }

    /// Handles a bulk stream that a device opened.
    pub fn handle_stream_opened(&mut self, stream: StreamId, device: DeviceId) {
        self.serving.stream_opened(stream, device);
    }

    /// Handles the end of a bulk stream.
    pub fn handle_stream_closed(&mut self, stream: StreamId) {
        self.serving.stream_closed(stream, &mut self.commands);
        self.ready.extend(self.commands.drain(..));
    }

    /// Handles a request for chunks.
    pub fn handle_want(&mut self, stream: StreamId, share: ShareId, want: Want) {
        let (held, missing) = self
            .inventory
            .split(share, want.version, want.space, &want.ranges);
        let request = want.request;
        if !missing.is_empty() {
            self.ready.push_back(Command::NotHeld {
                stream,
                request,
                ranges: missing,
            });
        }
        self.serving.want(
            stream,
            share,
            Want {
                ranges: held,
                ..want
            },
            &mut self.commands,
        );
        self.ready.extend(self.commands.drain(..));
    }

    /// Handles a request that its device takes back.
    pub fn handle_cancel(&mut self, stream: StreamId, request: u64) {
        self.serving.cancel(stream, request, &mut self.commands);
        self.ready.extend(self.commands.drain(..));
    }

    /// Records that the chunks of a [`Command::Serve`] were sent (or that sending them ended
    /// early).
    pub fn request_sent(&mut self, stream: StreamId, request: u64) {
        self.serving.sent(stream, request, &mut self.commands);
        self.ready.extend(self.commands.drain(..));
    }

    // --- time and output ---

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        for fetch in self.fetches.values_mut() {
            fetch.advance(&mut Round::new(
                now,
                &*self.config.policy,
                &mut self.next_request,
                &mut self.commands,
            ));
        }
        self.tell(now);
    }

    /// When [`Self::handle_timeout`] is due next.
    pub fn poll_timeout(&self, now: Time) -> Option<Time> {
        let fetches = self
            .fetches
            .values()
            .filter_map(|fetch| fetch.next_timeout(now));
        let farewell = self
            .farewells
            .iter()
            .any(|(share, _)| !self.inventory.has_news(*share));
        fetches
            .chain(self.inventory.next_tell())
            .chain(farewell.then_some(now))
            .min()
    }

    /// The next thing to do.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.ready.pop_front()
    }

    fn tell(&mut self, now: Time) {
        // Holdings are announced first: a claim ends only when others know the chunks to be held. A
        // device that learns that nobody fetches a span any more, and not yet that somebody has it,
        // would fetch it again.
        for (share, _) in self
            .fetches
            .iter()
            .filter(|(_, fetch)| fetch.claims_due(now))
        {
            self.inventory.hurry(*share, now);
        }
        self.inventory.tell(now, &mut self.commands);
        for (share, fetch) in &mut self.fetches {
            let sessions = self.inventory.sessions_of(*share);
            self.commands.extend(fetch.take_claims(&sessions, now));
        }
        self.say_farewell();
        self.ready.extend(self.commands.drain(..));
    }

    /// Announces that fetches have ended, once all sessions know what they brought.
    fn say_farewell(&mut self) {
        for (share, version) in std::mem::take(&mut self.farewells) {
            if self.inventory.has_news(share) {
                self.farewells.push((share, version));
            } else if !self.fetches.contains_key(&share) {
                let claims = Claims {
                    version,
                    ..Claims::default()
                };
                let claims = |session| Command::Claims {
                    session,
                    claims: claims.clone(),
                };
                self.commands
                    .extend(self.inventory.sessions_of(share).into_iter().map(claims));
            }
        }
    }

    /// Runs `change` on a fetch and lets it go on from there.
    fn with_fetch(
        &mut self,
        share: ShareId,
        now: Time,
        change: impl FnOnce(&mut Fetch, &mut Round<'_>),
    ) {
        if let Some(fetch) = self.fetches.get_mut(&share) {
            let mut round = Round::new(
                now,
                &*self.config.policy,
                &mut self.next_request,
                &mut self.commands,
            );
            change(fetch, &mut round);
            fetch.advance(&mut round);
            self.ready.extend(self.commands.drain(..));
        }
    }
}
