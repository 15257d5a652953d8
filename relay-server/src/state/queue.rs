//! Queues and their items.

use super::StateError;
use bytes::Bytes;

/// Longest value of an item, bytes.
pub const MAX_ITEM: usize = 1024 * 1024;
/// Longest source of an item, bytes.
pub const MAX_SOURCE: usize = 64;
/// Most items in one queue, whatever its limits say: an acknowledgement of all of them is one
/// commit.
pub const MAX_QUEUE_ITEMS: u64 = 65_536;
/// Most items one read returns.
pub const MAX_READ: usize = 1024;
/// Bytes of values after which a read ends.
pub const MAX_READ_BYTES: usize = 4 * 1024 * 1024;

/// Chosen by whoever makes an item, and the same on every attempt to append it.
pub type ItemId = [u8; 16];

/// How full a queue may get. Every append says it, so that limits can change and the queue itself
/// keeps none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most items; at most [`MAX_QUEUE_ITEMS`] count.
    pub items: u64,
    /// Most bytes of values.
    pub bytes: u64,
    /// Most items of one source, so that no sender fills the queue for the others.
    pub source_items: u64,
    /// Most bytes of values of one source.
    pub source_bytes: u64,
}

/// An item to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewItem {
    /// Its id.
    pub id: ItemId,
    /// Who made it, at most [`MAX_SOURCE`] bytes; only compared.
    pub source: Bytes,
    /// At most [`MAX_ITEM`] bytes.
    pub value: Bytes,
    /// When it is of no use any more, Unix milliseconds by the clock of the state.
    pub expires_ms: u64,
    /// Bounds of the queue.
    pub limits: Limits,
}

impl NewItem {
    /// Checks the bounds of the item itself.
    pub(super) fn check(&self) -> Result<(), StateError> {
        StateError::within("an item", self.value.len(), MAX_ITEM)?;
        StateError::within("a source", self.source.len(), MAX_SOURCE)
    }
}

/// Where an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its place: later items have greater ones.
    pub seq: u64,
    /// It was there already.
    pub duplicate: bool,
}

/// An item of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its place in the queue.
    pub seq: u64,
    /// Its id.
    pub id: ItemId,
    /// Who made it.
    pub source: Bytes,
    /// The value.
    pub value: Bytes,
    /// When it was appended, Unix milliseconds.
    pub appended_ms: u64,
    /// When it expires, Unix milliseconds.
    pub expires_ms: u64,
}

/// How much is in a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Items.
    pub items: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// When the first of them was appended, Unix milliseconds; `None`: the queue is empty.
    pub oldest_ms: Option<u64>,
}
