//! Judges whether a small file is what an earlier version left, when another file of its chunk is
//! not any more.
//!
//! Small files share chunks, and a chunk's id vouches for all of them together. A file that is the
//! same in the new version is read there instead of where somebody may have edited it. Invariant:
//! the id decides; what is put together wrongly vouches for nothing.

use crate::access::Access;
use crate::crypt::matches_record;
use crate::holding::Holding;
use crate::layout::Extent;
use crate::platform;
use std::io;

/// Returns whether a file's entry has the content that the earlier version left. `same` gives the
/// entry of the new version, whose finished partial is `new`, for one of the earlier version that
/// has not changed.
pub(super) fn is_intact(
    before: &Holding,
    entry: u32,
    new: &Access,
    same: &dyn Fn(u32) -> Option<u32>,
) -> bool {
    let layout = before.layout();
    let Some(file) = layout.file_of(entry) else {
        return false;
    };
    let (mut bytes, mut scratch) = (Vec::new(), Vec::new());
    layout.positions_of(file).all(|position| {
        let record = before.manifest().chunks().get(position as usize);
        let (Some(record), Some(mut extents)) = (record, layout.extents(position)) else {
            return false;
        };
        bytes.clear();
        let read = extents.try_for_each(|extent| {
            let old = layout.entry_of(extent.file);
            match same(old).filter(|_| extent.file != file) {
                Some(there) => append(new, there, &extent, &mut bytes),
                None => append(before.access(), old, &extent, &mut bytes),
            }
        });
        read.is_ok() && matches_record(record, &bytes, &mut scratch)
    })
}

/// Appends a piece of a file.
fn append(access: &Access, entry: u32, extent: &Extent, out: &mut Vec<u8>) -> io::Result<()> {
    let file = access.above(entry)?.open_read(access.name(entry))?;
    let start = out.len();
    out.resize(start + extent.length as usize, 0);
    let piece = &mut out[start..];
    if platform::read_full_at(&file, piece, extent.offset)? < piece.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}
