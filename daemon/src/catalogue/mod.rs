//! The catalogue: what the user's other devices share, so that it can be fetched as `DEVICE/NAME`
//! without a ticket.
//!
//! Each device tells the user's other devices of its own shares, in sealed messages that no inbox
//! shows (`notice.rs`). `advertiser.rs` sends what a device does not know yet (`sync_state.rs`),
//! `remote_catalogue.rs` keeps what others told. The digest of a device's catalogue stands in its
//! card: who has another one asks to be told everything again.
//!
//! Invariants: what a device says counts only for its own shares, and only while a relay lists it
//! as one of the user's; a copy is durable before the relay may forget the message; tickets in
//! lists are left out.

mod advertiser;
mod find;
mod notice;
mod remote_catalogue;
mod sync_state;
#[cfg(test)]
mod tests;

pub(crate) use find::{find, list};
pub(crate) use notice::{Entry, Notice};

use crate::groups::GroupService;
use crate::library::{Library, LibraryListener};
use crate::mail::{MailService, NoticeHandler};
use crate::records::ShareRecord;
use crate::tickets::Tickets;
use hither_carrier::Identity;
use hither_content::storage::{Storage, StorageError};
use hither_proto::{DeviceId, ShareId};
use hither_relay_client::{CatalogueDigest, Digest, RelayClient};
use hither_swarm::Share;
use hither_util::sync::{Mutex, RwLock};
use hither_util::tasks::Tasks;
use notice::Own;
use remote_catalogue::RemoteCatalogue;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::{Notify, watch};

/// The shares of this device and the notices of others.
pub(crate) struct Catalogue {
    storage: Arc<dyn Storage>,
    remote: RemoteCatalogue,
    own: RwLock<Arc<Own>>,
    /// Devices that request everything.
    asking: Mutex<BTreeSet<DeviceId>>,
    /// There may be something to tell.
    wake: Notify,
    /// Counts up when another device sent a notice.
    news: watch::Sender<u64>,
}

impl Catalogue {
    pub(crate) fn new(storage: &Arc<dyn Storage>) -> Self {
        Self {
            storage: Arc::clone(storage),
            remote: RemoteCatalogue::new(Arc::clone(storage)),
            own: RwLock::default(),
            asking: Mutex::default(),
            wake: Notify::new(),
            news: watch::Sender::new(0),
        }
    }

    fn own(&self) -> Arc<Own> {
        Arc::clone(&self.own.read())
    }

    /// Returns the digest that stands in this device's card.
    pub(crate) fn digest(&self) -> Digest {
        self.own().digest.clone()
    }

    /// A share of this device was made, changed or ended.
    pub(crate) fn changed(&self) {
        self.wake.notify_one();
    }
}

impl LibraryListener for Catalogue {
    fn published(&self, _: ShareId) {
        self.changed();
    }

    fn ended(&self, _: ShareId) {
        self.changed();
    }
}

/// The parts that the catalogue is made of.
pub(crate) struct CatalogueService {
    pub device: DeviceId,
    pub state: Arc<Catalogue>,
    pub identity: Arc<Identity>,
    pub library: Arc<Library>,
    pub tickets: Arc<Tickets>,
    pub relays: Arc<RelayClient>,
    pub mail: Arc<MailService>,
    pub groups: Arc<GroupService>,
    pub tasks: Tasks,
}

impl CatalogueService {
    /// Follows what other devices share, as far as they have told.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.state.news.subscribe()
    }

    /// Looks at what is shared now.
    fn refresh(&self) {
        let told = |(_, record): &(Arc<Share>, ShareRecord)| !record.no_list;
        let entry = |(share, record): (Arc<Share>, ShareRecord)| self.tickets.entry(&share, record);
        let own = Own::new(
            self.library
                .share_records()
                .into_iter()
                .filter(told)
                .filter_map(entry)
                .collect(),
        );
        *self.state.own.write() = Arc::new(own);
    }
}

impl NoticeHandler for CatalogueService {
    fn take(&self, from: DeviceId, notice: &Notice) -> Result<(), StorageError> {
        if !is_listed(self, from) || self.mail.nearby.is_page(from) {
            tracing::debug!(
                ?from,
                "a device that is not the user's told what it shares; ignored"
            );
            return Ok(());
        }
        if notice.ask {
            self.state.asking.lock().insert(from);
        }
        self.state.remote.apply(from, notice)?;
        tracing::debug!(
            ?from,
            shares = notice.shares.len(),
            ended = notice.ended.len(),
            "a device told what it shares"
        );
        self.state.news.send_modify(|count| *count += 1);
        self.state.wake.notify_one();
        Ok(())
    }
}

/// Returns whether a relay lists a device as one of the user's.
fn is_listed(catalogue: &CatalogueService, device: DeviceId) -> bool {
    catalogue
        .relays
        .all()
        .iter()
        .any(|relay| relay.presence(device).is_some())
}

/// Begins to tell other devices. Before relays are reached: the first card has the digest already.
pub(crate) fn start(catalogue: &Arc<CatalogueService>) {
    catalogue.refresh();
    catalogue
        .tasks
        .spawn_forever(advertiser::run(Arc::clone(catalogue)));
}

impl CatalogueDigest for CatalogueService {
    fn digest(&self) -> Digest {
        self.state.digest()
    }
}
