//! Requests to the local API, and its answers as the command line reads them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hither_decoders::api(data));
