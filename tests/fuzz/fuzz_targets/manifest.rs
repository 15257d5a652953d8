//! Manifests: whatever is accepted survives encoding, and its tree is a tree.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hither_decoders::manifest(data));
