//! Durable messages for devices that are away: how many a second are accepted, and whether all of
//! them are there later.

use crate::fleet::{come, devices};
use crate::idle::carrier;
use crate::net::Net;
use crate::push::pairs;
use crate::report::{Errors, Times, round, tell};
use crate::traffic::{Plan, receive, send};
use crate::usage::Usage;
use crate::{Failure, Options};
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

pub async fn run(options: &Options, plan: &Plan) -> Result<(), Failure> {
    let net = Net::new(options)?;
    let (came, _) = come(options, &net, &devices(options, 2 * plan.pairs, 2).await?).await;
    let (mut senders, mut readers) = (Vec::new(), Vec::new());
    for [sender, (reader, held)] in pairs(came) {
        senders.push((sender, reader.id));
        readers.push(reader);
        drop(held);
    }
    let plan = Plan {
        pairs: senders.len(),
        ..*plan
    };
    sleep(Duration::from_secs(2)).await;
    let errors = Arc::new(Errors::default());
    let before = Usage::now(options)?;
    let mut tasks = Vec::new();
    for ((sender, held), to) in senders {
        let errors = Arc::clone(&errors);
        tasks.push(tokio::spawn(async move {
            send(plan, sender, held, to, &errors).await
        }));
    }
    let (mut sent, mut accepted, mut answers, mut seconds) =
        (0, HashSet::new(), Times::default(), 0.0_f64);
    for task in tasks {
        match task.await? {
            Ok(done) => {
                sent += done.sent;
                seconds = seconds.max(done.seconds);
                accepted.extend(done.accepted);
                answers.join(done.times);
            }
            Err(error) => errors.add(&error),
        }
    }
    let after = Usage::now(options)?;
    let fetching = Instant::now();
    let (came, _) = come(options, &net, &readers).await;
    let reading = came
        .into_iter()
        .map(|(device, held)| tokio::spawn(receive(device, held, Instant::now())));
    let (mut got, mut again) = (HashSet::new(), 0);
    for task in reading.collect::<Vec<_>>() {
        match task.await? {
            Ok(done) => {
                got.extend(done.ids);
                again += done.again;
            }
            Err(error) => errors.add(&error),
        }
    }
    let fetched = fetching.elapsed().as_secs_f64();
    let lost = accepted.difference(&got).count();
    let (rate, percent) = (
        accepted.len() as f64 / seconds.max(0.001),
        after.percent_since(&before),
    );
    let answers = answers.sorted();
    let value = json!({
        "what": "mail", "carrier": carrier(options), "rate": plan.rate, "seconds": plan.seconds,
        "pairs": plan.pairs, "bytes": plan.size, "sent": sent, "accepted": accepted.len(),
        "accepted_per_s": round(rate), "answer": answers.json(), "fetched": got.len(), "again": again,
        "fetch_s": round(fetched), "lost": lost, "cpu_percent": round(percent), "rss_kib": after.rss_kib,
        "errors": errors.json(),
    });
    let words = format!(
        "mail, {}: {sent} sent at {}/s, {} accepted ({rate:.0}/s, {answers}), {} fetched, {lost} lost, \
         {percent:.0} % of a core, {} errors",
        carrier(options),
        plan.rate,
        accepted.len(),
        got.len(),
        errors.total(),
    );
    tell(&value, &words);
    Ok(())
}
