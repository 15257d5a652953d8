//! The work that a device does for its groups by itself, at one relay: it follows their logs, lets
//! in devices that may join, sees that every member has the secret, begins the next generation when
//! a member has left, and publishes its shares.
//!
//! Any member may do most of that, and one is enough. The order is the same for all: it
//! follows from what is to be done and who is there. The others take it over one after the other
//! when nothing has happened for a while.

use super::append::{self, AppendError, Change};
use super::redo::{self, Lost};
use super::store::Published;
use super::sync::{self, SyncError, blocking};
use super::{Known, content};
use crate::groups::GroupService;
use hither_carrier::group_seal::{self, Place};
use hither_proto::limits::GROUP_DIGEST;
use hither_proto::{
    DeviceId, GroupAnswer, GroupId, GroupRequest, Joining, Membership, RelayRefusalCode,
};
use hither_relay_client::{Relay, RelayConnection, RequestError};
use hither_util::hex::Hex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long each member waits for the one before it.
const STEP: Duration = Duration::from_secs(4);
/// Pause after something failed.
const AGAIN: Duration = Duration::from_secs(3);
/// Pauses before a group is looked at again of which the relay has lost what only others can bring
/// back: the first, and the longest.
const LOST: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));
/// Pause after a relay has not answered at all.
const MUTE: Duration = Duration::from_secs(600);
/// How often is looked although nothing was heard: where shares are uploaded to changes their
/// tickets.
const HOUSEKEEPING: Duration = Duration::from_secs(60);

/// Something that one member has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Duty {
    /// Let a device in.
    Admit(DeviceId),
    /// Hand the secret to a member that has none.
    HandOn(DeviceId),
    /// Begin the next generation.
    Rotate,
    /// Make a change again that a fork of the log has undone.
    Again(Lost),
}

struct GroupReconciler {
    service: Arc<GroupService>,
    relay: Arc<Relay>,
    /// The connection that knows which groups to tell of.
    greeted: Option<std::time::Instant>,
    /// The relay says nothing of groups: it is of an earlier version, or overloaded. It is asked
    /// again then.
    mute: Option<Instant>,
    logs: BTreeSet<GroupId>,
    rolls: BTreeSet<GroupId>,
    /// Groups of which the relay has lost something: when they are looked at again, and the pause
    /// after that.
    lost: BTreeMap<GroupId, (Instant, Duration)>,
    /// Since when something is to be done.
    duties: BTreeMap<(GroupId, Duty), Instant>,
    /// The next time to act even if no message arrives.
    next: Option<Instant>,
}

/// Works until the relay is left or the daemon ends.
pub(crate) async fn run(service: Arc<GroupService>, relay: Arc<Relay>) {
    let (mut changes, mut wake) = (service.relays.changes(), service.groups.wake.subscribe());
    let left = relay.left.clone();
    let (logs, rolls, lost, duties) = (
        BTreeSet::new(),
        BTreeSet::new(),
        BTreeMap::new(),
        BTreeMap::new(),
    );
    let mut reconciler = GroupReconciler {
        service,
        relay,
        greeted: None,
        mute: None,
        logs,
        rolls,
        lost,
        duties,
        next: None,
    };
    loop {
        changes.mark_unchanged();
        wake.mark_unchanged();
        reconciler.round().await;
        let until = reconciler
            .next
            .take()
            .unwrap_or_else(|| Instant::now() + HOUSEKEEPING);
        tokio::select! {
            () = left.cancelled() => return,
            Ok(()) = changes.changed() => {}
            Ok(()) = wake.changed() => {}
            () = tokio::time::sleep_until(until.min(Instant::now() + HOUSEKEEPING)) => {}
        }
    }
}

impl GroupReconciler {
    fn wake_at(&mut self, at: Instant) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    async fn round(&mut self) {
        let key = self.relay.url.key;
        let Some(connection) = self.relay.connection() else {
            if self.greeted.take().is_some() {
                self.service.groups.disconnected(key);
            }
            return;
        };
        if self.greeted != Some(connection.since) {
            (self.greeted, self.mute) = (Some(connection.since), None);
            self.logs.clear();
            if !self.greet(&connection).await {
                return;
            }
        }
        if let Some(until) = self.mute {
            self.wake_at(until);
            if Instant::now() < until || !self.greet(&connection).await {
                return;
            }
            self.mute = None;
        }
        let heard = self.service.groups.take_heard(key);
        if heard.all && !self.greet(&connection).await {
            return;
        }
        self.logs.extend(heard.logs);
        self.rolls.extend(heard.rolls);
        if let Err(error) = self.work(&connection).await {
            self.failed(&error);
        }
    }

    fn failed(&mut self, error: &SyncError) {
        tracing::debug!(relay = %self.relay.url.at, %error, "groups are looked at again later");
        let pause = match error {
            SyncError::Request(RequestError::Refused(refusal)) => {
                AGAIN.max(Duration::from_millis(u64::from(refusal.retry_after_ms)))
            }
            _ => AGAIN,
        };
        self.wake_at(Instant::now() + pause);
    }

    /// Asks which groups there are, so that everything about them is looked at. Says whether that
    /// worked.
    async fn greet(&mut self, connection: &RelayConnection) -> bool {
        match sync::mine(connection).await {
            Ok(groups) => {
                self.logs.extend(groups);
                self.logs.extend(self.service.groups.at(self.relay.url.key));
                true
            }
            Err(SyncError::Request(RequestError::TimedOut)) => {
                tracing::info!(relay = %self.relay.url.at, "the relay says nothing of groups");
                let until = Instant::now() + MUTE;
                self.mute = Some(until);
                self.wake_at(until);
                false
            }
            Err(error) => {
                self.greeted = None;
                self.failed(&error);
                false
            }
        }
    }

    async fn work(&mut self, connection: &RelayConnection) -> Result<(), SyncError> {
        let relay = self.relay.url.key;
        let now = Instant::now();
        self.logs.extend(
            self.lost
                .iter()
                .filter(|(_, (at, _))| *at <= now)
                .map(|(group, _)| *group),
        );
        while let Some(group) = self.logs.first().copied() {
            let pause = self.lost.remove(&group).map_or(LOST.0, |(_, pause)| pause);
            match sync::log(&self.service, connection, relay, group).await {
                Ok(()) => {}
                Err(SyncError::Request(error)) => return Err(error.into()),
                Err(error @ SyncError::Lost) => {
                    tracing::info!(?group, %error, "others have to bring it back");
                    self.lost
                        .insert(group, (Instant::now() + pause, (pause * 2).min(LOST.1)));
                }
                // One group that is not as it should be must not keep the others from being looked
                // at.
                Err(error) => self
                    .service
                    .warnings
                    .add(format!("A group cannot be followed: {error}.")),
            }
            self.logs.remove(&group);
            self.rolls.insert(group);
        }
        while let Some(group) = self.rolls.first().copied() {
            let rolled = match self.known(group) {
                Some(_) => sync::roll(&self.service, connection, group).await,
                None => Ok(()),
            };
            match rolled {
                Ok(()) => {}
                // It is no member any more, and does not know that yet.
                Err(SyncError::Request(RequestError::Refused(refusal)))
                    if refusal.code == RelayRefusalCode::NotFound =>
                {
                    self.logs.insert(group);
                }
                Err(error) => return Err(error),
            }
            self.rolls.remove(&group);
        }
        let groups = self.service.groups.at(relay);
        let mut all = BTreeSet::new();
        for group in groups {
            self.publish(connection, group).await?;
            for duty in self.duties_of(group) {
                all.insert((group, duty));
            }
        }
        self.duties.retain(|key, _| all.contains(key));
        if let Some((at, _)) = self.lost.values().min().copied() {
            self.wake_at(at);
        }
        for (group, duty) in all {
            self.attend(connection, group, duty).await?;
        }
        if !self.logs.is_empty() || !self.rolls.is_empty() {
            // The work that was done has changed something.
            self.wake_at(Instant::now());
        }
        Ok(())
    }

    /// Returns the known state of a group, while this device is a member.
    fn known(&self, group: GroupId) -> Option<(Known, Membership)> {
        let known = self.service.groups.get(&group)?;
        let membership = known.membership_of(&self.service.device)?.clone();
        Some((known, membership))
    }

    /// Returns the duties of a group.
    fn duties_of(&self, group: GroupId) -> Vec<Duty> {
        let Some((known, membership)) = self.known(group) else {
            return Vec::new();
        };
        if known.secret().is_none() {
            return Vec::new();
        }
        if membership.is_stale() {
            return vec![Duty::Rotate];
        }
        let asking = known
            .askers
            .iter()
            .filter(|asker| membership.joining(&asker.device) == Joining::Free);
        let poor = known.seen.values().filter(|member| !member.key);
        let again = redo::due(&known, &membership, self.service.device);
        asking
            .map(|asker| Duty::Admit(asker.device))
            .chain(poor.map(|member| Duty::HandOn(member.device)))
            .chain(again.into_iter().map(Duty::Again))
            .collect()
    }

    /// Does something, when it is this device's turn.
    async fn attend(
        &mut self,
        connection: &RelayConnection,
        group: GroupId,
        duty: Duty,
    ) -> Result<(), SyncError> {
        let Some((known, membership)) = self.known(group) else {
            return Ok(());
        };
        let now = Instant::now();
        let since = *self.duties.entry((group, duty)).or_insert(now);
        let due = since + STEP * place(&known, &membership, self.service.device, duty);
        if now < due {
            self.wake_at(due);
            return Ok(());
        }
        let (service, relay) = (&self.service, self.relay.url.key);
        let done = match duty {
            Duty::Admit(device) => {
                append::append(service, connection, relay, group, Change::Add(device)).await
            }
            Duty::Rotate => append::append(service, connection, relay, group, Change::Rotate).await,
            Duty::HandOn(device) => hand_on(service, connection, group, device).await,
            Duty::Again(lost) => {
                match redo::change_of(&known, &membership, service.device, &lost) {
                    Some(change) => append::append(service, connection, relay, group, change).await,
                    None => Ok(()),
                }
            }
        };
        if let Duty::Again(lost) = duty
            && !matches!(&done, Err(error) if error.may_pass())
        {
            let device = service.device;
            blocking(service, move |service| {
                Ok(redo::done(&service.groups, group, device, &lost)?)
            })
            .await?;
        }
        // Whatever came of it: how things are now.
        self.rolls.insert(group);
        match done {
            Ok(()) => {
                tracing::info!(?group, ?duty, "done for a group");
                self.duties.remove(&(group, duty));
            }
            Err(AppendError::Sync(SyncError::Request(error @ RequestError::Lost))) => {
                return Err(error.into());
            }
            // It is done, or cannot be any more: the roll will say. Else it is tried again, not at
            // once.
            Err(error) => {
                tracing::debug!(?group, ?duty, %error, "not done for a group");
                self.duties.insert((group, duty), now + AGAIN);
            }
        }
        Ok(())
    }

    /// Publishes this device's shares to a group, when they differ from the published ones.
    async fn publish(&self, connection: &RelayConnection, group: GroupId) -> Result<(), SyncError> {
        let Some((known, membership)) = self.known(group) else {
            return Ok(());
        };
        let Some(secret) = known.secret() else {
            return Ok(());
        };
        let shares = self.service.tickets.shared_with(group);
        let (note, told) = content::note(&self.service.name, shares);
        let generation = membership.generation();
        let at_relay = known
            .seen
            .get(&self.service.device)
            .and_then(|member| member.digest);
        let same = known.record.published.as_ref().is_some_and(|published| {
            published.generation == generation
                && published.content.0 == told
                && at_relay.is_some_and(|digest| published.digest.0 == digest)
        });
        if same {
            return Ok(());
        }
        let sealed = blocking(&self.service, move |service| {
            let salt = append::random().map_err(|error| SyncError::Internal(error.to_string()))?;
            let place = Place {
                group,
                generation,
                secret: &secret,
            };
            let payload = note.stamped(service.stamps.next()?);
            group_seal::seal(&service.identity, place, salt, &payload)
                .map_err(|error| SyncError::Internal(error.to_string()))
        })
        .await?;
        let mut digest = [0; GROUP_DIGEST];
        digest.copy_from_slice(&blake3::hash(&sealed).as_bytes()[..GROUP_DIGEST]);
        match connection
            .group(GroupRequest::Note {
                group,
                sealed: sealed.into(),
            })
            .await
        {
            Ok(GroupAnswer::Done) => {}
            Ok(_) => return Err(SyncError::Unexpected),
            // It is no member any more, and will learn that.
            Err(RequestError::Refused(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let device = self.service.device;
        let published = Published {
            generation,
            content: Hex(told.to_vec()),
            digest: Hex(digest.to_vec()),
        };
        blocking(&self.service, move |service| {
            service.groups.update(group, |known| {
                known.record.published = Some(published);
                if let Some(seen) = known.seen.get_mut(&device) {
                    seen.digest = Some(digest);
                }
            })?;
            Ok(())
        })
        .await
    }
}

/// Hands the secret of this generation to a member that has none.
async fn hand_on(
    service: &Arc<GroupService>,
    connection: &RelayConnection,
    group: GroupId,
    device: DeviceId,
) -> Result<(), AppendError> {
    let Some(known) = service.groups.get(&group) else {
        return Ok(());
    };
    let inner = append::inner(&known)?;
    let keys = content::seal_keys(&service.identity, group, &inner, [&device])?;
    let mark = inner.secret.mark();
    match connection
        .group(GroupRequest::Keys { group, mark, keys })
        .await?
    {
        // Behind: the log has changed, and will be looked at.
        GroupAnswer::Done | GroupAnswer::Behind { .. } => Ok(()),
        _ => Err(SyncError::Unexpected.into()),
    }
}

/// The place of this device among those who could do something now, from 0.
fn place(known: &Known, membership: &Membership, this: DeviceId, duty: Duty) -> u32 {
    let subject = match duty {
        Duty::Admit(device) | Duty::HandOn(device) => Some(device),
        Duty::Rotate => None,
        // Only this device knows of its own; of a removal others may know too, and the slower finds
        // it done.
        Duty::Again(_) => return 0,
    };
    let rank = |device: &DeviceId| {
        let subject = subject
            .as_ref()
            .map_or([0; 32], |subject| *subject.as_bytes());
        *blake3::hash(&[*device.as_bytes(), subject].concat()).as_bytes()
    };
    let own = rank(&this);
    let there = |device: &&DeviceId| {
        **device != this
            && Some(**device) != subject
            && known
                .seen
                .get(device)
                .is_some_and(|member| member.online && member.key)
    };
    let before = membership
        .members()
        .keys()
        .filter(there)
        .filter(|device| rank(device) < own)
        .count();
    u32::try_from(before).unwrap_or(u32::MAX).min(16)
}
