//! Frames of the relay protocol: whatever is accepted is encoded to the same message again.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(Some(message)) = hither_proto::decode_relay_frame(data) {
        let again = hither_proto::encode_relay_frame(&message);
        assert_eq!(hither_proto::decode_relay_frame(&again[4..]), Ok(Some(message)));
    }
});
