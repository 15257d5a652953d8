//! The daemon: everything it consists of, how it starts, what it remembers of shares, how it ends.

use crate::belonging;
use crate::catalogue::Catalogue;
use crate::circuits::TurnedAway;
use crate::core::Core;
use crate::disks::Disks;
use crate::failure;
use crate::groups::Groups;
use crate::health::{self, Health};
use crate::hexed::Hex;
use crate::holders::Holders;
use crate::index::Index;
use crate::keep::Keep;
use crate::links::Links;
use crate::losses::{self, Losses};
use crate::mail::Mail;
use crate::records::{LeftOutRecord, Records, ShareRecord};
use crate::relay::Relays;
use crate::rollback::Rollbacks;
use crate::routes::Routes;
use crate::shares::{Share, Shares, Version};
use crate::stamp_clock::StampClock;
use crate::tasks::Tasks;
use crate::terms::Listeners;
use crate::throttle::Throttles;
use crate::transfer::{Transfer, Transfers};
use crate::twins::Twins;
use crate::watch::Watches;
use crate::workers::Workers;
use crate::world::World;
use hither_api::{ApiError, Config, Paths, StorageEngine};
use hither_carrier::{Endpoint, EndpointConfig, Identity};
use hither_content::storage::{Engine, Opened};
use hither_content::{
    ChunkMap, Findings, Handles, HoldingNumber, KeptClock, OwnData, Place, Stamps,
};
use hither_engine::{SessionId, StreamId};
use hither_proto::{DeviceId, DeviceName, Message, RelayAddress, ShareId, Ticket};
use roaring::RoaringBitmap;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// Files of all holdings that are kept open at once.
const OPEN_FILES: usize = 256;
/// Bytes of a share that are read where files look different, before it is announced; the rest is
/// compared later.
const AT_START: u64 = 16 << 20;
/// Addresses put into a ticket: enough for a wired and a wireless network in both families.
const TICKET_HINTS: usize = 4;

/// Everything, shared by all tasks.
pub(crate) struct Daemon {
    pub device: DeviceId,
    pub name: DeviceName,
    pub identity: Identity,
    pub config: Config,
    pub paths: Paths,
    pub core: Core,
    pub endpoint: Arc<Endpoint>,
    pub links: Links,
    pub shares: Shares,
    pub listeners: Listeners,
    pub holders: Holders,
    pub index: Index,
    pub keep: Keep,
    pub watches: Watches,
    pub transfers: Transfers,
    pub records: Records,
    pub stamps: StampClock,
    /// What deadlines are counted on.
    pub time: KeptClock,
    pub relays: Relays,
    pub turned_away: TurnedAway,
    pub mail: Mail,
    pub catalogue: Catalogue,
    pub groups: Groups,
    pub chunk_map: ChunkMap,
    pub handles: Arc<Handles>,
    /// Which disks do not answer.
    pub disks: Disks,
    pub workers: Workers,
    pub throttles: Throttles,
    pub world: World,
    pub tasks: Tasks,
    /// What belongs to Hither itself and is never shared.
    pub own: OwnData,
    /// Held while a path is being published.
    pub publishing: Mutex<()>,
    /// What the user should know; shown by status and doctor.
    pub warnings: Mutex<Vec<String>>,
    /// What of Hither's own data was lost.
    pub losses: Losses,
    /// Shares of which others knew more than this device's data.
    pub rollbacks: Rollbacks,
    /// Another machine with this device's key.
    pub twins: Twins,
    share_records: Mutex<HashMap<ShareId, ShareRecord>>,
    next_id: AtomicU64,
    /// Told when a share gets another end.
    pub ends_changed: Notify,
    /// How the files of the shares stand.
    pub health: Health,
    /// Set when the daemon ends: long looks at the disk stop.
    pub(crate) ending: AtomicBool,
}

impl Daemon {
    /// Opens everything and takes up where the last run ended. Must be called inside the runtime.
    pub(crate) fn start(
        paths: Paths,
        config: Config,
        routes: Routes,
    ) -> Result<Arc<Self>, ApiError> {
        for folder in [&paths.data, &paths.manifests(), &paths.spool()] {
            crate::private::create_folder(folder).map_err(failure::internal)?;
        }
        let (losses, before) = (Losses::open(&paths), losses::Before::look(&paths));
        losses.key(&paths, before).map_err(failure::internal)?;
        let identity = Identity::load_or_create(&paths.key()).map_err(failure::internal)?;
        // It changes the engine of a store that is there, where another one is configured.
        let engine = match config.storage_engine {
            StorageEngine::Redb => Engine::Redb,
            StorageEngine::Sled => Engine::Sled,
        };
        let (storage, opened) = hither_content::storage::open(&paths.store(), engine)
            .map_err(|e| failure::storage(&e))?;
        losses
            .store(&paths, before, opened == Opened::Fresh)
            .map_err(failure::internal)?;
        if let Opened::Rebuilt { moved_to, reason } = opened {
            let words = format!(
                "The metadata store was damaged ({reason}). It is kept in {}; what was shared must be shared again.",
                moved_to.display()
            );
            losses.add(words).map_err(failure::internal)?;
        }
        let device = identity.device_id();
        belonging::bind(storage.as_ref(), &paths, device, before.key())?;
        let chunk_map = ChunkMap::open(Arc::clone(&storage)).map_err(|e| failure::storage(&e))?;
        let endpoint = EndpointConfig {
            port: config.port,
            quic: config.quic,
            tcp: config.tcp,
            ..Default::default()
        };
        let endpoint = Arc::new(Endpoint::bind(&identity, &endpoint).map_err(failure::internal)?);
        endpoint.paths().set_network(&crate::relay::addresses());
        let records = Records::new(Arc::clone(&storage));
        let time = KeptClock::open(Arc::clone(&storage)).map_err(|e| failure::storage(&e))?;
        let stamps = StampClock::load(Arc::clone(&storage)).map_err(|e| failure::storage(&e))?;
        let relays = Relays::load(&records).map_err(|e| failure::storage(&e))?;
        let keep = Keep::load(&records).map_err(|e| failure::storage(&e))?;
        let throttles = Throttles::new(&config.limits);
        let world = World::new(&config.world);
        let own = OwnData::open(&paths.data, &paths.own_folders(), &paths.own_files());
        let daemon = Arc::new(Self {
            device,
            own,
            name: device_name(&config),
            identity,
            core: Core::new(device, routes),
            links: Links::new(Arc::clone(&endpoint)),
            endpoint,
            config,
            paths,
            shares: Shares::default(),
            listeners: Listeners::default(),
            holders: Holders::default(),
            index: Index::default(),
            keep,
            watches: Watches::default(),
            transfers: Transfers::default(),
            records,
            stamps,
            time,
            relays,
            turned_away: TurnedAway::default(),
            mail: Mail::open(&storage).map_err(|e| failure::storage(&e))?,
            catalogue: Catalogue::new(&storage),
            groups: Groups::load(&storage).map_err(|e| failure::storage(&e))?,
            chunk_map,
            handles: Handles::new(OPEN_FILES),
            disks: Disks::default(),
            workers: Workers::start().map_err(failure::internal)?,
            throttles,
            world,
            tasks: Tasks::new(),
            publishing: Mutex::new(()),
            warnings: Mutex::default(),
            losses,
            rollbacks: Rollbacks::default(),
            twins: Twins::new().map_err(failure::internal)?,
            share_records: Mutex::default(),
            next_id: AtomicU64::new(1),
            ends_changed: Notify::new(),
            health: Health::default(),
            ending: AtomicBool::new(false),
        });
        daemon
            .core
            .with(|engine, now| engine.set_prices(crate::costs::prices(&daemon), now));
        daemon.load_shares()?;
        crate::transfer::resume_all(&daemon)?;
        daemon.remove_orphans();
        Ok(daemon)
    }

    pub(crate) fn next_session(&self) -> SessionId {
        SessionId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn next_stream(&self) -> StreamId {
        StreamId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn warn(&self, warning: String) {
        tracing::warn!("{warning}");
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if warnings.len() < 100 && !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }

    // --- where a version's files are ---

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

    // --- shares ---

    /// Shares with a record, that is: made here or fetched whole.
    pub(crate) fn share_records(&self) -> Vec<(Arc<Share>, ShareRecord)> {
        let records = self
            .share_records
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        records
            .iter()
            .filter_map(|(id, record)| Some((self.shares.get(*id)?, record.clone())))
            .collect()
    }

    /// The record of one share.
    pub(crate) fn share_record(&self, share: ShareId) -> Option<ShareRecord> {
        self.share_records
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&share)
            .cloned()
    }

    pub(crate) fn set_share_record(&self, share: ShareId, record: ShareRecord) {
        self.share_records
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(share, record);
        self.ends_changed.notify_one();
    }

    /// What others fetch a share with.
    pub(crate) fn ticket(&self, share: &Share) -> Ticket {
        let hints = if share.owner == self.device {
            self.addresses()
        } else {
            Vec::new()
        };
        Ticket {
            hints,
            ..self.lasting_ticket(share)
        }
    }

    /// The same without this device's addresses of the moment: the user's other devices know them
    /// otherwise.
    pub(crate) fn lasting_ticket(&self, share: &Share) -> Ticket {
        let relays = self.relays_of(share);
        Ticket {
            secret: share.secret.clone(),
            owner: share.owner,
            hints: Vec::new(),
            relays,
            pin: None,
        }
    }

    /// Relays that may know who holds a share while its owner is away: of an own one, which is or
    /// may be uploaded or is told to indexes, those that were joined, that which keeps it
    /// first; of another's, what the ticket said with which it was fetched.
    fn relays_of(&self, share: &Share) -> Vec<RelayAddress> {
        if share.owner != self.device {
            let transfers = self.transfers.all();
            let fetched = transfers
                .iter()
                .find(|t| t.share.id == share.id && !t.ticket.relays.is_empty());
            return fetched
                .map(|transfer| transfer.ticket.relays.clone())
                .unwrap_or_default();
        }
        let records = self
            .share_records
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let never = records
            .get(&share.id)
            .is_some_and(|record| record.no_upload);
        if (never || !self.config.upload.enabled) && !self.config.index_announce {
            return Vec::new();
        }
        self.relays
            .addresses_for_ticket(self.keep.relay_of(share.id))
    }

    /// Addresses at which others may reach this device, best first: those that discovery announces.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let ips = crate::interfaces::reachable_addresses(
            &crate::interfaces::filter(&self.config),
            TICKET_HINTS,
        );
        ips.into_iter()
            .map(|ip| SocketAddr::new(ip, self.endpoint.port()))
            .collect()
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
            self.health.suspect(share);
        }
        let held = RoaringBitmap::from_iter(0..chunks) - health::lost(&findings);
        self.core
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
        crate::private::write_file(&self.stamps_path(share, version), &stamps.encode())
    }

    fn write_names(&self, share: ShareId, version: &Version) -> std::io::Result<()> {
        let (holding, path) = (version.holding(), self.names_path(share, version.number()));
        if !holding.names().is_plain() {
            return crate::private::write_file(&path, &holding.names().encode());
        }
        // The same version may have been written elsewhere before.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// A version is published: it replaces the one before, and everyone who listens hears of it.
    pub(crate) fn announce(&self, share: &Arc<Share>, version: &Arc<Version>, record: ShareRecord) {
        let known = self.shares.get_or_insert(&share.secret, share.owner);
        known.advance(Arc::clone(version));
        self.core
            .routes
            .tell_sessions(share.id, &Message::NewHead(version.head.to_unchecked()));
        self.hold_whole(share.id, version);
        let old = self
            .share_records
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(share.id, record);
        self.forget_version(&known, old);
        self.ends_changed.notify_one();
        self.keep.shared(share.id);
        self.catalogue.changed();
        self.groups.wake();
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
            left_out: LeftOutRecord::default(),
            unportable: LeftOutRecord::default(),
            roots: Vec::new(),
            mounts: Vec::new(),
        };
        self.records
            .put_share(&share.id.to_string(), &record)
            .map_err(|e| failure::storage(&e))?;
        let old = self
            .share_records
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(share.id, record);
        self.forget_version(share, old);
        Ok(())
    }

    /// Ends a share on this device. Its files stay.
    pub(crate) fn unshare(&self, share: &Arc<Share>) -> Result<(), ApiError> {
        self.records
            .remove_share(&share.id.to_string())
            .map_err(|e| failure::storage(&e))?;
        self.keep.release(&self.records, share.id);
        self.watches.stop(share.id);
        self.health.forget(share.id);
        let record = self
            .share_records
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&share.id);
        self.core.with(|engine, _| engine.release(share.id));
        self.shares.remove(share.id);
        self.catalogue.changed();
        self.groups.wake();
        if let Some(record) = record {
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
    /// [`Self::time`].
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
                    self.core.with(|engine, _| engine.release(share.id));
                    share.ended.cancel();
                }
            }
        }
        self.share_records()
            .into_iter()
            .filter_map(|(_, record)| record.expires)
            .min()
    }

    /// Stops everything in order: transfers are saved, links closed, the store flushed.
    pub(crate) async fn stop(&self) {
        self.ending.store(true, Ordering::Relaxed);
        for transfer in self.transfers.all() {
            transfer.control(crate::transfer::Control::Suspend);
        }
        self.tasks.stop().await;
        self.endpoint.close().await;
        self.time.keep();
    }
}

/// What this device calls itself: as configured, else the host's name.
fn device_name(config: &Config) -> DeviceName {
    let host = || {
        rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned()
    };
    DeviceName::clean(&if config.device_name.is_empty() {
        host()
    } else {
        config.device_name.clone()
    })
}
