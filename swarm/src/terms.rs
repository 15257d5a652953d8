//! The terms on which this device serves others, and the peers that get them: devices elsewhere
//! learn that it costs something while the link is metered, all peers that this device would rather
//! not serve while the battery is low.
//!
//! Every session that another device opened listens. Only changes are sent: a peer that receives no
//! `Terms` is served for free.

use crate::host_state::Facts;
use crate::links;
use crate::swarm::Swarm;
use hither_api::Costs;
use hither_engine::{Prices, SessionId};
use hither_proto::{Message, Price, Terms};
use hither_util::sync::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, MutexGuard};
use tokio::sync::mpsc::UnboundedSender;

/// One session that gets terms.
struct Listener {
    /// It is on this device's own network.
    near: bool,
    told: Terms,
    sender: UnboundedSender<Message>,
}

/// All sessions that get terms.
#[derive(Default)]
pub(crate) struct Listeners {
    sessions: Mutex<HashMap<SessionId, Listener>>,
}

impl Listeners {
    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Listener>> {
        self.sessions.lock()
    }

    /// A session begins to listen.
    pub(crate) fn add(
        &self,
        swarm: &Swarm,
        session: SessionId,
        remote: Option<IpAddr>,
        sender: UnboundedSender<Message>,
    ) {
        let mut listener = Listener {
            near: remote.is_some_and(links::is_near),
            told: Terms::default(),
            sender,
        };
        // Under the lock: a change is sent either here or to all.
        let mut sessions = self.lock();
        listener.tell(swarm.costs.read().metered, &swarm.host_state.facts());
        sessions.insert(session, listener);
    }

    /// It is over.
    pub(crate) fn remove(&self, session: SessionId) {
        self.lock().remove(&session);
    }

    fn tell_all(&self, metered: Price, facts: &Facts) {
        self.lock()
            .values_mut()
            .for_each(|listener| listener.tell(metered, facts));
    }
}

impl Listener {
    fn tell(&mut self, metered: Price, facts: &Facts) {
        let terms = terms(metered, facts, self.near);
        if std::mem::replace(&mut self.told, terms) != terms {
            let _ = self.sender.send(Message::Terms(terms)); // The session may be about to end.
        }
    }
}

fn terms(metered: Price, facts: &Facts, near: bool) -> Terms {
    let price = if facts.is_metered() && !near {
        metered
    } else {
        Price::FREE
    };
    Terms {
        price,
        reluctant: facts.reluctant,
    }
}

impl Swarm {
    /// Returns the prices of sources for this device now.
    pub(crate) fn prices(&self) -> Prices {
        let costs = *self.costs.read();
        let link = if self.host_state.facts().is_metered() {
            costs.metered
        } else {
            Price::FREE
        };
        Prices {
            store: costs.store,
            relayed: costs.relayed,
            link,
        }
    }
}

impl Swarm {
    /// Counts other costs from now on.
    pub fn set_costs(&self, costs: Costs) {
        *self.costs.write() = costs;
        self.tell_costs(&self.host_state.facts());
    }

    fn tell_costs(&self, facts: &Facts) {
        self.core
            .with(|engine, now| engine.set_prices(self.prices(), now));
        let metered = self.costs.read().metered;
        self.listeners.tell_all(metered, facts);
    }
}

/// Keeps prices and terms at what the world is like. Runs until it is dropped.
pub(crate) async fn follow(swarm: Arc<Swarm>) {
    let mut changes = swarm.host_state.changes();
    loop {
        let facts = *changes.borrow_and_update();
        swarm.tell_costs(&facts);
        if changes.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    #[test]
    fn only_changes_are_told_and_a_metered_link_costs_nobody_nearby() {
        let price = Price::per_gib(2.0).unwrap();
        let (metered, tired) = (
            Facts {
                metered: Some(true),
                ..Facts::default()
            },
            Facts {
                reluctant: true,
                ..Facts::default()
            },
        );
        for near in [true, false] {
            let (sender, mut heard) = mpsc::unbounded_channel();
            let mut listener = Listener {
                near,
                told: Terms::default(),
                sender,
            };
            listener.tell(price, &Facts::default());
            assert!(heard.try_recv().is_err(), "nothing to tell");
            listener.tell(price, &metered);
            let expected = (!near).then_some(Message::Terms(Terms {
                price,
                reluctant: false,
            }));
            assert_eq!(heard.try_recv().ok(), expected);
            listener.tell(price, &tired);
            listener.tell(price, &tired);
            assert_eq!(
                heard.try_recv().ok(),
                Some(Message::Terms(Terms {
                    reluctant: true,
                    ..Terms::default()
                }))
            );
            listener.tell(price, &Facts::default());
            assert_eq!(
                heard.try_recv().ok(),
                Some(Message::Terms(Terms::default()))
            );
            assert!(heard.try_recv().is_err());
        }
    }
}
