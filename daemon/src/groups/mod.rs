//! Groups: devices, of whatever users, that see each other's shares by name and fetch them without
//! a ticket.
//!
//! The relay stores and orders; everything that counts is decided here. `reconciler.rs` is the loop
//! of one relay: it follows the logs, lets in who may join, hands on and renews the group's secret,
//! tells what this device shares. `sync.rs` asks the relay and checks what it says, `forks.rs`
//! decides where it says something else than before, `append.rs` writes to a log, `redo.rs` what a
//! fork has undone; `work.rs` and `joining.rs` are what users do, `describe.rs` what
//! they see; `store.rs` keeps it, `content.rs` is what is inside seals, `find.rs` finds a member's
//! share by its name.
//!
//! Invariants: what is known of members follows from a log whose every entry was checked here, and
//! which only ever grows or is exchanged for a branch that prevails;
//! what a member says is signed by it, and counts for its own shares only; the secret of a
//! generation is the one that the log names; nothing is told to a group under the secret of a
//! generation that somebody who is out knows, but in the moments until a member has begun the next.

mod append;
mod content;
mod describe;
mod find;
mod forks;
mod joining;
mod reconciler;
mod redo;
mod store;
mod sync;
mod work;

pub(crate) use content::decode_note;
pub(crate) use describe::{devices, list, members};
pub(crate) use find::{find, member, shares};
pub(crate) use joining::{join, search};
pub(crate) use reconciler::run;
pub(crate) use work::{create, decide, leave, set_policy};

use crate::library::LibraryListener;
use crate::tickets::Tickets;
use futures::future::BoxFuture;
use hither_api::{ApiError, ErrorCode};
use hither_carrier::Identity;
use hither_content::storage::{Storage, StorageError};
use hither_content::{DomainSecret, StampClock};
use hither_proto::{
    DeviceId, DeviceName, GroupAsked, GroupBranch, GroupChange, GroupId, GroupInvite, GroupMember,
    GroupName, GroupSecret, Membership, ShareId, display_name,
};
use hither_relay_client::{GroupNews, Relay, RelayClient};
use hither_swarm::{Share, Swarm, Warnings};
use hither_util::clock::unix_millis;
use hither_util::hex::Hex;
use hither_util::sync::Mutex;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, MutexGuard};
use store::{GroupRecord, Stands, Store, Told};
use tokio::sync::watch;

impl hither_swarm::Membership for Groups {
    fn is_barred(&self, share: &Share, device: &DeviceId) -> bool {
        self.bars(share.id, share.group(), device)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn fellow_members(&self, device: &DeviceId) -> HashSet<DeviceId> {
        let all = self.all();
        let own = all
            .iter()
            .filter_map(|(_, known)| known.membership_of(device));
        own.flat_map(|membership| membership.members().keys().copied())
            .collect()
    }
}

impl LibraryListener for Groups {
    fn published(&self, _: ShareId) {
        self.wake();
    }

    fn ended(&self, _: ShareId) {
        self.wake();
    }
}

/// The service that works with groups.
pub(crate) struct GroupService {
    pub device: DeviceId,
    pub name: DeviceName,
    pub groups: Arc<Groups>,
    pub identity: Arc<Identity>,
    pub relays: Arc<RelayClient>,
    pub swarm: Arc<Swarm>,
    pub tickets: Arc<Tickets>,
    pub stamps: Arc<StampClock>,
    pub warnings: Warnings,
}

/// A way in which a group can be meant.
type Way<'a> = dyn Fn(&GroupId, &Known) -> bool + 'a;

/// A device that wants to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asker {
    pub device: DeviceId,
    pub asked_ms: u64,
    /// The name it calls itself by; empty when that was not sealed for this device.
    pub name: String,
}

/// The known state of one group.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub record: GroupRecord,
    /// Absent while it is not a member's to know.
    pub membership: Option<Membership>,
    pub told: BTreeMap<DeviceId, Told>,
    /// The members present, as the relay last reported; empty while it is not connected.
    pub seen: BTreeMap<DeviceId, GroupMember>,
    pub askers: Vec<Asker>,
    /// Notes that could not be read, so that they are not requested again.
    pub unreadable: BTreeMap<DeviceId, Vec<u8>>,
}

impl Known {
    fn new(record: GroupRecord) -> Self {
        Self {
            record,
            membership: None,
            told: BTreeMap::new(),
            seen: BTreeMap::new(),
            askers: Vec::new(),
            unreadable: BTreeMap::new(),
        }
    }

    /// Returns the membership in the log, while this device is a member.
    pub(crate) fn membership_of(&self, device: &DeviceId) -> Option<&Membership> {
        self.membership
            .as_ref()
            .filter(|m| self.record.is_member() && m.role(device).is_some())
    }

    /// The secret of the generation that counts now.
    fn secret(&self) -> Option<GroupSecret> {
        let membership = self.membership.as_ref()?;
        let Hex(bytes) = self.record.secret.as_ref()?;
        let secret = GroupSecret::from_slice(bytes).ok()?;
        (secret.mark() == *membership.key()).then_some(secret)
    }

    /// Forgets what is known of those who are no members.
    fn drop_outsiders(&mut self, after: &Membership) {
        self.told.retain(|device, _| after.role(device).is_some());
        self.unreadable
            .retain(|device, _| after.role(device).is_some());
        self.seen.retain(|device, _| after.role(device).is_some());
        self.askers
            .retain(|asker| after.role(&asker.device).is_none());
    }

    /// Returns its name, safe to show; empty while not known.
    pub(crate) fn name(&self) -> String {
        display_name(self.record.name.as_deref().unwrap_or_default())
    }

    /// Returns the name a member calls itself by; empty while not known.
    pub(crate) fn name_of(&self, device: &DeviceId) -> String {
        let told = self
            .told
            .get(device)
            .map(|told| told.name.as_str())
            .filter(|name| !name.is_empty());
        told.map(|name| DeviceName::clean(name).to_string())
            .unwrap_or_default()
    }
}

/// The changes the relay reported, until they are processed; bounded by the number of groups and
/// members.
#[derive(Debug, Default)]
struct Heard {
    all: bool,
    logs: BTreeSet<GroupId>,
    rolls: BTreeSet<GroupId>,
}

/// The groups of this device.
pub(crate) struct Groups {
    store: Store,
    known: Mutex<BTreeMap<GroupId, Known>>,
    heard: Mutex<HashMap<DeviceId, Heard>>,
    /// Shares of members, and the groups that they are shared with.
    shared: Mutex<HashMap<ShareId, BTreeSet<GroupId>>>,
    /// There may be something to do at some relay.
    wake: watch::Sender<u64>,
    /// Counts up when something that users see changed.
    changes: watch::Sender<u64>,
    /// Entries of this device are written one after the other.
    turn: tokio::sync::Mutex<()>,
}

impl Groups {
    /// Those of earlier runs.
    pub(crate) fn load(storage: &Arc<dyn Storage>) -> Result<Self, StorageError> {
        let store = Store::new(Arc::clone(storage));
        let known = store.load()?;
        let groups = Self {
            store,
            known: Mutex::new(known),
            heard: Mutex::default(),
            shared: Mutex::default(),
            wake: watch::Sender::new(0),
            changes: watch::Sender::new(0),
            turn: tokio::sync::Mutex::new(()),
        };
        groups.index();
        Ok(groups)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<GroupId, Known>> {
        self.known.lock()
    }

    /// Returns the known state of a group.
    pub(crate) fn get(&self, group: &GroupId) -> Option<Known> {
        self.lock().get(group).cloned()
    }

    /// All that this device has to do with.
    pub(crate) fn all(&self) -> Vec<(GroupId, Known)> {
        self.lock()
            .iter()
            .map(|(group, known)| (*group, known.clone()))
            .collect()
    }

    /// Those that a relay keeps.
    fn at(&self, relay: DeviceId) -> Vec<GroupId> {
        let relay = relay.to_string();
        let known = self.lock();
        known
            .iter()
            .filter(|(_, known)| known.record.relay == relay)
            .map(|(group, _)| *group)
            .collect()
    }

    /// Follows what users see.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// There may be something to tell, or to do.
    pub(crate) fn wake(&self) {
        self.wake.send_modify(|count| *count += 1);
    }

    /// A relay reported a change.
    pub(crate) fn heard(&self, relay: DeviceId, changes: Vec<GroupChange>, all: bool) {
        let mut heard = self.heard.lock();
        let heard = heard.entry(relay).or_default();
        heard.all |= all;
        for change in changes {
            match change {
                // How this device stands with a group that it knows nothing of is the relay's to
                // say: there is little of it.
                GroupChange::Log(group) if heard.logs.len() < hither_proto::limits::MAX_GROUPS => {
                    heard.logs.insert(group);
                }
                GroupChange::Log(_) => heard.all = true,
                GroupChange::Asks(group) | GroupChange::Note(group, _) => {
                    if self.lock().contains_key(&group) {
                        heard.rolls.insert(group);
                    }
                }
                GroupChange::Presence(group, member) => self.saw(group, member),
            }
        }
        self.wake();
    }

    fn saw(&self, group: GroupId, member: GroupMember) {
        if let Some(known) = self.lock().get_mut(&group)
            && let Some(before) = known.seen.get_mut(&member.device)
        {
            (before.online, before.last_seen_ms) = (member.online, member.last_seen_ms);
        }
        self.changed();
    }

    fn take_heard(&self, relay: DeviceId) -> Heard {
        let mut heard = self.heard.lock();
        heard.remove(&relay).unwrap_or_default()
    }

    /// The relay is not connected: nobody is known to be there any more.
    fn disconnected(&self, relay: DeviceId) {
        let (relay, now) = (relay.to_string(), unix_millis());
        for known in self
            .lock()
            .values_mut()
            .filter(|known| known.record.relay == relay)
        {
            for member in known.seen.values_mut().filter(|member| member.online) {
                (member.online, member.last_seen_ms) = (false, now);
            }
        }
        self.changed();
    }

    /// Changes what is known of a group, and keeps its record. Blocks.
    fn update(&self, group: GroupId, change: impl FnOnce(&mut Known)) -> Result<(), StorageError> {
        let mut all = self.lock();
        let Some(known) = all.get_mut(&group) else {
            return Ok(());
        };
        let mut after = known.clone();
        change(&mut after);
        if after.record != known.record {
            self.store.put_record(group, &after.record)?;
        }
        *known = after;
        drop(all);
        self.index();
        self.changed();
        Ok(())
    }

    /// Keeps another branch of a log than the one that is known, and with it what `device` has to
    /// do again. Returns how much that is. Blocks.
    fn exchange(
        &self,
        group: GroupId,
        given_up: &GroupBranch,
        kept: &GroupBranch,
        device: &DeviceId,
    ) -> Result<usize, StorageError> {
        let mut all = self.lock();
        let Some(known) = all.get_mut(&group) else {
            return Ok(0);
        };
        // It changed meanwhile: it is looked at again.
        if known.membership.as_ref() != Some(given_up.after()) {
            return Ok(0);
        }
        let (after, mut record) = (kept.after(), known.record.clone());
        let lost = redo::of(given_up, device);
        let count = lost.len();
        redo::add(&mut record.again, lost);
        if after.role(device).is_none() {
            record.stands = Stands::Removed;
        }
        let out: Vec<_> = known
            .told
            .keys()
            .filter(|device| after.role(device).is_none())
            .copied()
            .collect();
        self.store
            .exchange(kept, given_up.after().entries(), &out, &record)?;
        known.record = record;
        known.drop_outsiders(after);
        known.membership = Some(after.clone());
        drop(all);
        self.index();
        self.changed();
        Ok(count)
    }

    /// Begins to know a group, unless it is known. Blocks.
    fn insert(&self, group: GroupId, record: GroupRecord) -> Result<(), StorageError> {
        let mut all = self.lock();
        if let Entry::Vacant(place) = all.entry(group) {
            self.store.put_record(group, &record)?;
            place.insert(Known::new(record));
        }
        drop(all);
        self.changed();
        Ok(())
    }

    /// Forgets a group. Blocks.
    fn forget(&self, group: GroupId) -> Result<(), StorageError> {
        self.store.remove(group)?;
        self.lock().remove(&group);
        self.index();
        self.changed();
        Ok(())
    }

    /// Takes note of whose shares belong to which groups.
    fn index(&self) {
        let mut shared: HashMap<ShareId, BTreeSet<GroupId>> = HashMap::new();
        for (group, known) in self.lock().iter() {
            for (device, told) in &known.told {
                for share in told
                    .shares
                    .iter()
                    .filter_map(|entry| entry.checked(*device))
                {
                    shared.entry(share).or_default().insert(*group);
                }
            }
        }
        *self.shared.lock() = shared;
    }

    /// Returns whether a share belongs to a group that this device was removed from. `own`: the
    /// group with which this device shares it.
    pub(crate) fn bars(&self, share: ShareId, own: Option<GroupId>, device: &DeviceId) -> bool {
        let mut groups = {
            let shared = self.shared.lock();
            shared.get(&share).cloned().unwrap_or_default()
        };
        groups.extend(own);
        let known = self.lock();
        let of = |group: &GroupId| known.get(group).and_then(|known| known.membership.as_ref());
        // In one of several groups is in.
        !groups.is_empty()
            && groups
                .iter()
                .any(|group| of(group).is_some_and(|m| m.was_removed(device)))
            && !groups
                .iter()
                .any(|group| of(group).is_some_and(|m| m.role(device).is_some()))
    }

    /// The name that a device gave to a group that this one knows.
    pub(crate) fn member_name(&self, device: &DeviceId) -> Option<String> {
        let known = self.lock();
        let mut names = known.values().map(|known| known.name_of(device));
        names.find(|name| !name.is_empty())
    }

    /// Returns the name of a group, or its id (hexadecimal) when that is not known.
    pub(crate) fn name(&self, group: &str) -> String {
        let name = GroupId::from_hex(group)
            .ok()
            .and_then(|group| Some(self.lock().get(&group)?.name()));
        name.filter(|name| !name.is_empty())
            .unwrap_or_else(|| group.to_owned())
    }

    /// The group that a user means, of which this device is a member: by its name, id or word.
    pub(crate) fn resolve(
        &self,
        wanted: &str,
        this: &DeviceId,
    ) -> Result<(GroupId, Known), ApiError> {
        let found = self.resolve_any(wanted)?;
        if found.1.membership_of(this).is_some() {
            return Ok(found);
        }
        let name = display_name(wanted);
        Err(ApiError::new(
            ErrorCode::Refused,
            format!("This device is no member of the group \"{name}\"."),
        )
        .with_hint("See how it stands with: hither group list"))
    }

    /// The same, of all groups that this device has to do with.
    pub(crate) fn resolve_any(&self, wanted: &str) -> Result<(GroupId, Known), ApiError> {
        let all = self.all();
        let lower = wanted.to_lowercase();
        let id = wanted.parse::<GroupInvite>().ok().map(|invite| invite.0);
        let ways: [&Way<'_>; 4] = [
            &|group, _| id == Some(*group) || group.to_string() == lower,
            &|_, known| known.record.name.as_deref() == Some(wanted),
            &|_, known| {
                known
                    .record
                    .name
                    .as_ref()
                    .is_some_and(|name| name.to_lowercase() == lower)
            },
            &|group, _| lower.len() >= 6 && group.to_string().starts_with(&lower),
        ];
        let found = ways.iter().map(|is_meant| {
            all.iter()
                .filter(|(group, k)| is_meant(group, k))
                .collect::<Vec<_>>()
        });
        match found
            .into_iter()
            .find(|found| !found.is_empty())
            .unwrap_or_default()
            .as_slice()
        {
            [(group, known)] => Ok((*group, known.clone())),
            [] => {
                let message = format!("This device knows no group \"{}\".", display_name(wanted));
                Err(ApiError::new(ErrorCode::NotFound, message).with_hint(
                    "See yours with: hither group list. Find others with: hither group search NAME",
                ))
            }
            several => {
                let ids: Vec<_> = several
                    .iter()
                    .map(|(group, _)| group.to_string()[..12].to_owned())
                    .collect();
                let message = format!(
                    "\"{}\" could be several groups: {}.",
                    display_name(wanted),
                    ids.join(", ")
                );
                Err(ApiError::new(ErrorCode::BadRequest, message)
                    .with_hint("Give one of these ids instead."))
            }
        }
    }

    /// In which domain what is shared with a group dedupes, and the generation of its secret.
    pub(crate) fn domain(
        &self,
        wanted: &str,
        this: &DeviceId,
    ) -> Result<(GroupId, u64, DomainSecret), ApiError> {
        let (group, known) = self.resolve(wanted, this)?;
        let secret = known
            .secret()
            .zip(known.membership.as_ref().map(Membership::generation));
        let (secret, generation) = secret.ok_or_else(|| {
            ApiError::new(
                ErrorCode::NoRelay,
                "The group's secret has not reached this device yet.",
            )
            .with_hint("It comes when another member is online. Try again then.")
        })?;
        Ok((group, generation, DomainSecret::new(secret.domain())))
    }
}

/// Returns the applicant's own description, when it is sealed for this device.
fn asker(identity: &Identity, group: GroupId, asked: &GroupAsked) -> Asker {
    let name = content::open_ask(identity, group, asked).unwrap_or_default();
    Asker {
        device: asked.device,
        asked_ms: asked.asked_ms,
        name,
    }
}

/// A name that was checked when it was kept.
fn group_name(text: &str) -> Option<GroupName> {
    GroupName::parse(text).ok()
}

impl GroupNews for GroupService {
    fn heard(&self, relay: DeviceId, changes: Vec<GroupChange>, all: bool) {
        self.groups.heard(relay, changes, all);
    }

    fn follow(self: Arc<Self>, relay: Arc<Relay>) -> BoxFuture<'static, ()> {
        Box::pin(run(self, relay))
    }
}
