//! Records of the metadata store, and the time that was kept.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    hither_daemon::fuzzing::records(data);
    let _ = hither_proto::timeline::Timeline::decode(data);
    let _ = hither_proto::ChunkRecord::decode_all(data, u32::MAX);
});
