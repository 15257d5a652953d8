//! What is inside sealed messages.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hither_decoders::letter(data));
