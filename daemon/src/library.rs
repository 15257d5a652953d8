//! The shares that this device has made or fetched whole: their records, versions and files.
//!
//! Invariants: what is announced was durable before; a share's record is in memory exactly while it
//! is in the metadata store; what publishes or renumbers a version holds [`Library::publishing`].

use crate::disks::Disks;
use crate::failure;
use crate::health::{self, Health};
use crate::losses::Losses;
use crate::piped;
use crate::records::{LeftOutRecord, Records, ShareRecord};
use crate::rollback::Rollbacks;
use crate::transfer::Transfer;
use hither_api::{ApiError, Paths};
use hither_carrier::Identity;
use hither_content::{
    ChunkMap, Findings, Handles, HoldingNumber, KeptClock, OwnData, Place, Stamps,
};
use hither_proto::{DeviceId, Message, ShareId};
use hither_swarm::{Share, Swarm, Version, Warnings};
use hither_util::hex::Hex;
use hither_util::sync::Mutex;
use roaring::RoaringBitmap;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Notify, watch};

/// Bytes of a share that are read where files look different, before it is announced; the rest is
/// compared later.
const AT_START: u64 = 16 << 20;

/// Learns of changes of the library. Calls are made on the thread that made the change, which may
/// hold [`Library::publishing`]: a listener notes it and returns.
pub(crate) trait LibraryListener: Send + Sync {
    /// A share is new, has a new version, or is shared otherwise than before.
    fn published(&self, share: ShareId);

    /// A share has ended here.
    fn ended(&self, share: ShareId);
}

/// Tells that the list of shares is another one, to whoever watches.
pub(crate) struct LibraryNews(watch::Sender<u64>);

impl LibraryNews {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    /// Follows it.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

impl LibraryListener for LibraryNews {
    fn published(&self, _: ShareId) {
        self.0.send_modify(|number| *number += 1);
    }

    fn ended(&self, _: ShareId) {
        self.0.send_modify(|number| *number += 1);
    }
}

/// The parts that a library is made of.
pub(crate) struct LibraryDeps {
    pub device: DeviceId,
    pub identity: Arc<Identity>,
    pub swarm: Arc<Swarm>,
    pub records: Records,
    pub chunk_map: ChunkMap,
    pub handles: Arc<Handles>,
    /// The data that belongs to Hither itself and is never shared.
    pub own: Arc<OwnData>,
    pub warnings: Warnings,
    pub losses: Arc<Losses>,
    /// Counts deadlines.
    pub time: Arc<KeptClock>,
    pub paths: Paths,
    pub listeners: Vec<Arc<dyn LibraryListener>>,
}

/// The shares of this device.
pub(crate) struct Library {
    pub device: DeviceId,
    pub identity: Arc<Identity>,
    pub swarm: Arc<Swarm>,
    pub records: Records,
    pub chunk_map: ChunkMap,
    pub handles: Arc<Handles>,
    pub own: Arc<OwnData>,
    pub warnings: Warnings,
    pub losses: Arc<Losses>,
    pub time: Arc<KeptClock>,
    pub paths: Paths,
    listeners: Vec<Arc<dyn LibraryListener>>,
    /// Which disks do not answer.
    pub disks: Disks,
    /// Held while a path is being published.
    pub publishing: Mutex<()>,
    /// Shares of which others knew more than this device's data.
    pub rollbacks: Rollbacks,
    /// How the files of the shares stand.
    pub health: Health,
    /// Is notified when a share gets another end.
    pub ends_changed: Notify,
    /// Is set when the daemon ends: long looks at the disk stop.
    pub ending: AtomicBool,
    share_records: Mutex<HashMap<ShareId, ShareRecord>>,
}

impl Library {
    /// An empty library; [`load_shares`](Self::load_shares) takes up what earlier runs left.
    pub(crate) fn new(deps: LibraryDeps) -> Arc<Self> {
        Arc::new(Self {
            device: deps.device,
            identity: deps.identity,
            swarm: deps.swarm,
            records: deps.records,
            chunk_map: deps.chunk_map,
            handles: deps.handles,
            own: deps.own,
            warnings: deps.warnings,
            losses: deps.losses,
            time: deps.time,
            paths: deps.paths,
            listeners: deps.listeners,
            disks: Disks::default(),
            publishing: Mutex::new(()),
            rollbacks: Rollbacks::default(),
            health: Health::default(),
            ends_changed: Notify::new(),
            ending: AtomicBool::new(false),
            share_records: Mutex::default(),
        })
    }

    /// A share is shared otherwise than before, with the version that it has.
    pub(crate) fn shared_anew(&self, share: ShareId) {
        self.tell(|listener| listener.published(share));
    }

    fn tell(&self, what: impl Fn(&dyn LibraryListener)) {
        self.listeners
            .iter()
            .for_each(|listener| what(listener.as_ref()));
    }

    pub(crate) fn manifest_path(&self, share: ShareId, version: u64) -> PathBuf {
        self.paths.manifests().join(format!("{share}-{version}"))
    }

    pub(crate) fn stamps_path(&self, share: ShareId, version: u64) -> PathBuf {
        self.paths
            .manifests()
            .join(format!("{share}-{version}.stamps"))
    }

    /// How files are called here, where that is not how the share calls them.
    pub(crate) fn names_path(&self, share: ShareId, version: u64) -> PathBuf {
        self.paths
            .manifests()
            .join(format!("{share}-{version}.names"))
    }

    /// Shares with a record, that is: made here or fetched whole.
    pub(crate) fn share_records(&self) -> Vec<(Arc<Share>, ShareRecord)> {
        let records = self.share_records.lock();
        records
            .iter()
            .filter_map(|(id, record)| Some((self.swarm.shares().get(*id)?, record.clone())))
            .collect()
    }

    /// The record of one share.
    pub(crate) fn share_record(&self, share: ShareId) -> Option<ShareRecord> {
        self.share_records.lock().get(&share).cloned()
    }

    pub(crate) fn set_share_record(&self, share: ShareId, record: ShareRecord) {
        if let Some(share) = self.swarm.shares().get(share) {
            share.set_group(record.group());
        }
        self.share_records.lock().insert(share, record);
        self.ends_changed.notify_one();
    }

    /// Says that all of a version is held, as far as its files are still what they were.
    pub(crate) fn hold_whole(&self, share: ShareId, version: &Version) {
        let chunks = version.head.head().chunks;
        // A disk that does not answer is not waited for.
        let findings = if self.disks.is_silent(share) {
            Findings {
                more: true,
                ..Findings::default()
            }
        } else {
            version.holding().examine(AT_START, &self.ending)
        };
        if findings != Findings::default() {
            self.swarm.unreadable().mark(share);
        }
        let held = RoaringBitmap::from_iter(0..chunks) - health::lost(&findings);
        self.swarm
            .core()
            .with(|engine, now| engine.hold(share, version.number(), chunks, held, now));
    }

    /// Returns whether the daemon ends.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    pub(crate) fn write_stamps(
        &self,
        share: ShareId,
        version: u64,
        stamps: &Stamps,
    ) -> std::io::Result<()> {
        hither_util::private_fs::write_file(&self.stamps_path(share, version), &stamps.encode())
    }

    fn write_names(&self, share: ShareId, version: &Version) -> std::io::Result<()> {
        let (holding, path) = (version.holding(), self.names_path(share, version.number()));
        if !holding.names().is_plain() {
            return hither_util::private_fs::write_file(&path, &holding.names().encode());
        }
        // The same version may have been written elsewhere before.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// A version is published: it replaces the one before, and every listener is notified.
    pub(crate) fn announce(&self, share: &Arc<Share>, version: &Arc<Version>, record: ShareRecord) {
        let known = self
            .swarm
            .shares()
            .get_or_insert(&share.secret, share.owner);
        // Before the version can be requested: members who were removed get nothing of it.
        known.set_group(record.group());
        known.advance(Arc::clone(version));
        self.swarm
            .core()
            .routes
            .tell_sessions(share.id, &Message::NewHead(version.head.to_unchecked()));
        self.hold_whole(share.id, version);
        let old = self.share_records.lock().insert(share.id, record);
        self.forget_version(&known, old);
        self.ends_changed.notify_one();
        self.tell(|listener| listener.published(share.id));
    }

    /// Removes what was kept of the version before the current one.
    fn forget_version(&self, share: &Share, record: Option<ShareRecord>) {
        let previous = share.forget_previous();
        if let Some(record) = record {
            let manifest = previous.as_ref().map(|v| v.manifest());
            let chunks = manifest.as_ref().map(|m| m.chunks());
            if let Err(error) = self.chunk_map.remove(HoldingNumber(record.holding), chunks) {
                tracing::warn!(%error, "an old version stays in the chunk map");
            }
        }
        if let Some(previous) = previous {
            self.remove_version_files(share.id, previous.number());
        }
    }

    fn remove_version_files(&self, share: ShareId, version: u64) {
        let files = [Self::manifest_path, Self::stamps_path, Self::names_path];
        for path in files.map(|path| path(self, share, version)) {
            if let Err(error) = std::fs::remove_file(&path)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(%error, "an old manifest stays behind");
            }
        }
    }

    /// Remembers a share that was fetched whole, so that it is served from now on.
    pub(crate) fn remember_fetched(
        &self,
        transfer: &Transfer,
        version: &Version,
        place: &Place,
        stamps: &Stamps,
    ) -> Result<(), ApiError> {
        let share = &transfer.share;
        let manifest = version.manifest();
        self.write_stamps(share.id, version.number(), stamps)
            .map_err(|e| failure::own_files(&e))?;
        self.write_names(share.id, version)
            .map_err(|e| failure::own_files(&e))?;
        let holding = self
            .chunk_map
            .add(share.id, version.number(), manifest.chunks());
        let record = ShareRecord {
            secret: Hex(share.secret.expose().to_vec()),
            owner: share.owner.to_string(),
            domain: None,
            head: Hex(version.head.to_unchecked().encode()),
            name: manifest.name().to_string(),
            parent: place.parent.clone(),
            file_name: place.name.to_string_lossy().into_owned(),
            more: Vec::new(),
            holding: holding.map_err(|e| failure::storage(&e))?.0,
            files: manifest.files(),
            no_upload: false,
            no_list: false,
            expires: None,
            watch: None,
            group: None,
            exposed: None,
            left_out: LeftOutRecord::default(),
            unportable: LeftOutRecord::default(),
            roots: Vec::new(),
            mounts: Vec::new(),
            once: false,
            offered: Vec::new(),
            piped: false,
            exclude: Vec::new(),
        };
        self.records
            .put_share(&share.id.to_string(), &record)
            .map_err(|e| failure::storage(&e))?;
        let old = self.share_records.lock().insert(share.id, record);
        self.forget_version(share, old);
        Ok(())
    }

    /// Ends a share on this device. Its files stay.
    pub(crate) fn unshare(&self, share: &Arc<Share>) -> Result<(), ApiError> {
        self.records
            .remove_share(&share.id.to_string())
            .map_err(|e| failure::storage(&e))?;
        self.health.forget(share.id);
        let record = self.share_records.lock().remove(&share.id);
        self.swarm.core().with(|engine, _| engine.release(share.id));
        self.swarm.shares().remove(share.id);
        self.swarm.givings().forget(share.id);
        self.tell(|listener| listener.ended(share.id));
        if let Some(record) = record {
            piped::remove(self, &record);
            let chunks = share.current().map(|v| v.manifest());
            let removed = self.chunk_map.remove(
                HoldingNumber(record.holding),
                chunks.as_ref().map(|m| m.chunks()),
            );
            removed.map_err(|e| failure::storage(&e))?;
        }
        if let Some(version) = share.current() {
            self.remove_version_files(share.id, version.number());
        }
        Ok(())
    }

    /// Ends the shares whose time is over. Returns when the next one ends, seconds of
    /// `time`.
    pub(crate) fn end_expired(&self) -> Option<u64> {
        let now = self.time.millis();
        for (share, record) in self.share_records() {
            if record
                .expires
                .is_some_and(|at| at.saturating_mul(1000) <= now)
            {
                tracing::info!(share = ?share.id, "a share ended: its time is over");
                if let Err(error) = self.unshare(&share) {
                    tracing::error!(%error, "an expired share could not be ended");
                    self.swarm.core().with(|engine, _| engine.release(share.id));
                    share.ended.cancel();
                }
            }
        }
        self.share_records()
            .into_iter()
            .filter_map(|(_, record)| record.expires)
            .min()
    }
}
