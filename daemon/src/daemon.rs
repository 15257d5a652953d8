//! The daemon: everything it consists of, how it starts, what it remembers of shares, how it ends.

use crate::catalogue::Catalogue;
use crate::circuits::TurnedAway;
use crate::clock::unix_seconds;
use crate::core::Core;
use crate::failure;
use crate::groups::Groups;
use crate::hexed::Hex;
use crate::holders::Holders;
use crate::index::Index;
use crate::keep::Keep;
use crate::links::Links;
use crate::mail::Mail;
use crate::records::{Records, ShareRecord};
use crate::relay::Relays;
use crate::routes::Routes;
use crate::shares::{Share, Shares, Version};
use crate::tasks::Tasks;
use crate::terms::Listeners;
use crate::throttle::Throttles;
use crate::transfer::{Transfer, Transfers};
use crate::watch::Watches;
use crate::workers::Workers;
use crate::world::World;
use hither_api::{ApiError, Config, Paths};
use hither_carrier::{Endpoint, EndpointConfig, Identity};
use hither_content::storage::{DEFAULT_ENGINE, Opened};
use hither_content::{ChunkMap, Handles, Holding, HoldingNumber, Layout, ManifestFile, Place, Stamps};
use hither_engine::{SessionId, StreamId};
use hither_proto::{
    DeviceId, DeviceName, Message, RelayAddress, ShareId, ShareSecret, SignedHead, Ticket, UncheckedHead,
};
use roaring::RoaringBitmap;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Files of all holdings that are kept open at once.
const OPEN_FILES: usize = 256;
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
    pub relays: Relays,
    pub turned_away: TurnedAway,
    pub mail: Mail,
    pub catalogue: Catalogue,
    pub groups: Groups,
    pub chunk_map: ChunkMap,
    pub handles: Arc<Handles>,
    pub workers: Workers,
    pub throttles: Throttles,
    pub world: World,
    pub tasks: Tasks,
    /// Held while a path is being published.
    pub publishing: Mutex<()>,
    /// What the user should know; shown by status and doctor.
    pub warnings: Mutex<Vec<String>>,
    share_records: Mutex<HashMap<ShareId, ShareRecord>>,
    next_id: AtomicU64,
    /// Set when the daemon ends: long looks at the disk stop.
    ending: AtomicBool,
}

impl Daemon {
    /// Opens everything and takes up where the last run ended. Must be called inside the runtime.
    pub(crate) fn start(paths: Paths, config: Config, routes: Routes) -> Result<Arc<Self>, ApiError> {
        for folder in [&paths.data, &paths.manifests(), &paths.spool()] {
            crate::private::create_folder(folder).map_err(failure::internal)?;
        }
        let identity = Identity::load_or_create(&paths.key()).map_err(failure::internal)?;
        let (storage, opened) = hither_content::storage::open(&paths.store(), DEFAULT_ENGINE)
            .map_err(|e| failure::storage(&e))?;
        let mut warnings = Vec::new();
        if let Opened::Rebuilt { moved_to, reason } = opened {
            warnings.push(format!(
                "The metadata store was damaged ({reason}). It is kept in {}; what was shared must be shared again.",
                moved_to.display()
            ));
        }
        let chunk_map = ChunkMap::open(Arc::clone(&storage)).map_err(|e| failure::storage(&e))?;
        let endpoint =
            EndpointConfig { port: config.port, quic: config.quic, tcp: config.tcp, ..Default::default() };
        let endpoint = Arc::new(Endpoint::bind(&identity, &endpoint).map_err(failure::internal)?);
        let device = identity.device_id();
        let records = Records::new(Arc::clone(&storage));
        let relays = Relays::load(&records).map_err(|e| failure::storage(&e))?;
        let keep = Keep::load(&records).map_err(|e| failure::storage(&e))?;
        let throttles = Throttles::new(&config.limits);
        let world = World::new(&config.world);
        let daemon = Arc::new(Self {
            device,
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
            relays,
            turned_away: TurnedAway::default(),
            mail: Mail::open(&storage).map_err(|e| failure::storage(&e))?,
            catalogue: Catalogue::new(&storage),
            groups: Groups::load(&storage).map_err(|e| failure::storage(&e))?,
            chunk_map,
            handles: Handles::new(OPEN_FILES),
            workers: Workers::start().map_err(failure::internal)?,
            throttles,
            world,
            tasks: Tasks::new(),
            publishing: Mutex::new(()),
            warnings: Mutex::new(warnings),
            share_records: Mutex::default(),
            next_id: AtomicU64::new(1),
            ending: AtomicBool::new(false),
        });
        daemon.core.with(|engine, now| engine.set_prices(crate::costs::prices(&daemon), now));
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
        self.paths.manifests().join(format!("{share}-{version}.stamps"))
    }

    // --- shares ---

    /// Shares with a record, that is: made here or fetched whole.
    pub(crate) fn share_records(&self) -> Vec<(Arc<Share>, ShareRecord)> {
        let records = self.share_records.lock().unwrap_or_else(PoisonError::into_inner);
        records.iter().filter_map(|(id, record)| Some((self.shares.get(*id)?, record.clone()))).collect()
    }

    /// The record of one share.
    pub(crate) fn share_record(&self, share: ShareId) -> Option<ShareRecord> {
        self.share_records.lock().unwrap_or_else(PoisonError::into_inner).get(&share).cloned()
    }

    pub(crate) fn set_share_record(&self, share: ShareId, record: ShareRecord) {
        self.share_records.lock().unwrap_or_else(PoisonError::into_inner).insert(share, record);
    }

    /// What others fetch a share with.
    pub(crate) fn ticket(&self, share: &Share) -> Ticket {
        let hints = if share.owner == self.device { self.addresses() } else { Vec::new() };
        Ticket { hints, ..self.lasting_ticket(share) }
    }

    /// The same without this device's addresses of the moment: the user's other devices know them otherwise.
    pub(crate) fn lasting_ticket(&self, share: &Share) -> Ticket {
        let relays = self.relays_of(share);
        Ticket { secret: share.secret.clone(), owner: share.owner, hints: Vec::new(), relays, pin: None }
    }

    /// Relays that may know who holds a share while its owner is away: of an own one, which is or may be uploaded or is told
    /// to indexes, those that were joined, that which keeps it first; of another's, what the ticket said with which it was fetched.
    fn relays_of(&self, share: &Share) -> Vec<RelayAddress> {
        if share.owner != self.device {
            let transfers = self.transfers.all();
            let fetched = transfers.iter().find(|t| t.share.id == share.id && !t.ticket.relays.is_empty());
            return fetched.map(|transfer| transfer.ticket.relays.clone()).unwrap_or_default();
        }
        let records = self.share_records.lock().unwrap_or_else(PoisonError::into_inner);
        let never = records.get(&share.id).is_some_and(|record| record.no_upload);
        if (never || !self.config.upload.enabled) && !self.config.index_announce {
            return Vec::new();
        }
        self.relays.addresses_for_ticket(self.keep.relay_of(share.id))
    }

    /// Addresses at which others may reach this device, best first.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let mut ips: Vec<IpAddr> = if_addrs::get_if_addrs()
            .unwrap_or_default()
            .into_iter()
            .filter(|interface| !interface.is_loopback() && self.uses(&interface.name))
            .map(|interface| interface.ip())
            // A link-local address means nothing without its interface.
            .filter(|ip| !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local()))
            .collect();
        ips.sort_by_key(|ip| ip.is_ipv6());
        ips.truncate(TICKET_HINTS);
        ips.into_iter().map(|ip| SocketAddr::new(ip, self.endpoint.port())).collect()
    }

    fn uses(&self, interface: &str) -> bool {
        let listed = |list: &[String]| list.iter().any(|name| name == interface);
        (self.config.interfaces.is_empty() || listed(&self.config.interfaces))
            && !listed(&self.config.ignore_interfaces)
    }

    /// Says that all of a version is held, as far as its files are still what they were.
    pub(crate) fn hold_whole(&self, share: ShareId, version: &Version) {
        let chunks = version.head.head().chunks;
        let mut held = RoaringBitmap::from_iter(0..chunks);
        for changed in version.holding().changed_positions(&self.ending) {
            held.remove_range(changed);
        }
        self.core.with(|engine, now| engine.hold(share, version.number(), chunks, held, now));
    }

    /// Looks whether the files of a version are still what they were; returns how many chunks can be given.
    pub(crate) fn recheck(&self, share: &Share, version: &Version) -> u64 {
        let mut changed = RoaringBitmap::new();
        for range in version.holding().changed_positions(&self.ending) {
            changed.insert_range(range);
        }
        self.core.with(|engine, now| {
            engine.withdraw(share.id, &changed, now);
            engine.held(share.id).map_or(0, RoaringBitmap::len)
        })
    }

    /// A version is published: it replaces the one before, and everyone who listens hears of it.
    pub(crate) fn announce(&self, share: &Arc<Share>, version: &Arc<Version>, record: ShareRecord) {
        let known = self.shares.get_or_insert(&share.secret, share.owner);
        known.advance(Arc::clone(version));
        self.core.routes.tell_sessions(share.id, &Message::NewHead(version.head.to_unchecked()));
        self.hold_whole(share.id, version);
        let old = self.share_records.lock().unwrap_or_else(PoisonError::into_inner).insert(share.id, record);
        self.forget_version(&known, old);
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
        for path in [self.manifest_path(share, version), self.stamps_path(share, version)] {
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
        crate::private::write_file(&self.stamps_path(share.id, version.number()), &stamps.encode())
            .map_err(|e| failure::own_files(&e))?;
        let holding = self.chunk_map.add(share.id, version.number(), manifest.chunks());
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
        };
        self.records.put_share(&share.id.to_string(), &record).map_err(|e| failure::storage(&e))?;
        let old = self.share_records.lock().unwrap_or_else(PoisonError::into_inner).insert(share.id, record);
        self.forget_version(share, old);
        Ok(())
    }

    /// Ends a share on this device. Its files stay.
    pub(crate) fn unshare(&self, share: &Arc<Share>) -> Result<(), ApiError> {
        self.records.remove_share(&share.id.to_string()).map_err(|e| failure::storage(&e))?;
        self.keep.release(&self.records, share.id);
        self.watches.stop(share.id);
        let record = self.share_records.lock().unwrap_or_else(PoisonError::into_inner).remove(&share.id);
        self.core.with(|engine, _| engine.release(share.id));
        self.shares.remove(share.id);
        self.catalogue.changed();
        self.groups.wake();
        if let Some(record) = record {
            let chunks = share.current().map(|v| v.manifest());
            let removed =
                self.chunk_map.remove(HoldingNumber(record.holding), chunks.as_ref().map(|m| m.chunks()));
            removed.map_err(|e| failure::storage(&e))?;
        }
        if let Some(version) = share.current() {
            self.remove_version_files(share.id, version.number());
        }
        Ok(())
    }

    /// Ends the shares whose time is over. Returns when the next one ends, Unix seconds.
    pub(crate) fn end_expired(&self) -> Option<u64> {
        let now = unix_seconds();
        for (share, record) in self.share_records() {
            if record.expires.is_some_and(|at| at <= now) {
                tracing::info!(share = ?share.id, "a share ended: its time is over");
                if let Err(error) = self.unshare(&share) {
                    tracing::error!(%error, "an expired share could not be ended");
                    self.core.with(|engine, _| engine.release(share.id));
                }
            }
        }
        self.share_records().into_iter().filter_map(|(_, record)| record.expires).min()
    }

    // --- starting ---

    fn load_shares(&self) -> Result<(), ApiError> {
        for (id, record) in self.records.shares().map_err(|e| failure::storage(&e))? {
            match self.load_share(&record) {
                Ok(share) => {
                    tracing::info!(share = id, "serving again");
                    self.set_share_record(share, record);
                }
                Err(error) => {
                    self.warn(format!(
                        "\"{}\" is not shared any more: {error}. Share it again.",
                        record.name
                    ));
                    if let Err(error) = self.records.remove_share(&id) {
                        tracing::error!(%error, "a broken share could not be forgotten");
                    }
                    if let Err(error) = self.chunk_map.remove(HoldingNumber(record.holding), None) {
                        tracing::error!(%error, "a broken share stays in the chunk map");
                    }
                }
            }
        }
        Ok(())
    }

    fn load_share(&self, record: &ShareRecord) -> Result<ShareId, Box<dyn std::error::Error>> {
        let secret = ShareSecret::from_slice(&record.secret.0)?;
        let owner: DeviceId = record.owner.parse()?;
        let head = SignedHead::open(&UncheckedHead::decode(&record.head.0)?, secret.share_id(), owner)?;
        let number = head.head().version;
        let file = ManifestFile::open(&self.manifest_path(secret.share_id(), number), head.head(), &secret)?;
        let layout = Layout::new(Arc::new(file.decode()?));
        let stamps = Stamps::decode(&std::fs::read(self.stamps_path(secret.share_id(), number))?)?;
        let holding = Holding::new(&self.handles, crate::publish::parts(record), layout, stamps);
        let share = self.shares.get_or_insert(&secret, owner);
        let version = Arc::new(Version::new(head, Arc::new(file), holding));
        share.advance(Arc::clone(&version));
        self.hold_whole(share.id, &version);
        Ok(share.id)
    }

    /// Removes manifests and spooled files that nothing refers to: a crash may have left them.
    fn remove_orphans(&self) {
        let mut wanted: Vec<String> = Vec::new();
        for (share, _) in self.share_records() {
            wanted.extend(share.current().map(|v| format!("{}-{}", share.id, v.number())));
        }
        let transfers: Vec<_> = self.transfers.all().iter().map(|t| t.record()).collect();
        let unfinished = |share: &str| {
            transfers.iter().any(|t| t.share == share && t.ended.is_none_or(|_| t.head.is_some()))
        };
        for name in names_in(&self.paths.manifests()) {
            let version = name.strip_suffix(".stamps").unwrap_or(&name);
            let share = version.split('-').next().unwrap_or_default();
            if !wanted.iter().any(|w| w == version) && !unfinished(share) {
                let _ = std::fs::remove_file(self.paths.manifests().join(&name));
            }
        }
        for name in names_in(&self.paths.spool()) {
            if !transfers.iter().any(|t| t.id == name && t.spooled) {
                let _ = std::fs::remove_dir_all(self.paths.spool().join(&name));
            }
        }
    }

    /// Stops everything in order: transfers are saved, links closed, the store flushed.
    pub(crate) async fn stop(&self) {
        self.ending.store(true, Ordering::Relaxed);
        for transfer in self.transfers.all() {
            transfer.control(crate::transfer::Control::Suspend);
        }
        self.tasks.stop().await;
        self.endpoint.close().await;
    }
}

fn names_in(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// What this device calls itself: as configured, else the host's name.
fn device_name(config: &Config) -> DeviceName {
    let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    DeviceName::clean(&if config.device_name.is_empty() { host() } else { config.device_name.clone() })
}
