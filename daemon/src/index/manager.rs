//! Decides which share is spoken of with which index node, and has it done.

use super::local_holdings;
use super::node::{self, Want, Wants};
use super::nodes::{MAX_PLACES, Unanswered};
use crate::index::IndexService;
use hither_proto::{
    DeviceId, IndexMessage, RelayAddress, RelayMessage, RelayPurpose, ShareId, index_node,
};
use hither_relay_client::{RelayError, dial, open};
use hither_swarm::Share;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

/// Most index nodes that are spoken with.
const MAX_NODES: usize = 32;
/// How long at most until everything is looked at again.
const LOOK: Duration = Duration::from_secs(60);

/// The connection to one node.
struct Node {
    wants: watch::Sender<Arc<Wants>>,
    stop: CancellationToken,
}

/// The tasks that run.
#[derive(Default)]
struct IndexManager {
    /// The tasks that listen to the inventory, by share.
    listening: HashMap<ShareId, CancellationToken>,
    nodes: HashMap<DeviceId, Node>,
    /// Relays that this device joined, with whether they are connected.
    joined: Vec<(RelayAddress, bool)>,
}

/// Keeps everything as it should be. Ends only when dropped.
pub(super) async fn run(service: Arc<IndexService>) {
    let mut manager = IndexManager::default();
    let (mut shares, mut relays) = (service.swarm.shares().changes(), service.relays.changes());
    loop {
        manager.look(&service);
        let due = service
            .index
            .lock()
            .places
            .next_due(|relay| manager.may_ask(relay));
        let latest = Instant::now() + LOOK;
        let until = due.map_or(latest, |due| due.min(latest));
        tokio::select! {
            () = service.index.wake.notified() => {}
            Ok(()) = shares.changed() => {}
            Ok(()) = relays.changed() => {}
            () = sleep_until(until.into()) => {}
        }
    }
}

impl IndexManager {
    /// A relay that this device joined is asked when it is connected: somebody else tries to reach
    /// it anyway.
    fn may_ask(&self, relay: DeviceId) -> bool {
        self.joined
            .iter()
            .all(|(front, connected)| front.key != relay || *connected)
    }

    fn look(&mut self, service: &Arc<IndexService>) {
        self.look_at_relays(service);
        let shares = self.known_to_relays(service);
        self.listen(service, &shares);
        let spoken = spoken_of(service, shares);
        let mut relays: Vec<RelayAddress> = Vec::new();
        for relay in spoken.iter().flat_map(|(_, relays)| relays) {
            if relays.len() < MAX_PLACES && relays.iter().all(|known| known.key != relay.key) {
                relays.push(relay.clone());
            }
        }
        let now = Instant::now();
        let (due, wants) = {
            let mut inner = service.index.lock();
            inner.places.keep(&relays, now);
            let due = inner.places.due(now, |relay| self.may_ask(relay));
            (
                due,
                wants(&spoken, |relay| inner.places.nodes(relay).to_vec()),
            )
        };
        for relay in due {
            service.tasks.spawn_forever(ask(Arc::clone(service), relay));
        }
        self.speak(service, wants);
    }

    fn look_at_relays(&mut self, service: &IndexService) {
        let before = std::mem::take(&mut self.joined);
        for relay in service.relays.all() {
            let connection = relay.connection();
            let front = connection
                .as_ref()
                .map_or_else(|| relay.front(), |c| c.relay.clone());
            let new = connection.is_some() && !before.contains(&(front.clone(), true));
            if new {
                service
                    .index
                    .lock()
                    .places
                    .reached(front.key, Instant::now());
            }
            self.joined.push((front, connection.is_some()));
        }
    }

    /// The shares that may be announced to a relay, each with those relays.
    fn known_to_relays(&self, service: &IndexService) -> Vec<(Arc<Share>, Vec<RelayAddress>)> {
        let shares = service.swarm.shares().all().into_iter().map(|share| {
            let joined = self.joined.iter().map(|(front, _)| front.clone());
            let relays = joined.chain(share.ticket_relays()).collect();
            (share, relays)
        });
        shares
            .filter(|(_, relays): &(_, Vec<RelayAddress>)| !relays.is_empty())
            .collect()
    }

    /// Listens to the inventory about these shares, if they are announced to anybody.
    fn listen(&mut self, service: &Arc<IndexService>, shares: &[(Arc<Share>, Vec<RelayAddress>)]) {
        if !service.announces {
            return;
        }
        let there: HashSet<ShareId> = shares.iter().map(|(share, _)| share.id).collect();
        self.listening.retain(|share, stop| {
            let stays = there.contains(share);
            if !stays {
                stop.cancel();
            }
            stays
        });
        for (share, _) in shares {
            self.listening.entry(share.id).or_insert_with(|| {
                let stop = service.tasks.token.child_token();
                service.tasks.spawn(local_holdings::keep(
                    Arc::clone(service),
                    Arc::clone(share),
                    stop.clone(),
                ));
                stop
            });
        }
    }

    /// Has its part announced to every node, and ends the connections to those that have none.
    fn speak(
        &mut self,
        service: &Arc<IndexService>,
        wants: BTreeMap<DeviceId, (RelayAddress, Wants)>,
    ) {
        self.nodes.retain(|key, node| {
            let stays = wants.contains_key(key);
            if !stays {
                node.stop.cancel();
            }
            stays
        });
        for (key, (address, wants)) in wants {
            let wants = Arc::new(wants);
            if let Some(node) = self.nodes.get(&key) {
                node.wants.send_if_modified(|before| {
                    *before != wants && {
                        *before = wants;
                        true
                    }
                });
                continue;
            }
            if self.nodes.len() >= MAX_NODES {
                continue;
            }
            let (sender, receiver) = watch::channel(wants);
            let stop = service.tasks.token.child_token();
            service.tasks.spawn(node::run(
                Arc::clone(service),
                address,
                receiver,
                stop.clone(),
            ));
            self.nodes.insert(
                key,
                Node {
                    wants: sender,
                    stop,
                },
            );
        }
    }
}

/// Returns the announcements and queries to make for shares, those that are being fetched first.
fn spoken_of(
    service: &IndexService,
    shares: Vec<(Arc<Share>, Vec<RelayAddress>)>,
) -> Vec<(Want, Vec<RelayAddress>)> {
    let inner = service.index.lock();
    let mut spoken: Vec<(Want, Vec<RelayAddress>)> = Vec::new();
    for (share, relays) in shares {
        let follow = inner.followed.get(&share.id).map(|followed| followed.asked);
        if follow.is_some()
            || inner
                .holdings
                .get(&share.id)
                .is_some_and(|holding| !holding.is_nothing())
        {
            spoken.push((
                Want {
                    share,
                    topic: None,
                    follow,
                },
                relays,
            ));
        }
    }
    spoken.sort_by_key(|(want, _)| want.follow.is_none());
    spoken
}

/// Returns the topics for each node: each relay's nodes divide the shares among them.
fn wants(
    spoken: &[(Want, Vec<RelayAddress>)],
    nodes: impl Fn(DeviceId) -> Vec<RelayAddress>,
) -> BTreeMap<DeviceId, (RelayAddress, Wants)> {
    let mut all: BTreeMap<DeviceId, (RelayAddress, Wants)> = BTreeMap::new();
    for (want, relays) in spoken {
        for relay in relays {
            let nodes = nodes(relay.key);
            let Some((topic, node)) = index_node(&want.share.secret, &nodes) else {
                continue;
            };
            let (_, wants) = all
                .entry(node.key)
                .or_insert_with(|| (node.clone(), Wants::default()));
            wants.insert(
                want.share.id,
                Want {
                    topic: Some(topic),
                    ..want.clone()
                },
            );
        }
    }
    all
}

/// Asks a relay where the index is.
async fn ask(service: Arc<IndexService>, relay: RelayAddress) {
    let answer = where_is(&service, &relay).await;
    let answer = answer.map_err(|error| {
        tracing::debug!(relay = ?relay.key, %error, "where the index is was not answered");
        match error {
            RelayError::Refused(refusal) if refusal.retry_after_ms == 0 => {
                Unanswered::Refused(refusal.code)
            }
            _ => Unanswered::Lost,
        }
    });
    service
        .index
        .with_places(|places, now| places.answered(relay.key, answer, now));
}

async fn where_is(
    service: &IndexService,
    relay: &RelayAddress,
) -> Result<Vec<RelayAddress>, RelayError> {
    let connection = service
        .relays
        .connected()
        .into_iter()
        .find(|c| c.relay.key == relay.key);
    let own = connection.is_none();
    let link = match connection {
        Some(connection) => connection.link().clone(),
        None => dial(service.swarm.endpoint(), relay).await?,
    };
    let asked = async {
        let mut stream = open(link.clone(), RelayPurpose::Index).await?;
        stream
            .send(&RelayMessage::Index(Box::new(IndexMessage::Hello)))
            .await?;
        let answer = stream.next().await?;
        stream.stream.send.finish().await?;
        match answer {
            RelayMessage::Index(message) => match *message {
                IndexMessage::Welcome { nodes, .. } => Ok(nodes),
                _ => Err(RelayError::Unexpected),
            },
            _ => Err(RelayError::Unexpected),
        }
    };
    let answer = asked.await;
    if own {
        link.close("asked");
    }
    answer
}
