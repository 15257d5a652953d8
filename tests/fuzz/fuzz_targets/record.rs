//! Records of the metadata store, and the time that was kept.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hither_decoders::record(data));
