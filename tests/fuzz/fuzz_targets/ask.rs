//! Letters about requests: whatever is accepted is encoded to the same letter again.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hither_decoders::ask(data));
