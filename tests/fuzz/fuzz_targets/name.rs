//! Names: what is accepted can be given to a file system, what is shown cannot move a cursor.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hither_decoders::name(data));
