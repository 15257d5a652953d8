//! What is inside a member's note to its group.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hither_decoders::note(data));
