//! Decoders of this crate for tests and fuzzers (`tests/decoders`): what members, devices and the
//! disk give it.

use crate::groups::decode_note;
use crate::mail::decode_letter;
use crate::records::{ShareRecord, TransferRecord};
use hither_proto::DeviceId;
use hither_relay_client::CardRecord;

/// Decodes the inside of a sealed message.
pub fn letter(bytes: &[u8]) {
    decode_letter(bytes);
}

/// Decodes the inside of a member's note to its group.
pub fn note(author: DeviceId, bytes: &[u8]) {
    decode_note(author, bytes);
}

/// Records of the metadata store: each that can be read is written to what can be read again.
pub fn records(bytes: &[u8]) {
    again::<ShareRecord>(bytes);
    again::<TransferRecord>(bytes);
    again::<CardRecord>(bytes);
}

fn again<T: serde::Serialize + serde::de::DeserializeOwned>(bytes: &[u8]) {
    if let Ok(record) = serde_json::from_slice::<T>(bytes) {
        let written = serde_json::to_vec(&record).unwrap_or_default();
        assert!(
            serde_json::from_slice::<T>(&written).is_ok(),
            "what was written cannot be read"
        );
    }
}
