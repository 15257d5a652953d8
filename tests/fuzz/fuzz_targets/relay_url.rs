//! Relay URLs and addresses: whatever is accepted prints to the same again.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(url) = text.parse::<hither_proto::RelayUrl>() {
        assert_eq!(url.to_string().parse(), Ok(url));
    }
    if let Ok(at) = text.parse::<hither_proto::HostPort>() {
        assert_eq!(at.to_string().parse(), Ok(at));
    }
});
