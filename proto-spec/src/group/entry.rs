//! One entry of a group's log, and its bytes.
//!
//! ```text
//! entry  = body ‖ ed25519 signature of the author over "hither group v1\0" ‖ body (64)
//! body   = 1 (1) ‖ group (32) ‖ number (8) ‖ hash of the entry before (32) ‖ author (32) ‖ time (8) ‖ action
//! hash   = BLAKE3, derive-key mode "hither.v1 group entry", over the whole entry
//! action = kind (1) ‖
//!   1 create:  name kind (1: 0 sealed, 1 in the clear) ‖ (mark (32) | length (1) ‖ text) ‖ key mark (32) ‖ policy ‖
//!              admins: count (2) ‖ keys (32 each)
//!   2 add:     device (32)                 3 remove:  device (32) ‖ key mark (32)
//!   4 leave                                5 promote: device (32)
//!   6 policy:  policy                      7 rotate:  key mark (32)
//! policy = 0 open | 1 allow-list ‖ count (2) ‖ keys (32 each) | 2 approval
//! ```
//! Numbers are big-endian. Of the first entry the group and the hash before are zeros, and its own
//! hash is the group's id.

use super::name::GroupName;
use crate::device::DeviceId;
use crate::ids::{GroupId, KeyMark};
use crate::limits::{MAX_GROUP_ALLOWED, MAX_GROUP_ENTRY, MAX_GROUP_NAMED};
use std::collections::BTreeSet;

/// Separates these signatures from anything else a device key ever signs.
const CONTEXT: &[u8] = b"hither group v1\0";
const FORMAT: u8 = 1;
const SIGNATURE: usize = 64;

/// Why bytes are no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Not laid out as an entry, or beyond a bound.
    #[error("the entry of the group's log is malformed")]
    Malformed,
    /// Its author did not sign it.
    #[error("the entry of the group's log is not signed by its author")]
    Signature,
}

/// Who may join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// Everybody who asks.
    Open,
    /// These devices; at most [`MAX_GROUP_ALLOWED`].
    AllowList(BTreeSet<DeviceId>),
    /// Whom an admin approves.
    Approval,
}

/// How the log has the group's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameSeal {
    /// In the clear: everybody at the relay can find it.
    Clear(GroupName),
    /// As [`GroupName::mark`]: the name itself reaches members with the group's secret.
    Sealed([u8; 32]),
}

/// What an entry changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Makes the group; only the first entry does. The author becomes a member.
    Create {
        /// Its name.
        name: NameSeal,
        /// The first generation of its secret.
        key: KeyMark,
        /// Who may join.
        policy: Policy,
        /// Who is or becomes an admin by joining; never empty, at most [`MAX_GROUP_NAMED`].
        admins: BTreeSet<DeviceId>,
    },
    /// A device becomes a member.
    Add {
        /// Which.
        device: DeviceId,
    },
    /// An admin removes a member; the next generation of the secret begins.
    Remove {
        /// Which.
        device: DeviceId,
        /// The next generation.
        key: KeyMark,
    },
    /// The author leaves. A member that stays begins the next generation.
    Leave,
    /// A member becomes an admin.
    Promote {
        /// Which.
        device: DeviceId,
    },
    /// Other rules for joining.
    SetPolicy {
        /// From now on.
        policy: Policy,
    },
    /// The next generation of the secret begins.
    Rotate {
        /// The next generation.
        key: KeyMark,
    },
}

/// One entry, without its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The group; zeros in the first entry.
    pub group: GroupId,
    /// Place in the log, from 0.
    pub number: u64,
    /// Hash of the entry before; zeros in the first entry.
    pub previous: [u8; 32],
    /// Who made it.
    pub author: DeviceId,
    /// When, by the author's clock, Unix milliseconds; told to people, trusted for nothing.
    pub time_ms: u64,
    /// What it changes.
    pub action: Action,
}

/// An entry whose signature was checked, and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedEntry {
    entry: Entry,
    bytes: Vec<u8>,
}

impl SignedEntry {
    /// Signs an entry; `sign` makes the ed25519 signature of a message by the author.
    pub fn sign(entry: Entry, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> Self {
        let mut bytes = entry.encode();
        let signature = sign(&[CONTEXT, &bytes].concat());
        bytes.extend_from_slice(&signature);
        Self { entry, bytes }
    }

    /// Parses an entry from outside and checks its signature.
    pub fn open(bytes: &[u8]) -> Result<Self, EntryError> {
        if bytes.len() > MAX_GROUP_ENTRY {
            return Err(EntryError::Malformed);
        }
        let at = bytes
            .len()
            .checked_sub(SIGNATURE)
            .ok_or(EntryError::Malformed)?;
        let (body, signature) = bytes.split_at(at);
        let entry = Entry::decode(body)?;
        if !entry.author.verify(&[CONTEXT, body].concat(), signature) {
            return Err(EntryError::Signature);
        }
        Ok(Self {
            entry,
            bytes: bytes.to_vec(),
        })
    }

    /// The entry.
    pub const fn entry(&self) -> &Entry {
        &self.entry
    }

    /// For sending or storing.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What the entry after it has as [`Entry::previous`].
    pub fn hash(&self) -> [u8; 32] {
        blake3::derive_key("hither.v1 group entry", &self.bytes)
    }

    /// The group that it is about.
    pub fn group(&self) -> GroupId {
        match self.entry.action {
            Action::Create { .. } => GroupId::new(self.hash()),
            _ => self.entry.group,
        }
    }
}

impl Entry {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        out.extend_from_slice(self.group.as_bytes());
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&self.previous);
        out.extend_from_slice(self.author.as_bytes());
        out.extend_from_slice(&self.time_ms.to_be_bytes());
        match &self.action {
            Action::Create {
                name,
                key,
                policy,
                admins,
            } => {
                out.push(1);
                name.encode(&mut out);
                out.extend_from_slice(key.as_bytes());
                policy.encode(&mut out);
                encode_devices(admins, &mut out);
            }
            Action::Add { device } => encode_device(2, device, &mut out),
            Action::Remove { device, key } => {
                encode_device(3, device, &mut out);
                out.extend_from_slice(key.as_bytes());
            }
            Action::Leave => out.push(4),
            Action::Promote { device } => encode_device(5, device, &mut out),
            Action::SetPolicy { policy } => {
                out.push(6);
                policy.encode(&mut out);
            }
            Action::Rotate { key } => {
                out.push(7);
                out.extend_from_slice(key.as_bytes());
            }
        }
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let mut reader = Reader(bytes);
        if reader.byte()? != FORMAT {
            return Err(EntryError::Malformed);
        }
        let entry = Self {
            group: GroupId::new(reader.array()?),
            number: u64::from_be_bytes(reader.array()?),
            previous: reader.array()?,
            author: reader.device()?,
            time_ms: u64::from_be_bytes(reader.array()?),
            action: Action::decode(&mut reader)?,
        };
        if reader.0.is_empty() {
            Ok(entry)
        } else {
            Err(EntryError::Malformed)
        }
    }
}

impl Action {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, EntryError> {
        Ok(match reader.byte()? {
            1 => Self::Create {
                name: NameSeal::decode(reader)?,
                key: KeyMark::new(reader.array()?),
                policy: Policy::decode(reader)?,
                admins: reader.devices(MAX_GROUP_NAMED)?,
            },
            2 => Self::Add {
                device: reader.device()?,
            },
            3 => Self::Remove {
                device: reader.device()?,
                key: KeyMark::new(reader.array()?),
            },
            4 => Self::Leave,
            5 => Self::Promote {
                device: reader.device()?,
            },
            6 => Self::SetPolicy {
                policy: Policy::decode(reader)?,
            },
            7 => Self::Rotate {
                key: KeyMark::new(reader.array()?),
            },
            _ => return Err(EntryError::Malformed),
        })
    }
}

impl NameSeal {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Sealed(mark) => {
                out.push(0);
                out.extend_from_slice(mark);
            }
            Self::Clear(name) => {
                out.extend_from_slice(&[1, name.as_str().len() as u8]);
                out.extend_from_slice(name.as_str().as_bytes());
            }
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, EntryError> {
        match reader.byte()? {
            0 => Ok(Self::Sealed(reader.array()?)),
            1 => {
                let length = usize::from(reader.byte()?);
                let text =
                    std::str::from_utf8(reader.take(length)?).map_err(|_| EntryError::Malformed)?;
                Ok(Self::Clear(
                    GroupName::parse(text).map_err(|_| EntryError::Malformed)?,
                ))
            }
            _ => Err(EntryError::Malformed),
        }
    }
}

impl Policy {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Open => out.push(0),
            Self::AllowList(allowed) => {
                out.push(1);
                encode_devices(allowed, out);
            }
            Self::Approval => out.push(2),
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, EntryError> {
        match reader.byte()? {
            0 => Ok(Self::Open),
            1 => reader.devices(MAX_GROUP_ALLOWED).map(Self::AllowList),
            2 => Ok(Self::Approval),
            _ => Err(EntryError::Malformed),
        }
    }
}

fn encode_device(kind: u8, device: &DeviceId, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(device.as_bytes());
}

pub(super) fn encode_devices<'a>(
    devices: impl IntoIterator<Item = &'a DeviceId, IntoIter: ExactSizeIterator>,
    out: &mut Vec<u8>,
) {
    let devices = devices.into_iter();
    out.extend_from_slice(&(devices.len() as u16).to_be_bytes());
    devices.for_each(|device| out.extend_from_slice(device.as_bytes()));
}

/// Takes bytes from the front, never more than there are.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], EntryError> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(EntryError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], EntryError> {
        self.take(N)?.try_into().map_err(|_| EntryError::Malformed)
    }

    pub(super) fn byte(&mut self) -> Result<u8, EntryError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn device(&mut self) -> Result<DeviceId, EntryError> {
        DeviceId::from_slice(self.take(DeviceId::LEN)?).map_err(|_| EntryError::Malformed)
    }

    /// At most `max` devices, in order and each once: a list has one form.
    pub(super) fn devices(&mut self, max: usize) -> Result<BTreeSet<DeviceId>, EntryError> {
        let all = self.sequence(max)?;
        if all.is_sorted_by(|a, b| a < b) {
            Ok(all.into_iter().collect())
        } else {
            Err(EntryError::Malformed)
        }
    }

    /// At most `max` devices.
    pub(super) fn sequence(&mut self, max: usize) -> Result<Vec<DeviceId>, EntryError> {
        let count = usize::from(u16::from_be_bytes(self.array()?));
        if count > max {
            return Err(EntryError::Malformed);
        }
        (0..count).map(|_| self.device()).collect()
    }
}
