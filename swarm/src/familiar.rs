//! Which devices matter here: those that tickets, holders, indexes and cards named or that proved
//! something (the address book knows them), those that the user said yes to, and the members of
//! this device's groups. Discovery
//! keeps places for them.

use crate::swarm::Swarm;
use hither_carrier::{Familiar, Recall};
use hither_proto::DeviceId;
use hither_util::sync::RwLock;
use std::collections::HashSet;
use std::sync::{Arc, Weak};

/// Members of groups that this device is in.
pub(crate) type Members = Arc<RwLock<HashSet<DeviceId>>>;

/// Returns what discovery asks of each device that it sees.
pub(crate) fn of(swarm: &Arc<Swarm>, members: &Members) -> Familiar {
    let (swarm, members): (Weak<Swarm>, _) = (Arc::downgrade(swarm), Arc::clone(members));
    Familiar::new(move |device| {
        let is_named = swarm.upgrade().is_some_and(|swarm| {
            swarm.links.is_named(*device) || swarm.known.relation(*device).is_some()
        });
        is_named || members.read().contains(device)
    })
}

/// Follows who belongs to it, and has discovery tell of those whom it left out before.
pub(crate) async fn follow(swarm: Arc<Swarm>, members: Members, recall: Recall) {
    let (mut groups, mut named) = (swarm.membership.changes(), swarm.links.names());
    let mut known = swarm.known.changes();
    loop {
        let now = swarm.membership.fellow_members(&swarm.device);
        *members.write() = now;
        recall.recall();
        let changed = tokio::select! {
            changed = groups.changed() => changed,
            changed = named.changed() => changed,
            changed = known.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}
