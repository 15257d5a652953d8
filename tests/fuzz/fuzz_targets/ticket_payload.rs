//! Tickets, behind their checksum.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let hrp = bech32::Hrp::parse("hither").unwrap();
    let payload: Vec<u8> = std::iter::once(1).chain(data.iter().copied().take(300)).collect();
    if let Ok(text) = bech32::encode::<bech32::Bech32m>(hrp, &payload) {
        let _ = text.parse::<hither_proto::Ticket>();
    }
});
