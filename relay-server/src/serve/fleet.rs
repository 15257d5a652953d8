//! The nodes of the fleet: each announces itself, all know all.
//!
//! A node says anew what it is every ten seconds and when something changes; who is silent is gone
//! from the state after `fleet.silence`. While the state cannot be reached, what was known last
//! goes on being used.

use super::records::{NodeRecord, bucket, device_key, last_device};
use super::registry::encode;
use crate::config::{Config, Role};
use crate::node::{Node, NodeError};
use crate::state::{Change, Event, Expect, StateError};
use hither_proto::limits::MAX_RELAYS;
use hither_proto::{DeviceId, RelayAddress};
use hither_util::sync::Mutex;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};

/// Longest time between two announcements.
const ANNOUNCE: Duration = Duration::from_secs(10);
/// Longest wait, at the start, to have heard of the other nodes.
const FIRST_LOOK: Duration = Duration::from_secs(10);
/// Pause before a watch that broke is begun anew.
const AGAIN: Duration = Duration::from_millis(500);
/// Most nodes known; further ones are not looked at.
const MAX_NODES: usize = 4096;
/// Fronts are ordered by this many classes of load: within a class the device decides, so that it
/// comes back to the same front as long as that is about as busy as others.
const LOAD_CLASSES: u32 = 10;

/// Another node, or this one.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) address: RelayAddress,
    pub(crate) record: NodeRecord,
}

/// What is known of the nodes.
pub(crate) struct Fleet {
    node: DeviceId,
    max_connections: u32,
    members: Mutex<BTreeMap<DeviceId, Member>>,
    /// The nodes of the index, in the order of their keys.
    indexes: watch::Sender<Vec<RelayAddress>>,
}

impl Fleet {
    pub(crate) fn new(config: &Config, node: DeviceId) -> Self {
        let max_connections = u32::try_from(config.front.max_connections)
            .unwrap_or(u32::MAX)
            .max(1);
        Self {
            node,
            max_connections,
            members: Mutex::default(),
            indexes: watch::Sender::default(),
        }
    }

    /// Where a node is; `None`: it is not there (now).
    pub(crate) fn address_of(&self, node: &DeviceId) -> Option<RelayAddress> {
        self.members()
            .get(node)
            .map(|member| member.address.clone())
    }

    /// Nodes that store and are not going down, those with most room first.
    pub(crate) fn stores(&self) -> Vec<Member> {
        let mut stores: Vec<_> = self
            .members()
            .values()
            .filter(|member| member.record.store && !member.record.draining)
            .cloned()
            .collect();
        stores.sort_by(|a, b| {
            b.record
                .free
                .cmp(&a.record.free)
                .then(a.address.key.cmp(&b.address.key))
        });
        stores
    }

    /// Fronts for a device, best first: the least loaded, and of those alike the ones that its key
    /// picks.
    pub(crate) fn fronts(
        &self,
        device: &DeviceId,
        without: Option<&DeviceId>,
    ) -> Vec<RelayAddress> {
        let members = self.members();
        let mut fronts: Vec<_> = members
            .iter()
            .filter(|(node, member)| {
                member.record.front && !member.record.draining && Some(*node) != without
            })
            .map(|(node, member)| {
                (
                    member.record.load * LOAD_CLASSES / 1000,
                    weight(device, node),
                    member,
                )
            })
            .collect();
        fronts.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        fronts
            .into_iter()
            .take(MAX_RELAYS)
            .map(|(.., member)| member.address.clone())
            .collect()
    }

    /// Nodes of the index that are not going down (or all of them, if all are), and what becomes of
    /// them.
    pub(crate) fn indexes(&self) -> watch::Receiver<Vec<RelayAddress>> {
        self.indexes.subscribe()
    }

    /// Looks anew which nodes have the index.
    fn look_for_indexes(&self) {
        let members = self.members();
        let of = |draining: bool| {
            let there = members
                .values()
                .filter(|m| m.record.index && (draining || !m.record.draining));
            there
                .map(|member| member.address.clone())
                .take(MAX_RELAYS)
                .collect::<Vec<_>>()
        };
        let mut found = of(false);
        if found.is_empty() {
            found = of(true);
        }
        self.indexes.send_if_modified(|before| {
            *before != found && {
                *before = found;
                true
            }
        });
    }

    fn learn(&self, change: &Change) -> Option<DeviceId> {
        let node = last_device(&change.key)?;
        let mut members = self.members();
        let known = change.entry.as_ref().and_then(|entry| {
            let record = NodeRecord::decode(&entry.value[..]).ok()?;
            let address = RelayAddress::decode(&record.address).ok()?;
            (address.key == node).then_some(Member { address, record })
        });
        match known {
            Some(member) if members.len() < MAX_NODES || members.contains_key(&node) => {
                members.insert(node, member);
            }
            _ => {
                members.remove(&node);
            }
        }
        drop(members);
        self.look_for_indexes();
        Some(node)
    }

    fn members(&self) -> MutexGuard<'_, BTreeMap<DeviceId, Member>> {
        self.members.lock()
    }
}

/// Rendezvous hashing: every node has a weight for every device, and when a node goes only its own
/// devices move.
fn weight(device: &DeviceId, node: &DeviceId) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key("hither.v1 relay front weight");
    hasher.update(device.as_bytes()).update(node.as_bytes());
    let mut first = [0; 8];
    hasher.finalize_xof().fill(&mut first);
    u64::from_le_bytes(first)
}

/// Announces this node and begins to hear of the others; returns when it has heard of all that are
/// there.
pub(crate) async fn start(node: &Arc<Node>) -> Result<(), NodeError> {
    announce(node).await?;
    let (tell, told) = oneshot::channel();
    node.spawn_until_stop(keep_announcing(Arc::clone(node)));
    node.spawn_until_stop(keep_watching(Arc::clone(node), tell));
    match timeout(FIRST_LOOK, told).await {
        Ok(_) => Ok(()),
        Err(_) => Err(NodeError::State(StateError::TimedOut)),
    }
}

/// Announces the node as it is now.
pub(crate) async fn announce(node: &Node) -> Result<(), StateError> {
    let record = NodeRecord {
        address: node.address.encode(),
        assign: node.plays(Role::Assign),
        front: node.plays(Role::Front),
        control: node.plays(Role::Control),
        store: node.plays(Role::Store) && node.store.is_some(),
        draining: node.is_draining(),
        load: load(node),
        free: free(node).await,
        index: node.plays(Role::Index),
    };
    let fleet = &node.services.fleet;
    let member = Member {
        address: node.address.clone(),
        record: record.clone(),
    };
    fleet.members().insert(fleet.node, member);
    fleet.look_for_indexes();
    let key = device_key(&fleet.node);
    node.services
        .session
        .put(node, bucket::NODES, &key, encode(&record), Expect::Any)
        .await
        .map(drop)
}

fn load(node: &Node) -> u32 {
    let connections = u32::try_from(node.connections()).unwrap_or(u32::MAX);
    u32::try_from(u64::from(connections) * 1000 / u64::from(node.services.fleet.max_connections))
        .unwrap_or(u32::MAX)
}

/// Bytes that uploads may still fill: what the disk has above its floor, and what the quota leaves.
async fn free(node: &Node) -> u64 {
    let Some(store) = &node.store else { return 0 };
    match store.stats().await {
        Ok(stats) => {
            let config = &node.config.store;
            let disk = stats.free_bytes.map_or(u64::MAX / 2, |free| {
                free.saturating_sub(config.free_floor.0)
            });
            let quota = match config.total_quota.0 {
                0 => u64::MAX / 2,
                quota => quota.saturating_sub(stats.pack_bytes),
            };
            disk.min(quota)
        }
        Err(error) => {
            tracing::warn!(%error, "the store does not say how much room it has: nothing is placed there");
            0
        }
    }
}

async fn keep_announcing(node: Arc<Node>) {
    let mut sessions = node.services.session.changes();
    loop {
        tokio::select! {
            () = sleep(ANNOUNCE) => {}
            _ = sessions.changed() => {}
        }
        if let Err(error) = announce(&node).await {
            tracing::debug!(%error, "this node could not be announced");
        }
    }
}

async fn keep_watching(node: Arc<Node>, first: oneshot::Sender<()>) {
    let mut first = Some(first);
    loop {
        if let Err(error) = watch_once(&node, &mut first).await {
            tracing::debug!(%error, "the fleet cannot be watched now");
        }
        sleep(AGAIN).await;
    }
}

async fn watch_once(
    node: &Node,
    first: &mut Option<oneshot::Sender<()>>,
) -> Result<(), StateError> {
    let fleet = &node.services.fleet;
    let mut watch = node.state.watch(bucket::NODES, "").await?;
    let mut seen = Some(BTreeSet::from([fleet.node]));
    loop {
        match watch.next().await {
            Event::Change(change) => {
                let learnt = fleet.learn(&change);
                if let (Some(seen), Some(node)) = (&mut seen, learnt) {
                    seen.insert(node);
                }
            }
            Event::Current => {
                // Who was not among them has gone while nobody watched.
                if let Some(seen) = seen.take() {
                    fleet.members().retain(|node, _| seen.contains(node));
                    fleet.look_for_indexes();
                }
                first.take().map(|first| first.send(()));
            }
            Event::Lagged | Event::Disconnected => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Entry;
    use hither_carrier::Identity;

    fn device() -> DeviceId {
        Identity::generate().unwrap().device_id()
    }

    fn announced(fleet: &Fleet, node: DeviceId, change: impl FnOnce(&mut NodeRecord)) {
        let address = RelayAddress {
            key: node,
            udp: vec!["127.0.0.1:1".parse().unwrap()],
            tcp: Vec::new(),
        };
        let mut record = NodeRecord {
            address: address.encode(),
            front: true,
            store: true,
            ..NodeRecord::default()
        };
        change(&mut record);
        let entry = Entry {
            value: encode(&record),
            revision: 1,
        };
        fleet.learn(&Change {
            key: device_key(&node),
            revision: 1,
            entry: Some(entry),
        });
    }

    fn keys(list: Vec<RelayAddress>) -> Vec<DeviceId> {
        list.into_iter().map(|address| address.key).collect()
    }

    #[test]
    fn the_least_loaded_front_comes_first_and_a_draining_one_never() {
        let nodes = [device(), device(), device(), device()];
        let fleet = Fleet::new(&Config::default(), nodes[0]);
        announced(&fleet, nodes[0], |record| record.load = 700);
        announced(&fleet, nodes[1], |record| record.load = 120);
        announced(&fleet, nodes[2], |record| record.draining = true);
        announced(&fleet, nodes[3], |record| record.front = false);
        assert_eq!(keys(fleet.fronts(&device(), None)), [nodes[1], nodes[0]]);
        assert_eq!(keys(fleet.fronts(&device(), Some(&nodes[1]))), [nodes[0]]);
    }

    #[test]
    fn alike_fronts_share_the_devices_and_each_device_keeps_its_own() {
        let nodes = [device(), device(), device()];
        let fleet = Fleet::new(&Config::default(), nodes[0]);
        for node in nodes {
            announced(&fleet, node, |record| record.load = 150);
        }
        let devices: Vec<_> = (0..300).map(|_| device()).collect();
        let first = |device: &DeviceId| keys(fleet.fronts(device, None))[0];
        let before: Vec<_> = devices.iter().map(first).collect();
        for node in nodes {
            let share = before.iter().filter(|front| **front == node).count();
            assert!((60..140).contains(&share), "{share} of 300");
        }
        // A little more load is no reason to move.
        announced(&fleet, nodes[1], |record| record.load = 199);
        assert_eq!(devices.iter().map(first).collect::<Vec<_>>(), before);
        // When one goes, only its own devices move.
        fleet.learn(&Change {
            key: device_key(&nodes[1]),
            revision: 2,
            entry: None,
        });
        for (device, front) in devices.iter().zip(before) {
            assert!(front == nodes[1] || first(device) == front);
        }
    }

    #[test]
    fn a_draining_index_is_left_unless_it_is_the_last_and_changes_are_told_once() {
        let nodes = [device(), device()];
        let fleet = Fleet::new(&Config::default(), device());
        let mut told = fleet.indexes();
        let index = |node, draining| {
            announced(&fleet, node, |record| {
                (record.index, record.draining) = (true, draining)
            });
        };
        let mut now = || {
            let changed = told.has_changed().unwrap();
            (changed, keys(told.borrow_and_update().clone()))
        };
        assert_eq!(now(), (false, vec![]));
        index(nodes[0], false);
        index(nodes[0], false);
        assert_eq!(now(), (true, vec![nodes[0]]));
        index(nodes[1], false);
        assert_eq!(now().1.len(), 2);
        index(nodes[0], true);
        assert_eq!(now(), (true, vec![nodes[1]]));
        index(nodes[1], true);
        assert_eq!(now().1.len(), 2, "better one that goes than none");
        index(nodes[1], true);
        assert_eq!(
            now(),
            (
                false,
                fleet
                    .indexes()
                    .borrow()
                    .iter()
                    .map(|node| node.key)
                    .collect()
            )
        );
    }

    #[test]
    fn a_record_of_someone_else_or_nonsense_is_not_believed() {
        let (one, other) = (device(), device());
        let fleet = Fleet::new(&Config::default(), device());
        let address = RelayAddress {
            key: other,
            udp: Vec::new(),
            tcp: Vec::new(),
        };
        announced(&fleet, one, |record| record.address = address.encode());
        announced(&fleet, one, |record| record.address = vec![1, 2, 3]);
        assert!(fleet.address_of(&one).is_none() && fleet.stores().is_empty());
        announced(&fleet, one, |record| record.free = 7);
        announced(&fleet, other, |record| record.free = 9);
        let free: Vec<_> = fleet
            .stores()
            .iter()
            .map(|store| store.record.free)
            .collect();
        assert_eq!(free, [9, 7]);
    }
}
