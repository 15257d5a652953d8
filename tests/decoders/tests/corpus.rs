//! Every decoder over its corpus, and over changes of it for a while.
//!
//! `HITHER_FUZZ_SECONDS` is how long each decoder is given changed inputs (2 s); `HITHER_FUZZ_SEED`
//! repeats a run. Coverage is what `scripts/fuzz` is for: this finds what a small change of the
//! code broke, on every machine and without a fuzzer.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest input that is made, bytes.
const MAX: usize = 1 << 16;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(name);
    let entries =
        std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut all: Vec<_> = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            (path, bytes)
        })
        .collect();
    all.sort();
    assert!(!all.is_empty(), "{} is empty", folder.display());
    all
}

/// One to four changes of the kinds that fuzzers make.
fn changed(random: &mut fastrand::Rng, all: &[(PathBuf, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = all[random.usize(..all.len())].1.clone();
    for _ in 0..random.usize(1..=4) {
        let at = random.usize(..=bytes.len());
        match random.u8(..6) {
            0 if at < bytes.len() => bytes[at] = random.u8(..),
            1 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
            2 => bytes.truncate(at),
            3 => bytes.insert(
                at,
                *random
                    .choice(&[0, 1, 0x7f, 0x80, 0xff, b'"', b'.', b'/'])
                    .unwrap(),
            ),
            4 if at < bytes.len() => drop(bytes.drain(at..random.usize(at..=bytes.len()))),
            _ => {
                let other = &all[random.usize(..all.len())].1;
                let from = random.usize(..=other.len());
                bytes.splice(
                    at..at,
                    other[from..random.usize(from..=other.len())]
                        .iter()
                        .copied(),
                );
            }
        }
    }
    bytes.truncate(MAX);
    bytes
}

#[test]
fn no_decoder_fails_otherwise_than_by_saying_so() {
    let seed = number("HITHER_FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
    let patience = Duration::from_secs(number("HITHER_FUZZ_SECONDS").unwrap_or(2));
    for (name, decode) in hither_decoders::ALL {
        let all = corpus(name);
        for (path, bytes) in &all {
            let done = catch_unwind(AssertUnwindSafe(|| decode(bytes)));
            assert!(done.is_ok(), "{name} fails for {}", path.display());
        }
        let (mut random, mut tried) = (fastrand::Rng::with_seed(seed), 0_u64);
        let end = Instant::now() + patience;
        while Instant::now() < end {
            let bytes = changed(&mut random, &all);
            let done = catch_unwind(AssertUnwindSafe(|| decode(&bytes)));
            assert!(
                done.is_ok(),
                "{name} fails (seed {seed}, input {tried}) for {bytes:02x?}"
            );
            tried += 1;
        }
        println!(
            "{name}: {} inputs of the corpus, {tried} changed ones",
            all.len()
        );
    }
}
