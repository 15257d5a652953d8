//! Measures an index: `index_load [HOLDERS [POSITIONS]]`.
//!
//! Holders of one share announce themselves, by kind: everything, 64 runs, one position in a
//! hundred, one in ten. Prints what that takes in memory and time. Then a fetch of all positions
//! goes through it, as the device says it (in extents, gathered over 300 ms) and as its readers are
//! told.

#![allow(clippy::print_stdout)]

use bytes::Bytes;
use hither_carrier::Identity;
use hither_proto::limits::INDEX_EXTENT;
use hither_proto::{
    Announcement, Delta, DeviceId, IndexMessage, IndexTopic, Ranges, RelayMessage,
    encode_relay_frame,
};
use hither_relay::index::{Bounds, Index, IndexError, Speaker, StreamId};
use roaring::RoaringBitmap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

const TOPIC: IndexTopic = IndexTopic::new([1; 32]);
/// What is announced beside the positions: padded addresses, nonce, tag.
const SEALED: usize = 12 + 256 + 16;
/// Devices that are told of every holder in turn.
const READERS: u64 = 80;
/// How often a fetch says what is new, and how many bytes of chunks of 64 KiB it gets meanwhile at
/// 1 Gbit/s.
const GATHER: Duration = Duration::from_millis(300);
const GATHERED: u32 = 37_500_000 / 65_536;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Random numbers from a seed (splitmix64, public domain, by Sebastiano Vigna).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % u64::from(limit)) as u32
    }
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| {
        arguments
            .next()
            .map_or(Ok(default), |text| text.parse::<u32>())
    };
    let (holders, positions) = (number(10_000)?, number(1_000_000)?);
    println!("{holders} holders of {positions} positions");
    crowd(holders, positions)?;
    println!("the same in extents of {INDEX_EXTENT}");
    let extents = positions.div_ceil(INDEX_EXTENT);
    let (mut index, devices) = crowd(holders, extents)?;
    fetch(&mut index, &devices, extents)
}

fn speaker(device: DeviceId, number: u32) -> Speaker {
    let site = Ipv4Addr::from(0x0a00_0000 + number / 8);
    Speaker::new(StreamId(number.into()), device, IpAddr::V4(site))
}

/// What a holder of a kind holds.
fn held(kind: u32, positions: u32, random: &mut Random) -> RoaringBitmap {
    let mut held = RoaringBitmap::new();
    match kind {
        0 => {}
        1 => {
            let run = positions / 128;
            (0..64).for_each(|_| {
                let start = random.below(positions - run);
                held.insert_range(start..start + run);
            });
        }
        kind => {
            let count = positions / if kind == 2 { 100 } else { 10 };
            held.extend((0..count).map(|_| random.below(positions)));
        }
    }
    held
}

/// Everybody announces.
fn crowd(holders: u32, positions: u32) -> Result<(Index, Vec<DeviceId>), Failure> {
    let mut index = Index::new(Bounds {
        entries: 1_000_000,
        device_entries: 8_192,
        site_entries: 8_192,
        bytes: 8 << 30,
        device_bytes: 16 << 20,
        site_bytes: 64 << 20,
        subscriptions: 20_000,
        stream_subscriptions: 256,
        life: Duration::from_secs(90),
    });
    let mut random = Random(7);
    let devices: Vec<DeviceId> = (0..holders)
        .map(|_| Identity::generate().map(|identity| identity.device_id()))
        .collect::<Result<_, _>>()?;
    let parts = [
        ("everything", 0, 40),
        ("64 runs", 1, 40),
        ("1 % at random", 2, 19),
        ("10 % at random", 3, 1),
    ];
    let (mut first, mut wire) = (0, 0);
    let before_all = resident();
    for (name, kind, percent) in parts {
        let count = (holders * percent / 100).min(holders - first);
        let (bytes, rss, mut took) = (index.held().bytes, resident(), Duration::ZERO);
        for number in first..first + count {
            let held = Ranges::from_bitmap(&held(kind, positions, &mut random));
            let complete = kind == 0;
            let holding = Announcement {
                version: 1,
                epoch: 1,
                seq: 1,
                complete,
                held,
                has_manifest: true,
            };
            let (sealed, begun) = (Bytes::from(vec![0; SEALED]), Instant::now());
            let speaker = speaker(devices[number as usize], number);
            index.announce(speaker, TOPIC, &holding, sealed.clone(), begun)?;
            took += begun.elapsed();
            wire += frame(IndexMessage::Announce {
                topic: TOPIC,
                holding,
                sealed,
            });
        }
        let (bytes, rss) = (index.held().bytes - bytes, resident().saturating_sub(rss));
        let per = |bytes: u64| bytes / u64::from(count.max(1));
        println!(
            "  {count:5} × {name:15} {:7} bytes counted each, {:7} of RSS, {:.0} µs to announce",
            per(bytes),
            per(rss),
            took.as_secs_f64() * 1e6 / f64::from(count.max(1))
        );
        first += count;
    }
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "  in all {:.1} MiB counted, {:.1} MiB of RSS; all announcements once on the wire {:.1} MiB",
        mib(index.held().bytes),
        mib(resident().saturating_sub(before_all)),
        mib(wire)
    );
    let begun = Instant::now();
    let copies: u64 = (0..1000)
        .map(|at| u64::from(index.copies(TOPIC, 1, at * (positions / 1000))))
        .sum();
    println!(
        "  copies of a position: {:.2} µs ({} on average)",
        begun.elapsed().as_secs_f64() * 1e3,
        copies / 1000
    );
    Ok((index, devices))
}

/// A device fetches everything, with readers that are told of it.
fn fetch(index: &mut Index, devices: &[DeviceId], extents: u32) -> Result<(), Failure> {
    let identity = Identity::generate()?.device_id();
    let fetcher = speaker(identity, 1 << 20);
    let mut told = 0;
    let begun = Instant::now();
    for reader in 0..READERS {
        let device = devices[reader as usize % devices.len()];
        let from = Speaker::new(
            StreamId((1 << 32) + reader),
            device,
            IpAddr::V4(Ipv4Addr::from(1)),
        );
        index.subscribe(from, TOPIC, identity)?;
        while let Some(message) = index.news(from.stream) {
            told += frame(message);
        }
    }
    println!(
        "{READERS} subscriptions: {:.1} ms each, {} KiB each",
        begun.elapsed().as_secs_f64() * 1e3 / READERS as f64,
        told / READERS / 1024
    );
    // In an order of its own, as devices fetch.
    let mut order: Vec<u32> = (0..extents).collect();
    let mut random = Random(11);
    (1..extents)
        .rev()
        .for_each(|at| order.swap(at as usize, random.below(at + 1) as usize));
    let nothing = Announcement {
        version: 1,
        epoch: 1,
        seq: 1,
        complete: false,
        held: Ranges::default(),
        has_manifest: true,
    };
    let sealed = Bytes::from(vec![0; SEALED]);
    let mut said = frame(IndexMessage::Announce {
        topic: TOPIC,
        holding: nothing.clone(),
        sealed: sealed.clone(),
    });
    index.announce(fetcher, TOPIC, &nothing, sealed, begun)?;
    let (mut deltas, mut pushed, mut seq) = (0, 0, 1);
    let mut busy = Duration::ZERO;
    for gathered in order.chunks((GATHERED / INDEX_EXTENT).max(1) as usize) {
        seq += 1;
        let added = Ranges::from_bitmap(&gathered.iter().copied().collect());
        let change = Delta {
            version: 1,
            epoch: 1,
            seq,
            added,
            removed: Ranges::default(),
        };
        said += frame(IndexMessage::Delta {
            topic: TOPIC,
            change: change.clone(),
        });
        deltas += 1;
        let begun = Instant::now();
        match index.change(fetcher, TOPIC, &change, begun) {
            Ok(()) => {}
            Err(error @ (IndexError::Gap | IndexError::Full | IndexError::TooMuch)) => {
                return Err(error.into());
            }
        }
        let messages: Vec<_> = (0..READERS)
            .filter_map(|reader| index.news(StreamId((1 << 32) + reader)))
            .collect();
        busy += begun.elapsed();
        pushed += messages.into_iter().map(frame).sum::<u64>();
    }
    let chunks = u64::from(extents) * u64::from(INDEX_EXTENT);
    println!(
        "a fetch of {chunks} chunks at 1 Gbit/s ({:.0} s): {deltas} changes, {} KiB said ({:.2} bytes a chunk), \
         {} KiB told to each of {READERS} readers; {:.0} µs of the index for each change with its news",
        GATHER.as_secs_f64() * f64::from(deltas),
        said / 1024,
        said as f64 / chunks as f64,
        pushed / READERS / 1024,
        busy.as_secs_f64() * 1e6 / f64::from(deltas)
    );
    Ok(())
}

fn frame(message: IndexMessage) -> u64 {
    encode_relay_frame(&RelayMessage::Index(Box::new(message))).len() as u64
}

/// Bytes of memory that this process has, where the system says so.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm
        .split_whitespace()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or_default();
    pages * 4096
}
