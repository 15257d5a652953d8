//! What holds when nothing is configured.

use super::{
    ChunkConfig, CircuitConfig, Config, DEFAULT_PORT, FleetConfig, FrontConfig, IndexConfig,
    InvitationConfig, LimitsConfig, MailConfig, OpsConfig, PlaceConfig, Rate, Role, Size, Span,
    StorageConfig, WakeConfig, WebConfig,
};
use hither_proto::limits::{MAX_GET_BYTES, MAX_MESSAGE};
use std::path::PathBuf;

const MIB: u64 = 1 << 20;

impl Default for Config {
    fn default() -> Self {
        Self {
            data: None,
            address: None,
            advertise_udp: Vec::new(),
            advertise_tcp: Vec::new(),
            port: DEFAULT_PORT,
            extra_tcp_ports: vec![443],
            loopback_only: false,
            roles: vec![
                Role::Assign,
                Role::Front,
                Role::Control,
                Role::Store,
                Role::Index,
            ],
            guests: true,
            front: FrontConfig::default(),
            mail: MailConfig::default(),
            place: PlaceConfig::default(),
            store: ChunkConfig::default(),
            storage: StorageConfig::default(),
            index: IndexConfig::default(),
            circuit: CircuitConfig::default(),
            web: WebConfig::default(),
            wake: WakeConfig::default(),
            fleet: FleetConfig::default(),
            limits: LimitsConfig::default(),
            invitation: InvitationConfig::default(),
            ops: OpsConfig::default(),
            unknown: Vec::new(),
        }
    }
}

impl Config {
    /// Whether this node plays a role.
    pub fn plays(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// The folder for everything: as configured, else `/var/lib/hither-relay` for root, else below
    /// the user's XDG data folder, else `hither-relay` in the working folder.
    pub fn data_folder(&self) -> PathBuf {
        if let Some(folder) = &self.data {
            return folder.clone();
        }
        #[cfg(unix)]
        if rustix::process::geteuid().is_root() {
            return PathBuf::from("/var/lib/hither-relay");
        }
        let folder = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let data = folder("XDG_DATA_HOME")
            .or_else(|| folder("HOME").map(|home| home.join(".local/share")));
        data.unwrap_or_default().join("hither-relay")
    }
}

impl Default for FrontConfig {
    fn default() -> Self {
        Self {
            ping: Span::secs(25),
            patience: Span::secs(3),
            list_pause: Span::millis(250),
            seen_pause: Span::secs(600),
            max_connections: 20_000,
            max_connections_per_address: 1024,
            max_handshakes: 1024,
            max_handshakes_per_address: 128,
            first_frame: Span::secs(5),
        }
    }
}

impl Default for MailConfig {
    fn default() -> Self {
        Self {
            max_message: Size(MAX_MESSAGE as u64),
            keep: Span::secs(30 * 24 * 3600),
            items: 10_000,
            bytes: Size(256 * MIB),
            source_items: 5_000,
            source_bytes: Size(128 * MIB),
            window: 64,
            forward_wait: Span::millis(300),
        }
    }
}

impl Default for PlaceConfig {
    fn default() -> Self {
        Self {
            user_quota: Size(100 * 1024 * MIB),
            user_shares: 10_000,
            reserve: Span::secs(600),
        }
    }
}

impl Default for ChunkConfig {
    fn default() -> Self {
        Self {
            folder: None,
            total_quota: Size::UNLIMITED,
            user_lists: Size(4 * 1024 * MIB),
            free_floor: Size(1024 * MIB),
            uploads: 256,
            device_uploads: 8,
            readers: 1024,
            device_readers: 32,
            guest_readers: 256,
        }
    }
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            engine: hither_content::storage::DEFAULT_ENGINE,
        }
    }
}

impl Default for IndexConfig {
    fn default() -> Self {
        Self {
            heartbeat: Span::secs(30),
            entries: 200_000,
            device_entries: 8_192,
            address_entries: 32_768,
            memory: Size(512 * MIB),
            device_memory: Size(16 * MIB),
            address_memory: Size(64 * MIB),
            subscriptions: 20_000,
            stream_subscriptions: 256,
            streams: 20_000,
            device_streams: 8,
            guest_streams: 5_000,
        }
    }
}

impl Default for CircuitConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            guests: true,
            total: 1024,
            device: 48,
            address: 256,
            guest_total: 256,
            guest_device: 8,
            accept: Span::secs(5),
            idle: Span::secs(60),
            rate: Size(0),
            guest_rate: Size(0),
        }
    }
}

impl Default for WebConfig {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            url: None,
            certificate: None,
            key: None,
            plain: false,
            trusted_proxies: Vec::new(),
            connections: 4096,
            connections_per_address: 128,
            token: Span::secs(600),
            tokens: 65_536,
            answer: Size(MAX_GET_BYTES),
            askers: Vec::new(),
            asks_per_origin: 1024,
            asks_per_address: 32,
            ask_bytes: Size(256 * MIB),
        }
    }
}

impl Default for FleetConfig {
    fn default() -> Self {
        Self {
            control: String::new(),
            token_file: None,
            silence: Span::secs(15),
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        let rate = |per_second, burst| Rate { per_second, burst };
        Self {
            address: rate(50.0, 500.0),
            total: rate(2_000.0, 10_000.0),
            assign: rate(1.0, 20.0),
            hello: rate(1.0, 20.0),
            wrong_invitation: rate(0.1, 20.0),
            upload: rate(5.0, 50.0),
            read: rate(20.0, 200.0),
            lookup: rate(20.0, 200.0),
            node: rate(5.0, 50.0),
            send: rate(1_000.0, 5_000.0),
            send_bytes: rate(32.0 * MIB as f64, 128.0 * MIB as f64),
            send_total: rate(20_000.0, 20_000.0),
            place: rate(10.0, 200.0),
            cards: rate(20.0, 1_024.0),
            group: rate(20.0, 1_000.0),
            code: rate(0.5, 30.0),
            code_user: rate(2.0, 100.0),
            visit: rate(1.0, 60.0),
            visit_send: rate(2.0, 60.0),
            wake_user: rate(0.05, 20.0),
            wake_total: rate(20.0, 200.0),
            ping: rate(5.0, 50.0),
            index: rate(1.0, 50.0),
            index_device: rate(100.0, 20_000.0),
            index_address: rate(1_000.0, 100_000.0),
            index_total: rate(50_000.0, 200_000.0),
            circuit: rate(10.0, 200.0),
        }
    }
}

impl Default for InvitationConfig {
    fn default() -> Self {
        Self {
            devices: 10,
            valid: Span::secs(24 * 3600),
            by_devices: true,
            removal_by_devices: true,
        }
    }
}

impl Default for OpsConfig {
    fn default() -> Self {
        Self {
            http: "127.0.0.1:4819".into(),
            log: "info".into(),
            log_json: false,
            drain: Span::secs(10),
        }
    }
}
