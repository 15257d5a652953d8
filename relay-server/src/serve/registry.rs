//! Users, their devices, and invitations.
//!
//! Invariants: a device belongs to one user; an invitation is spent once per device, whatever
//! breaks in between and however often the device comes back with it; a revoked device stays
//! revoked.

use super::records::{
    Device, InvitationRecord, Seen, User, bucket, device_key, hex, last_device, mail_queue, unhex,
    user_key,
};
use super::visit::book;
use super::waking;
use crate::node::now_ms;
use crate::state::{Entry, Expect, MAX_PAGE, State, StateError};
use bytes::Bytes;
use hither_proto::limits::MAX_DEVICES;
use hither_proto::{DeviceId, Invitation, UserId};
use prost::Message;
use std::sync::Arc;
use std::time::Duration;

/// Attempts at a change that others make at the same time.
const ATTEMPTS: usize = 16;
/// A page that was not connected for so long is removed.
pub const PAGE_FORGOTTEN_MS: u64 = 30 * 24 * 3600 * 1000;
/// Most revoked devices that a user's record remembers, the latest.
const MAX_REVOKED: usize = 1024;

/// Why something about users, devices or invitations was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The device is unknown and showed no invitation.
    #[error("the device is not registered")]
    NotRegistered,
    /// Unknown, used up or expired.
    #[error("the invitation is not valid")]
    Invitation,
    /// The device was revoked.
    #[error("the device was revoked")]
    Revoked,
    /// The user has as many devices as anyone may have.
    #[error("the user has {MAX_DEVICES} devices already")]
    TooManyDevices,
    /// No such user or device.
    #[error("there is no such user or device")]
    Unknown,
    /// A record that this program did not write.
    #[error("a record of the state is damaged: {0}")]
    Damaged(&'static str),
    /// The state failed.
    #[error(transparent)]
    State(#[from] StateError),
}

/// What a registered device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    /// Whose it is.
    pub user: UserId,
    /// It was not before this call.
    pub new: bool,
    /// It is a page in a browser.
    pub web: bool,
}

/// What an operator sees of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// The device.
    pub device: DeviceId,
    /// Whose it is.
    pub user: UserId,
    /// Unix milliseconds.
    pub registered_ms: u64,
    /// When it was connected last, as far as it was written down, Unix milliseconds; 0: never.
    pub seen_ms: u64,
    /// It may do nothing any more.
    pub revoked: bool,
}

/// What an operator sees of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserInfo {
    /// The user.
    pub user: UserId,
    /// Unix milliseconds.
    pub created_ms: u64,
    /// The operator's note.
    pub label: String,
    /// The user's devices, without revoked ones.
    pub devices: Vec<DeviceId>,
}

/// Users, devices and invitations in the state.
#[derive(Clone)]
pub struct Registry {
    state: Arc<dyn State>,
}

type Result<T> = std::result::Result<T, RegistryError>;

impl Registry {
    /// Works on this state.
    pub fn new(state: Arc<dyn State>) -> Self {
        Self { state }
    }

    /// Makes a user with a random id. `label` is a note of the operator's, cut to 200 characters.
    pub async fn create_user(&self, label: &str) -> Result<UserId> {
        let user = UserId::new(random()?);
        let label = label.chars().take(200).collect();
        let record = User {
            created_ms: now_ms(),
            label,
            ..User::default()
        };
        self.state
            .put(
                bucket::USERS,
                &user_key(&user),
                encode(&record),
                Expect::Absent,
            )
            .await?;
        Ok(user)
    }

    /// Makes an invitation for `user` that `devices` may use within `valid`.
    pub async fn invite(&self, user: &UserId, devices: u32, valid: Duration) -> Result<Invitation> {
        self.invite_some(user, devices, valid, false).await
    }

    /// The same for pages in browsers, which have fewer rights and are forgotten.
    pub async fn invite_pages(
        &self,
        user: &UserId,
        pages: u32,
        valid: Duration,
    ) -> Result<Invitation> {
        self.invite_some(user, pages, valid, true).await
    }

    async fn invite_some(
        &self,
        user: &UserId,
        devices: u32,
        valid: Duration,
        web: bool,
    ) -> Result<Invitation> {
        if self.user(user).await?.is_none() {
            return Err(RegistryError::Unknown);
        }
        let token = Invitation::new(random()?);
        let valid = u64::try_from(valid.as_millis()).unwrap_or(u64::MAX);
        let record = InvitationRecord {
            user: user.as_bytes().to_vec(),
            left: devices.min(MAX_DEVICES as u32),
            expires_ms: now_ms().saturating_add(valid),
            used_by: Vec::new(),
            web,
        };
        self.state
            .put(
                bucket::INVITATIONS,
                &invitation_key(&token),
                encode(&record),
                Expect::Absent,
            )
            .await?;
        Ok(token)
    }

    /// Forgets an invitation; says whether there was one.
    pub async fn withdraw(&self, token: &Invitation) -> Result<bool> {
        Ok(self
            .state
            .delete(bucket::INVITATIONS, &invitation_key(token), Expect::Any)
            .await?)
    }

    /// The user of a registered device.
    ///
    /// Errors: [`RegistryError::NotRegistered`], [`RegistryError::Revoked`].
    pub async fn authorize(&self, device: &DeviceId) -> Result<UserId> {
        Ok(self.registered(device).await?.user)
    }

    /// The same, and registers a device that shows a valid invitation. A device that is registered
    /// already keeps its user and spends nothing.
    pub async fn admit(&self, device: &DeviceId, token: Option<&Invitation>) -> Result<Registered> {
        match (self.registered(device).await, token) {
            (Err(RegistryError::NotRegistered), Some(token)) => self.register(device, token).await,
            (result, _) => result,
        }
    }

    async fn registered(&self, device: &DeviceId) -> Result<Registered> {
        match self.device(device).await? {
            Some(Device { revoked: true, .. }) => Err(RegistryError::Revoked),
            Some(record) => Ok(Registered {
                user: user_of(&record)?,
                new: false,
                web: record.web,
            }),
            None => Err(RegistryError::NotRegistered),
        }
    }

    /// Spends the invitation, then adds the device to the user's, then registers it: a device that
    /// was stopped in the middle comes back with the same invitation and goes on where it was.
    async fn register(&self, device: &DeviceId, token: &Invitation) -> Result<Registered> {
        let (user, web) = self.spend(device, token).await?;
        if let Err(error) = self.enlist(&user, device, web).await {
            if error == RegistryError::TooManyDevices {
                self.unspend(device, token).await?;
            }
            return Err(error);
        }
        let record = Device {
            user: user.as_bytes().to_vec(),
            registered_ms: now_ms(),
            revoked: false,
            web,
        };
        let key = device_key(device);
        match self
            .state
            .put(bucket::DEVICES, &key, encode(&record), Expect::Absent)
            .await
        {
            Ok(_) => Ok(Registered {
                user,
                new: true,
                web,
            }),
            // The device registers itself twice at a time, or was revoked just now.
            Err(StateError::Conflict { .. }) => self.registered(device).await,
            Err(error) => Err(error.into()),
        }
    }

    async fn spend(&self, device: &DeviceId, token: &Invitation) -> Result<(UserId, bool)> {
        let key = invitation_key(token);
        for _ in 0..ATTEMPTS {
            let entry = self
                .state
                .get(bucket::INVITATIONS, &key)
                .await?
                .ok_or(RegistryError::Invitation)?;
            let mut record: InvitationRecord = decode(&entry.value, "an invitation")?;
            let user = user_id(&record.user)?;
            if record.used_by.iter().any(|used| used == device.as_bytes()) {
                return Ok((user, record.web));
            }
            if record.left == 0 || record.expires_ms <= now_ms() {
                return Err(RegistryError::Invitation);
            }
            record.left -= 1;
            record.used_by.push(device.as_bytes().to_vec());
            if self
                .replace(bucket::INVITATIONS, &key, &entry, &record)
                .await?
            {
                return Ok((user, record.web));
            }
        }
        Err(crowded())
    }

    async fn unspend(&self, device: &DeviceId, token: &Invitation) -> Result<()> {
        let key = invitation_key(token);
        for _ in 0..ATTEMPTS {
            let Some(entry) = self.state.get(bucket::INVITATIONS, &key).await? else {
                return Ok(());
            };
            let mut record: InvitationRecord = decode(&entry.value, "an invitation")?;
            let before = record.used_by.len();
            record.used_by.retain(|used| used != device.as_bytes());
            record.left += u32::from(record.used_by.len() < before);
            if self
                .replace(bucket::INVITATIONS, &key, &entry, &record)
                .await?
            {
                return Ok(());
            }
        }
        Err(crowded())
    }

    async fn enlist(&self, user: &UserId, device: &DeviceId, web: bool) -> Result<()> {
        self.change_user(user, |record| {
            let listed = record
                .devices
                .iter()
                .any(|other| other == device.as_bytes());
            match (listed, record.devices.len() < MAX_DEVICES) {
                (true, _) => Ok(false),
                (false, false) => Err(RegistryError::TooManyDevices),
                (false, true) => {
                    record.devices.push(device.as_bytes().to_vec());
                    if web {
                        record.pages.push(device.as_bytes().to_vec());
                    }
                    Ok(true)
                }
            }
        })
        .await
    }

    /// Revokes a device: it may do nothing any more, and its connections are closed within a
    /// second. Its mailbox is emptied.
    ///
    /// Errors: [`RegistryError::Unknown`].
    pub async fn revoke(&self, device: &DeviceId) -> Result<()> {
        let key = device_key(device);
        let mut user = None;
        for _ in 0..ATTEMPTS {
            let entry = self
                .state
                .get(bucket::DEVICES, &key)
                .await?
                .ok_or(RegistryError::Unknown)?;
            let mut record: Device = decode(&entry.value, "a device")?;
            user = Some(user_of(&record)?);
            record.revoked = true;
            if self.replace(bucket::DEVICES, &key, &entry, &record).await? {
                break;
            }
            user = None;
        }
        let user = user.ok_or_else(crowded)?;
        self.change_user(&user, |record| Ok(strike_out(record, device)))
            .await?;
        self.state.ack(&mail_queue(device), u64::MAX).await?;
        // Nobody visits it any more, and nothing wakes it.
        book::end_all_of(self.state.as_ref(), &user, device, now_ms()).await?;
        waking::forget(self.state.as_ref(), device).await?;
        Ok(())
    }

    /// Removes a device of `user`, as [`revoke`](Self::revoke) does, because another one of the
    /// user's wants it. Of two that remove each other the one whose change of the user's record
    /// comes first stays. May be repeated: what an interrupted call left is done then.
    ///
    /// Errors: [`RegistryError::Unknown`] when it is no device of the user's, or the same one;
    /// [`RegistryError::Revoked`] when `by` was removed meanwhile.
    pub async fn remove(&self, user: &UserId, by: &DeviceId, device: &DeviceId) -> Result<()> {
        if by == device {
            return Err(RegistryError::Unknown);
        }
        let has = |list: &[Vec<u8>], one: &DeviceId| list.iter().any(|key| key == one.as_bytes());
        self.change_user(user, |record| {
            if !has(&record.devices, by) {
                return Err(RegistryError::Revoked);
            }
            if !has(&record.devices, device) {
                return match has(&record.revoked, device) {
                    true => Ok(false),
                    false => Err(RegistryError::Unknown),
                };
            }
            strike_out(record, device);
            Ok(true)
        })
        .await?;
        self.revoke(device).await
    }

    /// What is known of a device; `None`: nothing.
    pub async fn device(&self, device: &DeviceId) -> Result<Option<Device>> {
        let entry = self.state.get(bucket::DEVICES, &device_key(device)).await?;
        entry
            .map(|entry| decode(&entry.value, "a device"))
            .transpose()
    }

    /// The devices of a user, without revoked ones; empty for an unknown user.
    pub async fn devices_of(&self, user: &UserId) -> Result<Vec<DeviceId>> {
        let Some(record) = self.user(user).await? else {
            return Ok(Vec::new());
        };
        device_ids(&record)
    }

    /// The same, each with whether it is a page in a browser.
    pub async fn members_of(&self, user: &UserId) -> Result<Vec<(DeviceId, bool)>> {
        let Some(record) = self.user(user).await? else {
            return Ok(Vec::new());
        };
        let is_page = |device: &DeviceId| record.pages.iter().any(|page| page == device.as_bytes());
        let devices = device_ids(&record)?;
        Ok(devices
            .into_iter()
            .map(|device| (device, is_page(&device)))
            .collect())
    }

    /// The devices of a user, revoked ones too: what they uploaded is still the user's.
    pub async fn all_devices_of(&self, user: &UserId) -> Result<Vec<DeviceId>> {
        let Some(mut record) = self.user(user).await? else {
            return Ok(Vec::new());
        };
        record.devices.append(&mut record.revoked);
        device_ids(&record)
    }

    /// When a device was connected last, as far as it was written down, Unix milliseconds; 0:
    /// never.
    pub async fn seen(&self, device: &DeviceId) -> Result<u64> {
        let entry = self.state.get(bucket::SEEN, &device_key(device)).await?;
        let seen = entry
            .map(|entry| decode::<Seen>(&entry.value, "a time of last contact"))
            .transpose()?;
        Ok(seen.map_or(0, |seen| seen.at_ms))
    }

    /// Writes down that a device is connected now.
    pub async fn saw(&self, device: &DeviceId) -> Result<()> {
        let seen = Seen { at_ms: now_ms() };
        self.state
            .put(
                bucket::SEEN,
                &device_key(device),
                encode(&seen),
                Expect::Any,
            )
            .await?;
        Ok(())
    }

    /// Whether there is any user: `false` at the very first start.
    pub async fn has_users(&self) -> Result<bool> {
        Ok(!self
            .state
            .list(bucket::USERS, "", None, 1)
            .await?
            .records
            .is_empty())
    }

    /// Users after `after`, in order of their ids, at most a page of them; and whether there are
    /// more.
    pub async fn users(&self, after: Option<&UserId>) -> Result<(Vec<UserInfo>, bool)> {
        let after = after.map(user_key);
        let page = self
            .state
            .list(bucket::USERS, "", after.as_deref(), MAX_PAGE)
            .await?;
        let info = |(key, entry): (String, Entry)| {
            let record: User = decode(&entry.value, "a user")?;
            let user = unhex(&key)
                .map(UserId::new)
                .ok_or(RegistryError::Damaged("a user"))?;
            Ok(UserInfo {
                user,
                created_ms: record.created_ms,
                devices: device_ids(&record)?,
                label: record.label,
            })
        };
        let users = page
            .records
            .into_iter()
            .map(|record| info((record.key, record.entry)))
            .collect::<Result<_>>()?;
        Ok((users, page.more))
    }

    /// Devices after `after`, in order of their keys, revoked ones too, at most a page of them; and
    /// whether there are more.
    pub async fn devices(&self, after: Option<&DeviceId>) -> Result<(Vec<DeviceInfo>, bool)> {
        let after = after.map(device_key);
        let page = self
            .state
            .list(bucket::DEVICES, "", after.as_deref(), MAX_PAGE)
            .await?;
        let mut devices = Vec::with_capacity(page.records.len());
        for record in &page.records {
            let device = last_device(&record.key).ok_or(RegistryError::Damaged("a device"))?;
            let Device {
                registered_ms,
                revoked,
                ..
            } = decode(&record.entry.value, "a device")?;
            let user = user_of(&decode(&record.entry.value, "a device")?)?;
            devices.push(DeviceInfo {
                device,
                user,
                registered_ms,
                revoked,
                seen_ms: self.seen(&device).await?,
            });
        }
        Ok((devices, page.more))
    }

    /// Removes invitations that nobody can use any more; says how many.
    pub async fn sweep_invitations(&self) -> Result<usize> {
        let (mut after, mut removed) = (None::<String>, 0);
        loop {
            let page = self
                .state
                .list(bucket::INVITATIONS, "", after.as_deref(), MAX_PAGE)
                .await?;
            for record in &page.records {
                let invitation: InvitationRecord = decode(&record.entry.value, "an invitation")?;
                if invitation.expires_ms <= now_ms() {
                    let expect = Expect::Revision(record.entry.revision);
                    match self
                        .state
                        .delete(bucket::INVITATIONS, &record.key, expect)
                        .await
                    {
                        Ok(_) => removed += 1,
                        Err(StateError::Conflict { .. }) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            after = page.records.last().map(|record| record.key.clone());
            if !page.more {
                return Ok(removed);
            }
        }
    }

    /// Removes pages that were not connected for a month, as a revocation does; says
    /// how many.
    pub async fn sweep_pages(&self, now_ms: u64) -> Result<usize> {
        let (mut after, mut removed) = (None::<String>, 0);
        loop {
            let page = self
                .state
                .list(bucket::DEVICES, "", after.as_deref(), MAX_PAGE)
                .await?;
            for record in &page.records {
                let device = last_device(&record.key).ok_or(RegistryError::Damaged("a device"))?;
                let found: Device = decode(&record.entry.value, "a device")?;
                if !found.web || found.revoked {
                    continue;
                }
                let last = self.seen(&device).await?.max(found.registered_ms);
                if last.saturating_add(PAGE_FORGOTTEN_MS) <= now_ms {
                    self.revoke(&device).await?;
                    removed += 1;
                }
            }
            after = page.records.last().map(|record| record.key.clone());
            if !page.more {
                return Ok(removed);
            }
        }
    }

    async fn user(&self, user: &UserId) -> Result<Option<User>> {
        let entry = self.state.get(bucket::USERS, &user_key(user)).await?;
        entry
            .map(|entry| decode(&entry.value, "a user"))
            .transpose()
    }

    /// Changes a user's record; `change` says whether it did.
    async fn change_user(
        &self,
        user: &UserId,
        mut change: impl FnMut(&mut User) -> Result<bool>,
    ) -> Result<()> {
        let key = user_key(user);
        for _ in 0..ATTEMPTS {
            let entry = self
                .state
                .get(bucket::USERS, &key)
                .await?
                .ok_or(RegistryError::Unknown)?;
            let mut record: User = decode(&entry.value, "a user")?;
            if !change(&mut record)? || self.replace(bucket::USERS, &key, &entry, &record).await? {
                return Ok(());
            }
        }
        Err(crowded())
    }

    /// Puts a changed record in the place of the one that was read; `false`: somebody else was
    /// faster.
    async fn replace(
        &self,
        bucket: &str,
        key: &str,
        entry: &Entry,
        record: &impl Message,
    ) -> Result<bool> {
        match self
            .state
            .put(
                bucket,
                key,
                encode(record),
                Expect::Revision(entry.revision),
            )
            .await
        {
            Ok(_) => Ok(true),
            Err(StateError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Takes a device out of those of a user, and remembers it; false: it is none of them.
fn strike_out(record: &mut User, device: &DeviceId) -> bool {
    let before = record.devices.len();
    record.devices.retain(|other| other != device.as_bytes());
    record.pages.retain(|other| other != device.as_bytes());
    let gone = record.devices.len() < before;
    if gone {
        record.revoked.push(device.as_bytes().to_vec());
        let spare = record.revoked.len().saturating_sub(MAX_REVOKED);
        record.revoked.drain(..spare);
    }
    gone
}

/// A record as bytes.
pub(crate) fn encode(record: &impl Message) -> Bytes {
    record.encode_to_vec().into()
}

/// A record from bytes.
pub(crate) fn decode<M: Message + Default>(bytes: &[u8], what: &'static str) -> Result<M> {
    M::decode(bytes).map_err(|_| RegistryError::Damaged(what))
}

fn crowded() -> RegistryError {
    StateError::Busy("changes of one record at a time".into()).into()
}

fn user_id(bytes: &[u8]) -> Result<UserId> {
    UserId::from_slice(bytes).map_err(|_| RegistryError::Damaged("a user id"))
}

/// Whose a device is.
pub(crate) fn user_of(record: &Device) -> Result<UserId> {
    user_id(&record.user)
}

fn device_ids(record: &User) -> Result<Vec<DeviceId>> {
    let id = |key: &Vec<u8>| {
        DeviceId::from_slice(key).map_err(|_| RegistryError::Damaged("a user's device"))
    };
    record.devices.iter().map(id).collect()
}

/// Key of an invitation: who reads the state learns no token.
fn invitation_key(token: &Invitation) -> String {
    hex(blake3::hash(token.expose()).as_bytes())
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| StateError::Storage(error.to_string()))?;
    Ok(bytes)
}
