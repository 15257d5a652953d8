//! How the state lies in the storage.
//!
//! | table | key | value |
//! |---|---|---|
//! | `state-meta` | `epoch` | number of openings, u64 |
//! | `state-keys` | bucket ‖ key | revision, u64 ‖ value |
//! | `queue-items` | queue ‖ seq | [`ItemHead`] ‖ value |
//! | `queue-ids` | queue ‖ id | seq, u64 |
//! | `queue-totals` | queue | [`Totals`]; there while the queue has items |
//! | `queue-sources` | queue ‖ source | [`Totals`] of one source |
//! | `queue-expiry` | expires, u64 ‖ queue ‖ seq | empty |
//!
//! Numbers are big-endian. Names stand behind their length (one byte), so that no name is the
//! beginning of another. A seq in a key is sixteen hex digits: the storage finds by prefix only,
//! and sixteen ways per digit make "after this one" a few short scans (see [`mod@super::read`]).

use crate::state::{ItemId, StateError};
use hither_content::storage::Table;

pub(super) const META: Table = Table::new("state-meta");
pub(super) const KEYS: Table = Table::new("state-keys");
pub(super) const ITEMS: Table = Table::new("queue-items");
pub(super) const IDS: Table = Table::new("queue-ids");
pub(super) const TOTALS: Table = Table::new("queue-totals");
pub(super) const SOURCES: Table = Table::new("queue-sources");
pub(super) const EXPIRY: Table = Table::new("queue-expiry");

pub(super) const EPOCH: &[u8] = b"epoch";

/// Digits of a seq in a key.
pub(super) const SEQ_DIGITS: usize = 16;
/// Length of [`Totals`], bytes.
const TOTALS_LEN: usize = 24;
/// Length of an [`ItemHead`] before its source, bytes.
const HEAD_LEN: usize = 16 + 8 + 8 + 1;

/// A name behind its length. Names were checked to be shorter than 256 bytes.
pub(super) fn named(name: &str) -> Vec<u8> {
    let mut row = Vec::with_capacity(1 + name.len() + 32);
    row.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    row.extend_from_slice(name.as_bytes());
    row
}

/// A row of [`KEYS`]; with a prefix instead of a key, how such rows begin.
pub(super) fn key(bucket: &str, key: &str) -> Vec<u8> {
    let mut row = named(bucket);
    row.extend_from_slice(key.as_bytes());
    row
}

/// The key in a row of [`KEYS`].
pub(super) fn key_of(row: &[u8]) -> Option<&str> {
    let skip = 1 + usize::from(*row.first()?);
    std::str::from_utf8(row.get(skip..)?).ok()
}

/// A value of [`KEYS`].
pub(super) fn value(revision: u64, value: &[u8]) -> Vec<u8> {
    [&revision.to_be_bytes(), value].concat()
}

/// Revision and value of a value of [`KEYS`].
pub(super) fn split_value(row: &[u8]) -> Result<(u64, &[u8]), StateError> {
    let (revision, value) = row.split_first_chunk().ok_or_else(damaged)?;
    Ok((u64::from_be_bytes(*revision), value))
}

/// A queue's row followed by anything.
pub(super) fn of_queue(queue: &[u8], rest: &[u8]) -> Vec<u8> {
    [queue, rest].concat()
}

/// The digits of a seq.
pub(super) fn digits(seq: u64) -> [u8; SEQ_DIGITS] {
    let mut digits = [0; SEQ_DIGITS];
    for (i, digit) in digits.iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(seq >> (60 - 4 * i) & 15) as usize];
    }
    digits
}

/// The seq at the end of a row.
pub(super) fn seq_of(row: &[u8]) -> Result<u64, StateError> {
    let digits = row.last_chunk::<SEQ_DIGITS>().ok_or_else(damaged)?;
    let text = std::str::from_utf8(digits).map_err(|_| damaged())?;
    u64::from_str_radix(text, 16).map_err(|_| damaged())
}

/// A row of [`EXPIRY`].
pub(super) fn expiry(expires_ms: u64, queue: &[u8], seq: u64) -> Vec<u8> {
    [&expires_ms.to_be_bytes()[..], queue, &digits(seq)].concat()
}

/// Time, queue and seq of a row of [`EXPIRY`].
pub(super) fn split_expiry(row: &[u8]) -> Result<(u64, &[u8], u64), StateError> {
    let (expires, rest) = row.split_first_chunk().ok_or_else(damaged)?;
    let queue = rest
        .get(..rest.len().saturating_sub(SEQ_DIGITS))
        .ok_or_else(damaged)?;
    Ok((u64::from_be_bytes(*expires), queue, seq_of(rest)?))
}

/// A number alone in a value.
pub(super) fn number(row: &[u8]) -> Result<u64, StateError> {
    Ok(u64::from_be_bytes(row.try_into().map_err(|_| damaged())?))
}

/// Items and bytes of a queue or of one source in it, and the last seq.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub items: u64,
    pub bytes: u64,
    pub last: u64,
}

impl Totals {
    /// One item less.
    pub(super) fn take(&mut self, bytes: u64) {
        self.items = self.items.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    pub(super) fn encode(self) -> [u8; TOTALS_LEN] {
        let mut row = [0; TOTALS_LEN];
        for (i, number) in [self.items, self.bytes, self.last].into_iter().enumerate() {
            row[8 * i..8 * i + 8].copy_from_slice(&number.to_be_bytes());
        }
        row
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, StateError> {
        let row: &[u8; TOTALS_LEN] = row.try_into().map_err(|_| damaged())?;
        Ok(Self {
            items: number(&row[..8])?,
            bytes: number(&row[8..16])?,
            last: number(&row[16..])?,
        })
    }
}

/// What stands before an item's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ItemHead {
    pub id: ItemId,
    pub appended_ms: u64,
    pub expires_ms: u64,
    pub source: Vec<u8>,
}

impl ItemHead {
    pub(super) fn encode(&self, value: &[u8]) -> Vec<u8> {
        let mut row = Vec::with_capacity(HEAD_LEN + self.source.len() + value.len());
        row.extend_from_slice(&self.id);
        row.extend_from_slice(&self.appended_ms.to_be_bytes());
        row.extend_from_slice(&self.expires_ms.to_be_bytes());
        row.push(u8::try_from(self.source.len()).unwrap_or(u8::MAX));
        row.extend_from_slice(&self.source);
        row.extend_from_slice(value);
        row
    }

    /// The head and the value behind it.
    pub(super) fn split(row: &[u8]) -> Result<(Self, &[u8]), StateError> {
        let (head, rest) = row.split_first_chunk::<HEAD_LEN>().ok_or_else(damaged)?;
        let (source, value) = rest
            .split_at_checked(usize::from(head[32]))
            .ok_or_else(damaged)?;
        let id = *head.first_chunk().ok_or_else(damaged)?;
        let (appended_ms, expires_ms) = (number(&head[16..24])?, number(&head[24..32])?);
        Ok((
            Self {
                id,
                appended_ms,
                expires_ms,
                source: source.to_vec(),
            },
            value,
        ))
    }
}

pub(super) fn damaged() -> StateError {
    StateError::Storage("a row of the state is not what was written".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back() {
        let row = key("users", "a/b");
        assert_eq!(key_of(&row), Some("a/b"));
        assert_eq!(split_value(&value(7, b"x")).unwrap(), (7, &b"x"[..]));
        assert_eq!(&digits(0x0123_4567_89ab_cdef), b"0123456789abcdef");
        let queue = named("mail/x");
        let row = expiry(9, &queue, u64::MAX);
        assert_eq!(split_expiry(&row).unwrap(), (9, queue.as_slice(), u64::MAX));
        let totals = Totals {
            items: 1,
            bytes: 2,
            last: 3,
        };
        assert_eq!(Totals::decode(&totals.encode()).unwrap(), totals);
        let head = ItemHead {
            id: [5; 16],
            appended_ms: 1,
            expires_ms: 2,
            source: b"me".to_vec(),
        };
        assert_eq!(
            ItemHead::split(&head.encode(b"value")).unwrap(),
            (head, &b"value"[..])
        );
    }

    #[test]
    fn damage_is_an_error() {
        split_value(b"short").unwrap_err();
        split_expiry(b"short").unwrap_err();
        seq_of(b"0123456789abcdeg").unwrap_err();
        Totals::decode(&[0; 23]).unwrap_err();
        let mut row = ItemHead {
            id: [5; 16],
            appended_ms: 1,
            expires_ms: 2,
            source: vec![],
        }
        .encode(b"");
        row[32] = 1;
        ItemHead::split(&row).unwrap_err();
    }
}
