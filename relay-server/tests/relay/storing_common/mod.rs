//! A running node, devices that speak to it over loopback, and shares made of random bytes.

mod device;
mod disk;
mod version;

pub use device::{Device, End, Open, Relay};
pub use disk::Disk;
pub use version::{Version, id, random, ranges};

use hither_carrier::{Endpoint, EndpointConfig, Identity};
use hither_content::storage::{MemoryStorage, Storage};
use hither_proto::{RelayAddress, UserId};
use hither_relay::config::Config;
use hither_relay::ops::Gates;
use hither_relay::state::{Embedded, State};
use hither_relay::store::{Backend, Store, StoreConfig};
use hither_relay::{Node, Parts};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest time that anything in these tests may take.
pub const SOON: Duration = Duration::from_secs(60);

pub async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, work)
        .await
        .expect("this takes too long")
}

/// A node with everything, and what is behind it.
pub struct World {
    pub node: Arc<Node>,
    pub gates: Gates,
    pub index: Disk,
    pub dir: tempfile::TempDir,
}

/// What a test may change of a node.
pub struct Settings {
    pub config: Config,
    pub store: StoreConfig,
}

impl Default for Settings {
    fn default() -> Self {
        let mut config = Config {
            loopback_only: true,
            extra_tcp_ports: Vec::new(),
            port: 0,
            ..Config::default()
        };
        config.ops.http = String::new();
        config.store.free_floor = hither_relay::config::Size(1);
        let store = StoreConfig {
            free_floor: 1,
            idle: Duration::from_millis(10),
            ..StoreConfig::default()
        };
        Self { config, store }
    }
}

impl Settings {
    /// Chunks wait for the end of their upload, so that each upload is one pack however busy the
    /// machine is.
    pub fn one_pack(&mut self) {
        (self.store.idle, self.store.max_age) = (SOON, SOON);
    }
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// A node in memory, but for its chunks.
    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (index, gates) = (Disk::default(), Gates::default());
        let gate = gates.state.clone();
        let memory = MemoryStorage::new();
        let state =
            Embedded::start(Box::new(move || Ok(gate.watch(Arc::new(memory.clone()))))).unwrap();
        let storage = gates.index.watch(Arc::new(index.clone()));
        let node = start(dir.path(), Arc::new(state), storage, change).await;
        Self {
            node,
            gates,
            index,
            dir,
        }
    }

    /// What a relay was started with, as by its program, gives its devices.
    pub fn of(running: &hither_relay::start::Running) -> Self {
        let node = Arc::clone(&running.node);
        let dir = tempfile::tempdir().unwrap();
        Self {
            node,
            gates: Gates::default(),
            index: Disk::default(),
            dir,
        }
    }

    /// A device, registered for this user.
    pub async fn device(&self, user: &UserId) -> Device {
        let device = Device::new();
        let invitation = self.node.registry.invite(user, 1, SOON).await.unwrap();
        self.node
            .registry
            .admit(&device.id(), Some(&invitation))
            .await
            .unwrap();
        device
    }

    /// A page in a browser, registered as a device of this user.
    pub async fn page(&self, user: &UserId) -> Device {
        let (page, registry) = (Device::new(), &self.node.registry);
        let invitation = registry.invite_pages(user, 1, SOON).await.unwrap();
        registry.admit(&page.id(), Some(&invitation)).await.unwrap();
        page
    }

    pub async fn user(&self) -> UserId {
        self.node.registry.create_user("").await.unwrap()
    }

    /// A device of a new user.
    pub async fn somebody(&self) -> Device {
        let user = self.user().await;
        self.device(&user).await
    }
}

/// Starts a node whose data folder is `dir`.
pub async fn start(
    dir: &std::path::Path,
    state: Arc<dyn State>,
    index: Arc<dyn Storage>,
    change: impl FnOnce(&mut Settings),
) -> Arc<Node> {
    let mut settings = Settings::default();
    settings.config.data = Some(dir.to_owned());
    change(&mut settings);
    let identity = Arc::new(Identity::load_or_create(&dir.join("node.key")).unwrap());
    let sockets = EndpointConfig {
        loopback_only: true,
        ..EndpointConfig::default()
    };
    let endpoint = Endpoint::bind(&identity, &sockets).unwrap();
    let at = |port| vec![SocketAddr::from(([127, 0, 0, 1], port)).try_into().unwrap()];
    let address = RelayAddress {
        key: identity.device_id(),
        udp: at(endpoint.port()),
        tcp: at(endpoint.tcp_port().unwrap()),
    };
    let backend = Backend::local(&dir.join("chunks")).unwrap();
    let store = Some(Arc::new(
        Store::open(settings.store, index, backend).await.unwrap(),
    ));
    let config = settings.config;
    let endpoint = Arc::new(endpoint);
    let parts = Parts {
        identity,
        endpoint,
        config,
        state,
        store,
        fleet_token: None,
        address,
    };
    Node::start(parts).await.unwrap()
}

/// A page of the operator: status line and headers, body.
pub async fn get(at: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: relay\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// Labels and values of a metrics page, by name.
pub fn parse_metrics(page: &str) -> BTreeMap<String, Vec<(String, f64)>> {
    let mut metrics: BTreeMap<String, Vec<(String, f64)>> = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line
            .rsplit_once(' ')
            .unwrap_or_else(|| panic!("no metric: {line}"));
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        assert!(labels.ends_with('}'), "{line}");
        metrics
            .entry(name.to_owned())
            .or_default()
            .push((labels.to_owned(), value.parse().unwrap()));
    }
    metrics
}
