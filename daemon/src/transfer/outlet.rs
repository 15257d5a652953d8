//! The end of a fetch to standard output from which a program reads: windows of the file, in order.
//!
//! Invariants: a window is given out only when all of it is here and verified; at most
//! [`WAITING`] window waits while another is read and one more is got, so that the space is bounded
//! however long the file is; windows are files without a name, which go with their last handle.

use hither_api::{ApiError, ErrorCode};
use hither_util::sync::Mutex;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;
use tokio::sync::{Notify, mpsc};

/// Windows that wait to be read.
pub(super) const WAITING: usize = 1;
/// Read at a time, bytes.
const PIECE: usize = 256 << 10;

/// A window that is being filled.
#[derive(Debug)]
pub(crate) struct Slot {
    file: Mutex<File>,
}

impl Slot {
    /// An empty one on the disk of `folder`. Blocks.
    pub(super) fn create(folder: &Path) -> io::Result<Self> {
        Ok(Self {
            file: Mutex::new(tempfile::tempfile_in(folder)?),
        })
    }

    /// Writes bytes at an offset. Blocks.
    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.file.lock();
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(bytes)
    }
}

/// A window that is here whole.
#[derive(Debug)]
pub(crate) struct Window {
    pub slot: std::sync::Arc<Slot>,
    /// The part of the slot that belongs to the file.
    pub range: Range<u64>,
}

impl Window {
    /// Takes the next piece; `None` at its end. Blocks.
    pub(crate) fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        let left = self.range.end - self.range.start;
        if left == 0 {
            return Ok(None);
        }
        let mut piece = vec![0; PIECE.min(usize::try_from(left).unwrap_or(PIECE))];
        let mut file = self.slot.file.lock();
        file.seek(SeekFrom::Start(self.range.start))?;
        file.read_exact(&mut piece)?;
        self.range.start += piece.len() as u64;
        Ok(Some(piece))
    }
}

/// Everything that somebody reads from a transfer.
#[derive(Debug)]
pub(crate) struct Flow {
    pub windows: mpsc::Receiver<Window>,
    /// Bytes in all.
    pub bytes: u64,
}

/// The place at which a transfer leaves what is read.
#[derive(Debug, Default)]
pub(crate) struct Outlet {
    flow: Mutex<Option<Flow>>,
    changed: Notify,
}

impl Outlet {
    /// Offers what is to be read.
    pub(super) fn open(&self, flow: Flow) {
        *self.flow.lock() = Some(flow);
        self.changed.notify_waiters();
    }

    /// Nothing (more) is to be read.
    pub(super) fn close(&self) {
        self.flow.lock().take();
        self.changed.notify_waiters();
    }

    /// Returns whether nobody has come to read it.
    pub(super) fn is_unread(&self) -> bool {
        self.flow.lock().is_some()
    }

    /// Takes what is to be read, once; waits for it while `is_running` says that it may come.
    pub(crate) async fn take(&self, is_running: impl Fn() -> bool) -> Result<Flow, ApiError> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(flow) = self.flow.lock().take() {
                return Ok(flow);
            }
            if !is_running() {
                return Err(ApiError::new(
                    ErrorCode::BadRequest,
                    "There is nothing to read: the transfer does not run, or is not one for standard output.",
                ));
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_window_is_read_as_it_was_written_without_what_is_around_it() {
        let home = tempfile::tempdir().unwrap();
        let slot = Arc::new(Slot::create(home.path()).unwrap());
        let bytes: Vec<u8> = (0..600_000_u32).map(|n| n as u8).collect();
        // Chunks come in any order.
        slot.write(300_000, &bytes[300_000..]).unwrap();
        slot.write(0, &bytes[..300_000]).unwrap();
        let mut window = Window {
            slot,
            range: 10..599_990,
        };
        let mut read = Vec::new();
        while let Some(piece) = window.piece().unwrap() {
            assert!(piece.len() <= PIECE);
            read.extend(piece);
        }
        assert!(read == bytes[10..599_990]);
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_is_to_be_read_is_waited_for_and_taken_once() {
        let outlet = Arc::new(Outlet::default());
        assert!(outlet.take(|| false).await.is_err());
        let of = Arc::clone(&outlet);
        let waiting = tokio::spawn(async move { of.take(|| true).await.map(|flow| flow.bytes) });
        tokio::task::yield_now().await;
        let (sender, windows) = mpsc::channel(WAITING);
        outlet.open(Flow { windows, bytes: 7 });
        assert_eq!(waiting.await.unwrap().unwrap(), 7);
        assert!(!outlet.is_unread() && sender.is_closed());
        assert!(outlet.take(|| false).await.is_err());
    }
}
