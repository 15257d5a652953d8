//! Entries of a group's log, what is kept of one, and invitations to ask.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hither_decoders::group(data));
