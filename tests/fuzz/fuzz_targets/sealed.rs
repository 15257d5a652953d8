//! What is sealed for a device or a group, whole and with something else inside that an honest sealer would not put there.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hither_decoders::sealed(data));
