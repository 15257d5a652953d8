//! The daemon's report of itself: `hither status`, and the facts that `hither doctor` looks at.

use crate::giving::GivingService;
use crate::library::Library;
use crate::losses::Losses;
use crate::mail::MailService;
use crate::publish::Publisher;
use crate::transfer::TransferService;
use hither_api::{Config, LinkInfo, Paths, Status};
use hither_carrier::{CarrierKind, Link};
use hither_proto::{DeviceId, DeviceName, display_name};
use hither_relay_client::{RelayClient, carrier_name};
use hither_swarm::{Swarm, Warnings};
use hither_util::tasks::Tasks;
use std::sync::Arc;

/// Sees how everything stands, and changes nothing.
pub(crate) struct Diagnostics {
    pub device: DeviceId,
    pub name: DeviceName,
    pub config: Arc<Config>,
    pub paths: Paths,
    /// The losses of Hither's own data.
    pub losses: Arc<Losses>,
    /// The warnings of this run for the user.
    pub warnings: Warnings,
    pub swarm: Arc<Swarm>,
    pub relays: Arc<RelayClient>,
    pub library: Arc<Library>,
    pub publisher: Arc<Publisher>,
    pub transfers: Arc<TransferService>,
    pub giving: Arc<GivingService>,
    pub mail: Arc<MailService>,
    /// Every task of the daemon.
    pub tasks: Tasks,
}

impl Diagnostics {
    /// How everything stands now.
    pub(crate) fn status(&self) -> Status {
        let links = self.swarm.links().open();
        let running = self.transfers.transfers.all();
        let relays = self.relays.all();
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            device: self.device.to_string(),
            short: self.device.short(),
            name: self.name.to_string(),
            pid: std::process::id(),
            uptime: self.swarm.core().clock.uptime().as_secs(),
            udp_port: self.config.quic.then(|| self.swarm.endpoint().port()),
            tcp_port: self.swarm.endpoint().tcp_port(),
            home: self.paths.data.display().to_string(),
            shares: self.library.share_records().len() as u64,
            uploads: self.publisher.store_uploads.uploads(),
            transfers: running.iter().filter(|t| t.is_running()).count() as u64,
            giving: self.giving.active(),
            nearby: self.swarm.links().nearby().len() as u64,
            links: links.iter().map(|link| self.link(link)).collect(),
            relays: relays.iter().map(|relay| relay.info()).collect(),
            unread: self.mail.inbox.unread(),
            outgoing: self.mail.outbox.waiting() as u64,
            world: self.swarm.host_state().info(),
            limits: self.swarm.throttles().info(),
            losses: self.losses.told(),
            warnings: self.all_warnings(),
        }
    }

    fn link(&self, link: &Link) -> LinkInfo {
        let (links, device) = (self.swarm.links(), link.device());
        let relayed = link.carrier() == CarrierKind::Relayed;
        LinkInfo {
            device: device.to_string(),
            // The user's name for it goes before its own.
            name: match self.relays.name_of(device) {
                known if !known.is_empty() => known,
                _ => links
                    .name(device)
                    .map(|name| name.to_string())
                    .unwrap_or_default(),
            },
            carrier: carrier_name(link.carrier()).into(),
            relay: relayed.then(|| links.relay_to(device)).flatten(),
            address: link.remote().to_string(),
            rtt_ms: link.rtt().as_secs_f64() * 1000.0,
        }
    }

    /// Returns the warnings for the user, and the problems of shares.
    fn all_warnings(&self) -> Vec<String> {
        let mut warnings = self.losses.told();
        warnings.extend(self.warnings.all());
        warnings.extend(self.mail.nearby.notice());
        for (share, record) in self.library.share_records() {
            let words = self
                .publisher
                .watches
                .trouble(share.id)
                .or_else(|| self.library.health.of(share.id).words);
            warnings
                .extend(words.map(|words| format!("\"{}\": {words}", display_name(&record.name))));
        }
        let transfers = self.transfers.transfers.all();
        warnings.extend(transfers.iter().filter_map(|one| one.conflict_warning()));
        warnings
    }
}
