//! Words that a shell completes beside commands and options: the user's devices, shares, transfers and
//! settings.
//!
//! Invariant: completing starts no daemon, waits for none longer than [`PATIENCE`], and says nothing
//! when there is none.

use clap_complete::engine::CompletionCandidate;
use hither_api::{Client, DeviceInfo, KEYS, ListedShare, Paths, ShareInfo, TransferInfo};
use hither_proto::display_name;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Longest wait for the daemon.
const PATIENCE: Duration = Duration::from_millis(700);

/// Asks a daemon that runs.
fn ask<T: DeserializeOwned + Default>(call: &str) -> T {
    let asked = || {
        let paths = Paths::from_env().ok()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .ok()?;
        let client = Client::of(&paths).watching();
        let answer = async { tokio::time::timeout(PATIENCE, client.get::<T>(call)).await };
        runtime.block_on(answer).ok()?.ok()
    };
    asked().unwrap_or_default()
}

/// A candidate with a word about it; `None` for what a terminal would obey.
fn candidate(value: &str, about: String) -> Option<CompletionCandidate> {
    let plain = !value.is_empty() && display_name(value) == value;
    plain.then(|| CompletionCandidate::new(value).help(Some(about.into())))
}

/// Devices that things can be sent to and asked of.
pub fn devices() -> Vec<CompletionCandidate> {
    let others = |device: &DeviceInfo| !device.this;
    let named = |device: DeviceInfo| {
        let name = if device.name.is_empty() {
            &device.short
        } else {
            &device.name
        };
        let state = if device.online { "online" } else { "away" };
        candidate(name, state.into())
    };
    let all = ask::<Vec<DeviceInfo>>("/v1/devices").into_iter();
    all.filter(others).filter_map(named).collect()
}

/// Shares of this device.
pub fn shares() -> Vec<CompletionCandidate> {
    let all = ask::<Vec<ShareInfo>>("/v1/shares").into_iter();
    all.filter_map(|share| candidate(&share.name, display_name(&share.path)))
        .collect()
}

/// The shares of other devices, as `fetch` takes it.
pub fn fetchable() -> Vec<CompletionCandidate> {
    let all = ask::<Vec<ListedShare>>("/v1/catalogue").into_iter();
    let named = |share: ListedShare| {
        let about = crate::show::bytes(share.bytes);
        candidate(&format!("{}/{}", share.device_name, share.name), about)
    };
    all.filter_map(named).collect()
}

/// Transfers.
pub fn transfers() -> Vec<CompletionCandidate> {
    let all = ask::<Vec<TransferInfo>>("/v1/transfers").into_iter();
    all.filter_map(|transfer| candidate(&transfer.transfer, display_name(&transfer.name)))
        .collect()
}

/// Keys of the configuration.
pub fn keys() -> Vec<CompletionCandidate> {
    let keys = KEYS.iter();
    keys.filter_map(|key| candidate(key.name, key.about.into()))
        .collect()
}
