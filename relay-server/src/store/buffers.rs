//! Memory for chunks that is used again: getting fresh memory from the system costs twice as much
//! as hashing what is read into it.
//!
//! Bounded: what lies idle and what is in use are together at most the bytes that [`Buffers`] was
//! made for, or nothing lies idle. How much is in use is up to those who take; all of it is gone
//! with the last of them.

use bytes::Bytes;
use hither_util::sync::Mutex;
use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};

/// Shorter buffers come from the allocator, which does not ask the system for each.
const SHORT: usize = 32 * 1024;
/// Lengths are rounded up to whole pages, and to one of at least eight in every doubling, so that
/// few differ.
const PAGE: usize = 4096;

/// A place where buffers are taken from and come back to.
pub struct Buffers {
    most: usize,
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    /// By length; no list is empty.
    idle: BTreeMap<usize, Vec<Vec<u8>>>,
    /// Length of the idle ones and of those in use.
    bytes: usize,
}

impl Shelf {
    /// Takes out an idle buffer with room for so many bytes, and not for many more.
    fn pick(&mut self, wanted: usize) -> Option<Vec<u8>> {
        let mut fitting = self.idle.range_mut(wanted..=wanted + wanted / 16);
        let (&length, buffers) = fitting.next()?;
        let bytes = buffers.pop();
        if buffers.is_empty() {
            self.idle.remove(&length);
        }
        bytes
    }

    /// Takes out idle buffers until no more than `most` bytes are left, or none is idle.
    fn shrink(&mut self, most: usize) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        while self.bytes > most
            && let Some(mut longest) = self.idle.last_entry()
        {
            self.bytes -= longest.key();
            out.extend(longest.get_mut().pop());
            if longest.get().is_empty() {
                longest.remove();
            }
        }
        out
    }
}

impl std::fmt::Debug for Buffers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffers")
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

impl Buffers {
    /// Keeps at most `most` bytes, those in use included.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            shelf: Mutex::default(),
        })
    }

    /// A buffer of `length` bytes, to be filled whole: it has what others left in it. It takes at
    /// most a quarter more.
    pub fn take(self: &Arc<Self>, length: usize) -> Buffer {
        let home = Arc::clone(self);
        if length < SHORT {
            return Buffer {
                bytes: vec![0; length],
                length,
                home,
            };
        }
        let step = (length.next_power_of_two() / 16).max(PAGE);
        let wanted = length.next_multiple_of(step);
        let mut shelf = self.lock();
        if let Some(bytes) = shelf.pick(wanted) {
            return Buffer {
                bytes,
                length,
                home,
            };
        }
        shelf.bytes += wanted;
        let dropped = shelf.shrink(self.most);
        // Giving memory back takes a while: not under the lock.
        drop(shelf);
        drop(dropped);
        Buffer {
            bytes: vec![0; wanted],
            length,
            home,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock()
    }
}

/// A buffer that goes back to where it was taken from.
pub struct Buffer {
    /// All of it; shorter than [`SHORT`]: does not count at home.
    bytes: Vec<u8>,
    /// What of it is in use, bytes.
    length: usize,
    home: Arc<Buffers>,
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({} bytes)", self.length)
    }
}

impl Buffer {
    /// What it was filled with; it goes back when the last piece of it is dropped.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if bytes.len() < SHORT {
            return;
        }
        let mut shelf = self.home.lock();
        if shelf.bytes <= self.home.most {
            shelf.idle.entry(bytes.len()).or_default().push(bytes);
            return;
        }
        shelf.bytes -= bytes.len();
        drop(shelf);
        drop(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(buffers: &Arc<Buffers>, length: usize) -> Bytes {
        let mut buffer = buffers.take(length);
        buffer.as_mut().fill(7);
        assert!(buffer.bytes.len() <= length + length / 4);
        let bytes = buffer.freeze();
        assert_eq!(bytes.len(), length);
        bytes
    }

    #[test]
    fn memory_is_used_again_once_the_last_piece_is_gone() {
        let buffers = Buffers::new(1 << 20);
        let first = filled(&buffers, 100_000);
        let at = first.as_ptr();
        let piece = first.slice(5000..6000);
        drop(first);
        let second = filled(&buffers, 100_000);
        assert_ne!(second.as_ptr(), at);
        drop(piece);
        assert_eq!(filled(&buffers, 99_000).as_ptr(), at, "nearly as long");
        let shorter = filled(&buffers, 70_000);
        assert_ne!(shorter.as_ptr(), at, "too much would lie idle in it");
    }

    #[test]
    fn never_is_more_kept_than_was_said() {
        let buffers = Buffers::new(1 << 20);
        let kept = |buffers: &Buffers| {
            let shelf = buffers.lock();
            let idle: usize = shelf
                .idle
                .iter()
                .map(|(length, idle)| length * idle.len())
                .sum();
            assert!(shelf.idle.values().all(|idle| !idle.is_empty()));
            (shelf.bytes, idle)
        };
        let many: Vec<Bytes> = (0..20).map(|_| filled(&buffers, 128 << 10)).collect();
        assert_eq!(kept(&buffers), (20 * (128 << 10), 0));
        drop(many);
        assert_eq!(kept(&buffers), (1 << 20, 1 << 20));
        // Another length takes the place of what lies idle.
        let other = filled(&buffers, 64 << 10);
        assert_eq!(kept(&buffers), (960 << 10, 896 << 10));
        drop(filled(&buffers, 1000));
        drop(other);
        assert_eq!(kept(&buffers), (960 << 10, 960 << 10));
    }
}
