//! The tables of the index and their keys. Numbers in keys and values are big-endian.
//!
//! | table | key | value |
//! |---|---|---|
//! | chunks | id | [`ChunkPlace`] |
//! | refs | id, user number, version number | length |
//! | packs | pack number | bytes, bytes that the index refers to |
//! | versions | version number | [`VersionRecord`](super::version::VersionRecord) |
//! | shares | owner, share, user, version number | |
//! | due | when, version number | |
//! | lists | version number, space, block | records |
//! | users | user | [`UserRecord`](super::version::UserRecord) |
//! | dead | since when, id | |
//! | lost | id | |
//! | meta | name | |
//!
//! References are entries and not counts: adding or removing one twice changes nothing, so whatever
//! a crash interrupts is simply done again. A chunk is in use while `refs` has a key that begins
//! with its id.

use super::ids::{ChunkPlace, PackNumber, UserNumber, VersionNumber};
use super::records::space_index;
use hither_content::storage::{StorageError, Table};
use hither_proto::{ChunkId, DeviceId, ShareId, Space, UserId};

pub(super) const CHUNKS: Table = Table::new("store-chunks");
pub(super) const REFS: Table = Table::new("store-refs");
pub(super) const PACKS: Table = Table::new("store-packs");
pub(super) const VERSIONS: Table = Table::new("store-versions");
pub(super) const SHARES: Table = Table::new("store-shares");
/// When something is to be done about a version: it expires, or (at 0) its references are to be
/// dropped.
pub(super) const DUE: Table = Table::new("store-due");
pub(super) const LISTS: Table = Table::new("store-lists");
pub(super) const USERS: Table = Table::new("store-users");
/// Chunks that lost their last reference.
pub(super) const DEAD: Table = Table::new("store-dead");
/// Chunks that are referred to and were found damaged.
pub(super) const LOST: Table = Table::new("store-lost");
pub(super) const META: Table = Table::new("store-meta");

/// In [`META`]: 16 random bytes that the packs know too.
pub(super) const IDENTITY: &[u8] = b"identity";
/// In [`META`]: the upper half of the next pack number; counts openings.
pub(super) const NEXT_EPOCH: &[u8] = b"next-epoch";
/// In [`META`]: the next user number.
pub(super) const NEXT_USER: &[u8] = b"next-user";
/// In [`META`]: the next version number.
pub(super) const NEXT_VERSION: &[u8] = b"next-version";

pub(super) fn ref_key(id: &ChunkId, user: UserNumber, version: VersionNumber) -> Vec<u8> {
    [&user_prefix(id, user)[..], &version.0.to_be_bytes()].concat()
}

/// Begins every reference of a user to a chunk.
pub(super) fn user_prefix(id: &ChunkId, user: UserNumber) -> Vec<u8> {
    [&id.as_bytes()[..], &user.0.to_be_bytes()].concat()
}

/// Id and user of a key in [`REFS`].
pub(super) fn parse_ref(key: &[u8]) -> Option<(ChunkId, UserNumber)> {
    let id = ChunkId::from_slice(key.get(..ChunkId::LEN)?).ok()?;
    let user = key.get(ChunkId::LEN..)?.first_chunk()?;
    Some((id, UserNumber(u32::from_be_bytes(*user))))
}

pub(super) fn share_key(
    owner: &DeviceId,
    share: &ShareId,
    user: &UserId,
    version: VersionNumber,
) -> Vec<u8> {
    [
        &share_prefix(owner, share)[..],
        user.as_bytes(),
        &version.0.to_be_bytes(),
    ]
    .concat()
}

/// Begins the keys of every version of a share, whoever keeps it.
pub(super) fn share_prefix(owner: &DeviceId, share: &ShareId) -> Vec<u8> {
    [&owner.as_bytes()[..], share.as_bytes()].concat()
}

pub(super) fn due_key(due_ms: u64, version: VersionNumber) -> [u8; 16] {
    pair(due_ms, version.0)
}

pub(super) fn list_key(version: VersionNumber, space: Space, block: u32) -> Vec<u8> {
    let mut key = version.0.to_be_bytes().to_vec();
    key.push(space_index(space) as u8);
    key.extend(block.to_be_bytes());
    key
}

pub(super) fn dead_key(since_ms: u64, id: &ChunkId) -> Vec<u8> {
    [&since_ms.to_be_bytes()[..], id.as_bytes()].concat()
}

/// Since when a chunk is dead, Unix milliseconds, and which.
pub(super) fn parse_dead(key: &[u8]) -> Option<(u64, ChunkId)> {
    let (since, id) = key.split_first_chunk()?;
    Some((u64::from_be_bytes(*since), ChunkId::from_slice(id).ok()?))
}

pub(super) fn encode_place(place: &ChunkPlace) -> [u8; 16] {
    let lower = (u64::from(place.offset) << 32) | u64::from(place.length);
    pair(place.pack.0, lower)
}

pub(super) fn decode_place(value: &[u8]) -> Result<ChunkPlace, StorageError> {
    let (pack, lower) = decode_pair(value)?;
    Ok(ChunkPlace {
        pack: PackNumber(pack),
        offset: (lower >> 32) as u32,
        length: lower as u32,
    })
}

/// Two numbers, one after the other.
pub(super) fn pair(a: u64, b: u64) -> [u8; 16] {
    ((u128::from(a) << 64) | u128::from(b)).to_be_bytes()
}

pub(super) fn decode_pair(value: &[u8]) -> Result<(u64, u64), StorageError> {
    let value = u128::from_be_bytes(value.try_into().map_err(|_| malformed())?);
    Ok(((value >> 64) as u64, value as u64))
}

pub(super) fn decode_u64(value: &[u8]) -> Result<u64, StorageError> {
    value
        .try_into()
        .map(u64::from_be_bytes)
        .map_err(|_| malformed())
}

pub(super) fn decode_u32(value: &[u8]) -> Result<u32, StorageError> {
    value
        .try_into()
        .map(u32::from_be_bytes)
        .map_err(|_| malformed())
}

pub(super) fn malformed() -> StorageError {
    StorageError::Damaged("an entry of the chunk index is malformed".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_round_trip() {
        let id = ChunkId::new([9; 32]);
        let key = ref_key(&id, UserNumber(3), VersionNumber(4));
        assert_eq!(parse_ref(&key), Some((id, UserNumber(3))));
        assert!(key.starts_with(&user_prefix(&id, UserNumber(3))));
        assert_eq!(parse_dead(&dead_key(77, &id)), Some((77, id)));
        assert_eq!(parse_dead(&[0; 7]), None);
        let place = ChunkPlace {
            pack: PackNumber(u64::MAX - 1),
            offset: u32::MAX,
            length: 5,
        };
        assert_eq!(decode_place(&encode_place(&place)).unwrap(), place);
        assert!(decode_place(&[0; 15]).is_err());
    }
}
