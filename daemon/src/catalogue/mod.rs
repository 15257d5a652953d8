//! The catalogue: what the user's other devices share, so that it can be fetched as `DEVICE/NAME`
//! without a ticket.
//!
//! Each device tells the user's other devices of its own shares, in sealed messages that no inbox
//! shows (`notice.rs`). `teller.rs` sends what a device does not know yet (`told.rs`), `copies.rs`
//! keeps what others told. The digest of a device's catalogue stands in its card: who has another
//! one asks to be told everything again.
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

use crate::daemon::Daemon;
use crate::records::ShareRecord;
use hither_content::storage::{Storage, StorageError};
use hither_proto::{DeviceId, GroupId, ShareId};
use hither_relay_client::{CatalogueDigest, Digest};
use hither_swarm::Share;
use hither_util::sync::{Mutex, RwLock};
use notice::Own;
use remote_catalogue::RemoteCatalogue;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::{Notify, watch};

/// What this device shares and what others told.
pub(crate) struct Catalogue {
    storage: Arc<dyn Storage>,
    remote: RemoteCatalogue,
    own: RwLock<Arc<Own>>,
    /// Devices that want to be told everything.
    asking: Mutex<BTreeSet<DeviceId>>,
    /// There may be something to tell.
    wake: Notify,
    /// Counts up when another device told something.
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

    /// What stands in this device's card.
    pub(crate) fn digest(&self) -> Digest {
        self.own().digest.clone()
    }

    /// A share of this device was made, changed or ended.
    pub(crate) fn changed(&self) {
        self.wake.notify_one();
    }

    /// Looks at what is shared now.
    fn refresh(&self, daemon: &Daemon) {
        let told = |(_, record): &(Arc<Share>, ShareRecord)| !record.no_list;
        let entry = |(share, record): (Arc<Share>, ShareRecord)| entry(daemon, &share, record);
        let own = Own::new(
            daemon
                .share_records()
                .into_iter()
                .filter(told)
                .filter_map(entry)
                .collect(),
        );
        *self.own.write() = Arc::new(own);
    }

    /// Takes what another device told; it is durable when this returns. Blocks.
    pub(crate) fn take(
        &self,
        daemon: &Daemon,
        from: DeviceId,
        notice: &Notice,
    ) -> Result<(), StorageError> {
        if !is_listed(daemon, from) {
            tracing::debug!(
                ?from,
                "a device that is not the user's told what it shares; ignored"
            );
            return Ok(());
        }
        if notice.ask {
            self.asking.lock().insert(from);
        }
        self.remote.apply(from, notice)?;
        tracing::debug!(
            ?from,
            shares = notice.shares.len(),
            ended = notice.ended.len(),
            "a device told what it shares"
        );
        self.news.send_modify(|count| *count += 1);
        self.wake.notify_one();
        Ok(())
    }
}

/// Whether a relay lists a device as one of the user's.
fn is_listed(daemon: &Daemon, device: DeviceId) -> bool {
    daemon
        .relays
        .all()
        .iter()
        .any(|relay| relay.presence(device).is_some())
}

/// What is told to the members of a group.
pub(crate) fn shared_with(daemon: &Daemon, group: GroupId) -> Vec<Entry> {
    let group = group.to_string();
    let of = |(_, record): &(Arc<Share>, ShareRecord)| {
        record.group.as_ref().is_some_and(|of| of.group == group)
    };
    let entry = |(share, record): (Arc<Share>, ShareRecord)| entry(daemon, &share, record);
    daemon
        .share_records()
        .into_iter()
        .filter(of)
        .filter_map(entry)
        .map(|(_, entry)| entry)
        .collect()
}

/// What is told of a share; nothing of those of others.
fn entry(daemon: &Daemon, share: &Share, record: ShareRecord) -> Option<(ShareId, Entry)> {
    let version = share.current().filter(|_| share.owner == daemon.device)?;
    let head = version.head.head();
    let entry = Entry {
        ticket: daemon.lasting_ticket(share).to_string(),
        name: record.name,
        version: head.version,
        files: record.files,
        bytes: head.bytes,
        published: head.published_ms / 1000,
        expires: record.expires.map(|at| daemon.time.to_wall(at)),
    };
    Some((share.id, entry))
}

/// Begins to tell other devices. Before relays are reached: the first card has the digest already.
pub(crate) fn start(daemon: &Arc<Daemon>) {
    daemon.catalogue.refresh(daemon);
    daemon
        .tasks
        .spawn_forever(advertiser::run(Arc::clone(daemon)));
}

impl CatalogueDigest for Daemon {
    fn digest(&self) -> Digest {
        self.catalogue.digest()
    }
}
