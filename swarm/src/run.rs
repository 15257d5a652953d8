//! The tasks of the swarm: the engine's timer, incoming links and streams, discovery, new sessions.

use crate::routes::SupervisorInput;
use crate::swarm::{Swarm, SwarmInputs};
use crate::{circuits, familiar, host_state, network, roaming, session, terms};
use hither_carrier::{Discovery, DiscoveryEvent, DiscoveryOptions, Incoming};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Most streams that are being admitted or served at once.
const MAX_STREAMS: usize = 1024;

impl Swarm {
    /// Starts everything. Returns discovery, to be shut down with a goodbye; `None` without
    /// `discovery`.
    ///
    /// Errors: discovery cannot be started; everything else runs.
    pub fn run(
        self: &Arc<Self>,
        inputs: SwarmInputs,
        discovery: bool,
    ) -> Result<Option<Discovery>, String> {
        let timer = Arc::clone(self);
        self.tasks
            .spawn_forever(async move { timer.core.run_timer().await });
        self.tasks.spawn_forever(accept(Arc::clone(self)));
        self.tasks.spawn_forever(work(Arc::clone(self), inputs));
        self.tasks
            .spawn_forever(network::watch(self.network.clone()));
        self.tasks.spawn_forever(host_state::run(Arc::clone(self)));
        self.tasks.spawn_forever(terms::follow(Arc::clone(self)));
        let started = discovery.then(|| self.start_discovery()).transpose();
        let discovery = started.as_ref().ok().and_then(Option::as_ref);
        let look = discovery.map(Discovery::look_anew);
        if let Some(call) = discovery.map(Discovery::call) {
            let of = Arc::clone(self);
            self.tasks
                .spawn_forever(async move { of.links.run_calls(call).await });
        }
        if let Some(nameplates) = discovery.map(Discovery::nameplates) {
            let of = Arc::clone(self);
            self.tasks
                .spawn_forever(async move { of.nameplates.announce(nameplates).await });
        }
        self.tasks
            .spawn_forever(roaming::run(Arc::clone(self), look));
        started
    }

    fn start_discovery(self: &Arc<Self>) -> Result<Discovery, String> {
        let members = familiar::Members::default();
        let options = DiscoveryOptions {
            interfaces: self.interfaces.clone(),
            familiar: familiar::of(self, &members),
            ..Default::default()
        };
        let (discovery, events) = Discovery::start(
            self.device,
            self.endpoint.port(),
            self.endpoint.tcp_port(),
            options,
        )
        .map_err(|error| error.to_string())?;
        self.tasks.spawn_forever(discover(Arc::clone(self), events));
        let recall = discovery.recall();
        self.tasks
            .spawn_forever(familiar::follow(Arc::clone(self), members, recall));
        Ok(discovery)
    }
}

async fn accept(swarm: Arc<Swarm>) {
    let slots = Arc::new(tokio::sync::Semaphore::new(MAX_STREAMS));
    while let Some(incoming) = swarm.endpoint.accept().await {
        match incoming {
            Incoming::Link(link) => {
                swarm.twins.met(&link);
                swarm.links.accepted(link);
            }
            Incoming::Stream(stream) => {
                // Beyond the bound the stream is dropped, which resets it.
                let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                    continue;
                };
                let (of, token) = (Arc::clone(&swarm), swarm.tasks.token.clone());
                swarm.tasks.spawn(async move {
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
async fn work(swarm: Arc<Swarm>, SwarmInputs(mut inputs): SwarmInputs) {
    while let Some(input) = inputs.recv().await {
        let (of, token) = (Arc::clone(&swarm), swarm.tasks.token.clone());
        let task = async move {
            match input {
                SupervisorInput::OpenSession(key) => session::run(of, key).await,
                SupervisorInput::FindRelay(key) => circuits::find(of, key).await,
            }
        };
        swarm.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = token.cancelled() => {}
            }
        });
    }
}

async fn discover(swarm: Arc<Swarm>, mut events: mpsc::Receiver<DiscoveryEvent>) {
    while let Some(event) = events.recv().await {
        match event {
            DiscoveryEvent::Seen {
                device,
                addresses,
                tcp_port,
                nameplates,
            } => {
                tracing::debug!(?device, ?addresses, "a device is nearby");
                swarm.links.seen(device, addresses, tcp_port);
                swarm.nameplates.seen(device, nameplates);
                swarm.core.with(|engine, now| {
                    let fetching: Vec<_> = engine.fetching().collect();
                    fetching
                        .into_iter()
                        .for_each(|share| engine.handle_device_seen(share, device, now));
                });
                let of = Arc::clone(&swarm);
                swarm
                    .tasks
                    .spawn(async move { of.links.check(device).await });
            }
            // A device that shares nothing has no reason to answer.
            DiscoveryEvent::Calls { device } => {
                if !swarm.shares.all().is_empty() {
                    let of = Arc::clone(&swarm);
                    swarm
                        .tasks
                        .spawn(async move { of.links.answer_call(device).await });
                }
            }
            DiscoveryEvent::Ourselves {
                addresses,
                tcp_port,
            } => {
                let of = Arc::clone(&swarm);
                swarm
                    .tasks
                    .spawn(async move { of.twins.look(&addresses, tcp_port).await });
            }
            DiscoveryEvent::Gone { device } => {
                swarm.links.gone(device);
                swarm.nameplates.seen(device, Vec::new());
                swarm
                    .core
                    .with(|engine, _| engine.handle_device_gone(device));
            }
        }
    }
}
