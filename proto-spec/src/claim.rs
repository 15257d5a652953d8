//! Whose part of a share a span is, among devices on one network that fetch the same.

use crate::device::DeviceId;
use crate::ids::ShareId;

/// How much right a device has to get the first copy of the span that begins at position `start`:
/// the highest of a group has it (rendezvous hashing, Thaler and Ravishankar, 1998). The same on
/// every device.
///
/// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014) over the device's key, the share's id
/// and the position.
pub fn claim_weight(device: DeviceId, share: ShareId, start: u32) -> u64 {
    let word = |bytes: &[u8]| {
        bytes
            .iter()
            .take(8)
            .rev()
            .fold(0u64, |word, byte| word << 8 | u64::from(*byte))
    };
    let seed = word(device.as_bytes()) ^ word(share.as_bytes());
    let mut z = seed.wrapping_add(
        u64::from(start)
            .wrapping_add(1)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15),
    );
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
