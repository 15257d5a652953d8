//! What a device costs that is connected and has nothing to say.

use crate::device::Left;
use crate::fleet::{come, devices};
use crate::net::Net;
use crate::report::{Errors, round, tell};
use crate::usage::Usage;
use crate::{Failure, Options};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Numbers of devices at which is measured, as far as there are so many, and then all.
const STEPS: [usize; 4] = [100, 1_000, 2_000, 5_000];
/// Time for lists and round trips to settle before each measurement.
const SETTLE: Duration = Duration::from_secs(5);

pub async fn run(options: &Options, count: usize, window: u64) -> Result<(), Failure> {
    let net = Arc::new(Net::new(options)?);
    let all = devices(options, count, options.per_user).await?;
    let before = Usage::now(options)?;
    let lost = Arc::new(Errors::default());
    let steps = STEPS
        .into_iter()
        .filter(|step| *step < count)
        .chain([count]);
    let mut here = 0;
    for step in steps {
        let (came, coming) = come(options, &net, &all[here..step]).await;
        let connected = came.len();
        for (device, held) in came {
            let lost = Arc::clone(&lost);
            tokio::spawn(async move {
                match held.idle(&device).await {
                    Left::Moved => lost.add(&"asked to move"),
                    Left::Broken(error) => lost.add(&error),
                }
            });
        }
        let added = step - here;
        here = step;
        sleep(SETTLE).await;
        let from = Usage::now(options)?;
        sleep(Duration::from_secs(window)).await;
        let to = Usage::now(options)?;
        let each = to.rss_kib.saturating_sub(before.rss_kib) as f64 / step as f64;
        let (percent, times) = (to.percent_since(&from), coming.times.sorted());
        let value = json!({
            "what": "idle", "carrier": carrier(options), "devices": step, "missing": added - connected,
            "rss_kib": to.rss_kib, "rss_before_kib": before.rss_kib, "kib_each": round(each),
            "cpu_percent": round(percent), "window_s": window,
            "connect_s": round(coming.seconds), "connect": times.json(),
            "errors": coming.errors.json(), "lost": lost.json(),
        });
        let words = format!(
            "idle, {}: {step} devices: {each:.1} KiB each ({:.0} MiB in all), {percent:.2} % of a core; \
             {added} connected in {:.1} s ({times}); {} errors, {} lost",
            carrier(options),
            to.rss_kib as f64 / 1024.0,
            coming.seconds,
            coming.errors.total(),
            lost.total(),
        );
        tell(&value, &words);
    }
    Ok(())
}

pub fn carrier(options: &Options) -> &'static str {
    if options.tcp { "TCP" } else { "QUIC" }
}
