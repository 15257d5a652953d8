//! The long connections of this node, by device and by user, and what reaches them from elsewhere.

mod connection;
mod peers;
pub(crate) mod wake;

pub(crate) use connection::{Connection, End, Pending};
pub(crate) use peers::{drop_presence, put_presence, start};

use crate::node::Node;
use hither_proto::{DeviceId, RelayAddress, UserId};
use hither_util::sync::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, MutexGuard};
use tokio::sync::watch;

#[derive(Default)]
struct Tables {
    by_device: HashMap<DeviceId, Arc<Connection>>,
    by_user: HashMap<UserId, Vec<DeviceId>>,
}

/// The long connections of this node. Their number is bounded by the endpoint's connections.
pub(crate) struct Front {
    tables: Mutex<Tables>,
    count: watch::Sender<usize>,
}

impl Default for Front {
    fn default() -> Self {
        Self {
            tables: Mutex::default(),
            count: watch::Sender::new(0),
        }
    }
}

impl Front {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        *self.count.borrow()
    }

    /// Waits until there is none.
    pub(crate) async fn emptied(&self) {
        // An error means that this node is gone, and its connections with it.
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Adds a connection; an older one of the same device is told to end.
    pub(crate) fn insert(&self, connection: &Arc<Connection>) {
        let mut tables = self.tables();
        match tables
            .by_device
            .insert(connection.device, Arc::clone(connection))
        {
            Some(older) => older.replaced(connection.instance),
            None => tables
                .by_user
                .entry(connection.user)
                .or_default()
                .push(connection.device),
        }
        self.count.send_replace(tables.by_device.len());
    }

    /// Removes a connection; says whether it was still the one of its device.
    pub(crate) fn remove(&self, connection: &Connection) -> bool {
        let mut tables = self.tables();
        if tables
            .by_device
            .get(&connection.device)
            .is_none_or(|current| current.id != connection.id)
        {
            return false;
        }
        tables.by_device.remove(&connection.device);
        if let Some(devices) = tables.by_user.get_mut(&connection.user) {
            devices.retain(|device| *device != connection.device);
            if devices.is_empty() {
                tables.by_user.remove(&connection.user);
            }
        }
        self.count.send_replace(tables.by_device.len());
        true
    }

    /// The connection of a device.
    pub(crate) fn get(&self, device: &DeviceId) -> Option<Arc<Connection>> {
        self.tables().by_device.get(device).map(Arc::clone)
    }

    /// All connections.
    pub(crate) fn all(&self) -> Vec<Arc<Connection>> {
        self.tables().by_device.values().map(Arc::clone).collect()
    }

    /// Something about one device of a user changed: the user's other devices here will be told.
    pub(crate) fn changed(&self, user: &UserId, device: &DeviceId) {
        let tables = self.tables();
        for other in tables
            .by_user
            .get(user)
            .into_iter()
            .flatten()
            .filter(|other| *other != device)
        {
            if let Some(connection) = tables.by_device.get(other) {
                connection.changed(*device);
            }
        }
    }

    /// Something may have changed unnoticed: every device here will be told everything anew, and
    /// looks for mail.
    pub(crate) fn unsure(&self) {
        for connection in self.all() {
            connection.unsure();
        }
    }

    /// Tells every device to go to another front.
    pub(crate) fn move_away(&self, node: &Node) {
        for connection in self.all() {
            let fronts: Vec<RelayAddress> = node
                .services
                .fleet
                .fronts(&connection.device, Some(&node.id()));
            connection.move_to(fronts);
        }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_carrier::Identity;

    fn connection(device: DeviceId, user: u8) -> Arc<Connection> {
        Arc::new(Connection::new(device, UserId::new([user; 16]), [0; 16], 0))
    }

    #[tokio::test]
    async fn a_newer_connection_ends_the_older_and_outlives_its_removal() {
        let front = Front::default();
        let device = Identity::generate().unwrap().device_id();
        let (older, newer) = (connection(device, 1), connection(device, 1));
        front.insert(&older);
        front.insert(&newer);
        older.woken().await;
        assert!(matches!(older.take().end, Some(End::Replaced)));
        assert!(!front.remove(&older));
        assert_eq!(
            (front.len(), front.get(&device).map(|found| found.id)),
            (1, Some(newer.id))
        );
        assert!(front.remove(&newer));
        front.emptied().await;
        assert!(front.tables().by_user.is_empty());
    }

    #[tokio::test]
    async fn only_the_other_devices_of_the_user_hear_of_a_change() {
        let front = Front::default();
        let devices: Vec<_> = (0..3)
            .map(|_| Identity::generate().unwrap().device_id())
            .collect();
        let connections = [
            connection(devices[0], 1),
            connection(devices[1], 1),
            connection(devices[2], 2),
        ];
        for connection in &connections {
            front.insert(connection);
        }
        front.changed(&UserId::new([1; 16]), &devices[0]);
        assert!(
            connections[0].take().changed.is_empty() && connections[2].take().changed.is_empty()
        );
        assert!(connections[1].take().changed.contains(&devices[0]));
    }
}
