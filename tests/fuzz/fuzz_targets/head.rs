//! Signed heads, before their signature is checked.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hither_decoders::head(data));
