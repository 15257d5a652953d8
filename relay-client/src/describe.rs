//! Relays and devices as the local API shows them.

use super::connection_state::{ConnectionState, Relay};
use crate::client::RelayClient;
use hither_api::{DeviceInfo, DeviceRelation, RelayInfo, RelayState};
use hither_carrier::CarrierKind;
use hither_proto::{DeviceId, DeviceName, stamp};
use hither_swarm::Relation;
use hither_util::clock::{unix_millis, unix_seconds};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

impl Relay {
    /// How it stands.
    pub fn info(&self) -> RelayInfo {
        let mut info = RelayInfo {
            relay: self.url.key.to_string(),
            url: self.url.to_string(),
            host: self.url.at.to_string(),
            state: RelayState::Connecting,
            joined: self.joined_at(),
            devices: self.with_devices(|list| list.ids().len() as u64),
            front: None,
            address: None,
            carrier: None,
            rtt_ms: None,
            reason: None,
            hint: None,
            lasting: false,
            retry_seconds: None,
            web: self.web().map(|web| web.to_string()),
        };
        match self.state() {
            ConnectionState::Connecting => {}
            ConnectionState::Connected(connection) => {
                info.state = RelayState::Connected;
                info.front = Some(connection.relay.key.to_string());
                info.address = Some(connection.remote().to_string());
                info.carrier = Some(carrier_name(connection.carrier()).into());
                info.rtt_ms = Some(connection.rtt().as_secs_f64() * 1000.0);
            }
            ConnectionState::Waiting { trouble, until } => {
                info.state = RelayState::Waiting;
                let why = trouble
                    .why
                    .split(" (os error")
                    .next()
                    .unwrap_or(&trouble.why);
                info.reason = Some(why.to_owned());
                info.hint = (!trouble.hint.is_empty()).then(|| trouble.hint.to_owned());
                info.lasting = trouble.lasting;
                info.retry_seconds =
                    Some(until.saturating_duration_since(Instant::now()).as_secs());
            }
        }
        info
    }
}

/// Returns the name of a carrier in the local API.
pub const fn carrier_name(carrier: CarrierKind) -> &'static str {
    match carrier {
        CarrierKind::Quic => "quic",
        CarrierKind::Tcp => "tcp",
        CarrierKind::Relayed => "relay",
    }
}

impl RelayClient {
    /// The user's devices: this one first, then those that are online, then by name.
    pub fn devices(&self) -> Vec<DeviceInfo> {
        let mut all = BTreeMap::new();
        for relay in self.all() {
            self.add_listed(&relay, &mut all);
        }
        self.add_known(&mut all);
        if self.swarm.known().is_removed(self.device) {
            // They take nothing of this device any more: they are somebody else's.
            all.retain(|device, info| {
                *device == self.device || info.relation != DeviceRelation::Own
            });
        }
        let nearby = self.swarm.links().nearby();
        for (device, info) in &mut all {
            // A device seen on this network is there, whatever relays report.
            if nearby.contains(device) {
                info.same_network = true;
                info.online = true;
                info.as_of = None;
            }
            if info.online {
                info.last_seen = Some(unix_seconds());
            }
        }
        let own = all
            .remove(&self.device)
            .map(|info| info.relays)
            .unwrap_or_default();
        let mut devices: Vec<DeviceInfo> = all.into_values().collect();
        devices.sort_by_key(|one| (!one.online, one.name.to_lowercase(), one.device.clone()));
        devices.insert(0, self.this_device(own));
        devices
    }

    fn this_device(&self, relays: Vec<String>) -> DeviceInfo {
        let addresses = self.swarm.addresses();
        DeviceInfo {
            device: self.device.to_string(),
            short: self.device.short(),
            name: self.name.to_string(),
            words: self.device.words(),
            relation: DeviceRelation::Own,
            this: true,
            online: true,
            last_seen: Some(unix_seconds()),
            same_network: true,
            groups: Vec::new(),
            relays,
            addresses: addresses.iter().map(ToString::to_string).collect(),
            as_of: None,
            calls_itself: None,
            web: false,
        }
    }

    /// Adds the devices that the user said yes to.
    fn add_known(&self, all: &mut BTreeMap<DeviceId, DeviceInfo>) {
        for (device, known) in self.swarm.known().all() {
            let info = all.entry(device).or_insert_with(|| DeviceInfo {
                device: device.to_string(),
                short: device.short(),
                words: device.words(),
                relation: match known.relation {
                    Relation::Own => DeviceRelation::Own,
                    Relation::Known => DeviceRelation::Known,
                },
                ..Default::default()
            });
            info.last_seen = info
                .last_seen
                .max(Some(known.last_seen).filter(|seen| *seen > 0));
            info.name = self.name_of(device);
        }
        for (device, info) in all {
            let called = self.swarm.known().called(*device);
            info.calls_itself = called.and(self.own_name_of(*device));
        }
    }

    /// Adds what one relay lists to what others do.
    fn add_listed(&self, relay: &Arc<Relay>, all: &mut BTreeMap<DeviceId, DeviceInfo>) {
        let (host, connected, as_of) = (
            relay.url.at.to_string(),
            relay.connection().is_some(),
            relay.as_of(),
        );
        let listed: Vec<_> = relay.with_devices(|list| {
            list.iter()
                .map(|(device, known)| (device, known.clone()))
                .collect()
        });
        for (device, known) in listed {
            if self.swarm.known().is_removed(device) {
                continue; // the relay has not heard of it yet
            }
            let info = all.entry(device).or_insert_with(|| DeviceInfo {
                device: device.to_string(),
                short: device.short(),
                name: self.name_of(device),
                words: device.words(),
                as_of: Some(0),
                ..Default::default()
            });
            info.relays.push(host.clone());
            info.online |= known.online;
            info.same_network |= connected && known.same_network;
            info.web |= known.web || self.swarm.known().is_page(device);
            let seen = Some(known.last_seen_ms / 1000).filter(|seen| *seen > 0);
            info.last_seen = info.last_seen.max(seen);
            // One relay that is connected is enough to know.
            info.as_of = if connected {
                None
            } else {
                info.as_of.map(|before| before.max(as_of))
            };
            if let Some(card) = known.card {
                info.addresses = card.addresses.iter().map(ToString::to_string).collect();
            }
        }
    }

    /// Returns the name of a device: as the user calls it here, else as in its latest card, else as
    /// it was met, else as it sent after a proof; empty when none is known.
    pub fn name_of(&self, device: DeviceId) -> String {
        if device == self.device {
            return self.name.to_string();
        }
        let called = self.swarm.known().called(device);
        called
            .map(|name| DeviceName::clean(&name).to_string())
            .or_else(|| self.own_name_of(device))
            .unwrap_or_default()
    }

    /// The name a device calls itself by, as far as is known.
    fn own_name_of(&self, device: DeviceId) -> Option<String> {
        let cards = self.all().into_iter().filter_map(|relay| {
            relay.with_devices(|list| list.get(device).and_then(|known| known.card.clone()))
        });
        let now = unix_millis();
        let newest =
            cards.max_by_key(|card| (stamp::is_plausible(card.made_ms, now), card.made_ms));
        let newest = newest.map(|card| DeviceName::clean(&card.name));
        let known = || {
            let known = self.swarm.known().get(device)?;
            Some(DeviceName::clean(&known.name))
        };
        newest
            .or_else(known)
            .or_else(|| self.swarm.links().name(device))
            .map(|name| name.to_string())
    }
}
