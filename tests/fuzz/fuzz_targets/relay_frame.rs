//! Frames of the relay protocol: whatever is accepted is encoded to the same message again.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hither_decoders::relay_frame(data));
