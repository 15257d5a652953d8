//! Folders that this device exposes to others, and what this one wants of exposed folders elsewhere.
//!
//! `exposures.rs` is what the user of this device exposes; `asked.rs` takes what others ask, `job.rs`
//! shares and uploads for them; `asking.rs` is the asker's side; `records.rs` is how all that is
//! kept. Paths of others meet the file system in `hither_content::Beneath` only.
//!
//! Invariants: nothing is exposed that the user did not expose, to the device or group that the user
//! named; who asks for something else hears the same as for what is not there; a request is durable
//! before it is acknowledged and answered once; an exposure that ends takes with it what was shared
//! out of it; every table is bounded; whatever is asked stands in the audit log with its outcome.

mod asked;
mod asking;
mod exposures;
mod job;
mod records;

use crate::audit::AuditLog;
use crate::groups::Groups;
use crate::mail::{self, Body, BodyHandler, Content, MailService, Outcome};
use crate::nearby::NearbyService;
use crate::publish::Publisher;
use asked::{Rate, Running};
use asking::Page;
pub(crate) use asking::Watching;
use hither_api::ApiError;
use hither_content::storage::{Storage, StorageError};
use hither_content::{KeptClock, OwnData};
use hither_proto::{AskId, DeviceId, DriveLetter, MessageId};
use hither_util::clock::unix_millis;
use hither_util::sync::Mutex;
use hither_util::tasks::Tasks;
use records::{ExposureRecord, JobRecord, SentRecord};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, MutexGuard, Weak};
use tokio::sync::{Semaphore, oneshot, watch};

/// The kind of letters about exposed folders.
const KIND: &str = "drive";
/// Most exposed folders.
const MAX_EXPOSURES: usize = 256;
/// Most requests of this device that are kept.
const MAX_SENT: usize = 500;
/// Most uploads that others ask for and that are kept, those that ended included.
const MAX_JOBS: usize = 500;
/// Uploads that are done for others at the same time.
const AT_ONCE: usize = 4;

/// The parts that it is made of.
pub(crate) struct ExposedDeps {
    pub device: DeviceId,
    pub storage: Arc<dyn Storage>,
    pub mail: Arc<MailService>,
    pub nearby: Arc<NearbyService>,
    pub groups: Arc<Groups>,
    pub publisher: Arc<Publisher>,
    pub own: Arc<OwnData>,
    pub audit: Arc<AuditLog>,
    pub time: Arc<KeptClock>,
    pub tasks: Tasks,
}

/// The folders that this device exposes, and its requests to others that do.
pub(crate) struct ExposedService {
    device: DeviceId,
    storage: Arc<dyn Storage>,
    mail: Arc<MailService>,
    nearby: Arc<NearbyService>,
    groups: Arc<Groups>,
    publisher: Arc<Publisher>,
    own: Arc<OwnData>,
    audit: Arc<AuditLog>,
    time: Arc<KeptClock>,
    pub(crate) tasks: Tasks,
    /// This service itself, for tasks that letters begin.
    this: Weak<Self>,
    state: Mutex<State>,
    turns: Semaphore,
    /// Counts up whenever a request of this device, or what is exposed, has changed.
    changes: watch::Sender<u64>,
}

/// Names a request of another device.
type Key = (DeviceId, AskId);

/// Everything that is kept, as it is in the store, and what is going on.
#[derive(Default)]
struct State {
    exposures: BTreeMap<String, ExposureRecord>,
    jobs: BTreeMap<Key, JobRecord>,
    sent: BTreeMap<AskId, SentRecord>,
    running: HashMap<Key, Running>,
    rates: HashMap<DeviceId, Rate>,
    /// Lists that this device waits for.
    pages: HashMap<AskId, (DeviceId, oneshot::Sender<Page>)>,
    /// How many look at a request of this device as it goes on.
    watched: HashMap<AskId, usize>,
}

impl ExposedService {
    /// Takes up what earlier runs kept. Blocks.
    ///
    /// Errors: the metadata store cannot be read.
    pub(crate) fn open(deps: ExposedDeps) -> Result<Arc<Self>, StorageError> {
        let state = records::load(deps.storage.as_ref())?;
        let service = Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            device: deps.device,
            storage: deps.storage,
            mail: deps.mail,
            nearby: deps.nearby,
            groups: deps.groups,
            publisher: deps.publisher,
            own: deps.own,
            audit: deps.audit,
            time: deps.time,
            tasks: deps.tasks,
            state: Mutex::new(state),
            turns: Semaphore::new(AT_ONCE),
            changes: watch::Sender::new(0),
        });
        let handler: Arc<dyn BodyHandler> = Arc::clone(&service) as _;
        service.mail.handle_bodies(KIND, Arc::downgrade(&handler));
        Ok(service)
    }

    fn this(&self) -> Option<Arc<Self>> {
        self.this.upgrade()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Counts up whenever a request of this device, or what is exposed, has changed.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn name_of(&self, device: DeviceId) -> String {
        self.nearby.relays.name_of(device)
    }

    fn audit(&self, from: DeviceId, what: &str, outcome: &str) {
        self.audit.note(from, &self.name_of(from), what, outcome);
    }

    /// Sends a letter; it is durable when this returns. `until`: it is of no use later, seconds of
    /// the clock of deadlines. Blocks.
    fn post(&self, to: DeviceId, letter: &DriveLetter, until: u64) -> Result<(), ApiError> {
        let body = Body {
            kind: KIND.into(),
            made_ms: unix_millis(),
            payload: letter.encode(),
            visitor: None,
            after: None,
        };
        // An upload goes by its own id, so that what becomes of its letter is known to be its.
        let id = match letter {
            DriveLetter::Upload(upload) => MessageId::new(*upload.id.as_bytes()),
            _ => mail::message_id()?,
        };
        mail::post(&self.mail, to, id, &body, Some(until)).map(drop)
    }
}

impl BodyHandler for ExposedService {
    fn sent(&self, to: DeviceId, id: MessageId, outcome: &Outcome) {
        self.letter_sent(to, AskId::new(*id.as_bytes()), outcome);
    }

    fn take(
        &self,
        from: DeviceId,
        _: MessageId,
        body: &Body,
    ) -> Result<Option<Content>, StorageError> {
        match DriveLetter::decode(&body.payload) {
            Ok(Some(DriveLetter::List(list))) => self.list_asked(from, list),
            Ok(Some(DriveLetter::Upload(upload))) => self.upload_asked(from, &upload)?,
            Ok(Some(DriveLetter::Cancel(id))) => self.taken_back(from, id)?,
            Ok(Some(DriveLetter::Entries { id, entries, more })) => {
                self.listed(from, id, Ok((entries, more)));
            }
            Ok(Some(DriveLetter::Progress {
                id,
                phase,
                bytes,
                total,
            })) => self.goes_on(from, id, phase, bytes, total),
            Ok(Some(DriveLetter::Uploaded(id, done))) => return self.uploaded(from, id, &done),
            Ok(Some(DriveLetter::Refused(id, why))) => {
                self.listed(from, id, Err(why));
                self.refused(from, id, why)?;
            }
            Ok(None) => tracing::info!(?from, "a letter of a later version is ignored"),
            Err(error) => tracing::warn!(?from, %error, "a letter about folders is dropped"),
        }
        Ok(None)
    }
}

/// Goes on with what others asked for before, and ends what is late.
pub(crate) fn start(service: &Arc<ExposedService>) {
    asked::start(service);
    asking::start(service);
}
