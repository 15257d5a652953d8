//! Manifests: whatever is accepted survives encoding, and its tree is a tree.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(manifest) = hither_proto::Manifest::decode(data) {
        assert_eq!(hither_proto::Manifest::decode(&manifest.encode()).as_ref(), Ok(&manifest));
        let sum: u64 = manifest.chunks().iter().map(|c| u64::from(c.length)).sum();
        assert_eq!(sum, manifest.bytes());
    }
});
