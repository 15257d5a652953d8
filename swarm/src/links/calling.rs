//! Connections the other way round: a device that is seen and does not answer, because a firewall
//! lets nothing in, may get through to this one. This device asks by multicast to be connected to,
//! and whoever shares something does.
//!
//! Invariant: whoever connects is known by its key like any other link; being called makes a device
//! dial and nothing else.

use super::Links;
use hither_carrier::{Call, Link};
use hither_proto::DeviceId;
use hither_util::sync::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::MutexGuard;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// How long a device that is seen may be silent before it is called to connect by itself.
const SILENT: Duration = Duration::from_millis(500);
/// How long this device goes on calling after nobody is waited for any more, so that it does not
/// begin anew for each.
const LINGER: Duration = Duration::from_secs(2);
/// How often one device is connected to because it calls.
const AGAIN: Duration = Duration::from_secs(3);
/// Most devices that are connected to within that time because they call.
const MAX_CALLERS: usize = 32;

/// The devices that are waited for, those that came, and those that called.
#[derive(Debug, Default)]
pub(super) struct Calling {
    /// Dials that wait for a silent device.
    waiting: watch::Sender<usize>,
    /// Links that came while a dial to the same device was under way: the latest of each.
    came: watch::Sender<HashMap<DeviceId, Link>>,
    called: Mutex<HashMap<DeviceId, Instant>>,
    /// Silent devices whose links are being looked at.
    suspected: Mutex<HashSet<DeviceId>>,
    /// A device that called, did not get through to this one before, and was reached at once.
    shut_out: Mutex<Option<DeviceId>>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock()
}

/// Counts one dial that waits.
struct Waiting<'a>(&'a watch::Sender<usize>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// A look at the links of one device.
pub(super) struct Looking<'a>(&'a Mutex<HashSet<DeviceId>>, DeviceId);

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        lock(self.0).remove(&self.1);
    }
}

impl Calling {
    /// Begins a look at the links of a device; `None`: one is under way.
    pub(super) fn look_at(&self, device: DeviceId) -> Option<Looking<'_>> {
        lock(&self.suspected)
            .insert(device)
            .then(|| Looking(&self.suspected, device))
    }
}

impl Links {
    /// A link came that no slot could take, because its device is being dialled.
    pub(super) fn came_meanwhile(&self, link: Link) {
        self.calling.came.send_modify(|came| {
            came.retain(|_, link| link.close_reason().is_none());
            came.insert(link.device(), link);
        });
    }

    /// Waits for a link that the device makes; calls it when it is seen and stays silent.
    pub(super) async fn comes(&self, device: DeviceId) -> Link {
        let mut came = self.calling.came.subscribe();
        let mut arrives = std::pin::pin!(async {
            loop {
                let found = came
                    .borrow_and_update()
                    .get(&device)
                    .filter(|l| l.close_reason().is_none())
                    .cloned();
                match found {
                    Some(link) => return link,
                    // The sender lives as long as this does.
                    None => drop(came.changed().await),
                }
            }
        });
        if let Ok(link) = timeout(SILENT, &mut arrives).await {
            return link;
        }
        if !self.nearby().contains(&device) {
            return arrives.await;
        }
        self.calling.waiting.send_modify(|count| *count += 1);
        let _waiting = Waiting(&self.calling.waiting);
        arrives.await
    }

    /// Has this device announced as one to connect to while it waits for silent ones, until the
    /// daemon ends.
    pub(crate) async fn run_calls(&self, call: Call) {
        let mut waiting = self.calling.waiting.subscribe();
        loop {
            let calls = *waiting.borrow_and_update() > 0;
            call.set(calls);
            if waiting.changed().await.is_err() {
                return;
            }
            if calls && *waiting.borrow() == 0 {
                sleep(LINGER).await;
            }
        }
    }

    /// A device calls: connects to it, unless there is a link or it called a moment ago.
    pub(crate) async fn answer_call(&self, device: DeviceId) {
        {
            let mut called = lock(&self.calling.called);
            called.retain(|_, at| at.elapsed() < AGAIN);
            if called.contains_key(&device) || called.len() >= MAX_CALLERS {
                return;
            }
            called.insert(device, Instant::now());
        }
        if self.open().iter().any(|link| link.device() == device) {
            return;
        }
        match self.quic(device).await {
            Ok(_) => {
                tracing::info!(
                    ?device,
                    "a device that did not get through was connected to"
                );
                *lock(&self.calling.shut_out) = Some(device);
            }
            Err(error) => tracing::debug!(?device, %error, "a device that calls is not reached"),
        }
    }

    /// Somebody got through to this device: nothing shuts others out.
    pub(super) fn got_through(&self) {
        *lock(&self.calling.shut_out) = None;
    }

    /// A device on this network that does not get through to this one, while this one gets through
    /// to it.
    pub fn shut_out(&self) -> Option<DeviceId> {
        *lock(&self.calling.shut_out)
    }
}
