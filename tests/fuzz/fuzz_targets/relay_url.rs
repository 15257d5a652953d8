//! Relay URLs and addresses: whatever is accepted prints to the same again.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hither_decoders::relay_url(data));
