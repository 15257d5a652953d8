//! Codes as people type or scan them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hither_decoders::code(data));
