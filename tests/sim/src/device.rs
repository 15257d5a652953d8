//! One simulated device: its links, its nature, its disk, and what its daemon keeps in memory.

use super::book::Book;
use super::event::At;
use hither_engine::{Carrier, Engine, SessionId};
use hither_proto::{DeviceId, HolderKind, Space};
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, BTreeSet};

/// How a device behaves as a source.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Nature {
    /// Does what it says.
    Honest,
    /// Accepts every request and sends nothing after so many chunks.
    Stalls { after: u64 },
    /// Sends wrong bytes, this part of the time.
    Lies { part: f64 },
    /// Announces everything and has only what `actual` says; tells so when asked, and may withdraw
    /// it.
    Boasts { withdraws: bool },
    /// Announces a version that does not exist.
    Inflates,
    /// Refuses this part of requests and sessions because it is busy.
    Busy { part: f64 },
}

/// The links of a device: bytes per second and one-way latency.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    pub up: u64,
    pub down: u64,
    pub latency: At,
}

/// What survives a crash.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// Version that a transfer began.
    pub begun: Option<u64>,
    /// Versions whose root and manifest are durable.
    pub manifests: BTreeSet<u64>,
    /// Data positions that are durable, by version.
    pub durable: BTreeMap<u64, RoaringBitmap>,
    /// Version that is whole and held.
    pub whole: Option<u64>,
    /// Latest version known by a head.
    pub head: u64,
}

/// Where a transfer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing is fetched.
    Idle,
    Locating,
    /// Getting this space of this version.
    Getting(u64, Space),
    /// Between two spaces.
    Preparing(u64),
    Finishing(u64),
    Done(u64),
}

impl Stage {
    pub const fn version(self) -> Option<u64> {
        match self {
            Self::Idle | Self::Locating => None,
            Self::Getting(v, _) | Self::Preparing(v) | Self::Finishing(v) | Self::Done(v) => {
                Some(v)
            }
        }
    }
}

/// The fetching side of bulk streams to one device over one carrier.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    pub streams: Vec<u64>,
    pub turn: usize,
}

/// A chunk on its way through the uplink.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sending {
    pub stream: u64,
    pub request: u64,
    pub version: u64,
    pub space: Space,
    pub position: u32,
    pub length: u32,
    pub good: bool,
}

/// What is counted for the verdict.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Payload bytes sent to others.
    pub sent: u64,
    /// Payload bytes that arrived.
    pub received: u64,
    /// The same by sender.
    pub received_from: BTreeMap<usize, u64>,
    /// Bytes verified and written for the first time.
    pub useful: u64,
    /// Chunks it has sent as a source.
    pub chunks_sent: u64,
}

/// A device of the world.
#[derive(Debug)]
pub(crate) struct Device {
    pub id: DeviceId,
    pub link: Link,
    /// Where it is.
    pub site: usize,
    pub nature: Nature,
    /// It is a store: others are told of it, it looks for nobody and listens to nobody's holdings.
    pub store: bool,
    /// Really there on a device that boasts.
    pub actual: RoaringBitmap,
    /// Whether it wants the share, and the version it insists on.
    pub wants: Option<Option<u64>>,
    pub disk: Disk,
    /// `None` while the device is down.
    pub engine: Option<Engine>,
    /// Counts up with every crash, so that events of an earlier life are void.
    pub life: u32,
    pub stage: Stage,
    /// Versions whose heads were seen in this life.
    pub heads: BTreeSet<u64>,
    /// Version that the engine was told is held, complete or not.
    pub holding: Option<u64>,
    /// Written since the last checkpoint.
    pub written: RoaringBitmap,
    pub syncing: bool,
    pub armed: Option<At>,
    pub dials: BTreeSet<usize>,
    /// The session that this device opened, by device.
    pub peers: BTreeMap<usize, u64>,
    pub sessions: BTreeMap<SessionId, u64>,
    pub lanes: BTreeMap<(usize, Carrier), Lane>,
    /// Bulk streams on which others ask this device.
    pub uploads: BTreeSet<u64>,
    pub last_upload: u64,
    pub sending: Option<Sending>,
    pub down_free: At,
    /// Sends nothing until then.
    pub frozen_until: At,
    pub book: Book,
    pub counters: Counters,
    pub began: At,
    pub done: Option<At>,
    /// Who was found lying in this life.
    pub liars: BTreeSet<usize>,
}

impl Device {
    pub fn new(id: DeviceId, link: Link, nature: Nature) -> Self {
        Self {
            id,
            link,
            site: 0,
            nature,
            store: false,
            actual: RoaringBitmap::new(),
            wants: None,
            disk: Disk::default(),
            engine: None,
            life: 0,
            stage: Stage::Idle,
            heads: BTreeSet::new(),
            holding: None,
            written: RoaringBitmap::new(),
            syncing: false,
            armed: None,
            dials: BTreeSet::new(),
            peers: BTreeMap::new(),
            sessions: BTreeMap::new(),
            lanes: BTreeMap::new(),
            uploads: BTreeSet::new(),
            last_upload: 0,
            sending: None,
            down_free: 0,
            frozen_until: 0,
            book: Book::default(),
            counters: Counters::default(),
            began: 0,
            done: None,
            liars: BTreeSet::new(),
        }
    }

    /// Forgets what only memory knew.
    pub fn forget(&mut self) {
        let keep = Self::new(self.id, self.link, self.nature);
        let old = std::mem::replace(self, keep);
        self.store = old.store;
        self.site = old.site;
        self.actual = old.actual;
        self.wants = old.wants;
        self.disk = old.disk;
        self.life = old.life + 1;
        self.counters = old.counters;
        self.began = old.began;
        self.done = old.done;
    }

    pub const fn kind(&self) -> HolderKind {
        if self.store {
            HolderKind::Store
        } else {
            HolderKind::Device
        }
    }

    pub fn honest(&self) -> bool {
        matches!(self.nature, Nature::Honest | Nature::Busy { .. })
    }

    /// The head shown to others: that of what is held, else the newest seen; 0 when there is none.
    pub fn shown_head(&self) -> u64 {
        self.holding.unwrap_or(self.disk.head)
    }

    pub fn has_durable(&self, version: u64, position: u32) -> bool {
        self.disk
            .durable
            .get(&version)
            .is_some_and(|d| d.contains(position))
    }

    pub fn durable(&self, version: u64) -> RoaringBitmap {
        self.disk.durable.get(&version).cloned().unwrap_or_default()
    }
}
