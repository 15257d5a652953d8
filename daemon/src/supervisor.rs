//! The daemon's long-running tasks: engine timer, incoming streams, discovery, new sessions,
//! expiry, relays, uploads, messages.

use crate::daemon::Daemon;
use crate::routes::SupervisorInput;
use crate::{circuits, familiar, roaming, session, twins};
use hither_carrier::{Discovery, DiscoveryEvent, DiscoveryOptions, Incoming};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Most streams that are being admitted or served at once.
const MAX_STREAMS: usize = 1024;
/// How often expiry is looked at, at least.
const EXPIRY: Duration = Duration::from_secs(60);
/// Pause between two looks, at least, milliseconds: a share that could not be ended is tried again.
const MIN_EXPIRY: u64 = 20;

/// Starts them all. Returns discovery, to be shut down with a goodbye.
pub(crate) fn start(
    daemon: &Arc<Daemon>,
    inputs: mpsc::UnboundedReceiver<SupervisorInput>,
) -> Option<Discovery> {
    let timer = Arc::clone(daemon);
    daemon
        .tasks
        .spawn_forever(async move { timer.core.run_timer().await });
    daemon.tasks.spawn_forever(accept(Arc::clone(daemon)));
    daemon.tasks.spawn_forever(work(Arc::clone(daemon), inputs));
    daemon.tasks.spawn_forever(expire(Arc::clone(daemon)));
    daemon
        .tasks
        .spawn_forever(crate::health::run(Arc::clone(daemon)));
    crate::host_state::start(daemon);
    daemon
        .tasks
        .spawn_forever(crate::terms::follow(Arc::clone(daemon)));
    crate::catalogue::start(daemon);
    crate::relay::start(daemon);
    crate::store_upload::start(daemon);
    crate::index::start(daemon);
    crate::watch::start(daemon);
    crate::mail::start(daemon);
    let discovery = start_discovery(daemon);
    let look = discovery.as_ref().map(Discovery::look_anew);
    if let Some(call) = discovery.as_ref().map(Discovery::call) {
        let of = Arc::clone(daemon);
        daemon
            .tasks
            .spawn_forever(async move { of.links.run_calls(call).await });
    }
    daemon
        .tasks
        .spawn_forever(roaming::run(Arc::clone(daemon), look));
    discovery
}

fn start_discovery(daemon: &Arc<Daemon>) -> Option<Discovery> {
    if !daemon.config.discovery {
        return None;
    }
    let members = familiar::Members::default();
    let options = DiscoveryOptions {
        interfaces: crate::interfaces::filter(&daemon.config),
        familiar: familiar::of(daemon, &members),
        ..Default::default()
    };
    match Discovery::start(
        daemon.device,
        daemon.endpoint.port(),
        daemon.endpoint.tcp_port(),
        options,
    ) {
        Ok((discovery, events)) => {
            daemon
                .tasks
                .spawn_forever(discover(Arc::clone(daemon), events));
            let recall = discovery.recall();
            daemon
                .tasks
                .spawn_forever(familiar::follow(Arc::clone(daemon), members, recall));
            Some(discovery)
        }
        Err(error) => {
            daemon.warn(format!(
                "Devices on this network cannot be found: {error}. Tickets still work by address."
            ));
            None
        }
    }
}

async fn accept(daemon: Arc<Daemon>) {
    let slots = Arc::new(tokio::sync::Semaphore::new(MAX_STREAMS));
    while let Some(incoming) = daemon.endpoint.accept().await {
        match incoming {
            Incoming::Link(link) => {
                twins::met(&daemon, &link);
                daemon.links.accepted(link);
            }
            Incoming::Stream(stream) => {
                // Beyond the bound the stream is dropped, which resets it.
                let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                    continue;
                };
                let (of, token) = (Arc::clone(&daemon), daemon.tasks.token.clone());
                daemon.tasks.spawn(async move {
                    tokio::select! {
                        () = session::accept(of, stream) => {}
                        () = token.cancelled() => {}
                    }
                    drop(slot);
                });
            }
        }
    }
}

/// Does what the engine wants done that needs a task of its own.
async fn work(daemon: Arc<Daemon>, mut inputs: mpsc::UnboundedReceiver<SupervisorInput>) {
    while let Some(input) = inputs.recv().await {
        let (of, token) = (Arc::clone(&daemon), daemon.tasks.token.clone());
        let task = async move {
            match input {
                SupervisorInput::OpenSession(key) => session::run(of, key).await,
                SupervisorInput::FindRelay(key) => circuits::find(of, key).await,
            }
        };
        daemon.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = token.cancelled() => {}
            }
        });
    }
}

async fn discover(daemon: Arc<Daemon>, mut events: mpsc::Receiver<DiscoveryEvent>) {
    while let Some(event) = events.recv().await {
        match event {
            DiscoveryEvent::Seen {
                device,
                addresses,
                tcp_port,
            } => {
                tracing::debug!(?device, ?addresses, "a device is nearby");
                daemon.links.seen(device, addresses, tcp_port);
                daemon.core.with(|engine, now| {
                    let fetching: Vec<_> = engine.fetching().collect();
                    fetching
                        .into_iter()
                        .for_each(|share| engine.handle_device_seen(share, device, now));
                });
                let of = Arc::clone(&daemon);
                daemon
                    .tasks
                    .spawn(async move { of.links.check(device).await });
            }
            // Whoever has nothing to give need not answer.
            DiscoveryEvent::Calls { device } => {
                if !daemon.shares.all().is_empty() {
                    let of = Arc::clone(&daemon);
                    daemon
                        .tasks
                        .spawn(async move { of.links.answer_call(device).await });
                }
            }
            DiscoveryEvent::Ourselves {
                addresses,
                tcp_port,
            } => {
                let of = Arc::clone(&daemon);
                daemon
                    .tasks
                    .spawn(async move { twins::look(&of, &addresses, tcp_port).await });
            }
            DiscoveryEvent::Gone { device } => {
                daemon.links.gone(device);
                daemon
                    .core
                    .with(|engine, _| engine.handle_device_gone(device));
            }
        }
    }
}

/// Ends each share when its time is over, to the moment.
async fn expire(daemon: Arc<Daemon>) {
    loop {
        let of = Arc::clone(&daemon);
        let next = tokio::task::spawn_blocking(move || of.end_expired())
            .await
            .unwrap_or(None);
        // A clock that is set tells nobody: it is looked at now and then.
        let until = next.map_or(EXPIRY, |at| {
            Duration::from_millis(
                at.saturating_mul(1000)
                    .saturating_sub(daemon.time.millis())
                    .max(MIN_EXPIRY),
            )
        });
        tokio::select! {
            () = tokio::time::sleep(until.min(EXPIRY)) => {}
            () = daemon.ends_changed.notified() => {}
        }
    }
}
