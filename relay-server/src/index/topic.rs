//! One topic: who holds what, who wants to know.

use super::copies::Copies;
use super::entry::{Entry, ToldUpTo};
use super::{Speaker, StreamId, Weight};
use crate::serve::limits::Source;
use bytes::Bytes;
use hither_proto::{Announcement, Delta, DeviceId};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A reader of one topic.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) device: DeviceId,
    pub(super) site: Source,
    pub(super) owner: DeviceId,
    /// Holders it is told of; `None`: it has not been told yet.
    pub(super) view: BTreeMap<DeviceId, Option<ToldUpTo>>,
    /// Holders it was told of that are none any more.
    pub(super) gone: BTreeSet<DeviceId>,
    /// Nothing was told yet since it subscribed.
    pub(super) first: bool,
    /// There may be room for other holders.
    pub(super) look: bool,
}

/// One topic.
#[derive(Debug, Default)]
pub(super) struct Topic {
    pub(super) entries: HashMap<DeviceId, Entry>,
    /// By version: of those alone that somebody announces.
    copies: BTreeMap<u64, Copies>,
    pub(super) subscriptions: HashMap<StreamId, Subscription>,
    /// Readers that have something to be told.
    stirred: BTreeSet<StreamId>,
}

impl Topic {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.subscriptions.is_empty()
    }

    pub(super) fn entry(&self, device: DeviceId) -> Option<&Entry> {
        self.entries.get(&device)
    }

    pub(super) fn take_stirred(&mut self) -> BTreeSet<StreamId> {
        std::mem::take(&mut self.stirred)
    }

    /// Takes an announcement; returns the weight of the device's entry before, if there was one,
    /// and after.
    pub(super) fn announce(
        &mut self,
        speaker: Speaker,
        holding: &Announcement,
        sealed: Bytes,
        number: u64,
    ) -> (Option<Weight>, Weight) {
        let before = self.entries.remove(&speaker.device);
        let (weight, viewers) = match before {
            Some(entry) => {
                self.uncount(&entry);
                (Some(entry.weight()), entry.viewers)
            }
            None => (None, BTreeSet::new()),
        };
        let at = (speaker.stream, speaker.site);
        let entry = Entry::new(at, holding, sealed, number, viewers);
        self.count(&entry);
        self.stirred.extend(&entry.viewers);
        let after = entry.weight();
        self.entries.insert(speaker.device, entry);
        if weight.is_none() {
            self.arrived(speaker.device, speaker.site);
        }
        (weight, after)
    }

    /// Takes a delta; returns the entry's weight before and after. `None`: it does not follow what
    /// is known.
    pub(super) fn change(&mut self, speaker: Speaker, delta: &Delta) -> Option<(Weight, Weight)> {
        let entry = self
            .entries
            .get_mut(&speaker.device)
            .filter(|e| e.stream == speaker.stream)?;
        let before = entry.weight();
        let changed = entry.change(delta)?;
        let copies = self.copies.entry(entry.version).or_default();
        copies.remove(&changed.removed);
        copies.add(&changed.added);
        self.stirred.extend(&entry.viewers);
        Some((before, entry.weight()))
    }

    /// Takes an entry out; returns its weight.
    pub(super) fn remove(&mut self, device: DeviceId) -> Option<Weight> {
        let entry = self.entries.remove(&device)?;
        self.uncount(&entry);
        for stream in &entry.viewers {
            if let Some(subscription) = self.subscriptions.get_mut(stream) {
                if subscription.view.remove(&device).flatten().is_some() {
                    subscription.gone.insert(device);
                }
                subscription.look = true;
                self.stirred.insert(*stream);
            }
        }
        Some(entry.weight())
    }

    fn count(&mut self, entry: &Entry) {
        let copies = self.copies.entry(entry.version).or_default();
        if entry.complete {
            copies.add_whole();
        } else {
            copies.add(&entry.held);
        }
    }

    fn uncount(&mut self, entry: &Entry) {
        let Some(copies) = self.copies.get_mut(&entry.version) else {
            return;
        };
        if entry.complete {
            copies.remove_whole();
        } else {
            copies.remove(&entry.held);
        }
        if copies.is_empty() {
            self.copies.remove(&entry.version);
        }
    }

    /// Whoever has room for a new holder looks at it.
    fn arrived(&mut self, device: DeviceId, site: Source) {
        for (stream, subscription) in &mut self.subscriptions {
            if subscription.device != device && subscription.has_room(device, site, &self.entries) {
                subscription.look = true;
                self.stirred.insert(*stream);
            }
        }
    }

    /// A reader begins, or begins anew.
    pub(super) fn subscribe(&mut self, speaker: Speaker, owner: DeviceId) {
        self.unsubscribe(speaker.stream);
        let Speaker {
            stream,
            device,
            site,
        } = speaker;
        let (view, gone) = (BTreeMap::new(), BTreeSet::new());
        let subscription = Subscription {
            device,
            site,
            owner,
            view,
            gone,
            first: true,
            look: true,
        };
        self.subscriptions.insert(stream, subscription);
        self.stirred.insert(stream);
    }

    pub(super) fn unsubscribe(&mut self, stream: StreamId) {
        if let Some(subscription) = self.subscriptions.remove(&stream) {
            for device in subscription.view.keys() {
                if let Some(entry) = self.entries.get_mut(device) {
                    entry.viewers.remove(&stream);
                }
            }
        }
        self.stirred.remove(&stream);
    }

    pub(super) fn copies(&self, version: u64, position: u32) -> u16 {
        self.copies
            .get(&version)
            .map_or(0, |copies| copies.of(position))
    }

    pub(super) fn copies_of(&self, version: u64) -> Option<&Copies> {
        self.copies.get(&version)
    }

    pub(super) fn copies_bytes(&self) -> u64 {
        self.copies.values().map(Copies::bytes).sum()
    }
}
