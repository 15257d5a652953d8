//! Signed heads, before their signature is checked.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(head) = hither_proto::UncheckedHead::decode(data) {
        let secret = hither_proto::ShareSecret::new([1; 16]);
        let owner = hither_proto::DeviceId::from_slice(&[0x58; 32]);
        if let Ok(owner) = owner {
            assert!(hither_proto::SignedHead::open(&head, secret.share_id(), owner).is_err());
        }
    }
});
