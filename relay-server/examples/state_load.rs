//! Measures durable appends: `state_load FOLDER [CALLERS [SECONDS [BYTES]]]`.
//!
//! Callers append to a mailbox of their own each, one item after the other, and acknowledge now and
//! then, so that the state keeps its size. Prints appends per second and how long single ones took.

#![allow(clippy::print_stdout)]

use bytes::Bytes;
use hither_relay::state::{Embedded, Limits, NewItem, Options, State};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Items after which a caller acknowledges what it has appended.
const ACK_EVERY: u64 = 100;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: state_load FOLDER [CALLERS [SECONDS [BYTES]]]";
    let folder = PathBuf::from(arguments.next().ok_or(usage)?);
    let mut number = |default| {
        arguments
            .next()
            .map_or(Ok(default), |text| text.parse::<u64>())
    };
    let (callers, seconds, bytes) = (number(64)?, number(10)?, number(1024)?);

    let state = Arc::new(Embedded::open(&folder, &Options::default())?.0);
    let start = Instant::now();
    let end = start + Duration::from_secs(seconds);
    let value = Bytes::from(vec![0xa5; usize::try_from(bytes)?]);
    let tasks: Vec<_> = (0..callers)
        .map(|caller| tokio::spawn(append_until(Arc::clone(&state), caller, value.clone(), end)))
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    let elapsed = start.elapsed();
    state.close().await;

    times.sort_unstable();
    let at = |share: f64| {
        let place = (times.len() as f64 * share) as usize;
        times
            .get(place.min(times.len().saturating_sub(1)))
            .map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    };
    let rate = times.len() as f64 / elapsed.as_secs_f64();
    println!(
        "{callers} callers, {bytes} bytes each: {rate:.0} durable appends/s over {:.1} s",
        elapsed.as_secs_f64()
    );
    println!(
        "latency ms: median {:.2}, 90% {:.2}, 99% {:.2}, 99.9% {:.2}, longest {:.2}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        at(1.0)
    );
    Ok(())
}

/// Appends until `end`; returns how long each append took.
async fn append_until(
    state: Arc<Embedded>,
    caller: u64,
    value: Bytes,
    end: Instant,
) -> Result<Vec<Duration>, Failure> {
    let queue = format!("mail/{caller:064x}");
    let limits = Limits {
        items: 10_000,
        bytes: 1 << 30,
        source_items: 10_000,
        source_bytes: 1 << 30,
    };
    let source = Bytes::copy_from_slice(&caller.to_be_bytes());
    let mut times = Vec::new();
    for number in 1.. {
        let now = Instant::now();
        if now >= end {
            break;
        }
        let mut id = [0; 16];
        getrandom::fill(&mut id)?;
        let item = NewItem {
            id,
            source: source.clone(),
            value: value.clone(),
            expires_ms: u64::MAX,
            limits,
        };
        let appended = state.append(&queue, item).await?;
        times.push(now.elapsed());
        if number % ACK_EVERY == 0 {
            state.ack(&queue, appended.seq).await?;
        }
    }
    Ok(times)
}
