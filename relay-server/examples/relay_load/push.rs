//! Messages between devices that are connected: how long from one to the other.

use crate::device::{Device, Held};
use crate::fleet::{come, devices};
use crate::idle::carrier;
use crate::net::Net;
use crate::report::{Errors, Times, round, tell};
use crate::traffic::{Plan, receive, send};
use crate::usage::Usage;
use crate::{Failure, Options};
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Devices that came, as pairs of one user.
pub fn pairs(mut came: Vec<(Device, Held)>) -> Vec<[(Device, Held); 2]> {
    came.sort_by_key(|(device, _)| device.number);
    let mut pairs = Vec::with_capacity(came.len() / 2);
    let mut came = came.into_iter().peekable();
    while let Some(one) = came.next() {
        if let Some(other) = came.next_if(|(device, _)| device.number / 2 == one.0.number / 2) {
            pairs.push([one, other]);
        }
    }
    pairs
}

pub async fn run(options: &Options, plan: &Plan, idle: usize) -> Result<(), Failure> {
    let net = Net::new(options)?;
    let (besides, _) = come(
        options,
        &net,
        &devices(options, idle, options.per_user).await?,
    )
    .await;
    let idle = besides.len();
    for (device, held) in besides {
        tokio::spawn(async move { drop(held.idle(&device).await) });
    }
    let (came, _) = come(options, &net, &devices(options, 2 * plan.pairs, 2).await?).await;
    let pairs = pairs(came);
    let plan = Plan {
        pairs: pairs.len(),
        ..*plan
    };
    sleep(Duration::from_secs(2)).await;
    let errors = Arc::new(Errors::default());
    let before = Usage::now(options)?;
    let until = Instant::now() + Duration::from_secs(plan.seconds);
    let mut tasks = Vec::new();
    for [(sender, sending), (reader, reading)] in pairs {
        let (errors, to) = (Arc::clone(&errors), reader.id);
        let sending = tokio::spawn(async move { send(plan, sender, sending, to, &errors).await });
        tasks.push((sending, tokio::spawn(receive(reader, reading, until))));
    }
    sleep(Duration::from_secs(plan.seconds)).await;
    let after = Usage::now(options)?;
    let (mut sent, mut forwarded, mut accepted, mut got) = (0, 0, HashSet::new(), HashSet::new());
    let (mut answers, mut deliveries) = (Times::default(), Times::default());
    for (sending, reading) in tasks {
        match sending.await? {
            Ok(done) => {
                (sent, forwarded) = (sent + done.sent, forwarded + done.forwarded);
                accepted.extend(done.accepted);
                answers.join(done.times);
            }
            Err(error) => errors.add(&error),
        }
        match reading.await? {
            Ok(done) => {
                got.extend(done.ids);
                deliveries.join(done.times);
            }
            Err(error) => errors.add(&error),
        }
    }
    let lost = accepted.difference(&got).count();
    let delivered = deliveries.len();
    let (answers, deliveries, percent) = (
        answers.sorted(),
        deliveries.sorted(),
        after.percent_since(&before),
    );
    let value = json!({
        "what": "push", "carrier": carrier(options), "rate": plan.rate, "seconds": plan.seconds,
        "pairs": plan.pairs, "idle": idle, "bytes": plan.size,
        "sent": sent, "accepted": accepted.len(), "forwarded": forwarded, "delivered": delivered, "lost": lost,
        "delivery": deliveries.json(), "answer": answers.json(),
        "cpu_percent": round(percent), "rss_kib": after.rss_kib, "errors": errors.json(),
    });
    let words = format!(
        "push, {}: {sent} sent at {}/s, {delivered} delivered ({deliveries}), {lost} lost, answers {answers}, \
         {percent:.0} % of a core, {} errors",
        carrier(options),
        plan.rate,
        errors.total(),
    );
    tell(&value, &words);
    Ok(())
}
