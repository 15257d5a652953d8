//! What the index knows of a version of a share and of a user.

use super::ids::UserNumber;
use super::records::RECORD;
use super::tables::malformed;
use hither_content::storage::StorageError;
use hither_proto::{
    DeviceId, Head, HeadError, ReadKey, ShareId, SignedHead, UncheckedHead, UserId,
};

/// How far a version has come. It only ever moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Its lists are on their way. It has nothing of its own.
    Begun = 0,
    /// It is being uploaded, or its upload broke off.
    Listed = 1,
    /// Everything is there.
    Complete = 2,
    /// It is no longer kept; its references are being removed.
    Released = 3,
}

impl Phase {
    /// Whether chunks are to come, or were to.
    pub(super) fn is_pending(self) -> bool {
        matches!(self, Self::Begun | Self::Listed)
    }
}

/// One version of a share, as one user keeps it.
#[derive(Clone)]
pub(super) struct VersionRecord {
    pub(super) phase: Phase,
    pub(super) user: UserId,
    pub(super) number: UserNumber,
    pub(super) owner: DeviceId,
    pub(super) share: ShareId,
    /// The owner's count of versions.
    pub(super) version: u64,
    /// When it expires, Unix milliseconds; 0: at once, [`Self::NEVER`]: not at all.
    pub(super) due_ms: u64,
    pub(super) read_key: ReadKey,
    /// The encoded signed head.
    pub(super) head: Vec<u8>,
}

const FIXED: usize = 1 + 16 + 4 + 32 + 16 + 8 + 8 + 32;

impl VersionRecord {
    /// Of [`Self::due_ms`].
    pub(super) const NEVER: u64 = u64::MAX;

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut value = vec![self.phase as u8];
        value.extend(self.user.as_bytes());
        value.extend(self.number.0.to_be_bytes());
        value.extend(self.owner.as_bytes());
        value.extend(self.share.as_bytes());
        value.extend(self.version.to_be_bytes());
        value.extend(self.due_ms.to_be_bytes());
        value.extend(self.read_key.expose());
        value.extend(&self.head);
        value
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, StorageError> {
        let (fixed, head) = value.split_at_checked(FIXED).ok_or_else(malformed)?;
        let (phase, rest) = fixed.split_first().ok_or_else(malformed)?;
        let mut rest = rest;
        Ok(Self {
            phase: match phase {
                0 => Phase::Begun,
                1 => Phase::Listed,
                2 => Phase::Complete,
                3 => Phase::Released,
                _ => return Err(malformed()),
            },
            user: UserId::new(take(&mut rest)?),
            number: UserNumber(u32::from_be_bytes(take(&mut rest)?)),
            owner: DeviceId::from_slice(&take::<32>(&mut rest)?).map_err(|_| malformed())?,
            share: ShareId::new(take(&mut rest)?),
            version: u64::from_be_bytes(take(&mut rest)?),
            due_ms: u64::from_be_bytes(take(&mut rest)?),
            read_key: ReadKey::new(take(&mut rest)?),
            head: head.to_vec(),
        })
    }

    /// Bytes of its lists, as its head says; 0 when that cannot be read.
    pub(super) fn list_bytes(&self) -> u64 {
        self.signed_head().map_or(0, |head| list_bytes(head.head()))
    }

    /// The head, checked again: what is on a disk may have been changed there.
    pub(super) fn signed_head(&self) -> Result<SignedHead, HeadError> {
        SignedHead::open(&UncheckedHead::decode(&self.head)?, self.share, self.owner)
    }
}

/// Bytes of the lists that say what a version consists of.
pub(super) fn list_bytes(head: &Head) -> u64 {
    (u64::from(head.manifest_chunks) + u64::from(head.chunks)) * RECORD as u64
}

/// What a user keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UserRecord {
    pub(super) number: UserNumber,
    /// Ciphertext of the different chunks that the user refers to, bytes.
    pub(super) bytes: u64,
    /// Number of versions, also those that are being uploaded or removed.
    pub(super) versions: u32,
    /// Bytes of the lists of those, as long as their uploads said that they would be. Lists of
    /// before are not counted.
    pub(super) lists: u64,
    /// What the user may keep, bytes; `None`: what the configuration says.
    pub(super) quota: Option<u64>,
}

impl UserRecord {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut value = self.number.0.to_be_bytes().to_vec();
        value.extend(self.bytes.to_be_bytes());
        value.extend(self.versions.to_be_bytes());
        value.push(u8::from(self.quota.is_some()));
        value.extend(self.quota.unwrap_or_default().to_be_bytes());
        value.extend(self.lists.to_be_bytes());
        value
    }

    pub(super) fn decode(mut value: &[u8]) -> Result<Self, StorageError> {
        let number = UserNumber(u32::from_be_bytes(take(&mut value)?));
        let bytes = u64::from_be_bytes(take(&mut value)?);
        let versions = u32::from_be_bytes(take(&mut value)?);
        let (quota, lists) = match value.len() {
            // Of records of before.
            0 => (None, 0),
            8 => (Some(u64::from_be_bytes(take(&mut value)?)), 0),
            17 => {
                let [has] = take(&mut value)?;
                let quota = u64::from_be_bytes(take(&mut value)?);
                (
                    (has != 0).then_some(quota),
                    u64::from_be_bytes(take(&mut value)?),
                )
            }
            _ => return Err(malformed()),
        };
        Ok(Self {
            number,
            bytes,
            versions,
            lists,
            quota,
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], StorageError> {
    let (taken, left) = rest.split_first_chunk::<N>().ok_or_else(malformed)?;
    *rest = left;
    Ok(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_records_round_trip() {
        for quota in [None, Some(0), Some(u64::MAX)] {
            let record = UserRecord {
                number: UserNumber(7),
                bytes: 1 << 40,
                versions: 3,
                lists: 36,
                quota,
            };
            assert_eq!(UserRecord::decode(&record.encode()).unwrap(), record);
            // As it was before lists were counted.
            let old = [
                &record.encode()[..16],
                &quota.map(u64::to_be_bytes).unwrap_or_default()[..],
            ]
            .concat();
            let old = &old[..if quota.is_some() { 24 } else { 16 }];
            assert_eq!(
                UserRecord::decode(old).unwrap(),
                UserRecord { lists: 0, ..record }
            );
        }
        assert!(UserRecord::decode(&[0; 15]).is_err() && UserRecord::decode(&[0; 17]).is_err());
        assert!(VersionRecord::decode(&[0; FIXED - 1]).is_err());
    }
}
