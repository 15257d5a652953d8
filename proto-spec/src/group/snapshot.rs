//! A [`Membership`] as bytes, for those who keep it beside the log that it follows from. Nothing in
//! it is signed: only what one has written oneself may be believed.

use super::entry::{EntryError, NameSeal, Policy, Reader, encode_devices};
use super::membership::{Membership, Role};
use crate::ids::{GroupId, KeyMark};
use crate::limits::{MAX_GROUP_MEMBERS, MAX_GROUP_NAMED, MAX_GROUP_REMOVED};

const FORMAT: u8 = 1;

impl Membership {
    /// For keeping; below 48 KiB.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT, u8::from(self.stale)];
        out.extend_from_slice(self.group.as_bytes());
        out.extend_from_slice(&self.next.to_be_bytes());
        out.extend_from_slice(&self.last);
        out.extend_from_slice(&self.size.to_be_bytes());
        out.extend_from_slice(&self.generation.to_be_bytes());
        out.extend_from_slice(self.key.as_bytes());
        self.name.encode(&mut out);
        self.policy.encode(&mut out);
        let of = |wanted: Role| -> Vec<_> {
            self.members
                .iter()
                .filter(|(_, role)| **role == wanted)
                .map(|(device, _)| *device)
                .collect()
        };
        encode_devices(&of(Role::Admin), &mut out);
        encode_devices(&of(Role::Member), &mut out);
        encode_devices(&self.named, &mut out);
        encode_devices(&self.removed, &mut out);
        out
    }

    /// What [`encode`](Self::encode) gave.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let mut reader = Reader(bytes);
        if reader.byte()? != FORMAT {
            return Err(EntryError::Malformed);
        }
        let stale = reader.byte()? == 1;
        let group = GroupId::new(reader.array()?);
        let next = u64::from_be_bytes(reader.array()?);
        let last = reader.array()?;
        let size = u64::from_be_bytes(reader.array()?);
        let generation = u64::from_be_bytes(reader.array()?);
        let key = KeyMark::new(reader.array()?);
        let name = NameSeal::decode(&mut reader)?;
        let policy = Policy::decode(&mut reader)?;
        let admins = reader
            .devices(MAX_GROUP_MEMBERS)?
            .into_iter()
            .map(|device| (device, Role::Admin));
        let others = reader
            .devices(MAX_GROUP_MEMBERS)?
            .into_iter()
            .map(|device| (device, Role::Member));
        let members = others.chain(admins).collect();
        let named = reader.devices(MAX_GROUP_NAMED)?;
        let removed = reader.sequence(MAX_GROUP_REMOVED)?;
        if !reader.0.is_empty() {
            return Err(EntryError::Malformed);
        }
        Ok(Self {
            group,
            next,
            last,
            size,
            name,
            policy,
            members,
            named,
            removed,
            generation,
            key,
            stale,
        })
    }
}
