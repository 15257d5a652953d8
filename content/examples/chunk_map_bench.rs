//! How fast the chunk map is: `chunk_map_bench <empty folder> <sled|redb> [chunks]`.
#![allow(clippy::print_stdout, clippy::expect_used, missing_docs)]

use hither_content::ChunkMap;
use hither_content::storage::{Engine, open};
use hither_proto::{ChunkId, ChunkKey, ChunkRecord, ShareSecret};
use std::time::Instant;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().expect("an empty folder");
    let engine = if arguments.next().as_deref() == Some("sled") {
        Engine::Sled
    } else {
        Engine::Redb
    };
    let count: u64 = arguments
        .next()
        .map_or(1_000_000, |n| n.parse().expect("a number"));
    let (storage, _) = open(dir.as_ref(), engine).expect("a store");
    let map = ChunkMap::open(storage).expect("a chunk map");
    let record = |i: u64| ChunkRecord {
        id: ChunkId::new(*blake3::hash(&i.to_le_bytes()).as_bytes()),
        key: ChunkKey::new([0; 32]),
        length: 1,
    };
    let chunks: Vec<ChunkRecord> = (0..count).map(record).collect();
    let share = ShareSecret::new([1; 16]).share_id();
    let timed = |what: &str, started: Instant| {
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "{what:>8}: {seconds:.2} s, {:.0} chunks/s",
            count as f64 / seconds
        );
    };
    let started = Instant::now();
    let first = map.add(share, 1, &chunks).expect("a working disk");
    timed("add", started);
    let started = Instant::now();
    map.add(share, 2, &chunks).expect("a working disk");
    timed("add 2nd", started);
    let started = Instant::now();
    for chunk in &chunks {
        assert_eq!(map.lookup(&chunk.id, 4).expect("a working disk").len(), 2);
    }
    timed("lookup", started);
    let started = Instant::now();
    map.remove(first, Some(&chunks)).expect("a working disk");
    timed("remove", started);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    println!(
        "{}",
        status
            .lines()
            .find(|line| line.starts_with("VmHWM"))
            .unwrap_or("peak memory unknown")
    );
}
