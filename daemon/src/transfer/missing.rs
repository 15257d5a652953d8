//! The missing parts of a version, in words.

use crate::failure::size;
use hither_proto::{EntryKind, Manifest, display_name};
use roaring::RoaringBitmap;
use std::ops::Range;

/// Files that are named.
const NAMED: usize = 3;

/// A sentence: how much is missing, and of which files.
pub(super) fn describe(manifest: &Manifest, have: &RoaringBitmap) -> String {
    let spans = missing(manifest, have);
    let bytes: u64 = spans.iter().map(|span| span.end - span.start).sum();
    let (mut names, mut files) = (Vec::new(), 0_u64);
    let mut spans = spans.iter().peekable();
    for entry in manifest.entries() {
        let EntryKind::File { size, offset } = entry.kind else {
            continue;
        };
        while spans.peek().is_some_and(|span| span.end <= offset) {
            spans.next();
        }
        if spans.peek().is_some_and(|span| span.start < offset + size) {
            files += 1;
            if names.len() < NAMED {
                names.push(format!("\"{}\"", display_name(entry.name.as_str())));
            }
        }
    }
    let more = files - names.len() as u64;
    let of = names.join(", ");
    let others = match more {
        0 => String::new(),
        1 => " and 1 more file".into(),
        more => format!(" and {more} more files"),
    };
    format!(
        "Missing: {} of {} of {of}{others}.",
        size(bytes),
        size(manifest.bytes())
    )
}

/// Returns where in the share's stream something is missing, ascending.
fn missing(manifest: &Manifest, have: &RoaringBitmap) -> Vec<Range<u64>> {
    let (mut spans, mut at): (Vec<Range<u64>>, u64) = (Vec::new(), 0);
    for (position, chunk) in (0u32..).zip(manifest.chunks()) {
        let end = at + u64::from(chunk.length);
        if !have.contains(position) {
            match spans.last_mut().filter(|last| last.end == at) {
                Some(last) => last.end = end,
                None => spans.push(at..end),
            }
        }
        at = end;
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_proto::{ChunkId, ChunkKey, ChunkRecord, ManifestBuilder};

    #[test]
    fn the_first_files_are_named_and_the_others_counted() {
        let mut builder = ManifestBuilder::new(65_536).unwrap();
        builder.folder(0, "top", 0o755, 0).unwrap();
        for name in ["a", "b", "c", "d", "e"] {
            builder.file(1, name, 0o644, 0, 15).unwrap();
        }
        let chunk = |id: u8, length| ChunkRecord {
            id: ChunkId::new([id; 32]),
            key: ChunkKey::new([0; 32]),
            length,
        };
        let chunks = (0..7).map(|n| chunk(n, 10)).chain([chunk(7, 5)]).collect();
        let manifest = builder.finish(chunks).unwrap();
        let have = |positions: &[u32]| positions.iter().copied().collect::<RoaringBitmap>();
        assert_eq!(
            describe(&manifest, &have(&[0, 2, 3, 4, 5, 6, 7])),
            "Missing: 10 B of 75 B of \"a\", \"b\"."
        );
        assert_eq!(
            describe(&manifest, &have(&[0])),
            "Missing: 65 B of 75 B of \"a\", \"b\", \"c\" and 2 more files."
        );
    }
}
