//! The reception of things that other devices send: by rules for devices and groups, into one folder.
//!
//! `rules.rs` decides about a letter before it is kept, `arrive.rs` works until what is to arrive is
//! there (`place.rs` writes small files, `share.rs` has shares fetched), `decide.rs` is what the user
//! says, `notify.rs` asks on the desktop, `hook.rs` tells the user's program.
//!
//! Invariants: what a rule says is durable before it counts; how a message stands is part of it in
//! the inbox, so that it goes on after a crash where it was and arrives once; nothing that is there
//! already is written over; nothing larger than the user set arrives unasked, and of one device no
//! more than [`rules::DAY_FACTOR`] times that in a day.

mod arrive;
mod decide;
mod hook;
mod notify;
mod place;
mod rules;
mod share;

pub(crate) use place::move_new;

use crate::groups::Groups;
use crate::mail::{LetterPolicy, MailService};
use crate::nearby::NearbyService;
use crate::settings::Setting;
use crate::transfer::TransferService;
use crate::visitors::VisitorService;
use hither_api::ReceiveRules;
use hither_content::storage::{Storage, StorageError};
use hither_util::sync::Mutex;
use hither_util::tasks::Tasks;
use rules::State;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{Notify, Semaphore, watch};

/// The parts that it is made of.
pub(crate) struct ReceiveDeps {
    pub storage: Arc<dyn Storage>,
    pub mail: Arc<MailService>,
    pub nearby: Arc<NearbyService>,
    pub groups: Arc<Groups>,
    pub transfers: Arc<TransferService>,
    pub visitors: Arc<VisitorService>,
    pub rules: Setting<ReceiveRules>,
    /// The folder in which things arrive where none is configured.
    pub usual_folder: PathBuf,
    pub tasks: Tasks,
}

/// The service that receives.
pub(crate) struct ReceiveService {
    storage: Arc<dyn Storage>,
    mail: Arc<MailService>,
    nearby: Arc<NearbyService>,
    groups: Arc<Groups>,
    transfers: Arc<TransferService>,
    visitors: Arc<VisitorService>,
    pub(crate) settings: Setting<ReceiveRules>,
    usual_folder: PathBuf,
    tasks: Tasks,
    state: Mutex<State>,
    /// Messages that are being worked on.
    busy: watch::Sender<arrive::Busy>,
    /// How a message stands was changed.
    changed: Notify,
    /// Places for the user's program.
    hooks: Arc<Semaphore>,
}

impl ReceiveService {
    /// Takes up the rules of earlier runs, and decides about letters from now on. Blocks.
    ///
    /// Errors: the metadata store cannot be read.
    pub(crate) fn open(deps: ReceiveDeps) -> Result<Arc<Self>, StorageError> {
        let state = State::load(deps.storage.as_ref())?;
        let service = Arc::new(Self {
            storage: deps.storage,
            mail: deps.mail,
            nearby: deps.nearby,
            groups: deps.groups,
            transfers: deps.transfers,
            visitors: deps.visitors,
            settings: deps.rules,
            usual_folder: deps.usual_folder,
            tasks: deps.tasks,
            state: Mutex::new(state),
            busy: watch::Sender::default(),
            changed: Notify::new(),
            hooks: Arc::new(Semaphore::new(hook::AT_ONCE)),
        });
        let policy: Arc<dyn LetterPolicy> = Arc::clone(&service) as _;
        service.mail.handle_letters(Arc::downgrade(&policy));
        Ok(service)
    }
}

impl ReceiveService {
    /// The folder in which things arrive now.
    pub(crate) fn folder(&self) -> PathBuf {
        let chosen = self.settings.get().folder;
        chosen.unwrap_or_else(|| self.usual_folder.clone())
    }
}

/// Goes on with what was begun before, and takes what comes.
pub(crate) fn start(service: &Arc<ReceiveService>) {
    service
        .tasks
        .spawn_forever(arrive::run(Arc::clone(service)));
}
