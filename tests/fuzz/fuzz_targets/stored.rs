//! What is read back from this device: stamps and references to partial files.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hither_decoders::stored(data));
