//! Many devices: their invitations, and how they all come.

use crate::device::{Device, Held};
use crate::net::Net;
use crate::report::{Errors, Times};
use crate::{Failure, Options};
use futures::{StreamExt, TryStreamExt, stream};
use hither_proto::RelayUrl;
use std::time::Instant;
use tokio::process::Command;

/// Programs that make invitations at the same time.
const INVITERS: usize = 8;
/// How often a device tries to come.
const TRIES: usize = 5;

/// Devices that the relay does not know yet, `per_user` of each user, in the order of their users.
pub async fn devices(
    options: &Options,
    count: usize,
    per_user: u32,
) -> Result<Vec<Device>, Failure> {
    let users = count.div_ceil(per_user as usize);
    let invited = stream::iter(0..users)
        .map(|_| invite(options, per_user))
        .buffered(INVITERS);
    let urls: Vec<RelayUrl> = invited.try_collect().await?;
    let of = |number: usize| Device::new(number, urls[number / per_user as usize].clone());
    (0..count).map(of).collect()
}

async fn invite(options: &Options, uses: u32) -> Result<RelayUrl, Failure> {
    let mut command = Command::new(&options.bin);
    command.arg("--data").arg(&options.data).args([
        "--json",
        "invite",
        "--uses",
        &uses.to_string(),
    ]);
    let output = command.output().await?;
    let said: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let url = said["url"]
        .as_str()
        .ok_or_else(|| format!("no invitation: {said}"))?;
    Ok(url.parse()?)
}

/// How the coming of many went.
#[derive(Debug, Default)]
pub struct Coming {
    pub times: Times,
    pub errors: Errors,
    pub seconds: f64,
}

/// All of them come, a few at the same time; one that fails tries again.
pub async fn come(
    options: &Options,
    net: &Net,
    devices: &[Device],
) -> (Vec<(Device, Held)>, Coming) {
    let mut coming = Coming::default();
    let began = Instant::now();
    let errors = &coming.errors;
    let each = stream::iter(devices.iter().cloned()).map(|device| async move {
        for _ in 0..TRIES {
            let began = Instant::now();
            match device.come(net).await {
                Ok(held) => return Some((device, held, began.elapsed())),
                Err(error) => errors.add(&error),
            }
        }
        None
    });
    let came: Vec<_> = each
        .buffer_unordered(options.at_once)
        .filter_map(std::future::ready)
        .collect()
        .await;
    let mut all = Vec::with_capacity(came.len());
    for (device, held, time) in came {
        coming.times.add(time);
        all.push((device, held));
    }
    coming.seconds = began.elapsed().as_secs_f64();
    (all, coming)
}
