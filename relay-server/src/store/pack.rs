//! A pack: many chunks in one object, and at its end a directory of them.
//!
//! Layout: the chunks' ciphertexts back to back; for each, in order, its 36-byte record (id, length
//! big-endian); the number of records (4 bytes, big-endian); BLAKE3 of records and number (32
//! bytes); `HITHPAK1`. The directory makes compaction and checking a matter of the pack alone;
//! reading goes through the index.

use super::ids::PackNumber;
use super::records::{ListRecord, RECORD, records};
use bytes::Bytes;
use hither_proto::ChunkId;
use std::collections::HashMap;

const MAGIC: &[u8; 8] = b"HITHPAK1";
const COUNT: usize = 4;
const DIGEST: usize = 32;

/// What stands where in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PackEntry {
    pub(super) id: ChunkId,
    /// From the beginning of the pack, bytes.
    pub(super) offset: u32,
    /// Length of the ciphertext, bytes.
    pub(super) length: u32,
}

/// The directory of a pack is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadDirectory;

/// Collects chunks for a pack; each chunk once.
#[derive(Default)]
pub(super) struct PackBuilder {
    chunks: Vec<Bytes>,
    directory: Vec<u8>,
    length: u32,
    offsets: HashMap<ChunkId, u32>,
}

impl PackBuilder {
    /// Adds a chunk, unless it is in already, and says where it stands. The caller bounds the sum
    /// of lengths.
    pub(super) fn add(&mut self, id: ChunkId, bytes: Bytes) -> u32 {
        if let Some(offset) = self.offsets.get(&id) {
            return *offset;
        }
        let (offset, length) = (self.length, bytes.len() as u32);
        self.offsets.insert(id, offset);
        self.directory.extend(ListRecord { id, length }.encode());
        self.length += length;
        self.chunks.push(bytes);
        offset
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Bytes of the chunks in it.
    pub(super) fn bytes(&self) -> u64 {
        u64::from(self.length)
    }

    /// The object's parts in order, and their length in bytes. No chunk is copied.
    pub(super) fn finish(self) -> (Vec<Bytes>, u64) {
        let Self {
            mut chunks,
            mut directory,
            length,
            ..
        } = self;
        directory.extend((chunks.len() as u32).to_be_bytes());
        let digest = blake3::hash(&directory);
        directory.extend(digest.as_bytes());
        directory.extend(MAGIC);
        let total = u64::from(length) + directory.len() as u64;
        chunks.push(directory.into());
        (chunks, total)
    }
}

/// Reads the directory of a whole pack.
pub(super) fn directory(pack: &[u8]) -> Result<Vec<PackEntry>, BadDirectory> {
    let (rest, magic) = pack.split_last_chunk::<8>().ok_or(BadDirectory)?;
    let (rest, digest) = rest.split_last_chunk::<DIGEST>().ok_or(BadDirectory)?;
    let (_, count) = rest.split_last_chunk::<COUNT>().ok_or(BadDirectory)?;
    let length = (u32::from_be_bytes(*count) as usize)
        .checked_mul(RECORD)
        .ok_or(BadDirectory)?;
    let start = rest.len().checked_sub(COUNT + length).ok_or(BadDirectory)?;
    if magic != MAGIC || blake3::hash(&rest[start..]).as_bytes() != digest {
        return Err(BadDirectory);
    }
    let mut offset = 0u32;
    let entries = records(&rest[start..start + length]).map(|record| {
        let entry = PackEntry {
            id: record.id,
            offset,
            length: record.length,
        };
        offset = offset.checked_add(record.length)?;
        Some(entry)
    });
    let entries: Vec<_> = entries.collect::<Option<_>>().ok_or(BadDirectory)?;
    if offset as usize == start {
        Ok(entries)
    } else {
        Err(BadDirectory)
    }
}

/// The name of a pack's object: 1024 packs share a folder.
pub(super) fn name(pack: PackNumber) -> String {
    format!("packs/{:012x}/{:016x}", pack.0 >> 10, pack.0)
}

/// The pack that an object's name says.
pub(super) fn parse_name(path: &str) -> Option<PackNumber> {
    let number = u64::from_str_radix(path.rsplit('/').next()?, 16).ok()?;
    (name(PackNumber(number)) == path).then_some(PackNumber(number))
}

/// What the directory adds to `chunks` chunks, bytes.
#[cfg(test)]
pub(super) const fn overhead(chunks: usize) -> usize {
    chunks * RECORD + COUNT + DIGEST + MAGIC.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(bytes: &[u8]) -> ChunkId {
        ChunkId::new(*blake3::hash(bytes).as_bytes())
    }

    #[test]
    fn directories_round_trip_and_every_flipped_bit_of_them_is_noticed() {
        let chunks: Vec<Bytes> = (1..40u8)
            .map(|n| Bytes::from(vec![n; usize::from(n) * 3]))
            .collect();
        let mut builder = PackBuilder::default();
        for chunk in chunks.iter().chain(&chunks) {
            builder.add(id(chunk), chunk.clone());
        }
        let payload = builder.bytes() as usize;
        let (parts, total) = builder.finish();
        let mut pack = parts.concat();
        assert_eq!(
            (pack.len() as u64, pack.len()),
            (total, payload + overhead(chunks.len()))
        );
        let entries = directory(&pack).unwrap();
        assert_eq!(entries.len(), chunks.len());
        for (entry, chunk) in entries.iter().zip(&chunks) {
            assert_eq!(
                &pack[entry.offset as usize..][..entry.length as usize],
                &chunk[..]
            );
            assert_eq!(entry.id, id(chunk));
        }
        for at in payload..pack.len() {
            pack[at] ^= 1;
            assert_eq!(directory(&pack), Err(BadDirectory), "{at}");
            pack[at] ^= 1;
        }
        for length in 0..pack.len() {
            assert_eq!(directory(&pack[..length]), Err(BadDirectory));
        }
    }

    #[test]
    fn names_round_trip() {
        for number in [0, 1, 1023, 1024, 1 << 32, u64::MAX] {
            assert_eq!(
                parse_name(&name(PackNumber(number))),
                Some(PackNumber(number))
            );
        }
        for bad in [
            "",
            "packs/x",
            "packs/000000000000/1",
            "store-id",
            "other/000000000000/0000000000000001",
        ] {
            assert_eq!(parse_name(bad), None, "{bad}");
        }
    }
}
