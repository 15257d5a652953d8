//! Names: what is accepted leads to no other folder, what is shown cannot move a cursor.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(name) = hither_proto::EntryName::parse(text) {
            assert!(!name.as_str().contains(['/', '\0']));
            assert!(!name.as_str().is_empty() && name.as_str() != "." && name.as_str() != "..");
            let _ = (name.folded(), name.unportable());
        }
        assert!(!hither_proto::display_name(text).chars().any(char::is_control));
    }
});
