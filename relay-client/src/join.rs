//! Joining a relay, and leaving it.

use crate::client::RelayClient;
use crate::connection_state::{ConnectionState, Relay};
use crate::dial::{self, RelayError, RelayStream};
use crate::error::{JoinError, RelayStorageError};
use crate::manager::First;
use crate::records;
use crate::relays::{MAX_JOINED, Relays};
use hither_carrier::Endpoint;
use hither_content::storage::{RecordStore, StorageError};
use hither_proto::{RelayAddress, RelayRefusalCode, RelayUrl, Welcome};
use std::sync::Arc;

/// A relay of the fleet that took this device in, and the fleet's list.
struct Welcomed {
    first: First,
    list: Vec<RelayAddress>,
}

impl RelayClient {
    /// Joins the relay of a URL: the connection holds, and everything is durable, when this
    /// returns. A relay that is joined already under the same address stays as it is.
    ///
    /// Errors: the relay is not reached or refuses, there are too many, nothing can be kept.
    pub async fn join(self: &Arc<Self>, url: &RelayUrl) -> Result<Arc<Relay>, JoinError> {
        let relays = &self.relays;
        let _one_at_a_time = relays.joining.lock().await;
        let before = relays
            .all()
            .into_iter()
            .find(|relay| relay.url.key == url.key);
        if before.is_none() && relays.all().len() >= MAX_JOINED {
            return Err(JoinError::TooMany { most: MAX_JOINED });
        }
        if let Some(before) =
            before.filter(|before| before.url.at == url.at && before.connection().is_some())
        {
            return Ok(before);
        }
        let greeted = greet(self.swarm.endpoint(), url, self.swarm.twins().instance()).await;
        let Welcomed { first, list } = greeted.map_err(|error| JoinError::Relay {
            at: url.at.clone(),
            error,
        })?;
        let changes = relays.changes.clone();
        let relay = Arc::new(Relay::joined(url, &list, &first.welcome, changes));
        let saved = Arc::clone(&relay);
        self.blocking(move |records| saved.first_save(records))
            .await?;
        relays.put(Arc::clone(&relay));
        let mut changes = relays.changes();
        self.start(Arc::clone(&relay), Some(first));
        // The list of devices is there, and cards are on their way, when the connection stands.
        while matches!(relay.state(), ConnectionState::Connecting) {
            if changes.changed().await.is_err() {
                break;
            }
        }
        Ok(relay)
    }

    /// Leaves a relay: its connection ends and it is forgotten here.
    ///
    /// Errors: that cannot be made durable.
    pub async fn leave(&self, relay: &Arc<Relay>) -> Result<(), RelayStorageError> {
        let _one_at_a_time = self.relays.joining.lock().await;
        let key = relay.key();
        self.blocking(move |store| records::remove(store, &key))
            .await?;
        self.relays.take(relay);
        Ok(())
    }

    /// Does something with the metadata store on a thread that may block.
    async fn blocking(
        &self,
        work: impl FnOnce(&RecordStore) -> Result<(), StorageError> + Send + 'static,
    ) -> Result<(), RelayStorageError> {
        let records = self.records.clone();
        let done = tokio::task::spawn_blocking(move || work(&records)).await;
        Ok(done.map_err(|error| RelayStorageError::Task(error.to_string()))??)
    }
}

/// Shows the invitation to the relay of the URL, or, if that one takes no connections itself, to
/// those that it names.
async fn greet(endpoint: &Endpoint, url: &RelayUrl, instance: u64) -> Result<Welcomed, RelayError> {
    let entry = url.address();
    let link = dial::dial(endpoint, &entry).await?;
    let greeted = dial::hello(link.clone(), url.invitation.clone(), instance).await;
    let welcomed = |relay, (stream, welcome): (RelayStream, Welcome), list| Welcomed {
        first: First {
            relay,
            stream,
            welcome,
        },
        list,
    };
    let refusal = match greeted {
        Ok(greeted) => return Ok(welcomed(entry, greeted, Vec::new())),
        Err(RelayError::Refused(refusal)) if refusal.code == RelayRefusalCode::Role => refusal,
        Err(error) => {
            link.close("not welcome");
            return Err(error);
        }
    };
    let list = dial::assign(link.clone()).await;
    link.close("assigned");
    let list = list?;
    let mut last = RelayError::Refused(refusal);
    for relay in list.iter().filter(|relay| relay.key != url.key) {
        let greeted = async {
            dial::hello(
                dial::dial(endpoint, relay).await?,
                url.invitation.clone(),
                instance,
            )
            .await
        };
        match greeted.await {
            Ok(greeted) => return Ok(welcomed(relay.clone(), greeted, list.clone())),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Relays {
    /// Adds a relay, in the place of one with the same key.
    fn put(&self, relay: Arc<Relay>) {
        let mut all = self.all.write();
        all.retain(|other| {
            let same = other.url.key == relay.url.key;
            if same {
                other.left.cancel();
            }
            !same
        });
        all.push(relay);
    }

    fn take(&self, relay: &Arc<Relay>) {
        relay.left.cancel();
        self.all.write().retain(|other| !Arc::ptr_eq(other, relay));
        self.changes.send_modify(|count| *count += 1);
    }
}
