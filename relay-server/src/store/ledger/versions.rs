//! Versions come, are completed, replace others and go.

use super::super::ids::{UserNumber, VersionNumber};
use super::super::index::Rows;
use super::super::tables::{
    DUE, LISTS, NEXT_USER, NEXT_VERSION, SHARES, VERSIONS, due_key, malformed, share_key,
    share_prefix,
};
use super::super::version::{Phase, UserRecord, VersionRecord};
use super::{Ledger, used_up};
use hither_content::storage::StorageError;
use hither_proto::{DeviceId, ReadKey, ShareId, UserId};

/// Versions of one share of one user that are looked at; there are a few at any time.
const MAX_VERSIONS: usize = 64;

/// What is known of a version when its upload begins.
pub(in super::super) struct NewVersion {
    pub(in super::super) user: UserId,
    pub(in super::super) owner: DeviceId,
    pub(in super::super) share: ShareId,
    pub(in super::super) version: u64,
    pub(in super::super) read_key: ReadKey,
    pub(in super::super) head: Vec<u8>,
    /// When it is given up unless it is complete by then, Unix milliseconds.
    pub(in super::super) due_ms: u64,
    /// Bytes of its lists.
    pub(in super::super) lists: u64,
}

/// What a user may have at most.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Most {
    pub(in super::super) versions: u32,
    /// Bytes of the lists of all versions.
    pub(in super::super) lists: u64,
}

/// How beginning a version went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Created {
    /// Its number, and its user's.
    New(VersionNumber, UserNumber),
    /// A newer one is complete.
    Older,
    /// The user has so many versions already.
    TooMany(u32),
    /// The user's versions have lists of so many bytes already.
    TooLong(u64),
}

/// How completing a version went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Completed {
    /// It is complete; others may have been released.
    Done,
    /// It was released meanwhile.
    Gone,
    /// A newer one was completed meanwhile; this one is released.
    Older,
}

impl Ledger<'_> {
    /// Adds a version, in place of one that was begun and got no further, for a user who has less
    /// than `most`.
    pub(in super::super) fn create(
        &mut self,
        new: NewVersion,
        most: Most,
    ) -> Result<Created, StorageError> {
        let others = self.versions_of(&new.user, &new.owner, &new.share)?;
        let newer = |(_, other): &(_, VersionRecord)| {
            other.phase == Phase::Complete && other.version > new.version
        };
        if others.iter().any(newer) {
            return Ok(Created::Older);
        }
        let number = self.user_number(&new.user)?;
        let Some(mut user) = self.user(&new.user)? else {
            return Err(malformed());
        };
        if user.versions >= most.versions {
            return Ok(Created::TooMany(user.versions));
        }
        if user.lists.saturating_add(new.lists) > most.lists {
            return Ok(Created::TooLong(user.lists));
        }
        user.versions += 1;
        user.lists += new.lists;
        self.set_user(&new.user, &user);
        for (other, record) in others
            .iter()
            .filter(|(_, other)| other.phase == Phase::Begun)
        {
            self.release(*other, record)?;
        }
        let version = VersionNumber(self.next_number(NEXT_VERSION)?);
        let NewVersion {
            user,
            owner,
            share,
            version: count,
            read_key,
            head,
            due_ms,
            lists: _,
        } = new;
        let phase = Phase::Begun;
        let record = VersionRecord {
            phase,
            user,
            number,
            owner,
            share,
            version: count,
            due_ms,
            read_key,
            head,
        };
        self.put(VERSIONS, &version.0.to_be_bytes(), &record.encode());
        self.put(SHARES, &share_key(&owner, &share, &user, version), &[]);
        self.put(DUE, &due_key(due_ms, version), &[]);
        Ok(Created::New(version, number))
    }

    /// A version for which references may be added: one that is not released.
    pub(in super::super) fn open_version(
        &self,
        version: VersionNumber,
    ) -> Result<Option<VersionRecord>, StorageError> {
        Ok(self
            .version(version)?
            .filter(|record| record.phase != Phase::Released))
    }

    /// Marks a version as complete and releases what it replaces: everything of the same user,
    /// owner and share that is not newer.
    pub(in super::super) fn complete(
        &mut self,
        version: VersionNumber,
        due_ms: u64,
    ) -> Result<Completed, StorageError> {
        let Some(record) = self.open_version(version)? else {
            return Ok(Completed::Gone);
        };
        let others = self.versions_of(&record.user, &record.owner, &record.share)?;
        let newer = |other: &VersionRecord| other.version > record.version;
        if others
            .iter()
            .any(|(_, other)| newer(other) && other.phase == Phase::Complete)
        {
            self.release(version, &record)?;
            return Ok(Completed::Older);
        }
        for (number, other) in &others {
            if *number != version && !newer(other) {
                self.release(*number, other)?;
            }
        }
        self.set_due(
            version,
            VersionRecord {
                phase: Phase::Complete,
                ..record
            },
            due_ms,
        );
        Ok(Completed::Done)
    }

    /// The lists of a version are complete and what it has is known: earlier attempts, on whose
    /// chunks it relies by now, are released. `refused`: it may not go on, and is released
    /// itself.
    pub(in super::super) fn list(
        &mut self,
        version: VersionNumber,
        refused: bool,
    ) -> Result<(), StorageError> {
        let Some(record) = self.open_version(version)? else {
            return Ok(());
        };
        for (number, other) in self.versions_of(&record.user, &record.owner, &record.share)? {
            let gone = if refused {
                number == version
            } else {
                number < version
            };
            if gone && other.phase.is_pending() {
                self.release(number, &other)?;
            }
        }
        if !refused && record.phase == Phase::Begun {
            let due = record.due_ms;
            self.set_due(
                version,
                VersionRecord {
                    phase: Phase::Listed,
                    ..record
                },
                due,
            );
        }
        Ok(())
    }

    /// Every version that a user keeps of a share, without released ones.
    pub(in super::super) fn versions_of(
        &self,
        user: &UserId,
        owner: &DeviceId,
        share: &ShareId,
    ) -> Result<Vec<(VersionNumber, VersionRecord)>, StorageError> {
        let prefix = [&share_prefix(owner, share)[..], user.as_bytes()].concat();
        let mut found = Vec::new();
        for key in self.keys(SHARES, &prefix, MAX_VERSIONS)? {
            let Some(number) = key
                .last_chunk()
                .map(|number| VersionNumber(u64::from_be_bytes(*number)))
            else {
                continue;
            };
            found.extend(self.version(number)?.map(|record| (number, record)));
        }
        Ok(found)
    }

    /// Changes when a version expires.
    pub(in super::super) fn set_due(
        &mut self,
        version: VersionNumber,
        record: VersionRecord,
        due_ms: u64,
    ) {
        self.remove(DUE, &due_key(record.due_ms, version));
        if due_ms != VersionRecord::NEVER {
            self.put(DUE, &due_key(due_ms, version), &[]);
        }
        self.put(
            VERSIONS,
            &version.0.to_be_bytes(),
            &VersionRecord { due_ms, ..record }.encode(),
        );
    }

    /// Takes a version out of sight; its references are removed later, piece by piece.
    pub(in super::super) fn release(
        &mut self,
        version: VersionNumber,
        record: &VersionRecord,
    ) -> Result<(), StorageError> {
        self.remove(
            SHARES,
            &share_key(&record.owner, &record.share, &record.user, version),
        );
        self.set_due(
            version,
            VersionRecord {
                phase: Phase::Released,
                ..record.clone()
            },
            0,
        );
        Ok(())
    }

    /// Forgets a released version, whose references are gone. `lists` are the keys of its lists.
    pub(in super::super) fn forget(
        &mut self,
        version: VersionNumber,
        lists: &[Vec<u8>],
    ) -> Result<(), StorageError> {
        let Some(record) = self.version(version)? else {
            return Ok(());
        };
        for key in lists {
            self.remove(LISTS, key);
        }
        if let Some(mut user) = self.user(&record.user)? {
            user.versions = user.versions.saturating_sub(1);
            user.lists = user.lists.saturating_sub(record.list_bytes());
            self.set_user(&record.user, &user);
        }
        self.remove(DUE, &due_key(record.due_ms, version));
        self.remove(VERSIONS, &version.0.to_be_bytes());
        Ok(())
    }

    /// The user's number, which they get when they are seen first.
    pub(in super::super) fn user_number(
        &mut self,
        user: &UserId,
    ) -> Result<UserNumber, StorageError> {
        if let Some(record) = self.user(user)? {
            return Ok(record.number);
        }
        let number =
            UserNumber(u32::try_from(self.next_number(NEXT_USER)?).map_err(|_| used_up())?);
        self.set_user(
            user,
            &UserRecord {
                number,
                bytes: 0,
                versions: 0,
                lists: 0,
                quota: None,
            },
        );
        Ok(number)
    }
}
