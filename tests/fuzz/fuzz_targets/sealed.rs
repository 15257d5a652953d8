//! What is sealed for a device or a group, whole and with something else inside that an honest sealer would not put there.
#![no_main]

use hither_carrier::group_seal::{self, Place};
use hither_carrier::{Identity, seal};
use hither_proto::{GroupId, GroupSecret, MessageId};
use std::sync::LazyLock;

static READER: LazyLock<Identity> = LazyLock::new(|| Identity::generate().expect("a key"));

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (reader, id) = (&*READER, MessageId::NONE);
    let (to, purpose) = (reader.device_id(), seal::SealPurpose::Message);
    let _ = seal::open(reader, to, purpose, &id, data);
    let sealed = seal::seal(reader, to, purpose, &id, data).expect("short enough");
    assert_eq!(seal::open(reader, to, purpose, &id, &sealed).ok().as_deref(), Some(data));
    // A single byte that is changed is noticed.
    let mut changed = sealed;
    let at = data.first().copied().unwrap_or_default() as usize % changed.len();
    changed[at] ^= 1;
    assert!(seal::open(reader, to, purpose, &id, &changed).is_err());
    let secret = GroupSecret::new([7; 32]);
    let place = Place { group: GroupId::new([1; 32]), generation: 3, secret: &secret };
    let _ = group_seal::open(place, to, data);
});
