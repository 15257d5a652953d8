//! Joining a relay, and leaving it.

use super::connection_state::{ConnectionState, Relay};
use super::dial::{self, RelayError, RelayStream};
use super::manager::{self, First};
use super::{MAX_JOINED, Relays};
use crate::daemon::Daemon;
use crate::failure;
use hither_api::{ApiError, ErrorCode};
use hither_carrier::Endpoint;
use hither_proto::{RelayAddress, RelayRefusalCode, RelayUrl, Welcome};
use std::sync::Arc;

/// A relay of the fleet that took this device in, and the fleet's list.
struct Welcomed {
    first: First,
    list: Vec<RelayAddress>,
}

/// Joins the relay of a URL: the connection holds, and everything is durable, when this returns.
pub(crate) async fn join(daemon: &Arc<Daemon>, url: &RelayUrl) -> Result<Arc<Relay>, ApiError> {
    let relays = &daemon.relays;
    let _one_at_a_time = relays.joining.lock().await;
    let before = relays
        .all()
        .into_iter()
        .find(|relay| relay.url.key == url.key);
    if before.is_none() && relays.all().len() >= MAX_JOINED {
        let message = format!("This device has joined {MAX_JOINED} relays; more are not possible.");
        return Err(ApiError::new(ErrorCode::BadRequest, message)
            .with_hint("Leave one: hither relay remove"));
    }
    if let Some(before) =
        before.filter(|before| before.url.at == url.at && before.connection().is_some())
    {
        return Ok(before);
    }
    let Welcomed { first, list } = greet(
        &daemon.swarm.endpoint(),
        url,
        daemon.swarm.twins().instance(),
    )
    .await
    .map_err(|error| failure::relay(&url.at, &error))?;
    let relay = Arc::new(Relay::joined(
        url,
        &list,
        &first.welcome,
        relays.changes.clone(),
    ));
    let (of, saved) = (Arc::clone(daemon), Arc::clone(&relay));
    let saving = tokio::task::spawn_blocking(move || saved.first_save(&of.records));
    saving
        .await
        .map_err(failure::internal)?
        .map_err(|error| failure::storage(&error))?;
    relays.put(Arc::clone(&relay));
    let mut changes = relays.changes();
    daemon
        .tasks
        .spawn_forever(crate::groups::run(Arc::clone(daemon), Arc::clone(&relay)));
    daemon.tasks.spawn_forever(manager::run(
        Arc::clone(daemon),
        Arc::clone(&relay),
        Some(first),
    ));
    // The list of devices is there, and cards are on their way, when the connection stands.
    while matches!(relay.state(), ConnectionState::Connecting) {
        if changes.changed().await.is_err() {
            break;
        }
    }
    Ok(relay)
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

/// Leaves a relay: its connection ends and it is forgotten here.
pub(crate) async fn leave(daemon: &Arc<Daemon>, relay: &Arc<Relay>) -> Result<(), ApiError> {
    let _one_at_a_time = daemon.relays.joining.lock().await;
    let (of, key) = (Arc::clone(daemon), relay.key());
    let forgetting = tokio::task::spawn_blocking(move || of.records.remove_relay(&key));
    forgetting
        .await
        .map_err(failure::internal)?
        .map_err(|error| failure::storage(&error))?;
    daemon.relays.take(relay);
    Ok(())
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
