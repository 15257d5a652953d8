//! Which devices matter here: those that tickets, holders, indexes and cards named or that proved
//! something (the address book knows them), and the members of this device's groups. Discovery
//! keeps places for them.

use crate::daemon::Daemon;
use hither_carrier::{Familiar, Recall};
use hither_proto::DeviceId;
use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock, Weak};

/// Members of groups that this device is in.
pub(crate) type Members = Arc<RwLock<HashSet<DeviceId>>>;

/// Returns what discovery asks of each device that it sees.
pub(crate) fn of(daemon: &Arc<Daemon>, members: &Members) -> Familiar {
    let (daemon, members): (Weak<Daemon>, _) = (Arc::downgrade(daemon), Arc::clone(members));
    Familiar::new(move |device| {
        let is_named = daemon
            .upgrade()
            .is_some_and(|daemon| daemon.links.is_named(*device));
        is_named
            || members
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .contains(device)
    })
}

/// Follows who belongs to it, and has discovery tell of those whom it left out before.
pub(crate) async fn follow(daemon: Arc<Daemon>, members: Members, recall: Recall) {
    let (mut groups, mut named) = (daemon.groups.changes(), daemon.links.names());
    loop {
        let now = members_of_all(&daemon);
        *members.write().unwrap_or_else(PoisonError::into_inner) = now;
        recall.recall();
        let changed = tokio::select! {
            changed = groups.changed() => changed,
            changed = named.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

fn members_of_all(daemon: &Daemon) -> HashSet<DeviceId> {
    let all = daemon.groups.all();
    let own = all
        .iter()
        .filter_map(|(_, known)| known.membership_of(&daemon.device));
    own.flat_map(|membership| membership.members().keys().copied())
        .collect()
}
