//! The daemon as a whole: what it is made of, in which order it starts and ends.
//!
//! This is the only place that sees everything. A service is a handle that names what it depends
//! on; [`App::start`] makes them from the bottom up, and [`App::run`] starts their tasks. A handler
//! of the local API gets the one service that it is about.

use crate::api::EventSources;
use crate::asks::{AskDeps, AskService};
use crate::audit::AuditLog;
use crate::catalogue::{Catalogue, CatalogueService};
use crate::code::{self, CodeService};
use crate::dashboard::DashboardService;
use crate::diagnostics::Diagnostics;
use crate::exposed::{ExposedDeps, ExposedService};
use crate::giving::{self, GivingService, KeptGivings};
use crate::groups::{GroupService, Groups};
use crate::index::{Index, IndexService};
use crate::library::{Library, LibraryDeps, LibraryListener, LibraryNews};
use crate::losses::{self, Losses};
use crate::mail::{MailDeps, MailService, NoticeHandler};
use crate::nearby::{MemberDirectory, NearbyDeps, NearbyService};
use crate::own_devices::{self, OwnDevices};
use crate::page::{PageDeps, PageService};
use crate::publish::Publisher;
use crate::receive::{ReceiveDeps, ReceiveService};
use crate::records::Records;
use crate::settings::{Settings, SettingsService};
use crate::store_upload::{StoreUploadService, StoreUploads};
use crate::tickets::Tickets;
use crate::transfer::trash::TrashKeeper;
use crate::transfer::{TransferService, Transfers};
use crate::visitors::{self, VisitorDeps, VisitorService};
use crate::watch::Watches;
use crate::{
    asks, belonging, catalogue, expiry, exposed, failure, health, index, mail, receive, rollback,
    store_upload, transfer, watch,
};
use axum::extract::FromRef;
use hither_api::{ApiError, Config, Paths, StorageEngine};
use hither_carrier::{Discovery, Endpoint, EndpointConfig, Identity, InterfaceFilter};
use hither_content::storage::{Engine, Opened, Storage};
use hither_content::{ChunkMap, Handles, KeptClock, OwnData, StampClock};
use hither_proto::{DeviceId, DeviceName};
use hither_relay_client::{
    CatalogueDigest, Deliveries, GroupNews, RelayClient, RelayClientDeps, StoreFetches, Subscribers,
};
use hither_swarm::{KnownDevices, Membership, Swarm, SwarmDeps, SwarmInputs, Twins, Warnings};
use hither_util::private_fs::create_folder;
use hither_util::tasks::Tasks;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Files of all holdings that are kept open at once.
const OPEN_FILES: usize = 256;

/// Every service of the daemon. A clone is another handle on the same.
#[derive(Clone)]
pub(crate) struct App {
    pub swarm: Arc<Swarm>,
    pub relays: Arc<RelayClient>,
    pub library: Arc<Library>,
    pub publisher: Arc<Publisher>,
    pub transfers: Arc<TransferService>,
    pub giving: Arc<GivingService>,
    pub store_uploads: Arc<StoreUploadService>,
    pub index: Arc<IndexService>,
    pub nearby: Arc<NearbyService>,
    pub mail: Arc<MailService>,
    pub groups: Arc<GroupService>,
    pub catalogue: Arc<CatalogueService>,
    pub asks: Arc<AskService>,
    pub codes: Arc<CodeService>,
    pub exposed: Arc<ExposedService>,
    pub receive: Arc<ReceiveService>,
    pub visitors: Arc<VisitorService>,
    pub own_devices: Arc<OwnDevices>,
    pub pages: Arc<PageService>,
    pub dashboard: Arc<DashboardService>,
    pub diagnostics: Arc<Diagnostics>,
    pub settings: Arc<SettingsService>,
    pub events: Arc<EventSources>,
}

/// Lets a handler of the local API take the one service that it is about.
macro_rules! states {
    ($($field:ident: $service:ty),* $(,)?) => {$(
        impl FromRef<App> for Arc<$service> {
            fn from_ref(app: &App) -> Self {
                Self::clone(&app.$field)
            }
        }
    )*};
}

states! {
    relays: RelayClient,
    publisher: Publisher,
    transfers: TransferService,
    giving: GivingService,
    nearby: NearbyService,
    mail: MailService,
    groups: GroupService,
    catalogue: CatalogueService,
    asks: AskService,
    codes: CodeService,
    exposed: ExposedService,
    receive: ReceiveService,
    visitors: VisitorService,
    own_devices: OwnDevices,
    pages: PageService,
    dashboard: DashboardService,
    diagnostics: Diagnostics,
    settings: SettingsService,
    events: EventSources,
}

/// The parts that are opened before anything is made of them.
struct Foundation {
    paths: Paths,
    config: Arc<Config>,
    device: DeviceId,
    name: DeviceName,
    identity: Arc<Identity>,
    storage: Arc<dyn Storage>,
    losses: Arc<Losses>,
    warnings: Warnings,
    time: Arc<KeptClock>,
    stamps: Arc<StampClock>,
    own: Arc<OwnData>,
    tasks: Tasks,
}

impl Foundation {
    /// Opens the key, the metadata store and the clocks. Blocks.
    fn open(paths: Paths, config: Config) -> Result<Self, ApiError> {
        for folder in [&paths.data, &paths.manifests(), &paths.spool()] {
            create_folder(folder).map_err(failure::internal)?;
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
        let time = KeptClock::open(Arc::clone(&storage)).map_err(|e| failure::storage(&e))?;
        let stamps = StampClock::load(Arc::clone(&storage)).map_err(|e| failure::storage(&e))?;
        let own = OwnData::open(&paths.data, &paths.own_folders(), &paths.own_files());
        Ok(Self {
            device,
            name: device_name(&config),
            identity: Arc::new(identity),
            storage,
            losses: Arc::new(losses),
            warnings: Warnings::default(),
            time: Arc::new(time),
            stamps: Arc::new(stamps),
            own: Arc::new(own),
            tasks: Tasks::new(),
            config: Arc::new(config),
            paths,
        })
    }

    /// Makes what moves chunks.
    fn swarm(&self, groups: &Arc<Groups>) -> Result<(Arc<Swarm>, SwarmInputs), ApiError> {
        let config = &self.config;
        let known = KnownDevices::load(Arc::clone(&self.storage));
        let endpoint = EndpointConfig {
            port: config.port,
            quic: config.quic,
            tcp: config.tcp,
            ..Default::default()
        };
        let endpoint = Endpoint::bind(&self.identity, &endpoint).map_err(failure::internal)?;
        let endpoint = Arc::new(endpoint);
        endpoint.paths().set_network(&hither_swarm::addresses());
        let warnings = self.warnings.clone();
        let twins = Twins::new(
            Arc::clone(&endpoint),
            self.device,
            warnings,
            &self.paths.data,
        );
        Swarm::new(SwarmDeps {
            device: self.device,
            name: self.name.clone(),
            endpoint,
            tcp: config.tcp,
            limits: &config.limits,
            host_rules: &config.world,
            costs: config.costs,
            interfaces: InterfaceFilter {
                include: config.interfaces.clone(),
                exclude: config.ignore_interfaces.clone(),
                loopback_only: false,
            },
            tasks: self.tasks.clone(),
            membership: Arc::clone(groups) as Arc<dyn Membership>,
            twins: twins.map_err(failure::internal)?,
            known: Arc::new(known.map_err(|e| failure::storage(&e))?),
        })
        .map_err(failure::internal)
    }

    fn relays(&self, swarm: &Arc<Swarm>) -> Result<Arc<RelayClient>, ApiError> {
        RelayClient::load(RelayClientDeps {
            device: self.device,
            name: self.name.clone(),
            identity: Arc::clone(&self.identity),
            swarm: Arc::clone(swarm),
            storage: Arc::clone(&self.storage),
            stamps: Arc::clone(&self.stamps),
            tasks: self.tasks.clone(),
        })
        .map_err(|e| failure::storage(&e))
    }

    fn library(
        &self,
        swarm: &Arc<Swarm>,
        records: &Records,
        listeners: Vec<Arc<dyn LibraryListener>>,
    ) -> Result<Arc<Library>, ApiError> {
        let chunk_map = ChunkMap::open(Arc::clone(&self.storage));
        Ok(Library::new(LibraryDeps {
            device: self.device,
            identity: Arc::clone(&self.identity),
            swarm: Arc::clone(swarm),
            records: records.clone(),
            chunk_map: chunk_map.map_err(|e| failure::storage(&e))?,
            handles: Handles::new(OPEN_FILES),
            own: Arc::clone(&self.own),
            warnings: self.warnings.clone(),
            losses: Arc::clone(&self.losses),
            time: Arc::clone(&self.time),
            paths: self.paths.clone(),
            listeners,
        }))
    }

    fn nearby(
        &self,
        swarm: &Arc<Swarm>,
        relays: &Arc<RelayClient>,
        settings: &Settings,
    ) -> Arc<NearbyService> {
        NearbyService::new(NearbyDeps {
            device: self.device,
            name: self.name.clone(),
            swarm: Arc::clone(swarm),
            relays: Arc::clone(relays),
            visible: settings.setting(|config| config.nearby_visible),
            tasks: self.tasks.clone(),
        })
    }

    fn mail(&self, nearby: &Arc<NearbyService>) -> Result<Arc<MailService>, ApiError> {
        MailService::open(MailDeps {
            storage: Arc::clone(&self.storage),
            identity: Arc::clone(&self.identity),
            relays: Arc::clone(&nearby.relays),
            nearby: Arc::clone(nearby),
            own: Arc::clone(&self.own),
            time: Arc::clone(&self.time),
            warnings: self.warnings.clone(),
            tasks: self.tasks.clone(),
        })
        .map_err(|e| failure::storage(&e))
    }
}

impl App {
    /// Opens everything and takes up where the last run ended; what has to run begins with
    /// [`run`](Self::run). Must be called inside the runtime. Blocks.
    ///
    /// Errors: the key, the metadata store or the sockets cannot be opened.
    pub(crate) fn start(paths: Paths, config: Config) -> Result<(Self, SwarmInputs), ApiError> {
        let base = Foundation::open(paths, config)?;
        let storage = |e: hither_content::storage::StorageError| failure::storage(&e);
        // The parts that others know of, without a handle on anything.
        let records = Records::new(Arc::clone(&base.storage));
        let group_states = Arc::new(Groups::load(&base.storage).map_err(storage)?);
        let uploads = Arc::new(StoreUploads::load(&records).map_err(storage)?);
        let catalogue_state = Arc::new(Catalogue::new(&base.storage));
        let watches = Arc::new(Watches::default());
        let news = Arc::new(LibraryNews::new());
        let kept_givings = Arc::new(KeptGivings::new(Arc::clone(&base.storage)));
        let settings = Settings::new(base.config.as_ref().clone());

        let (swarm, inputs) = base.swarm(&group_states)?;
        let relays = base.relays(&swarm)?;
        let library = base.library(
            &swarm,
            &records,
            vec![
                Arc::clone(&uploads) as Arc<dyn LibraryListener>,
                Arc::clone(&catalogue_state) as Arc<dyn LibraryListener>,
                Arc::clone(&group_states) as Arc<dyn LibraryListener>,
                Arc::clone(&watches) as Arc<dyn LibraryListener>,
                Arc::clone(&news) as Arc<dyn LibraryListener>,
                Arc::clone(&kept_givings) as Arc<dyn LibraryListener>,
            ],
        )?;
        let nearby = base.nearby(&swarm, &relays, &settings);
        let mail = base.mail(&nearby)?;
        let tickets = Arc::new(Tickets {
            device: base.device,
            swarm: Arc::clone(&swarm),
            library: Arc::clone(&library),
            relays: Arc::clone(&relays),
            store_uploads: Arc::clone(&uploads),
            uploads: settings.setting(|config| config.upload.enabled),
            announces: base.config.index_announce,
        });
        let index = Arc::new(IndexService {
            device: base.device,
            index: Index::default(),
            swarm: Arc::clone(&swarm),
            relays: Arc::clone(&relays),
            tasks: base.tasks.clone(),
            announces: base.config.index_announce,
        });
        let store_uploads = Arc::new(StoreUploadService {
            device: base.device,
            store_uploads: uploads,
            swarm: Arc::clone(&swarm),
            library: Arc::clone(&library),
            relays: Arc::clone(&relays),
            records: records.clone(),
            rules: settings.setting(|config| config.upload.clone()),
            tasks: base.tasks.clone(),
        });
        let transfers = Arc::new(TransferService {
            device: base.device,
            name: base.name.clone(),
            transfers: Transfers::default(),
            swarm: Arc::clone(&swarm),
            library: Arc::clone(&library),
            relays: Arc::clone(&relays),
            index: Arc::clone(&index),
            trash: TrashKeeper::new(
                records.store().clone(),
                Arc::clone(&base.time),
                settings.setting(|config| config.trash),
            ),
            records,
            paths: base.paths.clone(),
            tasks: base.tasks.clone(),
            mode: settings.setting(|config| config.costs.mode),
            priced: settings.setting(|config| config.costs.configured),
            currency: settings.setting(|config| config.currency.clone()),
            wait: settings.setting(|config| config.wait),
        });
        let giving = Arc::new(GivingService {
            swarm: Arc::clone(&swarm),
            library: Arc::clone(&library),
            relays: Arc::clone(&relays),
            groups: Arc::clone(&group_states),
            tasks: base.tasks.clone(),
            notify: base.config.giving_notify,
            completed: giving::completions(),
            kept: kept_givings,
        });
        let groups = Arc::new(GroupService {
            device: base.device,
            name: base.name.clone(),
            groups: Arc::clone(&group_states),
            identity: Arc::clone(&base.identity),
            relays: Arc::clone(&relays),
            swarm: Arc::clone(&swarm),
            tickets: Arc::clone(&tickets),
            stamps: Arc::clone(&base.stamps),
            warnings: base.warnings.clone(),
        });
        let catalogue = Arc::new(CatalogueService {
            device: base.device,
            state: catalogue_state,
            identity: Arc::clone(&base.identity),
            library: Arc::clone(&library),
            tickets: Arc::clone(&tickets),
            relays: Arc::clone(&relays),
            mail: Arc::clone(&mail),
            groups: Arc::clone(&groups),
            tasks: base.tasks.clone(),
        });
        let own_devices = OwnDevices::new(&nearby, &mail, &base.warnings, &base.tasks);
        let codes = Arc::new(CodeService {
            device: base.device,
            name: base.name.clone(),
            swarm: Arc::clone(&swarm),
            library: Arc::clone(&library),
            tickets: Arc::clone(&tickets),
            relays: Arc::clone(&relays),
            known: Arc::clone(swarm.known()),
            own_devices: Arc::clone(&own_devices),
            tasks: base.tasks.clone(),
            expires: settings.setting(|config| config.code_expires),
            wait: settings.setting(|config| config.wait),
            shown: Default::default(),
            waiting: Default::default(),
        });
        let publisher = Arc::new(Publisher {
            device: base.device,
            identity: Arc::clone(&base.identity),
            swarm: Arc::clone(&swarm),
            library: Arc::clone(&library),
            tickets,
            groups: Arc::clone(&group_states),
            watches,
            store_uploads: Arc::clone(&store_uploads),
            mail: Arc::clone(&mail),
            tasks: base.tasks.clone(),
        });
        let audit = Arc::new(AuditLog::new(base.paths.audit_log()));
        let asks = AskService::open(AskDeps {
            storage: Arc::clone(&base.storage),
            mail: Arc::clone(&mail),
            nearby: Arc::clone(&nearby),
            publisher: Arc::clone(&publisher),
            own: Arc::clone(&base.own),
            audit: Arc::clone(&audit),
            time: Arc::clone(&base.time),
            notify: base.config.asks.notify,
            rules: settings.setting(|config| config.asks.clone()),
            scratch: Paths::answers(&base.device.short()),
            tasks: base.tasks.clone(),
        })
        .map_err(storage)?;
        let exposed = ExposedService::open(ExposedDeps {
            device: base.device,
            storage: Arc::clone(&base.storage),
            mail: Arc::clone(&mail),
            nearby: Arc::clone(&nearby),
            groups: Arc::clone(&group_states),
            publisher: Arc::clone(&publisher),
            own: Arc::clone(&base.own),
            audit,
            time: Arc::clone(&base.time),
            tasks: base.tasks.clone(),
        })
        .map_err(storage)?;
        let visitors = VisitorService::open(VisitorDeps {
            device: base.device,
            name: base.name.clone(),
            storage: Arc::clone(&base.storage),
            swarm: Arc::clone(&swarm),
            relays: Arc::clone(&relays),
            mail: Arc::clone(&mail),
            time: Arc::clone(&base.time),
            tasks: base.tasks.clone(),
        })
        .map_err(storage)?;
        let receive = ReceiveService::open(ReceiveDeps {
            storage: Arc::clone(&base.storage),
            mail: Arc::clone(&mail),
            nearby: Arc::clone(&nearby),
            groups: Arc::clone(&group_states),
            transfers: Arc::clone(&transfers),
            visitors: Arc::clone(&visitors),
            usual_folder: base.paths.received.clone(),
            rules: settings.setting(|config| config.receive.clone()),
            tasks: base.tasks.clone(),
        })
        .map_err(storage)?;
        let pages = PageService::new(PageDeps {
            device: base.device,
            name: base.name.clone(),
            swarm: Arc::clone(&swarm),
            library: Arc::clone(&library),
            mail: Arc::clone(&mail),
            receive: Arc::clone(&receive),
            port: settings.setting(|config| config.page_port),
            tasks: base.tasks.clone(),
        });
        let dashboard = Arc::new(DashboardService::new(&base.tasks));
        let diagnostics = Arc::new(Diagnostics {
            device: base.device,
            name: base.name,
            config: Arc::clone(&base.config),
            paths: base.paths.clone(),
            losses: base.losses,
            warnings: base.warnings,
            swarm: Arc::clone(&swarm),
            relays: Arc::clone(&relays),
            library: Arc::clone(&library),
            publisher: Arc::clone(&publisher),
            transfers: Arc::clone(&transfers),
            giving: Arc::clone(&giving),
            mail: Arc::clone(&mail),
            tasks: base.tasks,
        });
        let settings = Arc::new(SettingsService {
            settings,
            started: base.config,
            paths: base.paths,
            swarm: Arc::clone(&swarm),
            transfers: Arc::clone(&transfers),
            changing: Default::default(),
        });
        let events = Arc::new(EventSources {
            transfers: Arc::clone(&transfers),
            mail: Arc::clone(&mail),
            nearby: Arc::clone(&nearby),
            asks: Arc::clone(&asks),
            giving: Arc::clone(&giving),
            settings: Arc::clone(&settings),
            shares: news,
            groups: Arc::clone(&group_states),
            relays: Arc::clone(&relays),
            pages: Arc::clone(&pages),
            exposed: Arc::clone(&exposed),
            catalogue: Arc::clone(&catalogue),
            visitors: Arc::clone(&visitors),
        });
        let app = Self {
            swarm,
            relays,
            library,
            publisher,
            transfers,
            giving,
            store_uploads,
            index,
            nearby,
            mail,
            groups,
            catalogue,
            asks,
            codes,
            exposed,
            receive,
            visitors,
            own_devices,
            pages,
            dashboard,
            diagnostics,
            settings,
            events,
        };
        app.connect();
        app.library.load_shares()?;
        app.giving.restore().map_err(storage)?;
        transfer::resume_all(&app.transfers)?;
        app.library
            .remove_orphans(&app.transfers.transfers.records());
        Ok((app, inputs))
    }

    /// Registers who takes what comes from below.
    fn connect(&self) {
        let deliveries: Arc<dyn Deliveries> = Arc::clone(&self.mail) as _;
        let groups: Arc<dyn GroupNews> = Arc::clone(&self.groups) as _;
        let catalogue: Arc<dyn CatalogueDigest> = Arc::clone(&self.catalogue) as _;
        let fetches: Arc<dyn StoreFetches> = Arc::clone(&self.giving) as _;
        self.relays.subscribe(Subscribers {
            fetches: Arc::downgrade(&fetches),
            deliveries: Arc::downgrade(&deliveries),
            groups: Arc::downgrade(&groups),
            catalogue: Arc::downgrade(&catalogue),
        });
        let notices: Arc<dyn NoticeHandler> = Arc::clone(&self.catalogue) as _;
        self.mail.handle_notices(Arc::downgrade(&notices));
        let members: Arc<dyn MemberDirectory> = Arc::clone(&self.groups) as _;
        self.nearby.find_members(Arc::downgrade(&members));
    }

    /// Starts every task. Returns discovery, to be shut down with a goodbye.
    pub(crate) fn run(&self, inputs: SwarmInputs) -> Option<Discovery> {
        let (tasks, library) = (&self.diagnostics.tasks, &self.library);
        let wanted = self.diagnostics.config.discovery;
        let discovery = self.swarm.run(inputs, wanted).unwrap_or_else(|error| {
            self.diagnostics.warnings.add(format!(
                "Devices on this network cannot be found: {error}. Tickets still work by address."
            ));
            None
        });
        tasks.spawn_forever(expiry::run(Arc::clone(library)));
        tasks.spawn_forever(health::run(Arc::clone(library)));
        tasks.spawn_forever(rollback::run(Arc::clone(library)));
        tasks.spawn_forever(transfer::trash::run(Arc::clone(&self.transfers)));
        catalogue::start(&self.catalogue);
        code::start(&self.codes);
        self.relays.run();
        store_upload::start(&self.store_uploads);
        index::start(&self.index);
        watch::start(&self.publisher);
        giving::start(&self.giving);
        mail::start(&self.mail);
        asks::start(&self.asks);
        exposed::start(&self.exposed);
        receive::start(&self.receive);
        visitors::start(&self.visitors);
        own_devices::start(&self.own_devices);
        discovery
    }

    /// Stops everything in order: transfers are saved, links closed, the store flushed.
    pub(crate) async fn stop(&self) {
        self.library.ending.store(true, Ordering::Relaxed);
        for transfer in self.transfers.transfers.all() {
            transfer.control(transfer::Control::Suspend);
        }
        self.diagnostics.tasks.stop().await;
        self.swarm.endpoint().close().await;
        self.library.time.keep();
    }
}

/// Returns the name this device calls itself by: as configured, else the host's name.
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
