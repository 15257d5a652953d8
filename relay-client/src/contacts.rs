//! The list that a relay is given of the devices of other users that this device knows: their letters are taken
//! there for it as those of the user's own are.
//!
//! The list replaces the one before; it is told when a connection begins, and when it has changed.

use crate::client::RelayClient;
use crate::connection::RelayConnection;
use hither_proto::limits::MAX_CONTACTS;
use hither_proto::{DeviceId, OwnRequest};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Pause before a relay that did not keep the list is told it again.
const AGAIN: Duration = Duration::from_secs(30);

/// Tells every relay, for as long as the daemon runs.
pub(crate) async fn run(client: Arc<RelayClient>) {
    let (mut relays, mut known) = (client.changes(), client.swarm.known().changes());
    // The connections that were told, and what.
    let mut told: Vec<(Arc<RelayConnection>, Vec<DeviceId>)> = Vec::new();
    loop {
        relays.mark_unchanged();
        known.mark_unchanged();
        let contacts = contacts(&client);
        let connected = client.connected();
        told.retain(|(connection, _)| connected.iter().any(|one| Arc::ptr_eq(one, connection)));
        let mut fails = false;
        for connection in connected {
            let before = told
                .iter()
                .position(|(one, _)| Arc::ptr_eq(one, &connection));
            match before.map(|place| &told[place].1) {
                Some(before) if *before == contacts => continue,
                _ => {}
            }
            match connection.own(OwnRequest::Contacts(contacts.clone())).await {
                Ok(_) => {
                    if let Some(place) = before {
                        told.swap_remove(place);
                    }
                    told.push((connection, contacts.clone()));
                }
                Err(error) => {
                    tracing::debug!(%error, "a relay was not told whom this device knows");
                    fails = true;
                }
            }
        }
        let again = async {
            match fails {
                true => sleep(AGAIN).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = relays.changed() => if changed.is_err() { return },
            changed = known.changed() => if changed.is_err() { return },
            () = again => {}
        }
    }
}

/// Every device that is known without a relay's list, in the order of their ids.
fn contacts(client: &RelayClient) -> Vec<DeviceId> {
    let all = client.swarm.known().all().into_iter();
    all.map(|(device, _)| device).take(MAX_CONTACTS).collect()
}
