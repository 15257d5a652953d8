//! A folder of a share as one zip file, made while it is sent: nothing of it is kept.
//!
//! Contents are stored, not compressed: nearly everything that is large is compressed already.

use super::download::{Reading, whole};
use super::shares::ShownFile;
use bytes::Bytes;
use hither_content::Holding;
use hither_proto::{Entry, EntryKind};
use hither_util::pieces::STALLED;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Archives that are made at a time, of all pages.
pub(super) const AT_ONCE: usize = 8;
/// Bytes that are sent at a time.
const PIECE: usize = 256 << 10;
/// Pieces that wait for a browser that reads slowly.
pub(super) const WAITING: usize = 4;

/// Writes the archive of a folder's entry, or of everything for entry 0, until `ended`. Who reads
/// must take a missing last word ([`Sent::whole`]) for a break. Blocks.
pub(super) fn write(holding: &Arc<Holding>, top: u32, to: Sent, ended: &CancellationToken) {
    let mut pipe = Pipe {
        to: to.pieces,
        piece: Vec::new(),
        ended: ended.clone(),
        runtime: Handle::current(),
    };
    match all(holding, top, &mut pipe).and_then(|()| pipe.flush()) {
        Ok(()) => to.whole.store(true, Ordering::Release),
        Err(error) => tracing::debug!(%error, "an archive breaks off"),
    }
}

/// The way to who reads an archive.
pub(super) struct Sent {
    pub pieces: mpsc::Sender<Bytes>,
    /// Is set when all of it was sent.
    pub whole: Arc<AtomicBool>,
}

fn all(holding: &Arc<Holding>, top: u32, pipe: &mut Pipe) -> io::Result<()> {
    let mut zip = ZipWriter::new_stream(pipe);
    let manifest = Arc::clone(holding.manifest());
    let entries = manifest.entries();
    let Some(first) = entries.get(top as usize) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let mut path: Vec<String> = Vec::new();
    for (index, entry) in (top..).zip(&entries[top as usize..]) {
        if index > top && entry.depth <= first.depth {
            break;
        }
        path.truncate((entry.depth - first.depth) as usize);
        path.push(safe(entry.name.as_str()));
        match entry.kind {
            EntryKind::Folder => zip.add_directory(path.join("/"), options(entry))?,
            // A link could lead anywhere where the archive is unpacked.
            EntryKind::Symlink { .. } => {}
            EntryKind::File { .. } => {
                zip.start_file(path.join("/"), options(entry))?;
                let file = ShownFile::find(Arc::clone(holding), index);
                copy(whole(file.ok_or(io::ErrorKind::NotFound)?), &mut zip)?;
            }
        }
    }
    zip.finish()?;
    Ok(())
}

fn copy(mut reading: Reading, to: &mut impl Write) -> io::Result<()> {
    while let Some(piece) = reading.next().map_err(io::Error::other)? {
        to.write_all(&piece)?;
    }
    Ok(())
}

fn options(entry: &Entry) -> SimpleFileOptions {
    let large = matches!(entry.kind, EntryKind::File { size, .. } if size >= u64::from(u32::MAX));
    let mode = if entry.mode & 0o100 == 0 {
        0o644
    } else {
        0o755
    };
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .large_file(large)
        .unix_permissions(mode);
    match time(entry.mtime_ns) {
        Some(time) => options.last_modified_time(time),
        None => options,
    }
}

/// A time as archives have it: in UTC, in steps of two seconds, from 1980 on.
fn time(ns: i64) -> Option<zip::DateTime> {
    use chrono::{DateTime, Datelike, Timelike};
    let time = DateTime::from_timestamp_nanos(ns);
    zip::DateTime::from_date_and_time(
        u16::try_from(time.year()).ok()?,
        u8::try_from(time.month()).ok()?,
        u8::try_from(time.day()).ok()?,
        u8::try_from(time.hour()).ok()?,
        u8::try_from(time.minute()).ok()?,
        u8::try_from(time.second()).ok()?,
    )
    .ok()
}

/// A name that no system takes for a path or a command: other characters are written as SPEC.md says
/// of names that cannot be written ("Content").
fn safe(name: &str) -> String {
    let mut safe = String::new();
    for c in name.chars() {
        if c.is_control() || matches!(c, '%' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|') {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                safe.push_str(&format!("%{byte:02X}"));
            }
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Sends what is written, in pieces.
struct Pipe {
    to: mpsc::Sender<Bytes>,
    piece: Vec<u8>,
    ended: CancellationToken,
    runtime: Handle,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let (piece, to) = (std::mem::take(&mut self.piece), &self.to);
        let ended = self.ended.clone();
        // A thread waits here: not for ever, and not beyond the end of the page.
        self.runtime.block_on(async move {
            tokio::select! {
                biased;
                () = ended.cancelled() => Err(io::Error::other("the page has ended")),
                sent = to.send_timeout(piece.into(), STALLED) => {
                    sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_archives_lead_nowhere() {
        assert_eq!(safe("..\\..\\a:b\n?.txt"), "..%5C..%5Ca%3Ab%0A%3F.txt");
        assert_eq!(safe("Übung 1 (ä).md"), "Übung 1 (ä).md");
        assert_ne!(safe("a:b"), safe("a%3Ab"));
    }

    #[test]
    fn times_before_and_after_those_of_archives_are_left_out() {
        assert!(time(0).is_none() && time(i64::MIN).is_none());
        let time = time(1_796_000_000_000_000_000).unwrap();
        assert_eq!((time.year(), time.month(), time.day()), (2026, 11, 30));
    }
}
