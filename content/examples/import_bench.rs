//! How fast a path is imported: `import_bench <path> [repetitions]`.
//!
//! Prints wall time, MiB/s and processor seconds per GiB of each repetition. Run it in release on a
//! path in the page cache to measure cutting, hashing and encryption and not the disk.
#![allow(clippy::print_stdout, clippy::expect_used, missing_docs)]

use hither_content::{DomainSecret, ImportOptions, import};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// Processor time of this process so far, seconds.
fn processor_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().expect("a path to import");
    let repetitions: u32 = arguments.next().map_or(5, |n| n.parse().expect("a number"));
    let domain = DomainSecret::new([7; 32]);
    let cancel = AtomicBool::new(false);
    for _ in 0..repetitions {
        let (wall, processor) = (Instant::now(), processor_seconds());
        let imported = import(path.as_ref(), &domain, &ImportOptions::new(&cancel))
            .expect("an importable path");
        let (wall, processor) = (
            wall.elapsed().as_secs_f64(),
            processor_seconds() - processor,
        );
        let manifest = &imported.manifest;
        let gib = manifest.bytes() as f64 / f64::from(1 << 30);
        println!(
            "{:.3} s wall, {:.0} MiB/s, {:.2} CPU s/GiB, {} files, {} chunks",
            wall,
            gib * 1024.0 / wall,
            processor / gib,
            manifest.files(),
            manifest.chunks().len(),
        );
    }
}
