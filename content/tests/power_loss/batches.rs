//! Numbered batches whose whole content follows from their number, so that anyone can tell a whole
//! one from half a one. Most batches also remove an earlier batch and leave a tombstone for it.

use super::power::Random;
use hither_content::storage::{Batch, Storage, StorageError, Table};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::LazyLock;

const PARTS: [Table; 3] = [
    Table::new("parts-a"),
    Table::new("parts-b"),
    Table::new("parts-c"),
];
const HEADS: Table = Table::new("heads");
const TOMBS: Table = Table::new("tombs");
/// How many batches later a batch is removed.
const LIFETIME: u32 = 30;

/// Longest value, bytes; the child inherits the variable.
static LONGEST: LazyLock<u64> =
    LazyLock::new(|| super::power::number("HITHER_POWER_VALUE", 320 * 1024));

/// The number of a thread's batch: which life of the store, which thread, which batch of it.
pub(crate) fn number(life: u32, thread: u32, sequence: u32) -> u64 {
    u64::from(life) << 40 | u64::from(thread) << 32 | u64::from(sequence)
}

fn entries(number: u64) -> u16 {
    1 + Random(number ^ 0x51ed).below(12) as u16
}

fn value(number: u64, index: u16) -> Vec<u8> {
    let mut random = Random(number.wrapping_mul(31) ^ u64::from(index) << 48);
    let length = match random.below(100) {
        0..80 => random.below(1024),
        80..98 => 1024 + random.below(15 * 1024),
        _ => 16 * 1024 + random.below(300 * 1024),
    };
    let length = length.min(*LONGEST);
    (0..length).map(|_| random.next() as u8).collect()
}

fn part_key(number: u64, index: u16) -> Vec<u8> {
    [&number.to_be_bytes()[..], &index.to_be_bytes()[..]].concat()
}

/// Makes batch `number`, and the removal of the one [`LIFETIME`] before it if its number is even.
pub(crate) fn make(number: u64) -> Batch {
    let mut batch = Batch::new();
    let count = entries(number);
    batch.put(HEADS, &number.to_be_bytes(), &count.to_be_bytes());
    for index in 0..count {
        let table = PARTS[usize::from(index) % PARTS.len()];
        batch.put(table, &part_key(number, index), &value(number, index));
    }
    let sequence = number as u32;
    if sequence.is_multiple_of(2) && sequence >= LIFETIME {
        let old = number - u64::from(LIFETIME);
        batch.remove(HEADS, &old.to_be_bytes());
        for index in 0..entries(old) {
            batch.remove(
                PARTS[usize::from(index) % PARTS.len()],
                &part_key(old, index),
            );
        }
        batch.put(TOMBS, &old.to_be_bytes(), &number.to_be_bytes());
    }
    batch
}

/// What a store holds.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) whole: BTreeSet<u64>,
    /// Batches of which something is missing or wrong, and what.
    pub(crate) half: Vec<(u64, String)>,
    /// Removed batches.
    pub(crate) tombs: BTreeSet<u64>,
}

/// Reads everything and sorts it into whole and half batches.
pub(crate) fn read(store: &dyn Storage) -> Result<Found, StorageError> {
    let mut parts: BTreeMap<u64, BTreeMap<u16, Vec<u8>>> = BTreeMap::new();
    for table in PARTS {
        store.scan(table, b"", &mut |key, value| {
            let (number, index) = key.split_at(8);
            let number = u64::from_be_bytes(number.try_into().unwrap());
            let index = u16::from_be_bytes(index.try_into().unwrap());
            parts
                .entry(number)
                .or_default()
                .insert(index, value.to_vec());
            ControlFlow::Continue(())
        })?;
    }
    let mut found = Found::default();
    store.scan(HEADS, b"", &mut |key, _| {
        let number = u64::from_be_bytes(key.try_into().unwrap());
        let present = parts.remove(&number).unwrap_or_default();
        let expected: BTreeMap<_, _> = (0..entries(number))
            .map(|i| (i, value(number, i)))
            .collect();
        if present == expected {
            found.whole.insert(number);
        } else {
            found.half.push((
                number,
                format!("{} of {} entries", present.len(), expected.len()),
            ));
        }
        ControlFlow::Continue(())
    })?;
    found.half.extend(
        parts
            .into_iter()
            .map(|(number, parts)| (number, format!("{} entries, no head", parts.len()))),
    );
    store.scan(TOMBS, b"", &mut |key, _| {
        found
            .tombs
            .insert(u64::from_be_bytes(key.try_into().unwrap()));
        ControlFlow::Continue(())
    })?;
    let undead = found.whole.intersection(&found.tombs);
    found
        .half
        .extend(undead.map(|&number| (number, "there together with its tombstone".to_owned())));
    Ok(found)
}
