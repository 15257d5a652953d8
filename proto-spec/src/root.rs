//! The root of a version: where its manifest is. Small, encrypted under a key that only the share's
//! secret opens.

use crate::limits::{CHUNK_TAG, MAX_CHUNK, MAX_CHUNKS, MAX_MANIFEST, MAX_ROOT};
use crate::manifest::{ChunkRecord, RecordError};
use crate::wire;
use prost::Message as _;

/// Why a decrypted root was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// Not a protobuf message of this type.
    #[error("the share's root is malformed")]
    Malformed,
    /// Its records do not parse.
    #[error("the share's root is malformed: {0}")]
    Record(#[from] RecordError),
    /// The manifest would be larger than allowed, or the records do not add up to its length.
    #[error("the share's root claims an absurd manifest length")]
    Length,
}

/// The chunks of a version's manifest, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    manifest_length: u64,
    records: Vec<ChunkRecord>,
}

impl Root {
    /// Makes a root of the manifest's chunks. Fails when they are more or larger than a root may
    /// name.
    pub fn new(records: Vec<ChunkRecord>) -> Result<Self, RootError> {
        let manifest_length = records.iter().map(|r| u64::from(r.length)).sum();
        let encoded = records.len() * ChunkRecord::LEN + 16 + CHUNK_TAG as usize;
        if manifest_length > MAX_MANIFEST
            || records.len() as u64 > MAX_CHUNKS
            || encoded > MAX_ROOT as usize
        {
            return Err(RootError::Length);
        }
        Ok(Self {
            manifest_length,
            records,
        })
    }

    /// Length of the plaintext manifest, bytes.
    pub const fn manifest_length(&self) -> u64 {
        self.manifest_length
    }

    /// The manifest's chunks, in order.
    pub fn records(&self) -> &[ChunkRecord] {
        &self.records
    }

    /// Encodes for encryption.
    pub fn encode(&self) -> Vec<u8> {
        let mut records = Vec::with_capacity(self.records.len() * ChunkRecord::LEN);
        self.records
            .iter()
            .for_each(|r| r.encode_into(&mut records));
        wire::Root {
            manifest_length: self.manifest_length,
            records: records.into(),
        }
        .encode_to_vec()
    }

    /// Parses a decrypted root.
    pub fn decode(bytes: &[u8]) -> Result<Self, RootError> {
        let root = wire::Root::decode(bytes).map_err(|_| RootError::Malformed)?;
        let parsed = Self::new(ChunkRecord::decode_all(&root.records, MAX_CHUNK)?)?;
        if parsed.manifest_length != root.manifest_length {
            return Err(RootError::Length);
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ChunkId, ChunkKey};

    #[test]
    fn roots_round_trip_and_lies_about_length_are_refused() {
        let record = |length| ChunkRecord {
            id: ChunkId::new([1; 32]),
            key: ChunkKey::new([2; 32]),
            length,
        };
        let root = Root::new(vec![record(10), record(20)]).unwrap();
        assert_eq!(Root::decode(&root.encode()).unwrap(), root);
        let mut message = wire::Root::decode(root.encode().as_slice()).unwrap();
        message.manifest_length = 31;
        assert_eq!(
            Root::decode(&message.encode_to_vec()),
            Err(RootError::Length)
        );
        message.records = message.records.slice(..67);
        assert!(matches!(
            Root::decode(&message.encode_to_vec()),
            Err(RootError::Record(_))
        ));
    }
}
