//! The blind lists: id and length of the ciphertext at every position of a version.
//!
//! On the wire and in the index a record is 36 bytes: the id, then the length, big-endian. The
//! index keeps them in blocks of [`BLOCK`] records, so that no value is large and any position is
//! found without a search.

use hither_proto::limits::{CHUNK_TAG, MAX_CHUNK};
use hither_proto::{ChunkId, Space};

/// Length of one record, bytes.
pub const RECORD: usize = 36;
/// Most records in one call of [`PutSession::list`](super::PutSession::list).
pub const MAX_LIST: usize = 16_384;
/// Records in one stored block: 64,800 bytes, which with its key fits a 64 KiB page of the index.
pub(super) const BLOCK: u32 = 1800;
/// Shortest and longest ciphertext of a chunk, bytes.
const LENGTHS: std::ops::RangeInclusive<u32> = CHUNK_TAG + 1..=MAX_CHUNK + CHUNK_TAG;

/// Id and length of one chunk's ciphertext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListRecord {
    /// BLAKE3 of the ciphertext.
    pub id: ChunkId,
    /// Length of the ciphertext, bytes.
    pub length: u32,
}

impl ListRecord {
    /// The record as it goes over the wire.
    pub fn encode(&self) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        bytes[..ChunkId::LEN].copy_from_slice(self.id.as_bytes());
        bytes[ChunkId::LEN..].copy_from_slice(&self.length.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8; RECORD]) -> Self {
        let (mut id, mut length) = ([0; ChunkId::LEN], [0; 4]);
        id.copy_from_slice(&bytes[..ChunkId::LEN]);
        length.copy_from_slice(&bytes[ChunkId::LEN..]);
        Self {
            id: ChunkId::new(id),
            length: u32::from_be_bytes(length),
        }
    }

    /// Whether a chunk can have this length.
    pub(super) fn is_possible(&self) -> bool {
        LENGTHS.contains(&self.length)
    }
}

/// The records in `bytes`; what is left over at the end is ignored.
pub(super) fn records(bytes: &[u8]) -> impl ExactSizeIterator<Item = ListRecord> + '_ {
    bytes.as_chunks::<RECORD>().0.iter().map(ListRecord::decode)
}

/// The record at `index` of a block.
pub(super) fn record_at(block: &[u8], index: u32) -> Option<ListRecord> {
    block
        .as_chunks::<RECORD>()
        .0
        .get(index as usize)
        .map(ListRecord::decode)
}

/// A number for each space, for keys and tables.
pub(super) const fn space_index(space: Space) -> usize {
    match space {
        Space::Root => 0,
        Space::Manifest => 1,
        Space::Data => 2,
    }
}

/// Every space, in the order of [`space_index`].
pub(super) const SPACES: [Space; 3] = [Space::Root, Space::Manifest, Space::Data];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip_and_know_their_bounds() {
        let record = ListRecord {
            id: ChunkId::new([7; 32]),
            length: 0x0102_0304,
        };
        let bytes = [record.encode(), record.encode()].concat();
        assert_eq!(records(&bytes).collect::<Vec<_>>(), [record, record]);
        assert_eq!(record_at(&bytes, 1), Some(record));
        assert_eq!(record_at(&bytes, 2), None);
        for (length, possible) in [
            (0, false),
            (16, false),
            (17, true),
            (16_777_232, true),
            (16_777_233, false),
        ] {
            assert_eq!(
                ListRecord { length, ..record }.is_possible(),
                possible,
                "{length}"
            );
        }
    }
}
