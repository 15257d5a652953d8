//! All devices come back after the relay was restarted.
//!
//! The operator of this program restarts the relay when the line with the event "holding" is
//! printed. Devices come back as those of the daemon do: at once, then after a pause that doubles
//! and is jittered, or after what a busy relay asked for.

use crate::device::{Device, Held, Left, NotIn};
use crate::fleet::{come, devices};
use crate::idle::carrier;
use crate::net::Net;
use crate::report::{Errors, Times, round, tell};
use crate::usage::Usage;
use crate::{Failure, Options};
use hither_proto::RelayRefusalCode;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

/// The pause after the first attempt that failed, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Devices that dial at the same time: more than the handshakes that a relay takes at a time.
const DIALS: usize = 1_500;

/// What the devices of a storm share.
struct Storm {
    net: Net,
    attempts: AtomicU64,
    busy: AtomicU64,
    errors: Errors,
    tell: mpsc::UnboundedSender<Word>,
    /// Places for those that dial: this process has not the processors of all devices, and dials
    /// that time out for want of its own would say nothing of the relay.
    places: Semaphore,
}

enum Word {
    Lost(Instant),
    /// It is back, after so long.
    Back(Instant, Duration),
}

pub async fn run(options: &Options, count: usize, patience: u64) -> Result<(), Failure> {
    let (tell_words, mut words) = mpsc::unbounded_channel();
    let storm = Arc::new(Storm {
        net: Net::new(options)?,
        attempts: AtomicU64::new(0),
        busy: AtomicU64::new(0),
        errors: Errors::default(),
        tell: tell_words,
        places: Semaphore::new(DIALS),
    });
    let (came, coming) = come(
        options,
        &storm.net,
        &devices(options, count, options.per_user).await?,
    )
    .await;
    let here = came.len();
    for (device, held) in came {
        tokio::spawn(one(Arc::clone(&storm), device, held));
    }
    sleep(Duration::from_secs(5)).await;
    let before = Usage::now(options)?;
    tell(
        &json!({"event": "holding", "devices": here}),
        &format!(
            "storm, {}: {here} devices connected in {:.1} s",
            carrier(options),
            coming.seconds
        ),
    );
    let first = match timeout(Duration::from_secs(patience), words.recv()).await {
        Ok(Some(Word::Lost(at))) => at,
        _ => return Err("the relay was not restarted".into()),
    };
    let until = first + Duration::from_secs(patience);
    let (mut lost, mut since_first, mut own) = (1, Times::default(), Times::default());
    while since_first.len() < here {
        match timeout_at(until, words.recv()).await {
            Ok(Some(Word::Lost(_))) => lost += 1,
            Ok(Some(Word::Back(at, took))) => {
                since_first.add(at.duration_since(first));
                own.add(took);
            }
            _ => break,
        }
    }
    let back = since_first.len();
    let (since_first, own) = (since_first.sorted(), own.sorted());
    // The relay is still catching up with what it told the devices.
    sleep_until((Instant::now() + Duration::from_secs(2)).min(until)).await;
    let after = Usage::now(options)?;
    let (attempts, busy) = (
        storm.attempts.load(Ordering::Relaxed),
        storm.busy.load(Ordering::Relaxed),
    );
    let value = json!({
        "what": "storm", "carrier": carrier(options), "devices": here, "lost": lost, "back": back,
        "settled_s": round(since_first.max / 1000.0), "since_first": since_first.json(), "own": own.json(),
        "attempts": attempts, "busy": busy, "errors": storm.errors.json(),
        "rss_before_kib": before.rss_kib, "rss_kib": after.rss_kib, "relay_cpu_s": after.cpu_ms as f64 / 1000.0,
    });
    let words = format!(
        "storm, {}: {back} of {here} back within {:.1} s of the first loss (half within {:.1} s); {attempts} attempts, \
         {busy} times busy, {} errors",
        carrier(options),
        since_first.max / 1000.0,
        since_first.p50 / 1000.0,
        storm.errors.total(),
    );
    tell(&value, &words);
    Ok(())
}

/// Holds, and comes back once.
async fn one(storm: Arc<Storm>, device: Device, held: Held) {
    if let Left::Broken(error) = held.idle(&device).await {
        tracing::debug!(%error, "lost");
    }
    let lost = Instant::now();
    let _ = storm.tell.send(Word::Lost(lost));
    let mut pause = PAUSES.0;
    loop {
        let Ok(place) = storm.places.acquire().await else {
            return;
        };
        storm.attempts.fetch_add(1, Ordering::Relaxed);
        let came = device.come(&storm.net).await;
        drop(place);
        let least = match came {
            Ok(held) => {
                let _ = storm.tell.send(Word::Back(Instant::now(), lost.elapsed()));
                drop(held.idle(&device).await);
                return;
            }
            Err(NotIn::Refused(refusal)) if refusal.code == RelayRefusalCode::Busy => {
                storm.busy.fetch_add(1, Ordering::Relaxed);
                Duration::from_millis(refusal.retry_after_ms.into())
            }
            Err(error) => {
                storm.errors.add(&error);
                Duration::ZERO
            }
        };
        sleep((pause / 2 + pause.mul_f64(chance() / 2.0)).max(least)).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Between 0 and 1.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    // Without chance all of them come in step: that is only a harder test.
    let _ = getrandom::fill(&mut bytes);
    f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX)
}
