//! Copying what this device has already instead of fetching it.

use super::{FetchTarget, WriteError};
use crate::crypt::matches_record;
use crate::holding::{Holding, ReadChunkError};
use crate::layout::{Extent, Layout};
use crate::platform;
use std::io;
use std::ops::Range;

/// Blocks that files share begin and end at multiples of this, bytes: the block
/// of every file system that can share them.
const BLOCK: u64 = 4096;

/// Why a chunk could not be copied; fetch it instead, unless writing failed.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The source cannot be read.
    #[error(transparent)]
    Source(#[from] ReadChunkError),
    /// The source has another content than this share's chunk.
    #[error("the local copy is not the chunk that is wanted")]
    Mismatch,
    /// The copy cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl FetchTarget {
    /// Copies a chunk from `source`; the plaintext is verified under this share's record before it
    /// is written. Whole blocks are shared with the source where the file system can. `buffer`
    /// is overwritten and can be reused.
    pub fn copy_local(
        &self,
        position: u32,
        source: &Holding,
        source_position: u32,
        buffer: &mut Vec<u8>,
    ) -> Result<(), CopyError> {
        let record = self
            .manifest()
            .chunks()
            .get(position as usize)
            .ok_or(WriteError::Position(position))?;
        source.read_chunk(source_position, buffer)?;
        if !matches_record(record, buffer, &mut Vec::new()) {
            return Err(CopyError::Mismatch);
        }
        let extents = (
            only(self.access.layout(), position),
            only(source.layout(), source_position),
        );
        if let (Some(to), Some(from)) = extents
            && let Some(blocks) = common_blocks(&to, &from)
            && self
                .share_blocks(&to, source, &from, &blocks, buffer)
                .map_err(|error| WriteError::from_io(|| self.shown_file(to.file), error))?
        {
            return Ok(());
        }
        Ok(self.write_chunk(position, buffer)?)
    }

    /// Shares `blocks` (a part of the chunk) with the source and writes the rest; `false` if
    /// nothing was done.
    fn share_blocks(
        &self,
        to: &Extent,
        source: &Holding,
        from: &Extent,
        blocks: &Range<usize>,
        plaintext: &[u8],
    ) -> io::Result<bool> {
        // Sources are opened first: without them nothing is touched.
        let Ok(source_file) = source.open_file(from.file) else {
            return Ok(false);
        };
        if !platform::can_share_blocks(&source_file) {
            return Ok(false);
        }
        let target = self.file_for_writing(self.access.layout().entry_of(to.file))?;
        let (start, length) = (blocks.start as u64, blocks.len() as u64);
        if !platform::clone_range(
            &source_file,
            from.offset + start,
            &target,
            to.offset + start,
            length,
        ) {
            return Ok(false);
        }
        // The shared blocks are those that were verified if the source has not changed in between;
        // otherwise look.
        if !source.vouches_for(from.file, &source_file) {
            let mut back = vec![0; blocks.len()];
            let read = platform::read_full_at(&target, &mut back, to.offset + start)?;
            if read < back.len() || back != plaintext[blocks.clone()] {
                return Ok(false);
            }
        }
        platform::write_all_at(&target, &plaintext[..blocks.start], to.offset)?;
        platform::write_all_at(
            &target,
            &plaintext[blocks.end..],
            to.offset + blocks.end as u64,
        )?;
        self.mark_dirty(to.file, target);
        Ok(true)
    }
}

/// The extent of a position that lies in one file.
fn only(layout: &Layout, position: u32) -> Option<Extent> {
    let mut extents = layout.extents(position)?;
    let first = extents.next()?;
    extents.next().is_none().then_some(first)
}

/// The part of two equal extents that is whole blocks in both files.
fn common_blocks(to: &Extent, from: &Extent) -> Option<Range<usize>> {
    if to.offset % BLOCK != from.offset % BLOCK {
        return None;
    }
    let start = to.offset.next_multiple_of(BLOCK) - to.offset;
    let length = u64::from(to.length).checked_sub(start)? / BLOCK * BLOCK;
    (length > 0).then_some(start as usize..(start + length) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_blocks_are_whole_and_inside() {
        let extent = |offset, length| Extent {
            file: 0,
            offset,
            length,
        };
        assert_eq!(
            common_blocks(&extent(0, 10_000), &extent(8192, 10_000)),
            Some(0..8192)
        );
        assert_eq!(
            common_blocks(&extent(100, 10_000), &extent(4196, 10_000)),
            Some(3996..8092)
        );
        assert_eq!(
            common_blocks(&extent(100, 10_000), &extent(101, 10_000)),
            None
        );
        assert_eq!(common_blocks(&extent(1, 4096), &extent(1, 4096)), None);
        assert_eq!(common_blocks(&extent(1, 100), &extent(1, 100)), None);
    }
}
