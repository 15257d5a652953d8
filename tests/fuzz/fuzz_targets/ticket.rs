//! Tickets, as text.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(ticket) = text.parse::<hither_proto::Ticket>()
    {
        assert_eq!(ticket.to_string().parse::<hither_proto::Ticket>(), Ok(ticket));
    }
});
