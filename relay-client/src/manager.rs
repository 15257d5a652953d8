//! The task of one relay: does what [`Select`] says, and keeps the connection that it leads to.
//!
//! A connection works in tasks of its own; so a move tries other relays while the old connection
//! still serves.

use super::connection::{Delivery, End, News, Notice, RelayConnection};
use super::connection_state::{ConnectionState, Relay};
use super::dial::{self, RelayError, RelayStream};
use super::select::{Select, Step};
use super::trouble::Trouble;
use super::{cards, circuit, devices};
use crate::client::RelayClient;
use hither_carrier::{CarrierKind, Link};
use hither_proto::{
    DeviceEntry, DeviceId, RelayAddress, RelayMessage, RelayRefusalCode, StoreFetch, Welcome,
};
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

/// A connection that was made before the task began: the one by which the relay was joined.
pub(crate) struct First {
    pub relay: RelayAddress,
    pub stream: RelayStream,
    pub welcome: Welcome,
}

/// Keeps a connection to the relay until it is left or the daemon ends.
pub(crate) async fn run(client: Arc<RelayClient>, relay: Arc<Relay>, first: Option<First>) {
    let mut seed = [0_u8; 8];
    // Without it the pauses are those of every other device: no more than a pity.
    let _ = getrandom::fill(&mut seed);
    let select = Select::new(relay.url.address(), relay.list(), u64::from_le_bytes(seed));
    let network = client.swarm.network();
    let left = relay.left.clone();
    let mut manager = RelayManager {
        client,
        relay,
        select,
        network,
        held: None,
        link: None,
        trouble: Trouble::default(),
    };
    tokio::select! {
        () = manager.work(first) => {}
        () = left.cancelled() => {}
    }
    if let Some(held) = manager.held {
        held.connection.close();
    }
}

/// The connection that is held.
struct HeldConnection {
    connection: Arc<RelayConnection>,
    notices: mpsc::Receiver<Notice>,
    end: oneshot::Receiver<End>,
}

impl HeldConnection {
    /// Its next message; its end comes last.
    async fn next(held: &mut Option<Self>) -> Event {
        let Some(held) = held else {
            return pending().await;
        };
        tokio::select! {
            biased;
            Some(notice) = held.notices.recv() => Event::Notice(notice),
            end = &mut held.end => Event::End(end.unwrap_or(End::Closed)),
        }
    }
}

enum Event {
    Notice(Notice),
    End(End),
}

/// A link that is closed when nothing came of it: a connection nobody uses would live on.
struct Spare {
    link: Link,
    used: bool,
}

impl Spare {
    const fn new(link: Link) -> Self {
        Self { link, used: false }
    }

    /// Returns whether it is a living link to this relay.
    fn leads_to(&self, relay: DeviceId) -> bool {
        self.link.device() == relay && self.link.close_reason().is_none()
    }

    /// Something lives on it, and ends it.
    fn keep_open(mut self) {
        self.used = true;
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        if !self.used {
            self.link.close("not needed");
        }
    }
}

struct RelayManager {
    client: Arc<RelayClient>,
    relay: Arc<Relay>,
    select: Select,
    network: watch::Receiver<u64>,
    held: Option<HeldConnection>,
    /// The link on which an assignment was requested: the same relay is connected on it.
    link: Option<Spare>,
    /// The last failure.
    trouble: Trouble,
}

impl RelayManager {
    async fn work(&mut self, first: Option<First>) {
        if let Some(First {
            relay,
            stream,
            welcome,
        }) = first
        {
            self.connected(relay, stream, welcome).await;
        }
        loop {
            let step = self.select.step();
            self.show(&step);
            match step {
                Step::Assign(entry) => self.assign(entry).await,
                Step::Try(relay) => self.attempt(relay).await,
                Step::Wait(until) => {
                    if self
                        .beside(tokio::time::sleep_until(until.into()))
                        .await
                        .is_some()
                    {
                        self.select.waited();
                    }
                }
                Step::Hold => {
                    self.beside(pending::<()>()).await;
                }
            }
        }
    }

    /// Tells the rest of the client how the relay stands.
    fn show(&self, step: &Step) {
        if let Some(held) = &self.held {
            return self
                .relay
                .set_state(ConnectionState::Connected(Arc::clone(&held.connection)));
        }
        self.relay.set_state(match step {
            Step::Wait(until) => ConnectionState::Waiting {
                trouble: self.trouble.clone(),
                until: *until,
            },
            _ => ConnectionState::Connecting,
        });
    }

    /// Does some work, and meanwhile whatever the connection that is held and the network bring.
    /// `None`: something else is to be done now.
    async fn beside<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Some(done),
                event = HeldConnection::next(&mut self.held) => {
                    if self.take(event).await {
                        return None;
                    }
                }
                Ok(()) = self.network.changed() => {
                    if let Some(held) = &self.held {
                        held.connection.probe();
                        self.publish();
                    }
                    if self.select.network_changed() {
                        return None;
                    }
                }
            }
        }
    }

    /// Passes on who reads shares of this device from stores, and tells the relay when that is
    /// durable here.
    fn fetched(&self, fetches: Vec<StoreFetch>) {
        let subscribers = self.client.subscribers();
        let listener = subscribers.and_then(|s| s.fetches.upgrade());
        let connection = self.held.as_ref().map(|held| Arc::clone(&held.connection));
        let (Some(listener), Some(connection)) = (listener, connection) else {
            return;
        };
        self.client.tasks.spawn(async move {
            let received = listener.heard(fetches).await;
            if !received.is_empty() {
                connection
                    .tell(RelayMessage::FetchesReceived(received))
                    .await;
            }
        });
    }

    /// Takes the connection's message; returns whether the selection goes on from another step.
    async fn take(&mut self, event: Event) -> bool {
        match event {
            Event::Notice(Notice::Devices { changed, removed }) => {
                self.devices_changed(changed, removed).await;
                false
            }
            Event::Notice(Notice::Groups { changes, all }) => {
                let subscribers = self.client.subscribers();
                if let Some(groups) = subscribers.and_then(|s| s.groups.upgrade()) {
                    groups.heard(self.relay.url.key, changes, all);
                }
                false
            }
            Event::Notice(Notice::Fetches(fetches)) => {
                self.fetched(fetches);
                false
            }
            Event::Notice(Notice::Move(relays)) => {
                tracing::info!(relay = %self.relay.url.at, "the relay asks to go to another one");
                self.select.moved(relays, Instant::now());
                true
            }
            Event::End(end) => {
                tracing::info!(relay = %self.relay.url.at, %end, "the long connection ended");
                self.trouble = Trouble::from(&end);
                let shortened = self
                    .held
                    .take()
                    .is_some_and(|held| self.shortened(&held.connection));
                let busy = matches!(self.select.step(), Step::Assign(_) | Step::Try(_));
                self.select.lost(matches!(end, End::Silent), Instant::now());
                if shortened {
                    // It is another way: there is nothing to wait for.
                    self.select.network_changed();
                }
                if let End::Refused(refusal) = &end
                    && refusal.code == RelayRefusalCode::Twin
                {
                    // Once it goes back at once, so that the other one hears of it too; then it
                    // leaves the place to it.
                    if self
                        .client
                        .swarm
                        .twins()
                        .found(&format!("at the relay {}", self.relay.url.at))
                    {
                        self.select.refused(Instant::now());
                        return true;
                    }
                }
                if let End::Refused(refusal) = end
                    && is_final(refusal.code)
                {
                    self.put_out(refusal.code).await;
                    self.select.refused(Instant::now());
                    return true;
                }
                !busy
            }
        }
    }

    /// A connection ended: returns whether the next one is made with shorter segments. It was
    /// welcomed, so that TCP gets there; when what is sent is not answered any more, a long
    /// message may be what does not.
    fn shortened(&self, connection: &RelayConnection) -> bool {
        connection.carrier() == CarrierKind::Tcp
            && connection.is_unanswered()
            && self
                .client
                .swarm
                .links()
                .paths()
                .shorten(connection.relay.key)
    }

    async fn assign(&mut self, entry: RelayAddress) {
        let client = Arc::clone(&self.client);
        let asked = self.beside(async move {
            let link = Spare::new(dial::dial(client.swarm.endpoint(), &entry).await?);
            let assigned = dial::assign(link.link.clone()).await;
            Ok::<_, RelayError>((link, assigned))
        });
        let now = Instant::now();
        match asked.await {
            None => {}
            Some(Ok((link, Ok(relays)))) => {
                self.link = Some(link);
                self.select.assigned(relays, now);
                if self.relay.set_list(self.select.list()) {
                    self.save().await;
                }
            }
            Some(Ok((link, Err(error)))) => {
                self.link = Some(link);
                self.failed("which relays to use", &error);
                match error {
                    RelayError::Refused(refusal) if is_final(refusal.code) => {
                        self.put_out(refusal.code).await;
                        self.select.refused(now)
                    }
                    _ => self.select.not_assigned(true, now),
                }
            }
            Some(Err(error)) => {
                self.failed("which relays to use", &error);
                self.select.not_assigned(false, now);
            }
        }
    }

    async fn attempt(&mut self, relay: RelayAddress) {
        let client = Arc::clone(&self.client);
        let at = relay.clone();
        let kept = self.link.take().filter(|link| link.leads_to(at.key));
        let tried = self.beside(async move {
            let link = match kept {
                Some(link) => link,
                None => Spare::new(dial::dial(client.swarm.endpoint(), &at).await?),
            };
            let greeted =
                dial::hello(link.link.clone(), None, client.swarm.twins().instance()).await?;
            link.keep_open();
            Ok::<_, RelayError>(greeted)
        });
        match tried.await {
            None => {}
            Some(Ok((stream, welcome))) => self.connected(relay, stream, welcome).await,
            Some(Err(error)) => {
                self.failed("a connection", &error);
                let now = Instant::now();
                match error {
                    RelayError::Refused(refusal) if is_final(refusal.code) => {
                        self.put_out(refusal.code).await;
                        self.select.refused(now)
                    }
                    RelayError::Refused(refusal) => {
                        self.select.failed(
                            Duration::from_millis(u64::from(refusal.retry_after_ms)),
                            now,
                        );
                    }
                    _ => self.select.failed(Duration::ZERO, now),
                }
            }
        }
    }

    fn failed(&mut self, what: &str, error: &RelayError) {
        tracing::debug!(relay = %self.relay.url.at, what, %error, "the relay did not give what was asked for");
        self.trouble = error.into();
    }

    /// A relay of the fleet welcomed this device: its connection takes the place of the one before.
    async fn connected(&mut self, relay: RelayAddress, stream: RelayStream, welcome: Welcome) {
        let entries = welcome.devices.clone();
        let (connection, ends, news) =
            RelayConnection::new(relay, &stream, welcome, self.client.swarm.links().paths());
        let News {
            notices,
            deliveries,
            offers,
        } = news;
        let (ended, end) = oneshot::channel();
        let (running, token) = (Arc::clone(&connection), self.client.tasks.token.clone());
        self.client.tasks.spawn(async move {
            tokio::select! {
                why = running.run(stream, ends) => { let _ = ended.send(why); }
                () = token.cancelled() => running.close(),
            }
        });
        self.deliver(&connection, deliveries);
        let taking = circuit::receive(
            Arc::clone(&self.client.swarm),
            self.client.tasks.clone(),
            Arc::clone(&self.client.circuits),
            Arc::clone(&connection),
            offers,
        );
        self.client.tasks.spawn_forever(taking);
        self.select.connected(connection.relay.key, Instant::now());
        self.relay.welcomed(connection.welcome());
        tracing::info!(relay = %self.relay.url.at, at = %connection.remote(), carrier = %connection.carrier(), "connected to a relay");
        self.list_anew(entries).await;
        let before = self.held.replace(HeldConnection {
            connection: Arc::clone(&connection),
            notices,
            end,
        });
        // Queued before anybody is notified: a device that joins and goes at once is introduced.
        let readers = self.relay.with_devices(devices::DeviceList::ids);
        cards::publish(&self.client, &connection, readers).await;
        self.relay.set_state(ConnectionState::Connected(connection));
        if let Some(HeldConnection {
            connection: old, ..
        }) = before
        {
            self.client.tasks.spawn(async move { old.leave().await });
        }
    }

    /// Messages of other devices go their own way, so that a slow disk holds up nothing else.
    fn deliver(&self, connection: &Arc<RelayConnection>, deliveries: mpsc::Receiver<Delivery>) {
        let subscribers = self.client.subscribers();
        if let Some(mail) = subscribers.and_then(|s| s.deliveries.upgrade()) {
            let receiving = mail.receive(Arc::clone(connection), deliveries);
            self.client.tasks.spawn_forever(receiving);
        }
    }

    async fn list_anew(&self, entries: Vec<DeviceEntry>) {
        let (client, relay) = (Arc::clone(&self.client), Arc::clone(&self.relay));
        entries
            .iter()
            .for_each(|entry| client.swarm.endpoint().vouch(entry.device));
        let work = move || {
            let opened = opened(&client, &entries);
            relay.change_devices(|list| list.replace(&entries, opened));
            hint(&client, &relay);
            relay.save(&client.records);
        };
        // Opening cards and writing block; that the runtime ends meanwhile is no failure.
        let _ = tokio::task::spawn_blocking(work).await;
        // A device at the relay may be reached through it.
        self.client
            .swarm
            .core()
            .with(|engine, now| engine.handle_back(None, now));
    }

    /// A device that its user removed, or its operator revoked, has no devices there any more.
    async fn put_out(&self, why: RelayRefusalCode) {
        if why == RelayRefusalCode::Revoked {
            self.list_anew(Vec::new()).await;
        }
    }

    async fn devices_changed(&self, changed: Vec<DeviceEntry>, removed: Vec<DeviceId>) {
        let (client, relay) = (Arc::clone(&self.client), Arc::clone(&self.relay));
        let here: Vec<DeviceId> = changed
            .iter()
            .filter(|entry| entry.online)
            .map(|entry| entry.device)
            .collect();
        changed
            .iter()
            .for_each(|entry| client.swarm.endpoint().vouch(entry.device));
        removed
            .iter()
            .for_each(|device| client.swarm.endpoint().disown(*device));
        let work = move || {
            let opened = opened(&client, &changed);
            if relay.change_devices(|list| list.change(&changed, &removed, opened)) {
                hint(&client, &relay);
                relay.save(&client.records);
            } else {
                relay.save_lazily(&client.records);
            }
        };
        let _ = tokio::task::spawn_blocking(work).await;
        self.client.swarm.core().with(|engine, now| {
            here.into_iter()
                .for_each(|device| engine.handle_back(Some(device), now));
        });
        self.publish();
    }

    async fn save(&self) {
        let (client, relay) = (Arc::clone(&self.client), Arc::clone(&self.relay));
        let _ = tokio::task::spawn_blocking(move || relay.save(&client.records)).await;
    }

    /// Sends this device's card to those who do not have it.
    fn publish(&self) {
        let Some(held) = &self.held else { return };
        let (client, connection) = (Arc::clone(&self.client), Arc::clone(&held.connection));
        let readers = self.relay.with_devices(devices::DeviceList::ids);
        self.client
            .tasks
            .spawn(async move { cards::publish(&client, &connection, readers).await });
    }
}

/// Opens cards before the list is locked.
fn opened(
    client: &RelayClient,
    entries: &[DeviceEntry],
) -> impl Fn(&DeviceEntry) -> Option<super::records::CardRecord> + use<> {
    let cards: std::collections::HashMap<_, _> = entries
        .iter()
        .filter_map(|entry| Some((entry.device, cards::open(&client.identity, entry)?)))
        .collect();
    move |entry| cards.get(&entry.device).cloned()
}

/// Tells where the devices say that they are to whoever dials them: on the same network they are
/// reached directly.
fn hint(client: &RelayClient, relay: &Relay) {
    let cards: Vec<_> = relay.with_devices(|list| {
        list.iter()
            .filter_map(|(device, known)| Some((device, known.card.clone()?)))
            .collect()
    });
    for (device, card) in cards {
        client.swarm.links().hinted(device, &card.addresses);
        client.swarm.links().introduced(
            device,
            hither_proto::DeviceName::clean(&card.name),
            card.tcp_port,
        );
    }
}

/// Refusals that no other relay of the fleet will see differently.
const fn is_final(code: RelayRefusalCode) -> bool {
    matches!(
        code,
        RelayRefusalCode::NotRegistered
            | RelayRefusalCode::Revoked
            | RelayRefusalCode::Invitation
            | RelayRefusalCode::Protocol
    )
}
