//! Names: what is accepted leads to no other folder, what is shown cannot move a cursor.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hither_decoders::name(data));
