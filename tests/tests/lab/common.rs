//! What several files use.

use hither_tests::lab::{Device, Lab, MIB, until};
use std::time::{Duration, Instant};

/// One that shares and one that fetches.
pub(crate) fn pair(lab: &Lab) -> (Device, Device) {
    (lab.device("desk"), lab.device("laptop"))
}

/// Makes devices of two users know each other, on one network: one says yes to the other's greeting.
pub(crate) fn acquaint(one: &Device, other: &Device) {
    one.up();
    other.up();
    one.sees(1);
    other.sees(1);
    other.hither(&["nearby", "--no-wait"]).well();
    one.send(&other.name, "hello");
    until("the question", || {
        let nearby: hither_api::NearbyInfo = other.api().get("/v1/nearby").unwrap();
        (!nearby.introductions.is_empty()).then_some(())
    });
    other.hither(&["nearby", "accept", &one.name]).well();
    until("they know each other", || other.inbox().pop());
}

/// Bytes that go over a link in so many seconds.
pub(crate) fn bytes_in(mbit: u32, seconds: f64) -> u64 {
    (f64::from(mbit) * 125_000.0 * seconds) as u64
}

/// Prints a measured share of the whole, for whoever reads the output.
pub(crate) fn ratio(what: &str, bytes: u64, whole: u64) -> f64 {
    let ratio = bytes as f64 / whole as f64;
    println!(
        "{what}: {ratio:.3} ({} of {} MiB)",
        bytes / MIB,
        whole / MIB
    );
    ratio
}

/// Follows a fetch for 16 MiB; returns the longest time for which it stood still, counted from
/// `since`.
pub(crate) fn standstill(device: &Device, since: Instant) -> Duration {
    let begin = device.transfer().bytes;
    let (mut bytes, mut last, mut longest) = (begin, since, Duration::ZERO);
    until("more comes", || {
        let now = device.transfer().bytes;
        longest = longest.max(last.elapsed());
        if now > bytes {
            (bytes, last) = (now, Instant::now());
        }
        (bytes > begin + 16 * MIB).then_some(())
    });
    println!("stood still for {longest:?}");
    longest
}

/// Random numbers from a seed (splitmix64, public domain, by Sebastiano Vigna).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}
