//! One running relay.
//!
//! Invariant: every task of a node is spawned through [`Node::spawn`] and reaped by [`Node::stop`].

use crate::config::{Config, Role};
use crate::ops::Metrics;
use crate::serve::Services;
use crate::serve::registry::Registry;
use crate::state::{State, StateError};
use crate::store::Store;
use hither_carrier::{BindError, Endpoint, Identity, IdentityError};
use hither_proto::{DeviceId, RelayAddress};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a stop waits for tasks to end by themselves.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Why a node could not be started.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Its key.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Its sockets.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The state of the fleet.
    #[error("the state: {0}")]
    State(#[from] StateError),
    /// Something that was configured cannot be.
    #[error("{0}")]
    Config(String),
}

/// What a node is made of.
pub struct Parts {
    /// Its key.
    pub identity: Arc<Identity>,
    /// Its sockets.
    pub endpoint: Arc<Endpoint>,
    /// What the operator set.
    pub config: Config,
    /// What the nodes of the fleet know in common.
    pub state: Arc<dyn State>,
    /// Its chunks, when it has the role store.
    pub store: Option<Arc<Store>>,
    /// Secret of the fleet, when it has one.
    pub fleet_token: Option<crate::serve::join::FleetToken>,
    /// Where devices and other nodes find it.
    pub address: RelayAddress,
}

/// What the tasks of a node share.
pub struct Node {
    /// Its key.
    pub identity: Arc<Identity>,
    /// Its sockets.
    pub endpoint: Arc<Endpoint>,
    /// What the operator set.
    pub config: Config,
    /// What the nodes of the fleet know in common.
    pub state: Arc<dyn State>,
    /// Its chunks, when it has the role store.
    pub store: Option<Arc<Store>>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Users, devices and invitations.
    pub registry: Registry,
    /// Where devices and other nodes find it.
    pub address: RelayAddress,
    pub(crate) fleet_token: Option<crate::serve::join::FleetToken>,
    pub(crate) services: Services,
    tasks: TaskTracker,
    stop: CancellationToken,
    draining: CancellationToken,
}

impl Node {
    /// Begins to serve.
    ///
    /// Errors: the state cannot be reached, or refuses a session.
    pub async fn start(parts: Parts) -> Result<Arc<Self>, NodeError> {
        let Parts {
            identity,
            endpoint,
            config,
            state,
            store,
            fleet_token,
            address,
        } = parts;
        let node = Arc::new(Self {
            services: Services::new(&config, identity.device_id()),
            registry: Registry::new(Arc::clone(&state)),
            metrics: Arc::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            draining: CancellationToken::new(),
            identity,
            endpoint,
            config,
            state,
            store,
            fleet_token,
            address,
        });
        crate::serve::start(&node).await?;
        Ok(node)
    }

    /// Who this node is.
    pub fn id(&self) -> DeviceId {
        self.identity.device_id()
    }

    /// Whether it plays a role.
    pub fn plays(&self, role: Role) -> bool {
        self.config.plays(role)
    }

    /// Spawns a task that ends by itself soon after [`stopped`](Self::stopped).
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Spawns a task that is dropped when the node stops.
    pub(crate) fn spawn_until_stop(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = stop.cancelled() => {}
            }
        });
    }

    /// Does something again and again until the node stops: first after `period`, because everybody
    /// comes back when a node starts; never twice at a time.
    pub(crate) fn spawn_every<W: Future<Output = ()> + Send + 'static>(
        self: &Arc<Self>,
        period: Duration,
        work: impl Fn(Arc<Self>) -> W + Send + 'static,
    ) {
        let node = Arc::clone(self);
        self.spawn_until_stop(async move {
            let mut ticks = interval_at(Instant::now() + period, period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                work(Arc::clone(&node)).await;
            }
        });
    }

    /// Waits until the node stops.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Is cancelled when the node stops.
    pub(crate) fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Waits until the node begins to go down.
    pub(crate) async fn leaving(&self) {
        self.draining.cancelled().await;
    }

    /// The page at which browsers open shares, as devices make links; `None`: there is none.
    pub fn web_address(&self) -> Option<hither_proto::WebAddress> {
        self.config.web.url.clone()
    }

    /// Whether it is going down.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// What is in its index; `None`: it has none.
    pub fn index_held(&self) -> Option<crate::index::IndexSize> {
        self.plays(Role::Index)
            .then(|| self.services.indexing.held())
    }

    /// Long connections that it holds now.
    pub fn connections(&self) -> usize {
        self.services.front.len()
    }

    /// Goes down gently: no new devices, those that are here are told where to go; returns when all
    /// have gone, at the latest after `patience`. Then call [`stop`](Self::stop).
    pub async fn drain(&self, patience: Duration) {
        self.draining.cancel();
        crate::serve::drain(self, patience).await;
    }

    /// Ends everything and waits, up to 5 s, for tasks and sockets.
    pub async fn stop(&self) {
        self.draining.cancel();
        self.stop.cancel();
        crate::serve::end(self).await;
        self.endpoint.close().await;
        self.tasks.close();
        if tokio::time::timeout(STOP_PATIENCE, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(tasks = self.tasks.len(), "some tasks did not end in time");
        }
    }
}

pub(crate) use crate::clock::now_ms;
