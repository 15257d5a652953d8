//! Inbox links: pages in browsers of people without a device send to this one (SPEC.md, "Visitors").
//!
//! `gate.rs` decides about letters of visitors, `tell.rs` tells relays of links and of shares that
//! they need not keep any more, `records.rs` is what is durable.
//!
//! Invariants: a letter counts as one of a visitor only with a proof that holds for a link that has
//! not ended; a visitor is no device, and nothing is given to it but a word that something was taken
//! or declined, by the relay of its link; a link is durable before it is shown, and its end before it
//! is told. Bounds: [`MAX_LINKS`] links, [`MAX_KNOWN`] visitors, [`gate::MAX_IN_PERIOD`] letters of
//! one link in [`gate::PERIOD`]; the inbox bounds what is kept of them.

mod gate;
mod records;
mod tell;

use crate::mail::{MailService, VisitorDesk};
use crate::relay_named::{self, Among};
use crate::{failure, json_records};
use gate::Gate;
use hither_api::{ApiError, ErrorCode, InboxLinkInfo, InboxLinkRequest, LINK_BYTES, LINK_SECONDS};
use hither_content::KeptClock;
use hither_content::storage::{Batch, Storage, StorageError};
use hither_proto::limits::{MAX_CIPHERTEXT, MAX_DEVICE_NAME, MAX_VISITORS_SECONDS};
use hither_proto::{DeviceId, DeviceName, InboxLink, ShareId, VisitorSecret, display_name};
use hither_relay_client::RelayClient;
use hither_swarm::Swarm;
use hither_util::hex::Hex;
use hither_util::sync::Mutex;
use hither_util::tasks::Tasks;
use records::{LINKS, LinkRecord, NEXT, NUMBERS, RELEASES, ReleaseRecord, VISITORS, VisitorRecord};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, MutexGuard};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// Most links, those included of whose end a relay has not heard.
const MAX_LINKS: usize = 32;
/// The number of the first link.
const FIRST_LINK: u64 = 1;
/// Most visitors that are remembered; those that were heard longest ago are forgotten first.
const MAX_KNOWN: usize = 4096;

/// The parts that it is made of.
pub(crate) struct VisitorDeps {
    pub device: DeviceId,
    pub name: DeviceName,
    pub storage: Arc<dyn Storage>,
    pub swarm: Arc<Swarm>,
    pub relays: Arc<RelayClient>,
    pub mail: Arc<MailService>,
    pub time: Arc<KeptClock>,
    pub tasks: Tasks,
}

/// The links of this device, and their visitors.
pub(crate) struct VisitorService {
    device: DeviceId,
    name: DeviceName,
    storage: Arc<dyn Storage>,
    swarm: Arc<Swarm>,
    relays: Arc<RelayClient>,
    time: Arc<KeptClock>,
    tasks: Tasks,
    state: Mutex<State>,
    /// Counts up with every change of the links.
    changes: watch::Sender<u64>,
}

struct State {
    links: BTreeMap<u64, Link>,
    next: u64,
    visitors: HashMap<DeviceId, VisitorRecord>,
    releases: BTreeMap<Vec<u8>, ReleaseRecord>,
    gate: Gate,
}

/// A link, and what the relay said of it last.
struct Link {
    record: LinkRecord,
    /// Why the relay has not heard of it.
    reason: Option<String>,
    /// The relay takes no visitors.
    refused: bool,
}

impl VisitorService {
    /// Takes up the links of earlier runs; letters of visitors are taken from now on. Blocks.
    ///
    /// Errors: the metadata store cannot be read.
    pub(crate) fn open(deps: VisitorDeps) -> Result<Arc<Self>, StorageError> {
        let storage = deps.storage.as_ref();
        let service = Arc::new(Self {
            state: Mutex::new(State::load(storage)?),
            device: deps.device,
            name: deps.name,
            swarm: deps.swarm,
            relays: deps.relays,
            time: deps.time,
            tasks: deps.tasks,
            changes: watch::Sender::new(0),
            storage: deps.storage,
        });
        let desk: Arc<dyn VisitorDesk> = Arc::clone(&service) as _;
        deps.mail.handle_visitors(Arc::downgrade(&desk));
        Ok(service)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Counts up with every change of the links.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Makes a link. Waits a moment for the word of its relay.
    ///
    /// Errors: no relay with a page is meant, or it takes no visitors; a bound is passed, or the
    /// link cannot be kept.
    pub(crate) async fn create(
        self: &Arc<Self>,
        request: InboxLinkRequest,
    ) -> Result<InboxLinkInfo, ApiError> {
        let relay = relay_named::named(&self.relays, request.relay.as_deref(), Among::Pages)?;
        let record = self.new_record(&request, relay.url.key, relay.url.at.to_string())?;
        let of = Arc::clone(self);
        let number = tokio::task::spawn_blocking(move || of.keep_new(record))
            .await
            .map_err(failure::internal)??;
        self.changed();
        self.wait_for_word(number).await;
        let refused = self
            .state()
            .links
            .get(&number)
            .is_some_and(|one| one.refused);
        if refused {
            let of = Arc::clone(self);
            let forgotten = tokio::task::spawn_blocking(move || of.forget(&[number])).await;
            forgotten
                .map_err(failure::internal)?
                .map_err(|e| failure::storage(&e))?;
            self.changed();
            let message = format!("The relay {} takes no visitors.", relay.url.at);
            return Err(ApiError::new(ErrorCode::NoRelay, message).with_hint(
                "Its operator decides that, and a relay of an earlier version knows none.",
            ));
        }
        self.info_of(number)
    }

    fn new_record(
        &self,
        request: &InboxLinkRequest,
        relay: DeviceId,
        host: String,
    ) -> Result<LinkRecord, ApiError> {
        let bad = |message: &str| Err(ApiError::new(ErrorCode::BadRequest, message));
        let seconds = request.keep_seconds.unwrap_or(LINK_SECONDS);
        if !(1..=u64::from(MAX_VISITORS_SECONDS)).contains(&seconds) {
            return bad("A link is good for a second to 365 days.");
        }
        let max = request.max.unwrap_or(LINK_BYTES);
        if max > MAX_CIPHERTEXT {
            return bad("That is more than can lie at a relay.");
        }
        let name = match request.name.as_deref() {
            Some(name) if name.len() > MAX_DEVICE_NAME || display_name(name).trim().is_empty() => {
                return bad("A link's name has 1 to 64 bytes.");
            }
            Some(name) => DeviceName::clean(name),
            None => self.name.clone(),
        };
        let mut secret = [0; VisitorSecret::LEN];
        getrandom::fill(&mut secret).map_err(failure::internal)?;
        Ok(LinkRecord {
            relay: relay.to_string(),
            host,
            secret: Hex(secret.to_vec()),
            name: name.as_str().to_owned(),
            until: self.time.seconds().saturating_add(seconds),
            max,
            ended: false,
            told: false,
        })
    }

    /// Makes a link durable; gives its number. Blocks.
    fn keep_new(&self, record: LinkRecord) -> Result<u64, ApiError> {
        let mut state = self.state();
        if state.links.len() >= MAX_LINKS {
            let message = format!("There are {MAX_LINKS} links already.");
            return Err(ApiError::new(ErrorCode::OverQuota, message)
                .with_hint("End some first: hither inbox link end NUMBER"));
        }
        let number = state.next;
        let mut batch = Batch::new();
        put(&mut batch, number, &record);
        batch.put(NUMBERS, NEXT, &(number + 1).to_be_bytes());
        self.storage
            .commit(batch)
            .map_err(|e| failure::storage(&e))?;
        state.next = number + 1;
        state.links.insert(number, Link::new(record));
        Ok(number)
    }

    /// Every link, oldest first.
    pub(crate) fn list(&self) -> Vec<InboxLinkInfo> {
        let now = self.time.seconds();
        let state = self.state();
        let all = state.links.iter();
        all.map(|(number, link)| self.info(&state, *number, link, now))
            .collect()
    }

    fn info_of(&self, number: u64) -> Result<InboxLinkInfo, ApiError> {
        let state = self.state();
        let link = state.links.get(&number).ok_or_else(|| missing(number))?;
        Ok(self.info(&state, number, link, self.time.seconds()))
    }

    fn info(&self, state: &State, number: u64, link: &Link, now: u64) -> InboxLinkInfo {
        let record = &link.record;
        let relay = record.relay.parse().ok();
        let relay = relay.and_then(|key| self.relays.by_key(key));
        let good = record.is_good(now);
        let reason = match (&relay, record.told) {
            (None, _) => Some("this device has left that relay".to_owned()),
            (Some(_), true) => None,
            (Some(relay), false) if relay.connection().is_none() => {
                Some("it is not connected now".to_owned())
            }
            (Some(_), false) => link.reason.clone(),
        };
        let address = relay.and_then(|relay| relay.web()).zip(record.secret());
        let text = address.filter(|_| good).map(|(web, secret)| {
            let (host, name) = (self.device, DeviceName::clean(&record.name));
            let link = InboxLink { host, secret, name };
            format!("{web}/i#{link}")
        });
        InboxLinkInfo {
            id: number,
            link: text.unwrap_or_default(),
            name: record.name.clone(),
            relay: record.host.clone(),
            left_seconds: if good { record.until - now } else { 0 },
            max: record.max,
            visitors: state
                .visitors
                .values()
                .filter(|one| one.link == number)
                .count() as u64,
            told: record.told,
            reason,
        }
    }

    /// Ends a link: letters by it are dropped from now on. Waits a moment for the word of its relay,
    /// which hears of it later where that fails.
    ///
    /// Errors: there is none of that number, or its end cannot be kept.
    pub(crate) async fn end(self: &Arc<Self>, number: u64) -> Result<InboxLinkInfo, ApiError> {
        let of = Arc::clone(self);
        let before = tokio::task::spawn_blocking(move || of.keep_end(number))
            .await
            .map_err(failure::internal)??;
        self.changed();
        self.wait_for_word(number).await;
        // One that the relay has heard of is gone.
        Ok(self.info_of(number).unwrap_or(InboxLinkInfo {
            link: String::new(),
            left_seconds: 0,
            told: true,
            reason: None,
            ..before
        }))
    }

    /// Makes the end of a link durable. Blocks.
    fn keep_end(&self, number: u64) -> Result<InboxLinkInfo, ApiError> {
        let mut state = self.state();
        let link = state
            .links
            .get_mut(&number)
            .ok_or_else(|| missing(number))?;
        let record = LinkRecord {
            ended: true,
            told: false,
            ..link.record.clone()
        };
        let mut batch = Batch::new();
        put(&mut batch, number, &record);
        self.storage
            .commit(batch)
            .map_err(|e| failure::storage(&e))?;
        *link = Link::new(record);
        drop(state);
        self.info_of(number)
    }

    /// Waits until the relay of a link has heard of it, or it is known why not.
    async fn wait_for_word(&self, number: u64) {
        let mut changes = self.changes();
        let deadline = Instant::now() + relay_named::ANSWER;
        loop {
            changes.mark_unchanged();
            let waits = self.state().links.get(&number).is_some_and(|link| {
                let key = link.record.relay.parse().ok();
                let relay = key.and_then(|key| self.relays.by_key(key));
                let connected = relay.is_some_and(|relay| relay.connection().is_some());
                connected && !link.record.told && link.reason.is_none()
            });
            if !waits || !matches!(timeout_at(deadline, changes.changed()).await, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// Forgets links. Blocks.
    fn forget(&self, numbers: &[u64]) -> Result<(), StorageError> {
        let mut state = self.state();
        let mut batch = Batch::new();
        for number in numbers {
            batch.remove(LINKS, &number.to_be_bytes());
        }
        self.storage.commit(batch)?;
        for number in numbers {
            state.links.remove(number);
        }
        Ok(())
    }

    /// The link that a user means by its number or its name.
    ///
    /// Errors: none is meant, or several may be.
    pub(crate) fn find(&self, wanted: &str) -> Result<(u64, String), ApiError> {
        let (now, state) = (self.time.seconds(), self.state());
        let all = state.links.iter();
        let good = all.filter(|(_, link)| link.record.is_good(now));
        let named = good.filter(|(number, link)| {
            number.to_string() == wanted || link.record.name.to_lowercase() == wanted.to_lowercase()
        });
        let found: Vec<_> = named
            .map(|(number, link)| (*number, link.record.name.clone()))
            .collect();
        let see = "See them with: hither inbox link list";
        match found.as_slice() {
            [one] => Ok(one.clone()),
            [] => {
                let message = format!("There is no link {}.", display_name(wanted));
                Err(ApiError::new(ErrorCode::NotFound, message).with_hint(see))
            }
            _ => {
                let message = format!("Several links are called {}.", display_name(wanted));
                Err(ApiError::new(ErrorCode::BadRequest, message)
                    .with_hint("Name one by its number: hither inbox link list"))
            }
        }
    }

    /// The name of a link that is there.
    pub(crate) fn name_of(&self, number: u64) -> Option<String> {
        let state = self.state();
        state
            .links
            .get(&number)
            .map(|link| link.record.name.clone())
    }
}

impl Link {
    const fn new(record: LinkRecord) -> Self {
        Self {
            record,
            reason: None,
            refused: false,
        }
    }
}

impl State {
    fn load(storage: &dyn Storage) -> Result<Self, StorageError> {
        let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_be_bytes);
        let links = json_records::all::<LinkRecord>(storage, LINKS)?;
        let links: BTreeMap<u64, Link> = links
            .into_iter()
            .filter_map(|(key, record)| Some((number(&key)?, Link::new(record))))
            .collect();
        let next = storage
            .get(NUMBERS, NEXT)?
            .and_then(|bytes| number(&bytes))
            .unwrap_or(FIRST_LINK);
        let latest = links.last_key_value().map_or(0, |(number, _)| *number);
        let visitors = json_records::all::<VisitorRecord>(storage, VISITORS)?;
        let visitors = visitors
            .into_iter()
            .filter_map(|(key, record)| Some((DeviceId::from_slice(&key).ok()?, record)));
        let releases = json_records::all::<ReleaseRecord>(storage, RELEASES)?;
        Ok(Self {
            next: next.max(latest + 1),
            links,
            visitors: visitors.collect(),
            releases: releases.into_iter().collect(),
            gate: Gate::default(),
        })
    }
}

fn put(batch: &mut Batch, number: u64, record: &LinkRecord) {
    // Texts and numbers: nothing in it that JSON cannot hold.
    let bytes = serde_json::to_vec(record).unwrap_or_default();
    batch.put(LINKS, &number.to_be_bytes(), &bytes);
}

fn missing(number: u64) -> ApiError {
    ApiError::new(ErrorCode::NotFound, format!("There is no link {number}."))
        .with_hint("See them with: hither inbox link list")
}

/// Starts telling relays.
pub(crate) fn start(service: &Arc<VisitorService>) {
    service.tasks.spawn_forever(tell::run(Arc::clone(service)));
}

impl VisitorService {
    /// A share of a visitor is no longer needed: its relay is told. Durable when this returns. Blocks.
    fn keep_release(
        &self,
        visitor: DeviceId,
        share: ShareId,
        relay: &str,
    ) -> Result<(), StorageError> {
        let key = records::release_key(visitor, share);
        let record = ReleaseRecord {
            relay: relay.to_owned(),
            since: self.time.seconds(),
        };
        json_records::put(self.storage.as_ref(), RELEASES, &key, &record)?;
        self.state().releases.insert(key, record);
        self.changed();
        Ok(())
    }
}
