//! Frames of the link protocol: whatever is accepted is encoded to the same message again.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(Some(message)) = hither_proto::decode_frame(data) {
        let again = hither_proto::encode_frame(&message);
        assert_eq!(hither_proto::decode_frame(&again[4..]), Ok(Some(message)));
    }
});
