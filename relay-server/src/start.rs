//! From a configuration to a running node, and back.

mod address;
mod first;

pub use first::FirstInvitation;

use crate::config::{Config, Folder, Role, Size};
use crate::node::{Node, NodeError, Parts};
use crate::ops::Gates;
use crate::serve::join::{FleetToken, Joining};
use crate::state::{Embedded, Options, Patience, Reconnecting, State};
use crate::store::{Backend, Store, StoreConfig, StoreError, open_index};
use crate::{admin, ops, web};
use hither_carrier::bounds::Limits;
use hither_carrier::{BindError, Endpoint, EndpointConfig, Identity};
use hither_content::storage::{Opened, StorageError, open};
use hither_proto::RelayUrl;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Environment variable with the secret of the fleet.
const TOKEN_VARIABLE: &str = "HITHER_RELAY_FLEET_TOKEN";

/// QUIC takes a connection for dead so much later than its pings do, and leaves room for one that
/// has none.
const IDLE_SPARE: Duration = Duration::from_secs(60);

/// Longest wait until nobody uses the store any more, and how often that is looked at.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
const CLOSE_PAUSE: Duration = Duration::from_millis(5);

/// Attempts to find a port that is free for UDP and TCP, when any will do.
const ANY_PORT_ATTEMPTS: u32 = 16;

/// Why a relay did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder.
    #[error("the data folder cannot be used: {0}")]
    Folder(#[source] io::Error),
    /// Another process uses the data folder.
    #[error("a relay runs on this data folder already")]
    Running,
    /// The state.
    #[error("the state cannot be opened: {0}")]
    State(#[from] StorageError),
    /// The chunks.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The node itself.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The operator's pages.
    #[error(transparent)]
    Ops(#[from] ops::OpsError),
    /// The service for browsers.
    #[error(transparent)]
    Web(#[from] web::WebError),
    /// The admin socket.
    #[error("the admin socket cannot be opened: {0}")]
    Admin(#[source] io::Error),
    /// The first invitation.
    #[error("no invitation could be made: {0}")]
    Invitation(#[from] crate::RegistryError),
}

/// A running relay, with what must be closed after it.
pub struct Running {
    /// The node.
    pub node: Arc<Node>,
    /// How a device dials it; without an invitation.
    pub url: RelayUrl,
    /// Why others may not reach it at that address, in words.
    pub doubt: Option<String>,
    /// Made at the very first start.
    pub invitation: Option<FirstInvitation>,
    /// Where health and metrics are.
    pub http: Option<SocketAddr>,
    /// TCP ports that are listened on.
    pub tcp_ports: Vec<u16>,
    /// The place at which browsers are served.
    pub web: Option<web::WebPlace>,
    store: Option<Arc<Store>>,
    embedded: Option<Arc<Embedded>>,
    _lock: File,
}

/// Opens everything and begins to serve. When it returns, the relay can be reached.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let folder = Folder::of(&config);
    let lock = lock(&folder)?;
    crate::clock::begin(folder.root());
    let token = token(&config)?;
    let identity = Arc::new(Identity::load_or_create(&folder.key()).map_err(NodeError::Identity)?);
    let endpoint = Arc::new(bind(&identity, &config)?);
    let gates = Gates::default();
    let (state, embedded) = open_state(&config, &folder, &gates, &endpoint, token.as_ref()).await?;
    let store = match config.plays(Role::Store) {
        true => Some(Arc::new(open_store(&config, &folder, &gates).await?)),
        false => None,
    };
    let place = address::of(&config, &identity.device_id(), &endpoint)?;
    let tcp_ports = endpoint.tcp_ports();
    let parts = Parts {
        identity,
        endpoint,
        config,
        state,
        store: store.clone(),
        fleet_token: token,
        address: place.address.clone(),
    };
    let node = Node::start(parts).await?;
    if let Some(embedded) = &embedded {
        let metrics = Arc::clone(&node.metrics);
        embedded.report_expired(move |count| metrics.mail_expired.add(count));
    }
    let http = ops::start(&node, &gates).await?;
    let web = web::start(&node).await?;
    admin::start(&node, &gates)
        .await
        .map_err(StartError::Admin)?;
    let invitation = first::invitation(&node, &place.url).await?;
    let (url, doubt) = (place.url, place.doubt);
    Ok(Running {
        node,
        url,
        doubt,
        invitation,
        http,
        tcp_ports,
        web,
        store,
        embedded,
        _lock: lock,
    })
}

impl Running {
    /// Goes down: gently, for as long as is configured, then for good. Everything is on the disk
    /// when it returns.
    pub async fn stop(self) {
        self.node.drain(self.node.config.ops.drain.0).await;
        self.kill().await;
    }

    /// Goes down without telling devices where to go.
    pub async fn kill(self) {
        let Self {
            node,
            store,
            embedded,
            _lock,
            ..
        } = self;
        node.stop().await;
        crate::clock::keep();
        drop(node);
        if let Some(store) = store {
            close(store).await;
        }
        if let Some(embedded) = embedded {
            embedded.close().await;
        }
    }
}

/// Closes the store when nobody else uses it any more: what a task of the node held is let go a
/// moment after the task was counted as ended, and a check that an operator asked for ends with its
/// chunk.
async fn close(mut store: Arc<Store>) {
    let begun = Instant::now();
    loop {
        match Arc::try_unwrap(store) {
            Ok(store) => return store.close().await,
            Err(_) if begun.elapsed() > CLOSE_PATIENCE => break,
            Err(used) => store = used,
        }
        sleep(CLOSE_PAUSE).await;
    }
    tracing::error!(
        "the store is still in use and was not closed; what was acknowledged is on the disk"
    );
}

/// Makes the data folder and keeps other processes off it.
fn lock(folder: &Folder) -> Result<File, StartError> {
    create_private(folder.root()).map_err(StartError::Folder)?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(folder.lock());
    let file = file.map_err(StartError::Folder)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StartError::Running),
        Err(std::fs::TryLockError::Error(error)) => Err(StartError::Folder(error)),
    }
}

fn create_private(folder: &std::path::Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// The secret of the fleet: from the environment, else from the file, else none.
fn token(config: &Config) -> Result<Option<FleetToken>, NodeError> {
    let text = match (std::env::var(TOKEN_VARIABLE), &config.fleet.token_file) {
        (Ok(text), _) => text,
        (Err(_), Some(file)) => std::fs::read_to_string(file).map_err(|error| {
            NodeError::Config(format!("the fleet's token, {}: {error}", file.display()))
        })?,
        (Err(_), None) => return Ok(None),
    };
    let short = || NodeError::Config("the fleet's token must have 22 to 1024 characters".into());
    FleetToken::new(&text).ok_or_else(short).map(Some)
}

fn bind(identity: &Identity, config: &Config) -> Result<Endpoint, NodeError> {
    let front = &config.front;
    // A connection with a stream for each circuit at either end, and those that devices have
    // besides.
    let circuits = u32::try_from(config.circuit.device.saturating_mul(2)).unwrap_or(u32::MAX);
    let streams = Limits::default()
        .streams_per_device
        .saturating_add(circuits);
    let limits = Limits {
        connections: front.max_connections,
        connections_per_address: front.max_connections_per_address,
        handshakes: front.max_handshakes,
        handshakes_per_address: front.max_handshakes_per_address,
        retry_above: front.max_handshakes / 4,
        streams: front.max_connections.saturating_mul(2),
        streams_per_device: streams,
        tcp_per_device: streams as usize,
        links_per_device: streams as usize,
    };
    let wanted = EndpointConfig {
        port: config.port,
        loopback_only: config.loopback_only,
        exact_port: true,
        extra_tcp_ports: config.extra_tcp_ports.clone(),
        limits,
        // The pings of a long connection, and those to the index, find out first; this is for
        // connections that have none.
        relay_idle: Some(
            front.ping.0.max(config.index.heartbeat.0) + front.patience.0 + IDLE_SPARE,
        ),
        ..EndpointConfig::default()
    };
    let mut attempts = if config.port == 0 {
        ANY_PORT_ATTEMPTS
    } else {
        1
    };
    loop {
        attempts -= 1;
        match Endpoint::bind(identity, &wanted) {
            // The free port that UDP was given is not free for TCP.
            Err(BindError::Socket { source, .. })
                if attempts > 0 && source.kind() == io::ErrorKind::AddrInUse => {}
            bound => return Ok(bound?),
        }
    }
}

type AnyState = (Arc<dyn State>, Option<Arc<Embedded>>);

async fn open_state(
    config: &Config,
    folder: &Folder,
    gates: &Gates,
    endpoint: &Arc<Endpoint>,
    token: Option<&FleetToken>,
) -> Result<AnyState, StartError> {
    if config.plays(Role::Control) {
        let (path, gate, engine) = (folder.state(), gates.state.clone(), config.storage.engine);
        let opener = move || {
            let (storage, opened) = open(&path, engine)?;
            if let Opened::Rebuilt { moved_to, reason } = opened {
                tracing::error!(%reason, moved_to = %moved_to.display(), "the state was damaged; a new one was begun");
            }
            Ok(gate.watch(storage))
        };
        let reserve = Options::default();
        let state = Arc::new(Embedded::start_in(
            Box::new(opener),
            &folder.state(),
            &reserve,
        )?);
        return Ok((Arc::clone(&state) as Arc<dyn State>, Some(state)));
    }
    let wrong = |what: &str| NodeError::Config(what.into());
    let control: RelayUrl = config
        .fleet
        .control
        .parse()
        .map_err(|error| NodeError::Config(format!("fleet.control: {error}")))?;
    let token =
        token.ok_or_else(|| wrong("a node without the role control needs the fleet's token"))?;
    let joining = Joining {
        endpoint: Arc::clone(endpoint),
        control,
        token: token.clone(),
    };
    Ok((
        Arc::new(Reconnecting::new(joining, Patience::default())),
        None,
    ))
}

async fn open_store(config: &Config, folder: &Folder, gates: &Gates) -> Result<Store, StartError> {
    let index = gates
        .index
        .watch(open_index(&folder.index(), config.storage.engine)?);
    let some = |bytes: u64| (bytes > 0 && bytes < Size::UNLIMITED.0).then_some(bytes);
    let wanted = StoreConfig {
        total_quota: some(config.store.total_quota.0),
        user_quota: some(config.place.user_quota.0),
        user_lists: some(config.store.user_lists.0).unwrap_or(u64::MAX),
        free_floor: config.store.free_floor.0.max(1),
        ..StoreConfig::default()
    };
    Ok(Store::open(wanted, index, Backend::local(&folder.chunks())?).await?)
}
