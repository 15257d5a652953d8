//! Every share this device knows the secret of: those it made, those it fetched, those it is
//! fetching.
//!
//! Invariant: what [`Version::read_sealed`] gives was verified against its id; a share without a
//! version serves nothing.

use crate::blind::Budget;
use hither_content::{Holding, ManifestFile, ReadChunkError};
use hither_proto::limits::MAX_TICKET_RELAYS;
use hither_proto::{
    BlindKey, BlindQuery, DeviceId, GroupId, Manifest, Price, Progress, Refusal, RelayAddress,
    ShareId, ShareSecret, SignedHead, Space, StreamBinding, Terms,
};
use hither_util::sync::{Mutex, RwLock};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Most heads of one share that are remembered.
const MAX_HEADS: usize = 16;
/// Most devices of which is remembered that they were named as holders of one share; others are
/// asked blindly.
const MAX_NAMED: usize = 1024;

/// One version of a share as it is here, complete or not.
pub struct Version {
    /// Its head, signed by the owner.
    pub head: SignedHead,
    /// The manifest as it is kept.
    pub manifest_file: Arc<ManifestFile>,
    holding: RwLock<Arc<Holding>>,
}

/// Why a chunk cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A data chunk's file changed or vanished.
    #[error(transparent)]
    Chunk(#[from] ReadChunkError),
    /// The manifest kept here cannot be read.
    #[error("the manifest kept for the share cannot be read: {0}")]
    Manifest(String),
}

impl Version {
    /// A version with the files that hold it.
    pub fn new(head: SignedHead, manifest_file: Arc<ManifestFile>, holding: Holding) -> Self {
        Self {
            head,
            manifest_file,
            holding: RwLock::new(Arc::new(holding)),
        }
    }

    /// Returns the place of its files.
    pub fn holding(&self) -> Arc<Holding> {
        Arc::clone(&self.holding.read())
    }

    /// The files moved (from the partial place to the final one).
    pub fn set_holding(&self, holding: Holding) {
        *self.holding.write() = Arc::new(holding);
    }

    /// Returns the manifest of its contents.
    pub fn manifest(&self) -> Arc<Manifest> {
        Arc::clone(self.holding().manifest())
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        self.head.head().version
    }

    /// The ciphertext of one position, verified.
    pub fn read_sealed(
        &self,
        space: Space,
        position: u32,
        out: &mut Vec<u8>,
    ) -> Result<(), ServeError> {
        let manifest = |e: hither_content::ManifestFileError| ServeError::Manifest(e.to_string());
        match space {
            Space::Data => Ok(self.holding().read_sealed(position, out)?),
            Space::Manifest => self
                .manifest_file
                .read_sealed(position, out)
                .map_err(manifest),
            Space::Root => {
                out.extend_from_slice(self.manifest_file.sealed_root());
                Ok(()) // Checked against the head when the file was opened or made.
            }
        }
    }
}

/// A share.
pub struct Share {
    /// Its id, which follows from the secret.
    pub id: ShareId,
    /// Opens it.
    pub secret: ShareSecret,
    /// The device that publishes it.
    pub owner: DeviceId,
    /// The key that queries about the share, and answers to them, use without naming it.
    pub blind: BlindKey,
    /// Cancelled when the share ends here: whatever is being sent or given of it stops.
    pub ended: CancellationToken,
    versions: RwLock<Versions>,
    /// Told when a head becomes known.
    heads: watch::Sender<()>,
    /// Devices that somebody who knows the share has named as holders, or that have proven to know
    /// it.
    named: Mutex<HashSet<DeviceId>>,
    /// The group with which this device shares it.
    group: Mutex<Option<GroupId>>,
    /// Relays that the ticket named by which it was fetched.
    ticket_relays: Mutex<Vec<RelayAddress>>,
    /// How much a fetch has of it: what those who give are told.
    progress: watch::Sender<Option<Progress>>,
    /// A device announced a price of its own for what it gives of it.
    priced: AtomicBool,
}

#[derive(Default)]
struct Versions {
    current: Option<Arc<Version>>,
    /// The version before, kept while a newer one is being fetched: what is equal is copied from
    /// it.
    previous: Option<Arc<Version>>,
    /// Heads that were seen, by version: the latest [`MAX_HEADS`].
    heads: BTreeMap<u64, Seen>,
    /// The latest head that was passed over because another one of its version was preferred.
    passed_over: Option<SignedHead>,
}

/// A head that was seen.
struct Seen {
    head: SignedHead,
    /// Something was made of it: another head of the same version does not replace it.
    taken: bool,
}

impl Versions {
    fn take(&mut self, head: &SignedHead) {
        self.heads.insert(
            head.head().version,
            Seen {
                head: head.clone(),
                taken: true,
            },
        );
        self.bound();
    }

    fn bound(&mut self) {
        while self.heads.len() > MAX_HEADS {
            self.heads.pop_first();
        }
    }
}

impl Share {
    /// A share without a version.
    pub fn new(secret: ShareSecret, owner: DeviceId) -> Self {
        Self {
            id: secret.share_id(),
            blind: BlindKey::of_secret(&secret),
            secret,
            owner,
            ended: CancellationToken::new(),
            versions: RwLock::default(),
            heads: watch::Sender::default(),
            named: Mutex::default(),
            group: Mutex::default(),
            ticket_relays: Mutex::default(),
            progress: watch::Sender::new(None),
            priced: AtomicBool::new(false),
        }
    }

    /// Relays that the ticket named by which it was fetched; none of an own share.
    pub fn ticket_relays(&self) -> Vec<RelayAddress> {
        self.ticket_relays.lock().clone()
    }

    /// Remembers the relays of a ticket; of several tickets, as many as one takes.
    pub fn add_ticket_relays(&self, relays: &[RelayAddress]) {
        let mut known = self.ticket_relays.lock();
        for relay in relays {
            if known.len() < MAX_TICKET_RELAYS && !known.contains(relay) {
                known.push(relay.clone());
            }
        }
    }

    /// A fetch has so much of it: those who give are told.
    pub fn has(&self, progress: Progress) {
        self.progress.send_if_modified(|known| {
            let is_news = *known != Some(progress);
            *known = Some(progress);
            is_news
        });
    }

    /// A device that gives it announced its terms. A price other than the usual one is one that its
    /// user set.
    pub(crate) fn hear_terms(&self, terms: &Terms) {
        let usual = hither_api::Costs::default().metered;
        if terms.price != Price::FREE && terms.price != usual {
            self.priced.store(true, Ordering::Relaxed);
        }
    }

    /// True if a device that gives it has announced a price that its user set.
    pub fn is_priced(&self) -> bool {
        self.priced.load(Ordering::Relaxed)
    }

    /// Follows how much a fetch has of it; `None` before the first one.
    pub fn progress(&self) -> watch::Receiver<Option<Progress>> {
        self.progress.subscribe()
    }

    /// The group with which this device shares it.
    pub fn group(&self) -> Option<GroupId> {
        *self.group.lock()
    }

    /// Sets the group with which this device shares it.
    pub fn set_group(&self, group: Option<GroupId>) {
        *self.group.lock() = group;
    }

    /// Remembers a device as one to which this device may prove that it knows the share.
    pub fn name_holder(&self, device: DeviceId) {
        let mut named = self.named.lock();
        if named.len() < MAX_NAMED {
            named.insert(device);
        }
    }

    /// Returns whether this device has a reason to prove to another one that it knows the share.
    pub(crate) fn is_named(&self, device: &DeviceId) -> bool {
        *device == self.owner || self.named.lock().contains(device)
    }

    fn read<R>(&self, f: impl FnOnce(&Versions) -> R) -> R {
        f(&self.versions.read())
    }

    fn write<R>(&self, f: impl FnOnce(&mut Versions) -> R) -> R {
        f(&mut self.versions.write())
    }

    /// The version that is announced and served.
    pub fn current(&self) -> Option<Arc<Version>> {
        self.read(|v| v.current.clone())
    }

    /// A version that is here, by number.
    pub fn version(&self, number: u64) -> Option<Arc<Version>> {
        self.read(|v| {
            [&v.current, &v.previous]
                .into_iter()
                .flatten()
                .find(|v| v.number() == number)
                .cloned()
        })
    }

    /// Makes a version the current one. The one it replaces, if it is another, stays readable until
    /// [`Self::forget_previous`].
    pub fn advance(&self, version: Arc<Version>) {
        self.write(|v| {
            let number = version.number();
            v.take(&version.head);
            if let Some(before) = v
                .current
                .replace(version)
                .filter(|before| before.number() != number)
            {
                v.previous = Some(before);
            }
        });
    }

    /// The new version is whole: the one before is not needed any more.
    pub fn forget_previous(&self) -> Option<Arc<Version>> {
        self.write(|v| v.previous.take())
    }

    /// The new version was given up: the one before is current again.
    pub fn restore_previous(&self) -> Option<Arc<Version>> {
        self.write(|v| {
            v.current = v.previous.take();
            v.current.clone()
        })
    }

    /// Remembers a head; `true` when its version was not known before. Of two heads of one version
    /// the preferred one is kept ([`SignedHead::is_preferred_to`]), and once something was made
    /// of one, that.
    pub fn saw(&self, head: &SignedHead) -> bool {
        let version = head.head().version;
        let (is_new, is_news) = self.write(|v| {
            let Some(known) = v.heads.get_mut(&version) else {
                v.heads.insert(
                    version,
                    Seen {
                        head: head.clone(),
                        taken: false,
                    },
                );
                v.bound();
                let kept = v.heads.contains_key(&version);
                return (kept, kept);
            };
            if known.head == *head {
                return (false, false);
            }
            let mut other = head.clone();
            if !known.taken && head.is_preferred_to(&known.head) {
                std::mem::swap(&mut known.head, &mut other);
            }
            let is_news = v.passed_over.as_ref() != Some(&other);
            v.passed_over = Some(other);
            (false, is_news)
        });
        if is_news {
            self.heads.send_replace(());
        }
        is_new
    }

    /// The head of a version, if it was seen. From now on it stays that of its version.
    pub fn take_head(&self, version: u64) -> Option<SignedHead> {
        self.write(|v| {
            let seen = v.heads.get_mut(&version)?;
            seen.taken = true;
            Some(seen.head.clone())
        })
    }

    /// The head of a version, if it was seen.
    pub fn head_of(&self, version: u64) -> Option<SignedHead> {
        self.read(|v| v.heads.get(&version).map(|seen| seen.head.clone()))
    }

    /// The head of the latest version seen.
    pub fn newest(&self) -> Option<SignedHead> {
        self.read(|v| v.heads.last_key_value().map(|(_, seen)| seen.head.clone()))
    }

    /// Returns whether another head of the same version is the one that counts here.
    pub(crate) fn is_passed_over(&self, head: &SignedHead) -> bool {
        self.read(|v| {
            v.heads
                .get(&head.head().version)
                .is_some_and(|seen| seen.head != *head)
        })
    }

    /// Follows which heads are known.
    pub(crate) fn heads(&self) -> watch::Receiver<()> {
        self.heads.subscribe()
    }

    /// Returns what its owner, who shows `shown`, may not know: heads of that version or later
    /// ones, the newest and one that was passed over.
    pub(crate) fn unknown_to(&self, shown: &SignedHead) -> Vec<SignedHead> {
        self.read(|v| {
            let newest = v.heads.last_key_value().map(|(_, seen)| &seen.head);
            let all = [v.passed_over.as_ref(), newest].into_iter().flatten();
            all.filter(|head| head.head().version >= shown.head().version && *head != shown)
                .cloned()
                .collect()
        })
    }

    /// The latest version that was signed, by `self.owner` on this or an earlier state of its data,
    /// unless it is the current one.
    pub fn is_behind(&self) -> Option<u64> {
        self.read(|v| {
            let current = v.current.as_ref()?;
            let ahead = v.heads.last_key_value().map(|(version, _)| *version);
            let ahead = ahead.filter(|version| *version > current.number());
            let beside = v.passed_over.as_ref().map(|head| head.head().version);
            ahead.or(beside.filter(|version| *version >= current.number()))
        })
    }

    /// The number of the version that its owner publishes next: no number is given twice, as far as
    /// is known.
    pub fn next_number(&self) -> u64 {
        self.read(|v| {
            let current = v.current.as_ref().map_or(0, |current| current.number());
            let seen = v.heads.last_key_value().map_or(0, |(version, _)| *version);
            let beside = v.passed_over.as_ref().map_or(0, |head| head.head().version);
            current.max(seen).max(beside).saturating_add(1)
        })
    }

    /// The head to show to others: that of what is here, else the newest seen.
    pub(crate) fn head(&self) -> Option<SignedHead> {
        self.read(|v| v.current.as_ref().map(|c| c.head.clone()))
            .or_else(|| self.newest())
    }
}

/// All shares.
#[derive(Default)]
pub struct Shares {
    by_id: RwLock<HashMap<ShareId, Arc<Share>>>,
    /// Told when a share comes or goes.
    changes: watch::Sender<()>,
    /// The budget for the queries of strangers.
    budget: Budget,
}

impl Shares {
    /// The share of an id.
    pub fn get(&self, id: ShareId) -> Option<Arc<Share>> {
        self.by_id.read().get(&id).cloned()
    }

    /// The share of this secret, made known if it was not.
    pub fn get_or_insert(&self, secret: &ShareSecret, owner: DeviceId) -> Arc<Share> {
        let mut by_id = self.by_id.write();
        Arc::clone(by_id.entry(secret.share_id()).or_insert_with(|| {
            self.changes.send_replace(());
            Arc::new(Share::new(secret.clone(), owner))
        }))
    }

    /// Ends a share here: whatever is being given of it stops.
    pub fn remove(&self, id: ShareId) {
        let ended = self.by_id.write().remove(&id);
        if let Some(share) = ended {
            share.ended.cancel();
        }
        self.changes.send_replace(());
    }

    /// The share that another device asks about without naming it, if it is known here.
    ///
    /// Errors: [`Refusal::Busy`] when strangers have requested more work than they get.
    pub(crate) fn recognise(
        &self,
        query: &BlindQuery,
        stream: &StreamBinding,
    ) -> Result<Option<Arc<Share>>, Refusal> {
        let all = self.all();
        self.budget.spend(all.len()).map_err(Refusal::Busy)?;
        Ok(all
            .into_iter()
            .find(|share| query.verify(&share.blind, stream)))
    }

    /// Every share.
    pub fn all(&self) -> Vec<Arc<Share>> {
        self.by_id.read().values().cloned().collect()
    }

    /// Follows which shares there are.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_carrier::Identity;
    use hither_proto::{ChunkId, Head};

    struct Owner {
        identity: Identity,
        share: Share,
    }

    impl Owner {
        fn new() -> Self {
            let identity = Identity::generate().unwrap();
            let share = Share::new(ShareSecret::new([1; 16]), identity.device_id());
            Self { identity, share }
        }

        fn head(&self, version: u64, published_ms: u64, root: u8) -> SignedHead {
            let head = Head {
                share: self.share.id,
                version,
                root: ChunkId::new([root; 32]),
                root_length: 100,
                salt: [0; 16],
                chunks: 1,
                manifest_chunks: 1,
                bytes: 1,
                published_ms,
            };
            SignedHead::sign(head, |message| self.identity.sign(message))
        }
    }

    #[test]
    fn of_two_heads_of_one_number_all_count_the_same_whichever_comes_first() {
        let owner = Owner::new();
        let (older, newer) = (owner.head(2, 10, 9), owner.head(2, 20, 1));
        let larger = owner.head(2, 20, 2);
        for order in [
            [&older, &newer, &larger],
            [&larger, &newer, &older],
            [&newer, &larger, &older],
        ] {
            let Owner { share, .. } = Owner::new();
            for head in order {
                share.saw(head);
            }
            assert_eq!(share.head_of(2).as_ref(), Some(&larger));
            assert!(share.is_passed_over(&older) && share.is_passed_over(&newer));
            assert!(!share.is_passed_over(&larger));
        }
    }

    #[test]
    fn what_was_begun_stays_and_the_owner_is_told_of_the_other_one() {
        let owner = Owner::new();
        let (older, newer) = (owner.head(2, 10, 9), owner.head(2, 20, 1));
        let share = &owner.share;
        let mut heads = share.heads();
        assert!(share.saw(&older) && heads.has_changed().unwrap());
        heads.mark_unchanged();
        assert_eq!(share.take_head(2), Some(older.clone()));
        assert!(!share.saw(&newer), "its number is known");
        assert!(heads.has_changed().unwrap());
        heads.mark_unchanged();
        assert!(
            !share.saw(&newer) && !heads.has_changed().unwrap(),
            "no news any more"
        );
        assert_eq!(share.head_of(2), Some(older.clone()));
        assert_eq!(share.unknown_to(&newer), std::slice::from_ref(&older));
        assert_eq!(share.unknown_to(&older), [newer]);
        assert_eq!(
            share.unknown_to(&owner.head(3, 30, 1)),
            [],
            "it has gone past both"
        );
        assert_eq!(share.next_number(), 3);
        share.saw(&owner.head(7, 5, 1));
        assert_eq!(share.next_number(), 8);
        assert_eq!(share.unknown_to(&owner.head(1, 1, 1)).len(), 2);
    }
}
