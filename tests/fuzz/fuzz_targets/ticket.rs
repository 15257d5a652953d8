//! Tickets, as text.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hither_decoders::ticket(data));
