//! The index: which devices hold which positions of the shares behind topics, in memory.
//!
//! Every device announces for itself; whoever subscribes to a topic is told of some of its holders
//! (see `pick.rs`) and of what changes with them. One type for every placement: on a relay that
//! also stores, or on a node of its own. It is pure: time comes in as an argument, what is to be
//! told comes out of [`Index::news`].
//!
//! Invariants: an entry belongs to the device whose key TLS proved, and only its own streams change
//! it; it is gone when nothing was heard of the device for [`Bounds::life`]; what is held in memory
//! keeps to [`Bounds`], and who is beyond is refused and changes nothing. What devices say is
//! hearsay to those who are told of it.

mod copies;
mod entry;
mod news;
mod pick;
#[cfg(test)]
mod tests;
mod topic;

use crate::serve::limits::Source;
use bytes::Bytes;
use hither_proto::{Announcement, Delta, DeviceId, IndexMessage, IndexTopic};
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};
use topic::Topic;

/// A stream to the index; numbered by the loop, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// Who speaks.
#[derive(Debug, Clone, Copy)]
pub struct Speaker {
    /// On which stream.
    pub stream: StreamId,
    /// The device that opened it.
    pub device: DeviceId,
    /// Where it comes from.
    pub(crate) site: Source,
}

impl Speaker {
    /// Who speaks from an address.
    pub fn new(stream: StreamId, device: DeviceId, address: std::net::IpAddr) -> Self {
        Self {
            stream,
            device,
            site: address.into(),
        }
    }
}

/// What an index takes, at most.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Announcements.
    pub entries: usize,
    /// The same of one device.
    pub device_entries: usize,
    /// The same of all devices behind one address.
    pub site_entries: usize,
    /// Bytes of all announcements.
    pub bytes: u64,
    /// The same of one device.
    pub device_bytes: u64,
    /// The same of all devices behind one address.
    pub site_bytes: u64,
    /// Subscriptions. Each may take 10 KiB.
    pub subscriptions: usize,
    /// The same on one stream.
    pub stream_subscriptions: usize,
    /// How long what a device announced lives without a sign of it.
    pub life: Duration,
}

/// Why something is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// The index is full.
    #[error("the index is full")]
    Full,
    /// The device, or all of them behind its address, have used up their part of it.
    #[error("too much is announced from there")]
    TooMuch,
    /// A delta does not follow what is known: announce in full.
    #[error("a change is missing")]
    Gap,
}

/// What is in an index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IndexSize {
    /// Topics with an announcement or a subscription.
    pub topics: u64,
    /// Announcements.
    pub entries: u64,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Bytes of all announcements, about.
    pub bytes: u64,
}

/// A device that has announced something.
#[derive(Debug)]
struct Device {
    heard: Instant,
    topics: BTreeSet<IndexTopic>,
    bytes: u64,
}

/// What the devices behind one address have announced.
#[derive(Debug, Default)]
struct Site {
    entries: usize,
    bytes: u64,
}

/// Where an entry came from, and its bytes.
type Weight = (Source, u64);

/// A stream that has subscribed to something.
#[derive(Debug, Default)]
struct Reader {
    topics: BTreeSet<IndexTopic>,
    /// Those with something to tell.
    news: BTreeSet<IndexTopic>,
}

/// The index.
#[derive(Debug)]
pub struct Index {
    bounds: Bounds,
    topics: HashMap<IndexTopic, Topic>,
    devices: HashMap<DeviceId, Device>,
    sites: HashMap<Source, Site>,
    readers: HashMap<StreamId, Reader>,
    entries: usize,
    subscriptions: usize,
    bytes: u64,
    announcements: u64,
    /// Readers that have something to be told since they were asked for last.
    woken: BTreeSet<StreamId>,
}

impl Index {
    /// An empty one.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            topics: HashMap::new(),
            devices: HashMap::new(),
            sites: HashMap::new(),
            readers: HashMap::new(),
            entries: 0,
            subscriptions: 0,
            bytes: 0,
            announcements: 0,
            woken: BTreeSet::new(),
        }
    }

    /// The device lives.
    pub fn heard(&mut self, device: DeviceId, now: Instant) {
        if let Some(known) = self.devices.get_mut(&device) {
            known.heard = now;
        }
    }

    /// A device says all that it holds.
    ///
    /// Errors: [`IndexError::Full`], [`IndexError::TooMuch`]; what it announced before is forgotten
    /// then.
    pub fn announce(
        &mut self,
        speaker: Speaker,
        topic: IndexTopic,
        holding: &Announcement,
        sealed: Bytes,
        now: Instant,
    ) -> Result<(), IndexError> {
        let known = self
            .topics
            .get(&topic)
            .is_some_and(|found| found.entry(speaker.device).is_some());
        let own = self
            .devices
            .get(&speaker.device)
            .map_or(0, |device| device.topics.len());
        let beside = self.sites.get(&speaker.site).map_or(0, |site| site.entries);
        if !known && (own >= self.bounds.device_entries || beside >= self.bounds.site_entries) {
            return Err(IndexError::TooMuch);
        }
        if !known && self.entries >= self.bounds.entries {
            return Err(IndexError::Full);
        }
        self.announcements += 1;
        let found = self.topics.entry(topic).or_default();
        let (before, after) = found.announce(speaker, holding, sealed, self.announcements);
        let device = self
            .devices
            .entry(speaker.device)
            .or_insert_with(|| Device {
                heard: now,
                topics: BTreeSet::new(),
                bytes: 0,
            });
        device.heard = now;
        device.topics.insert(topic);
        self.weigh(speaker.device, topic, before, after)
    }

    /// A device says what has changed.
    ///
    /// Errors: [`IndexError::Gap`]: it must announce in full; [`IndexError::Full`],
    /// [`IndexError::TooMuch`]: what it announced is forgotten.
    pub fn change(
        &mut self,
        speaker: Speaker,
        topic: IndexTopic,
        delta: &Delta,
        now: Instant,
    ) -> Result<(), IndexError> {
        self.heard(speaker.device, now);
        let found = self.topics.get_mut(&topic).ok_or(IndexError::Gap)?;
        let (before, after) = found.change(speaker, delta).ok_or(IndexError::Gap)?;
        self.weigh(speaker.device, topic, Some(before), after)
    }

    /// Counts an entry as it is now, tells its readers, and takes it out when it is too heavy.
    fn weigh(
        &mut self,
        device: DeviceId,
        topic: IndexTopic,
        before: Option<Weight>,
        after: Weight,
    ) -> Result<(), IndexError> {
        if let Some(before) = before {
            self.uncount(device, before);
        }
        let (at, bytes) = after;
        self.entries += 1;
        self.bytes += bytes;
        let site = self.sites.entry(at).or_default();
        site.entries += 1;
        site.bytes += bytes;
        let beside = site.bytes;
        let own = self.devices.get_mut(&device).map_or(0, |known| {
            known.bytes += bytes;
            known.bytes
        });
        self.tell(topic);
        let much = own > self.bounds.device_bytes || beside > self.bounds.site_bytes;
        let error = match (much, self.bytes > self.bounds.bytes) {
            (true, _) => IndexError::TooMuch,
            (false, true) => IndexError::Full,
            (false, false) => return Ok(()),
        };
        self.remove(device, topic);
        Err(error)
    }

    /// An entry counts no more as it was.
    fn uncount(&mut self, device: DeviceId, (at, bytes): Weight) {
        self.entries -= 1;
        self.bytes -= bytes;
        if let Some(known) = self.devices.get_mut(&device) {
            known.bytes -= bytes;
        }
        if let Some(site) = self.sites.get_mut(&at) {
            site.entries -= 1;
            site.bytes -= bytes;
            if site.entries == 0 {
                self.sites.remove(&at);
            }
        }
    }

    /// A device holds nothing of a topic any more.
    pub fn withdraw(&mut self, device: DeviceId, topic: IndexTopic) {
        self.remove(device, topic);
    }

    fn remove(&mut self, device: DeviceId, topic: IndexTopic) {
        let Some(found) = self.topics.get_mut(&topic) else {
            return;
        };
        let Some(weight) = found.remove(device) else {
            return;
        };
        self.uncount(device, weight);
        if let Some(known) = self.devices.get_mut(&device) {
            known.topics.remove(&topic);
            if known.topics.is_empty() {
                self.devices.remove(&device);
            }
        }
        self.tell(topic);
        self.tidy(topic);
    }

    /// A device wants to know who holds something.
    ///
    /// Errors: [`IndexError::Full`], [`IndexError::TooMuch`].
    pub fn subscribe(
        &mut self,
        speaker: Speaker,
        topic: IndexTopic,
        owner: DeviceId,
    ) -> Result<(), IndexError> {
        let reader = self.readers.entry(speaker.stream).or_default();
        if !reader.topics.contains(&topic) {
            if reader.topics.len() >= self.bounds.stream_subscriptions {
                return Err(IndexError::TooMuch);
            }
            if self.subscriptions >= self.bounds.subscriptions {
                return Err(IndexError::Full);
            }
            reader.topics.insert(topic);
            self.subscriptions += 1;
        }
        self.topics
            .entry(topic)
            .or_default()
            .subscribe(speaker, owner);
        self.tell(topic);
        Ok(())
    }

    /// A reader wants no more of a topic.
    pub fn unsubscribe(&mut self, stream: StreamId, topic: IndexTopic) {
        let Some(reader) = self.readers.get_mut(&stream) else {
            return;
        };
        if reader.topics.remove(&topic) {
            reader.news.remove(&topic);
            self.subscriptions -= 1;
            if let Some(found) = self.topics.get_mut(&topic) {
                found.unsubscribe(stream);
            }
            self.tidy(topic);
        }
    }

    /// A stream ended. In order: its announcements go at once; otherwise they live on for their
    /// time, because the device may be back in a moment.
    pub fn ended(&mut self, speaker: Speaker, in_order: bool) {
        let topics = self
            .readers
            .get(&speaker.stream)
            .map(|reader| reader.topics.clone());
        topics
            .into_iter()
            .flatten()
            .for_each(|topic| self.unsubscribe(speaker.stream, topic));
        self.readers.remove(&speaker.stream);
        self.woken.remove(&speaker.stream);
        if in_order {
            let topics = self
                .devices
                .get(&speaker.device)
                .map(|device| device.topics.clone());
            for topic in topics.into_iter().flatten() {
                let entry = self
                    .topics
                    .get(&topic)
                    .and_then(|found| found.entry(speaker.device));
                if entry.is_some_and(|entry| entry.stream == speaker.stream) {
                    self.remove(speaker.device, topic);
                }
            }
        }
    }

    /// Forgets whose life is over.
    pub fn expire(&mut self, now: Instant) {
        let life = self.bounds.life;
        let over = |device: &Device| now.saturating_duration_since(device.heard) > life;
        let gone: Vec<_> = self
            .devices
            .iter()
            .filter(|(_, device)| over(device))
            .map(|(id, _)| *id)
            .collect();
        for device in gone {
            let topics = self.devices.get(&device).map(|known| known.topics.clone());
            topics
                .into_iter()
                .flatten()
                .for_each(|topic| self.remove(device, topic));
        }
    }

    /// Readers that have something to be told since this was asked last.
    pub fn woken(&mut self) -> BTreeSet<StreamId> {
        std::mem::take(&mut self.woken)
    }

    /// What a reader is to be told now: at most one frame's worth. `None`: nothing any more.
    pub fn news(&mut self, stream: StreamId) -> Option<IndexMessage> {
        let reader = self.readers.get_mut(&stream)?;
        while let Some(topic) = reader.news.first().copied() {
            let message = self
                .topics
                .get_mut(&topic)
                .and_then(|found| found.news(stream, topic));
            match message {
                Some(message) => return Some(message),
                None => reader.news.remove(&topic),
            };
        }
        None
    }

    /// How many devices hold a position.
    pub fn copies(&self, topic: IndexTopic, version: u64, position: u32) -> u16 {
        self.topics
            .get(&topic)
            .map_or(0, |found| found.copies(version, position))
    }

    /// What is in it.
    pub fn held(&self) -> IndexSize {
        IndexSize {
            topics: self.topics.len() as u64,
            entries: self.entries as u64,
            subscriptions: self.subscriptions as u64,
            bytes: self.bytes + self.topics.values().map(Topic::copies_bytes).sum::<u64>(),
        }
    }

    /// Marks the readers of a topic that have something to be told.
    fn tell(&mut self, topic: IndexTopic) {
        let Some(found) = self.topics.get_mut(&topic) else {
            return;
        };
        for stream in found.take_stirred() {
            if let Some(reader) = self.readers.get_mut(&stream)
                && reader.news.insert(topic)
            {
                self.woken.insert(stream);
            }
        }
    }

    /// Forgets a topic that nobody has to do with.
    fn tidy(&mut self, topic: IndexTopic) {
        if self.topics.get(&topic).is_some_and(Topic::is_empty) {
            self.topics.remove(&topic);
        }
    }
}
