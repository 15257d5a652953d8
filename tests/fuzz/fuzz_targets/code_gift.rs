//! The gift sealed after an exchange about a code.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hither_decoders::code_gift(data));
