//! Requests between devices, and this one's answers.
//!
//! `asking.rs` is the asker's side, `asked.rs` the other one; `policy.rs` says what is answered
//! without the user, `answering.rs` makes answers of what `providers/` find; `records.rs` is how
//! all that is kept. The states of both sides are `hither_engine::asks`.
//!
//! Invariants: nothing is answered without a yes of the user, given for this request or before by
//! an allowance; a decision is durable before anything follows from it; an answer is given once;
//! every table is bounded, and what ended first is forgotten first.

mod answering;
mod asked;
mod asking;
mod describe;
mod notify;
mod policy;
mod providers;
mod records;

use crate::audit::AuditLog;
use crate::mail::{self, Body, BodyHandler, Content, MailService, Outcome};
use crate::nearby::NearbyService;
use crate::publish::Publisher;
use crate::settings::Setting;
pub(crate) use answering::Choice;
pub(crate) use describe::{list, show};
use hither_api::{ApiError, AskRules};
use hither_content::storage::{Storage, StorageError};
use hither_content::{KeptClock, OwnData};
use hither_proto::{AskId, AskLetter, DeviceId, MessageId};
use hither_util::clock::unix_millis;
use hither_util::sync::Mutex;
use hither_util::tasks::Tasks;
use notify::Notifier;
use records::{GrantRecord, ReceivedRecord, SentRecord};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// The kind of letters about requests.
const KIND: &str = "ask";
/// Most requests of this device that are kept.
const MAX_SENT: usize = 1_000;
/// Most requests of others that are kept.
const MAX_RECEIVED: usize = 2_000;
/// How often is looked for what ends, at the latest.
const LOOK: Duration = Duration::from_secs(60);

/// The parts that it is made of.
pub(crate) struct AskDeps {
    pub storage: Arc<dyn Storage>,
    pub mail: Arc<MailService>,
    pub nearby: Arc<NearbyService>,
    pub publisher: Arc<Publisher>,
    pub own: Arc<OwnData>,
    pub audit: Arc<AuditLog>,
    pub time: Arc<KeptClock>,
    /// True if requests are shown as desktop notifications.
    pub notify: bool,
    pub rules: Setting<AskRules>,
    /// Holds what is made for an answer, until it is given.
    pub scratch: PathBuf,
    pub tasks: Tasks,
}

/// The requests of this device and of others.
pub(crate) struct AskService {
    storage: Arc<dyn Storage>,
    mail: Arc<MailService>,
    nearby: Arc<NearbyService>,
    publisher: Arc<Publisher>,
    own: Arc<OwnData>,
    audit: Arc<AuditLog>,
    time: Arc<KeptClock>,
    pub(crate) rules: Setting<AskRules>,
    scratch: PathBuf,
    notifier: Notifier,
    pub(crate) tasks: Tasks,
    state: Mutex<State>,
    /// Counts up whenever a request or an allowance has changed.
    changes: watch::Sender<u64>,
    /// Something may end sooner than was thought.
    wake: Notify,
}

/// Everything that is kept, as it is in the store.
#[derive(Default)]
struct State {
    sent: BTreeMap<AskId, SentRecord>,
    received: BTreeMap<(DeviceId, AskId), ReceivedRecord>,
    grants: BTreeMap<u64, GrantRecord>,
}

impl AskService {
    /// Takes up the requests of earlier runs. Blocks.
    ///
    /// Errors: the metadata store cannot be read.
    pub(crate) fn open(deps: AskDeps) -> Result<Arc<Self>, StorageError> {
        let state = load(deps.storage.as_ref())?;
        let service = Arc::new(Self {
            storage: deps.storage,
            notifier: Notifier::new(deps.notify),
            mail: deps.mail,
            nearby: deps.nearby,
            publisher: deps.publisher,
            own: deps.own,
            audit: deps.audit,
            time: deps.time,
            rules: deps.rules,
            scratch: deps.scratch,
            tasks: deps.tasks,
            state: Mutex::new(state),
            changes: watch::Sender::new(0),
            wake: Notify::new(),
        });
        let handler: Arc<dyn BodyHandler> = Arc::clone(&service) as _;
        service.mail.handle_bodies(KIND, Arc::downgrade(&handler));
        Ok(service)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Counts up whenever a request or an allowance has changed.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The name of a device.
    fn name_of(&self, device: DeviceId) -> String {
        self.nearby.relays.name_of(device)
    }

    /// Sends a letter about a request; it is durable when this returns. Blocks.
    fn post(&self, to: DeviceId, letter: &AskLetter, until: u64) -> Result<(), ApiError> {
        let body = Body {
            kind: KIND.into(),
            made_ms: unix_millis(),
            payload: letter.encode(),
            visitor: None,
            after: None,
        };
        // A request goes by its own id, so that what becomes of its letter is known to be its.
        let id = match letter {
            AskLetter::Ask(ask) => MessageId::new(*ask.id.as_bytes()),
            _ => mail::message_id()?,
        };
        mail::post(&self.mail, to, id, &body, Some(until)).map(drop)
    }
}

fn load(storage: &dyn Storage) -> Result<State, StorageError> {
    let mut state = State::default();
    for (key, record) in records::all::<SentRecord>(storage, records::SENT)? {
        if let Ok(id) = AskId::from_slice(&key) {
            state.sent.insert(id, record);
        }
    }
    for (key, record) in records::all::<ReceivedRecord>(storage, records::RECEIVED)? {
        let Some((from, id)) = key.split_at_checked(32) else {
            continue;
        };
        if let (Ok(from), Ok(id)) = (DeviceId::from_slice(from), AskId::from_slice(id)) {
            state.received.insert((from, id), record);
        }
    }
    for (key, record) in records::all::<GrantRecord>(storage, records::GRANTS)? {
        if let Ok(number) = key.try_into().map(u64::from_be_bytes) {
            state.grants.insert(number, record);
        }
    }
    Ok(state)
}

impl BodyHandler for AskService {
    fn sent(&self, to: DeviceId, id: MessageId, outcome: &Outcome) {
        self.letter_sent(to, AskId::new(*id.as_bytes()), outcome);
    }

    fn take(
        &self,
        from: DeviceId,
        letter: MessageId,
        body: &Body,
    ) -> Result<Option<Content>, StorageError> {
        match AskLetter::decode(&body.payload) {
            Ok(Some(AskLetter::Ask(ask))) => self.asked(from, &ask).map(|()| None),
            Ok(Some(AskLetter::Cancel(id))) => self.taken_back(from, id).map(|()| None),
            Ok(Some(AskLetter::Seen(id))) => self.seen_there(from, id).map(|()| None),
            Ok(Some(AskLetter::Answer(id, answer))) => self.answered(from, id, letter, answer),
            Ok(None) => {
                tracing::info!(?from, "a request of a later version is ignored");
                Ok(None)
            }
            Err(error) => {
                tracing::warn!(?from, %error, "a letter about a request is dropped");
                Ok(None)
            }
        }
    }
}

/// Goes on with what was begun before, and ends what nobody answers.
pub(crate) fn start(service: &Arc<AskService>) {
    service.take_up();
    let of = Arc::clone(service);
    service.tasks.spawn_forever(async move {
        loop {
            let looking = Arc::clone(&of);
            let looked = tokio::task::spawn_blocking(move || looking.end_late()).await;
            let next = looked.ok().flatten().unwrap_or(LOOK).min(LOOK);
            tokio::select! {
                () = tokio::time::sleep(next) => {}
                () = of.wake.notified() => {}
            }
        }
    });
    notify::start(service);
}
