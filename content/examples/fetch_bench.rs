//! How fast a share is served and written: `fetch_bench <path to share> <folder to fetch into>
//! [threads]`.
//!
//! Imports the path, then prints for each step its wall time, MiB/s and processor seconds per GiB:
//! sealing every chunk (what serving costs), opening it (verifying and decrypting), writing it, the
//! checkpoints and the end. What was fetched is removed again. On ext4 repeat it with pauses of
//! some minutes: the inodes of removed files are not used again for a while, and looking for others
//! takes most of the time then.
#![allow(clippy::print_stdout, clippy::expect_used, missing_docs)]

use hither_content::{
    DomainSecret, FetchTarget, Handles, Holding, IfExists, ImportOptions, Layout, TargetOptions,
    import, open_chunk,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

/// Bytes between two checkpoints.
const CHECKPOINT: u64 = 64 << 20;

/// Processor time of this process so far, seconds.
fn processor_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn timed<T>(what: &str, bytes: u64, step: impl FnOnce() -> T) -> T {
    let (wall, processor) = (Instant::now(), processor_seconds());
    let result = step();
    let (wall, processor) = (
        wall.elapsed().as_secs_f64(),
        processor_seconds() - processor,
    );
    let gib = bytes as f64 / f64::from(1 << 30);
    println!(
        "{what:>22}: {wall:.3} s, {:.0} MiB/s, {:.2} CPU s/GiB",
        gib * 1024.0 / wall,
        processor / gib
    );
    result
}

/// Calls `work` with every position, from several threads.
fn each_position(positions: u32, threads: u32, work: impl Fn(u32, &mut Vec<u8>) + Sync) {
    let next = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut buffer = Vec::new();
                loop {
                    let position = next.fetch_add(1, Ordering::Relaxed);
                    if position >= positions {
                        break;
                    }
                    work(position, &mut buffer);
                }
            });
        }
    });
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().expect("a path to share");
    let into = arguments.next().expect("a folder to fetch into");
    let threads: u32 = arguments.next().map_or(1, |n| n.parse().expect("a number"));
    let cancel = AtomicBool::new(false);
    let imported = import(
        path.as_ref(),
        &DomainSecret::new([7; 32]),
        &ImportOptions::new(&cancel),
    )
    .expect("a path to share");
    let (handles, layout) = (
        Handles::new(256),
        Layout::new(Arc::clone(&imported.manifest)),
    );
    let holding = Holding::new(
        &handles,
        imported.place,
        Arc::clone(&layout),
        imported.stamps,
    );
    let (bytes, positions) = (imported.manifest.bytes(), layout.positions());
    println!(
        "{} files, {positions} chunks, {} MiB, {threads} threads",
        imported.manifest.files(),
        bytes >> 20
    );
    let chunks = imported.manifest.chunks();

    timed("reading and sealing", bytes, || {
        each_position(positions, threads, |position, buffer| {
            holding
                .read_sealed(position, buffer)
                .expect("an unchanged share");
        });
    });
    timed("… and opening", bytes, || {
        each_position(positions, threads, |position, buffer| {
            holding
                .read_sealed(position, buffer)
                .expect("an unchanged share");
            open_chunk(&chunks[position as usize], buffer).expect("a sound chunk");
        });
    });
    let options = TargetOptions::new(IfExists::Rename);
    let target = FetchTarget::prepare(&handles, into.as_ref(), Arc::clone(&layout), &options)
        .expect("a target");
    let zeros = vec![
        1;
        chunks
            .iter()
            .map(|chunk| chunk.length as usize)
            .max()
            .unwrap_or(0)
    ];
    timed("writing", bytes, || {
        each_position(positions, threads, |position, _| {
            let length = chunks[position as usize].length as usize;
            target
                .write_chunk(position, &zeros[..length])
                .expect("room");
        });
    });
    target.discard().expect("a partial");
    let target = FetchTarget::prepare(&handles, into.as_ref(), Arc::clone(&layout), &options)
        .expect("a target");
    let written = std::sync::atomic::AtomicU64::new(0);
    timed("all, with checkpoints", bytes, || {
        each_position(positions, threads, |position, buffer| {
            let record = &chunks[position as usize];
            holding
                .read_sealed(position, buffer)
                .expect("an unchanged share");
            open_chunk(record, buffer).expect("a sound chunk");
            target.write_chunk(position, buffer).expect("room");
            let before = written.fetch_add(u64::from(record.length), Ordering::Relaxed);
            if before / CHECKPOINT != (before + u64::from(record.length)) / CHECKPOINT {
                target.checkpoint().expect("a working disk");
            }
        });
    });
    let finished = timed("finishing", bytes, || target.finish().expect("a free name"));
    let result = finished.place.path();
    let removed = if result.is_dir() {
        std::fs::remove_dir_all(result)
    } else {
        std::fs::remove_file(result)
    };
    removed.expect("what was just fetched");
}
