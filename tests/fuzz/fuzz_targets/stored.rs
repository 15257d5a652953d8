//! What is read back from this device: stamps and references to partial files.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = hither_content::Stamps::decode(data);
    let _ = hither_content::PartialRef::decode(data);
});
