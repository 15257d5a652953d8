//! Frames of the link protocol: whatever is accepted is encoded to the same message again.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hither_decoders::frame(data));
