//! Tickets, behind their checksum.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hither_decoders::ticket_payload(data));
