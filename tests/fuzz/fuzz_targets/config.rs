//! Configuration files of devices and of relays, and the record that says where a daemon listens.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hither_decoders::config(data));
