//! What is inside a member's note to its group.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some((author, note)) = data.split_first_chunk::<32>()
        && let Ok(author) = hither_proto::DeviceId::from_slice(author)
    {
        hither_daemon::fuzzing::note(author, note);
    }
});
