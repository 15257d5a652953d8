//! The device is on another network, or woke up: what was going on goes on from there.
//!
//! Nothing that was got is lost by it; what must not be lost is time. Links that lead nowhere any
//! more are found out at once and not by their silence, discovery looks at the new network, and
//! everybody who may have what is being fetched is tried again without the pauses that failures
//! before have made long. `network.rs` notices the change, and relays follow it by
//! themselves.

use crate::network;
use crate::swarm::Swarm;
use hither_carrier::LookAnew;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;

/// Runs until it is dropped.
pub(crate) async fn run(swarm: Arc<Swarm>, look: Option<LookAnew>) {
    let mut network = swarm.network();
    // While links are still being looked at the network may change again: then that look is worth
    // nothing.
    let mut looking: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(pending());
    loop {
        tokio::select! {
            changed = network.changed() => match changed {
                Ok(()) => looking = Box::pin(arrive(Arc::clone(&swarm), look.clone())),
                Err(_) => return,
            },
            () = &mut looking => looking = Box::pin(pending()),
        }
    }
}

/// Takes up everything on the network that there is now.
async fn arrive(swarm: Arc<Swarm>, look: Option<LookAnew>) {
    let own = network::addresses();
    if own.is_empty() {
        return; // Nowhere: nothing can be asked. The same network may be back in a moment, and links with it.
    }
    swarm.links.forget_punched();
    if let Some(look) = look {
        look.look();
    }
    // Before links are looked at: whoever is not linked need not wait for that.
    swarm
        .core
        .with(|engine, now| engine.handle_network_changed(now));
    swarm.links.network_changed(&own).await;
}
