//! Tells the user's other devices what this one shares, and asks them when what they told does not
//! fit their cards.

use super::notice::Notice;
use super::sync_state::{self, MAX_AWAY, SyncState};
use crate::catalogue::CatalogueService;
use crate::mail::Way;
use crate::{failure, mail};
use hither_api::ApiError;
use hither_carrier::seal::{self, SealPurpose};
use hither_content::storage::{Batch, StorageError, Table};
use hither_proto::{DeviceId, MessageId, stamp};
use hither_relay_client::{CardRecord, Digest};
use hither_swarm::Relation;
use hither_util::backoff::Backoff;
use hither_util::clock::unix_millis;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The notices sent to other devices, by device.
const TOLD: Table = Table::new("catalogue_told");
/// Longest message, bytes before it is sealed; shorter where the relay takes less.
const ROOM: usize = 128 * 1024;
/// Length of a message besides its shares, sealed, bytes at most.
const FRAME: usize = 1024;
/// How long what a device told may differ from its card before it is asked: messages follow cards.
const GRACE: Duration = Duration::from_secs(5);
/// Pause after a message that was not taken; doubles with every further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// How often is looked although nothing was heard: where shares are uploaded to changes their
/// tickets.
const HOUSEKEEPING: Duration = Duration::from_secs(60);

/// A device as relays list it.
#[derive(Debug, Default)]
pub(super) struct Listed {
    online: bool,
    /// Of its newest card; absent: it has told none, or it is of a version that knows no
    /// catalogue.
    pub digest: Option<Digest>,
    /// When that card was made.
    card_ms: u64,
    /// It was paired with this one, and is on this network: it is told without a card.
    direct: bool,
}

/// The user's other devices.
pub(super) fn listed(catalogue: &CatalogueService) -> BTreeMap<DeviceId, Listed> {
    let mut all: BTreeMap<DeviceId, Listed> = BTreeMap::new();
    let now = unix_millis();
    for relay in catalogue.relays.all() {
        relay.with_devices(|list| {
            for (device, known) in list
                .iter()
                .filter(|(device, _)| *device != catalogue.device)
            {
                let one = all.entry(device).or_default();
                one.online |= known.online;
                let newer = |card: &&CardRecord| {
                    let order = |stamp| (stamp::is_plausible(stamp, now), stamp);
                    one.card_ms == 0 || order(card.made_ms) > order(one.card_ms)
                };
                if let Some(card) = known.card.as_ref().filter(newer) {
                    (one.card_ms, one.digest) = (card.made_ms, card.catalogue.clone());
                }
            }
        });
    }
    for (device, known) in catalogue.mail.nearby.known().all() {
        if known.relation == Relation::Own {
            let one = all.entry(device).or_default();
            one.direct = catalogue.mail.nearby.is_here(device);
            one.online |= one.direct;
        }
    }
    // A page has no use for it.
    all.retain(|device, _| !catalogue.mail.nearby.is_page(*device));
    all
}

/// How it stands with one device, in this run.
#[derive(Debug)]
struct Recipient {
    /// The time of the last notice to it.
    last: Option<Instant>,
    /// Messages that were not taken, one after the other.
    backoff: Backoff<Instant>,
    /// It sent a request: it is answered even when there is nothing new.
    asked_us: bool,
    /// The card that does not fit its notices, and since when.
    differs: Option<(u64, Instant)>,
    /// The card for which it was queried.
    asked: Option<u64>,
}

impl Default for Recipient {
    fn default() -> Self {
        Self {
            last: None,
            backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
            asked_us: false,
            differs: None,
            asked: None,
        }
    }
}

/// Works until the daemon ends.
pub(super) async fn run(catalogue: Arc<CatalogueService>) {
    let mut changes = catalogue.relays.changes();
    let mut known = catalogue.mail.nearby.known().changes();
    let mut moves = catalogue.mail.nearby.swarm.links().moves();
    let published = catalogue.state.digest();
    let told = blocking(&catalogue, load).await.unwrap_or_default();
    let (recipients, devices) = (BTreeMap::new(), BTreeSet::new());
    let mut advertiser = Advertiser {
        catalogue,
        told,
        recipients,
        devices,
        published,
        next: None,
    };
    loop {
        changes.mark_unchanged();
        advertiser.round().await;
        let until = advertiser
            .next
            .take()
            .unwrap_or_else(|| Instant::now() + HOUSEKEEPING);
        tokio::select! {
            () = advertiser.catalogue.state.wake.notified() => {}
            Ok(()) = changes.changed() => {}
            Ok(()) = known.changed() => {}
            () = paired_came_or_went(&advertiser.catalogue, &mut moves) => {}
            () = tokio::time::sleep_until(until.min(Instant::now() + HOUSEKEEPING)) => {}
        }
    }
}

/// The paired devices that are on this network.
fn paired_here(catalogue: &CatalogueService) -> BTreeSet<DeviceId> {
    let known = catalogue.mail.nearby.known().all().into_iter();
    known
        .filter(|(device, known)| {
            known.relation == Relation::Own && catalogue.mail.nearby.is_here(*device)
        })
        .map(|(device, _)| device)
        .collect()
}

/// Waits until another set of paired devices is on this network; strangers that come and go are
/// nothing to it.
async fn paired_came_or_went(catalogue: &CatalogueService, moves: &mut watch::Receiver<()>) {
    let before = paired_here(catalogue);
    while moves.changed().await.is_ok() {
        if paired_here(catalogue) != before {
            return;
        }
    }
    std::future::pending().await
}

/// Runs what blocks; what fails is tried again by the next round.
async fn blocking<T: Send + 'static>(
    catalogue: &Arc<CatalogueService>,
    work: impl FnOnce(&CatalogueService) -> Result<T, StorageError> + Send + 'static,
) -> Option<T> {
    let of = Arc::clone(catalogue);
    let done = match tokio::task::spawn_blocking(move || work(&of)).await {
        Ok(Ok(done)) => return Some(done),
        Ok(Err(error)) => failure::storage(&error),
        Err(error) => failure::internal(error),
    };
    tracing::error!(error = %done, "the catalogue cannot be kept");
    None
}

fn load(catalogue: &CatalogueService) -> Result<BTreeMap<DeviceId, SyncState>, StorageError> {
    let mut all = BTreeMap::new();
    catalogue.state.storage.scan(TOLD, b"", &mut |key, value| {
        if let (Ok(device), Some(told)) = (DeviceId::from_slice(key), SyncState::decode(value)) {
            all.insert(device, told);
        }
        ControlFlow::Continue(())
    })?;
    Ok(all)
}

struct Advertiser {
    catalogue: Arc<CatalogueService>,
    /// The state sent to each device; absent: nothing that counts.
    told: BTreeMap<DeviceId, SyncState>,
    recipients: BTreeMap<DeviceId, Recipient>,
    /// Everything else that is kept is about one of these.
    devices: BTreeSet<DeviceId>,
    /// The digest that stands in this device's card.
    published: Digest,
    /// The next time to act even if no message arrives.
    next: Option<Instant>,
}

impl Advertiser {
    fn wake_at(&mut self, at: Instant) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    async fn round(&mut self) {
        let of = Arc::clone(&self.catalogue);
        // Tickets ask the system for nothing, but records are many.
        let _ = tokio::task::spawn_blocking(move || of.refresh()).await;
        let listed = listed(&self.catalogue);
        let devices: BTreeSet<_> = listed.keys().copied().collect();
        if self.devices != devices {
            self.forget(devices.clone()).await;
            self.devices = devices;
        }
        let asking = std::mem::take(&mut *self.catalogue.state.asking.lock());
        for device in asking
            .into_iter()
            .filter(|device| listed.contains_key(device))
        {
            self.told.remove(&device);
            self.recipients.entry(device).or_default().asked_us = true;
        }
        let told = listed
            .iter()
            .filter(|(_, one)| one.digest.is_some() || one.direct);
        for (device, one) in told {
            self.tell(*device, one).await;
        }
        // After the messages: who has them finds that the card fits.
        let digest = self.catalogue.state.digest();
        if digest != self.published {
            self.catalogue.relays.publish_cards().await;
            self.published = digest;
        }
        for (device, one) in &listed {
            self.compare(*device, one).await;
        }
    }

    /// Forgets devices that are not the user's any more.
    async fn forget(&mut self, listed: BTreeSet<DeviceId>) {
        self.recipients.retain(|device, _| listed.contains(device));
        let gone: Vec<_> = self
            .told
            .keys()
            .filter(|device| !listed.contains(device))
            .copied()
            .collect();
        self.told.retain(|device, _| listed.contains(device));
        let work = move |catalogue: &CatalogueService| {
            catalogue.state.remote.keep_only(&listed)?;
            let mut batch = Batch::new();
            gone.iter()
                .for_each(|device| batch.remove(TOLD, device.as_bytes()));
            if batch.is_empty() {
                Ok(())
            } else {
                catalogue.state.storage.commit(batch)
            }
        };
        blocking(&self.catalogue, work).await;
    }

    /// Sends a device the news it does not know, unless it got a notice only just now.
    async fn tell(&mut self, to: DeviceId, one: &Listed) {
        let begun = Instant::now();
        loop {
            let told = self.told.get(&to);
            let away = if one.online {
                0
            } else {
                told.map_or(0, |told| told.away)
            };
            let recipient = self.recipients.entry(to).or_default();
            let Some(way) = self.catalogue.mail.way_to(to) else {
                return;
            };
            let room = (way.max_message() * 3 / 4).saturating_sub(FRAME).min(ROOM);
            let own = self.catalogue.state.own();
            let Some((notice, mut after)) = sync_state::next(&own, told, recipient.asked_us, room)
            else {
                return;
            };
            // The part that does not fit into one message follows at once, up to a bound.
            let due = recipient
                .last
                .filter(|last| *last < begun)
                .map(|last| last + sync_state::pace(away));
            let due = due
                .into_iter()
                .chain(recipient.backoff.due())
                .max()
                .filter(|due| *due > begun);
            if let Some(due) = due {
                return self.wake_at(due);
            }
            if away >= MAX_AWAY {
                return;
            }
            let Some(delivered) = self.send(&way, to, &notice).await else {
                return;
            };
            after.away = if delivered { 0 } else { away + 1 };
            let recipient = self.recipients.entry(to).or_default();
            (recipient.last, recipient.asked_us) = (Some(Instant::now()), false);
            let record = after.encode();
            self.told.insert(to, after);
            let keep = move |catalogue: &CatalogueService| {
                let mut batch = Batch::new();
                batch.put(TOLD, to.as_bytes(), &record);
                // A lost notice is sent again.
                catalogue.state.storage.commit_lazily(batch)
            };
            blocking(&self.catalogue, keep).await;
        }
    }

    /// Seals and sends; says whether the device was there. `None`: it was not taken, and is tried
    /// later.
    async fn send(&mut self, way: &Way, to: DeviceId, notice: &Notice) -> Option<bool> {
        let sealed = sealed(&self.catalogue, to, notice);
        let mut least = Duration::ZERO;
        let sent = match sealed {
            Ok((id, sealed)) => {
                let sent = self.catalogue.mail.send_now(way, to, id, sealed).await;
                sent.map_err(|not_taken| {
                    least = not_taken.least;
                    not_taken.reason
                })
            }
            Err(error) => Err(error.message),
        };
        let recipient = self.recipients.entry(to).or_default();
        match sent {
            Ok(delivered) => {
                recipient.backoff.succeeded();
                tracing::debug!(
                    ?to,
                    shares = notice.shares.len(),
                    ended = notice.ended.len(),
                    ask = notice.ask,
                    delivered,
                    "the catalogue is told"
                );
                Some(delivered)
            }
            Err(error) => {
                tracing::debug!(?to, error, "the catalogue is told later");
                recipient.backoff.failed_at_least(Instant::now(), least);
                if let Some(until) = recipient.backoff.due() {
                    self.wake_at(until);
                }
                None
            }
        }
    }

    /// Asks a device when what it told is, for a while, not what its card says. Once per card.
    async fn compare(&mut self, from: DeviceId, one: &Listed) {
        let Some(digest) = &one.digest else { return };
        let Some(known) = blocking(&self.catalogue, move |catalogue| {
            catalogue.state.remote.digest(from)
        })
        .await
        else {
            return;
        };
        let (now, recipient) = (Instant::now(), self.recipients.entry(from).or_default());
        if known == *digest {
            recipient.differs = None;
            return;
        }
        if recipient.asked == Some(one.card_ms) {
            return;
        }
        let (_, since) = recipient
            .differs
            .filter(|(card, _)| *card == one.card_ms)
            .unwrap_or((one.card_ms, now));
        recipient.differs = Some((one.card_ms, since));
        let due = recipient
            .backoff
            .due()
            .map_or(since + GRACE, |pause| pause.max(since + GRACE));
        if now < due {
            return self.wake_at(due);
        }
        let Some(way) = self.catalogue.mail.way_to(from) else {
            return;
        };
        let ask = Notice {
            ask: true,
            ..Notice::default()
        };
        if self.send(&way, from, &ask).await.is_some() {
            self.recipients.entry(from).or_default().asked = Some(one.card_ms);
        }
    }
}

fn sealed(
    catalogue: &CatalogueService,
    to: DeviceId,
    notice: &Notice,
) -> Result<(MessageId, Vec<u8>), ApiError> {
    let mut id = [0_u8; MessageId::LEN];
    getrandom::fill(&mut id).map_err(failure::internal)?;
    let id = MessageId::new(id);
    let bytes = mail::encode_notice(notice);
    let sealed = seal::seal(&catalogue.identity, to, SealPurpose::Message, &id, &bytes);
    Ok((id, sealed.map_err(failure::internal)?))
}
