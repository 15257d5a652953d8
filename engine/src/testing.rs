//! Small helpers of the unit tests.

use hither_proto::DeviceId;
use std::cell::Cell;

thread_local! {
    static FACTS: Cell<u64> = const { Cell::new(0) };
}

/// A source was looked at.
pub(crate) fn made_facts() {
    FACTS.set(FACTS.get() + 1);
}

/// How often a source was looked at on this thread.
pub(crate) fn facts_made() -> u64 {
    FACTS.get()
}

/// Some valid device id, different for every `n` in a small range.
pub(crate) fn device(n: u8) -> DeviceId {
    // Not every 32 bytes are a curve point: take the n-th that is.
    (0u8..=255)
        .filter_map(|b| DeviceId::from_slice(&[b; 32]).ok())
        .nth(usize::from(n))
        .expect("half of all encodings are points")
}
