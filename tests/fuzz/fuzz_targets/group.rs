//! Entries of a group's log, what is kept of one, and invitations to ask.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(entry) = hither_proto::SignedEntry::open(data) {
        let _ = hither_proto::Membership::begin(&entry);
    }
    if let Ok(membership) = hither_proto::Membership::decode(data) {
        let again = hither_proto::Membership::decode(&membership.encode());
        assert_eq!(again, Ok(membership));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = text.parse::<hither_proto::GroupInvite>();
        let _ = hither_proto::GroupName::parse(text);
    }
});
