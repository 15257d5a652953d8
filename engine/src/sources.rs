//! The sources of one fetch, with the sites that they are on.
//!
//! Bounded by [`MAX_SOURCES`], [`MAX_STORES`] and [`MAX_SESSIONS`]. Anybody on a network, and any
//! index, can name devices that do not exist. Invariant: a source that has proven to know the
//! share keeps its place, and so does the owner; of the others the one that was seen first makes
//! room.

use crate::carrier_choice::Carrier;
use crate::distance::Distance;
use crate::policy::SourceFacts;
use crate::price::Prices;
use crate::site::Site;
use crate::site_id::SiteId;
use crate::source::{Session, Source};
use crate::target::Target;
use crate::time::Time;
use hither_proto::{DeviceId, HolderKind, Refusal};
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::time::Duration;

/// Most devices considered as sources of one fetch.
const MAX_SOURCES: usize = 256;
/// Most stores among them.
const MAX_STORES: usize = 16;
/// Most control sessions of one fetch.
const MAX_SESSIONS: usize = 64;
/// After how long a device that does not have the share is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// After how long a device that ended the share, or does not speak the protocol, is asked again.
const ASK_MUCH_LATER: Duration = Duration::from_secs(60);

/// Everything that may give parts of one share.
#[derive(Debug)]
pub(crate) struct Sources {
    owner: DeviceId,
    by_device: BTreeMap<DeviceId, Source>,
    /// Other networks that sources are on.
    sites: BTreeMap<SiteId, Site>,
    /// The owner ended the share.
    ended: bool,
    /// The owner was reached and does not know the share.
    unknown: bool,
}

impl Sources {
    /// No source yet of a share of `owner`.
    pub const fn new(owner: DeviceId) -> Self {
        Self {
            owner,
            by_device: BTreeMap::new(),
            sites: BTreeMap::new(),
            ended: false,
            unknown: false,
        }
    }

    // --- which there are ---

    /// Returns the source that is this device.
    pub fn get(&self, device: DeviceId) -> Option<&Source> {
        self.by_device.get(&device)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, device: DeviceId) -> Option<&mut Source> {
        self.by_device.get_mut(&device)
    }

    /// All sources, by device.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.by_device.values()
    }

    /// The same, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Source> {
        self.by_device.values_mut()
    }

    /// The devices of all sources, ascending.
    pub fn devices(&self) -> impl Iterator<Item = DeviceId> + '_ {
        self.by_device.keys().copied()
    }

    /// The sources with an open session that have not lied.
    pub fn connected(&self) -> impl Iterator<Item = &Source> {
        self.iter().filter(|s| s.is_open() && !s.banned)
    }

    /// Returns whether a device is the owner of the share.
    pub fn is_owner(&self, device: DeviceId) -> bool {
        device == self.owner
    }

    /// Returns whether the owner is connected.
    pub fn has_owner(&self) -> bool {
        self.connected().any(|source| source.device == self.owner)
    }

    /// Returns whether the owner ended the share, as far as is known.
    pub const fn is_ended(&self) -> bool {
        self.ended
    }

    /// Returns whether the owner was reached and does not know the share.
    pub const fn is_unknown_to_owner(&self) -> bool {
        self.unknown
    }

    /// Returns whether a connected source, resting or not, has something of `missing`. A source
    /// that stalled again and again while asked only claims so, and does not count.
    pub fn offer(&self, target: Target, missing: &RoaringBitmap) -> bool {
        self.connected()
            .filter(|s| !s.stalls_again())
            .any(|s| s.offers(target, missing))
    }

    /// Adds a device or store that may have the share. Beyond [`MAX_SOURCES`] another one must make
    /// room, but for the owner. The kind of a known source does not change.
    pub fn seen(&mut self, device: DeviceId, kind: HolderKind, prices: &Prices, now: Time) {
        let stores = || self.iter().filter(|s| s.kind == HolderKind::Store).count();
        let full = self.by_device.len() >= MAX_SOURCES
            || (kind == HolderKind::Store && stores() >= MAX_STORES);
        if full
            && device != self.owner
            && !self.by_device.contains_key(&device)
            && !self.make_room(kind)
        {
            return;
        }
        let source = self
            .by_device
            .entry(device)
            .or_insert_with(|| Source::new(device, kind, now));
        source.retry_now(now);
        source.reprice(prices);
    }

    /// Takes a place away for a source of this kind; returns `false` when all keep theirs.
    fn make_room(&mut self, kind: HolderKind) -> bool {
        // Stores have a bound of their own, below that of all.
        let of_stores = kind == HolderKind::Store && self.by_device.len() < MAX_SOURCES;
        let least = self.iter().filter(|source| {
            // Only a device that proves that it knows the share shows a head.
            let unproven = source.head_version == 0 && source.is_closed();
            // A liar is remembered.
            unproven
                && !source.banned
                && source.device != self.owner
                && (!of_stores || source.kind == kind)
        });
        let least: Option<(Time, DeviceId)> = least
            .map(|source| (source.last_progress, source.device))
            .min();
        least.is_some_and(|(_, device)| self.by_device.remove(&device).is_some())
    }

    /// Removes a device that announced its departure, if it is not connected.
    pub fn said_goodbye(&mut self, device: DeviceId) {
        // A liar is remembered: departing does not make it trusted again. The owner is worth a try
        // in any case. Stores announce no departure; a device that does so in the name of one
        // changes nothing.
        let goes = |s: &Source| s.is_closed() && s.kind == HolderKind::Device && !s.banned;
        if device != self.owner && self.get(device).is_some_and(goes) {
            self.by_device.remove(&device);
        }
    }

    // --- their sessions ---

    /// Tries one source (`None`: all of them) at once.
    pub fn retry(&mut self, device: Option<DeviceId>, now: Time) {
        self.iter_mut()
            .filter(|source| device.is_none_or(|device| device == source.device))
            .for_each(|source| source.retry_now(now));
    }

    /// Forgets the sources' stalls, and tries those that are not connected at once: the network
    /// under this device is another one.
    pub fn network_changed(&mut self, now: Time) {
        self.iter_mut()
            .for_each(|source| source.network_changed(now));
    }

    /// Lets every source that rests after a stall be asked again.
    pub fn end_rests(&mut self) {
        self.iter_mut().for_each(Source::end_rest);
    }

    /// Notes that the session with a device is open.
    pub fn opened(&mut self, device: DeviceId) {
        self.ended = false;
        self.unknown &= device != self.owner;
    }

    /// Notes why a session was refused; returns how long the device is left alone at least.
    pub fn refused(&mut self, device: DeviceId, refusal: Refusal) -> Duration {
        match refusal {
            Refusal::Busy(ms) => Duration::from_millis(u64::from(ms)),
            Refusal::NotFound => {
                self.unknown |= device == self.owner;
                ASK_AGAIN
            }
            Refusal::Protocol => ASK_MUCH_LATER,
            Refusal::Gone => {
                self.ended |= device == self.owner;
                ASK_MUCH_LATER
            }
        }
    }

    /// Takes note of a session that has ended or was not opened: the device is tried again after
    /// `at_least`, and no carrier to it counts.
    pub fn closed(&mut self, device: DeviceId, at_least: Duration, now: Time) {
        if let Some(source) = self.get_mut(device) {
            Carrier::ALL
                .into_iter()
                .for_each(|carrier| source.carriers.set_available(carrier, false));
            source.closed(now, at_least);
        }
    }

    /// Removes a store that does not speak the protocol: others named it as a store, and it may
    /// still turn out to be a device.
    pub fn is_no_store(&mut self, device: DeviceId) {
        let store = |s: &Source| s.kind == HolderKind::Store && !s.banned;
        if self.get(device).is_some_and(store) {
            self.by_device.remove(&device);
        }
    }

    /// Returns how many more sessions may be opened. The owner's is opened in any case: it may be
    /// the only one that helps.
    fn session_room(&self) -> usize {
        let closed = self.iter().filter(|s| s.is_closed()).count();
        MAX_SESSIONS.saturating_sub(self.by_device.len() - closed)
    }

    /// Marks the sessions that are due as being opened; returns whose they are.
    pub fn open_due(&mut self, now: Time) -> Vec<(DeviceId, HolderKind)> {
        let (mut room, owner) = (self.session_room(), self.owner);
        let mut due = Vec::new();
        for source in self.iter_mut().filter(|s| !s.banned) {
            if let Session::Closed { retry_at } = source.session
                && retry_at <= now
                && (room > 0 || source.device == owner)
            {
                room = room.saturating_sub(1);
                source.session = Session::Opening;
                due.push((source.device, source.kind));
            }
        }
        due
    }

    /// Returns when the next session is to be opened, or the next rest ends.
    pub fn next_timeout(&self, now: Time) -> Option<Time> {
        let room = self.session_room() > 0;
        let retries = self
            .iter()
            .filter(|s| !s.banned)
            .filter_map(|s| match s.session {
                Session::Closed { retry_at } if room || s.device == self.owner => Some(retry_at),
                _ => None,
            });
        let rests = self.iter().filter_map(|s| s.rests_until(now));
        retries.chain(rests).min()
    }

    // --- what is asked of them ---

    /// Notes that `bytes` were asked of a source.
    pub fn asked(&mut self, device: DeviceId, carrier: Carrier, bytes: u64, now: Time) {
        let Some(source) = self.by_device.get_mut(&device) else {
            return;
        };
        source.carriers.asked(carrier, bytes, now);
        if let Some(site) = source.site() {
            self.sites.entry(site).or_default().asked(bytes, now);
        }
    }

    /// Notes that `bytes` of them came.
    pub fn arrived(&mut self, device: DeviceId, carrier: Carrier, bytes: u64, now: Time) {
        let Some(source) = self.by_device.get_mut(&device) else {
            return;
        };
        source.carriers.arrived(carrier, bytes, now);
        if let Some(site) = source.site().and_then(|site| self.sites.get_mut(&site)) {
            site.arrived(bytes, now);
        }
    }

    /// Notes that `bytes` of them will not come.
    pub fn given_up(&mut self, device: DeviceId, carrier: Carrier, bytes: u64, now: Time) {
        let Some(source) = self.by_device.get_mut(&device) else {
            return;
        };
        source.carriers.given_up(carrier, bytes, now);
        if let Some(site) = source.site().and_then(|site| self.sites.get_mut(&site)) {
            site.settled(bytes, now);
        }
    }

    /// Notes that a device whose session is open is reached in another way now. The bytes asked of
    /// it count for its new site.
    pub fn moved(&mut self, device: DeviceId, distance: Distance, prices: &Prices, now: Time) {
        let Some(source) = self.by_device.get_mut(&device).filter(|s| s.is_open()) else {
            return;
        };
        let (before, outstanding) = (source.site(), source.carriers.outstanding());
        source.set_distance(distance);
        source.update_carrier(prices, now);
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

    /// Limits the facts of a source by those of its site: its devices share one link.
    pub fn facts_at_site(&self, source: &Source, facts: SourceFacts) -> SourceFacts {
        let Some(id) = source.site() else {
            return facts;
        };
        let facts = SourceFacts {
            site: Some(id),
            ..facts
        };
        match self.sites.get(&id) {
            Some(site) => site.limit(facts),
            None => facts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(count: usize) -> Vec<DeviceId> {
        let points = (0u32..).filter_map(|number| {
            let mut bytes = [7; 32];
            bytes[..4].copy_from_slice(&number.to_le_bytes());
            DeviceId::from_slice(&bytes).ok()
        });
        points.take(count).collect()
    }

    #[test]
    fn field_d8_made_up_devices_keep_no_place_from_real_ones() {
        let all = devices(2 * MAX_SOURCES + 10);
        let [owner, friend, late, ..] = all[..] else {
            panic!("no devices")
        };
        let at = |ms| Time::from_start(Duration::from_millis(ms));
        let mut sources = Sources::new(owner);
        let see = |sources: &mut Sources, device, ms| {
            sources.seen(device, HolderKind::Device, &Prices::default(), at(ms));
        };
        see(&mut sources, friend, 0);
        if let Some(friend) = sources.get_mut(friend) {
            friend.opened(1, Duration::from_millis(1).into(), at(0));
        }
        for (ms, made_up) in (1..).zip(&all[3..]) {
            see(&mut sources, *made_up, ms);
        }
        for (ms, real) in (5000..).zip([owner, late]) {
            see(&mut sources, real, ms);
        }
        assert!(sources.by_device.len() <= MAX_SOURCES + 1);
        for real in [owner, friend, late] {
            assert!(sources.get(real).is_some());
        }
    }
}
