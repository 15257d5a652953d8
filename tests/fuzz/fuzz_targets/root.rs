//! Roots.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(root) = hither_proto::Root::decode(data) {
        assert_eq!(hither_proto::Root::decode(&root.encode()), Ok(root));
    }
});
