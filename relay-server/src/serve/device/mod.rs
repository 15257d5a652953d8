//! The long connection of a device: who it is, then everything it wants and is told, until it ends.

mod cards;
mod codes;
mod device_connection;
mod inbox;
mod keep_alive;
mod list;
mod outgoing;
mod own;
mod place;
mod rights;
mod send;

use super::front::{self, Connection, End};
use super::limits::{Kind, Source};
use super::refuse;
use super::registry::{Registry, RegistryError};
use super::visit::{self, Standing, book};
use super::waking;
use crate::node::{Node, now_ms};
use crate::ops::labels::Service;
use crate::state::{Expect, State};
use hither_carrier::{RelayReader, Stream};
use hither_proto::limits::{MAX_RELAY_FRAME, MAX_RELAYS};
use hither_proto::{
    DeviceId, Invitation, RelayMessage, RelayRefusal, RelayRefusalCode, UserId, Visiting, Welcome,
};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::time::timeout;

/// How a long connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// By the device, or because it cannot be reached.
    Gone,
    /// It was silent for too long.
    Silent,
    /// It takes nothing any more.
    Stuck,
    /// By the relay, which has said why (or need not).
    Refused(Option<RelayRefusal>),
    /// There is a newer one.
    Replaced,
    /// There is a newer one, of another machine with the device's key.
    Twin,
}

/// Serves one long connection.
pub(crate) async fn run(node: Arc<Node>, mut stream: Stream, mut reader: RelayReader) {
    let greeted = Box::pin(greet(&node, &mut stream, &mut reader)).await;
    let (connection, asked) = match greeted {
        Ok(connection) => connection,
        Err(Some(refusal)) => {
            node.metrics.refused(Service::Device, refusal.code);
            return refuse::relay(stream, refusal).await;
        }
        Err(None) => return,
    };
    reader.set_max(MAX_RELAY_FRAME);
    node.metrics.services.of(Service::Device).add_one();
    node.metrics.connected.add_one();
    let ended = device_connection::run(&node, &connection, asked, &mut stream, &mut reader).await;
    Box::pin(part(&node, &connection, stream, ended)).await;
}

/// Learns who it is. On success the connection is known to the front, and its presence to the
/// fleet; and when it asked.
async fn greet(
    node: &Arc<Node>,
    stream: &mut Stream,
    reader: &mut RelayReader,
) -> Result<(Arc<Connection>, Instant), Option<RelayRefusal>> {
    let first = match timeout(
        node.config.front.first_frame.0,
        reader.next(&mut stream.recv),
    )
    .await
    {
        Ok(Ok(Some(first @ (RelayMessage::Hello { .. } | RelayMessage::Visit { .. })))) => first,
        Ok(Ok(Some(_))) => return Err(Some(RelayRefusalCode::Invalid.into())),
        _ => return Err(None),
    };
    let asked = Instant::now();
    if node.is_draining() {
        return Err(Some(RelayRefusalCode::GoingAway.into()));
    }
    let address = stream.remote.ip();
    let (user, standing, instance) = match first {
        RelayMessage::Hello {
            invitation,
            instance,
        } => {
            let admitted = admit(node, stream.device, address, invitation).await;
            let (user, standing) = admitted.map_err(Some)?;
            (user, standing, instance)
        }
        RelayMessage::Visit { invitation } => {
            let admitted = visit::admit(node, stream, invitation).await;
            let (user, standing) = admitted.map_err(Some)?;
            (user, standing, 0)
        }
        _ => return Err(Some(RelayRefusalCode::Invalid.into())),
    };
    let network = network(&user, address);
    let connection = Connection::new(stream.device, user, network, instance).with(standing);
    let connection = Arc::new(connection);
    // From here on what changes is left at the connection, so that nothing is missed between the
    // list and the changes.
    node.services.front.insert(&connection);
    let mut entered = Entered {
        node,
        connection: Some(Arc::clone(&connection)),
    };
    match front::put_presence(node, &connection, Expect::Any).await {
        // A revocation that came before the connection was known to the front has passed unseen.
        Ok(()) if connection.standing.is_device() => {
            still_admitted(node, &stream.device).await.map_err(Some)?;
            waking::came(node, stream.device);
        }
        // A visitor is looked at again from the first moment on.
        Ok(()) => {}
        Err(error) => return Err(Some(refuse::of_state(&error))),
    }
    entered.connection = None;
    Ok((connection, asked))
}

/// Takes a connection back out of the front if greeting ends early.
struct Entered<'a> {
    node: &'a Arc<Node>,
    connection: Option<Arc<Connection>>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.node.services.front.remove(&connection);
            let node = Arc::clone(self.node);
            self.node
                .spawn(async move { front::drop_presence(&node, &connection).await });
        }
    }
}

async fn admit(
    node: &Node,
    device: DeviceId,
    address: IpAddr,
    invitation: Option<Invitation>,
) -> Result<(UserId, Standing), RelayRefusal> {
    let limiter = &node.services.limiter;
    if invitation.is_some() {
        limiter.may_invite(address).map_err(refuse::busy)?;
    }
    let admitted = node.registry.admit(&device, invitation.as_ref()).await;
    if matches!(admitted, Err(RegistryError::Invitation)) {
        limiter.wrong_invitation(address);
    }
    let registered = admitted.map_err(|error| refusal_of(&error))?;
    node.endpoint.vouch(device);
    if registered.new {
        node.metrics.registered.add_one();
        tracing::info!(%device, "a device was registered");
    }
    let standing = match registered.web {
        true => Standing::Page,
        false => Standing::Device,
    };
    Ok((registered.user, standing))
}

async fn still_admitted(node: &Node, device: &DeviceId) -> Result<(), RelayRefusal> {
    node.registry
        .authorize(device)
        .await
        .map(drop)
        .map_err(|error| refusal_of(&error))
}

/// Counts a request about codes or own devices for its device and its user.
fn count(node: &Node, connection: &Connection) -> Result<(), RelayRefusal> {
    let limiter = &node.services.limiter;
    let counted = limiter
        .device(connection.device, Kind::Code)
        .and_then(|()| limiter.code(connection.user));
    counted.map_err(|wait| {
        node.metrics.limited.add_one();
        refuse::busy(wait)
    })
}

/// What a device is told when it may not come in.
pub(crate) fn refusal_of(error: &RegistryError) -> RelayRefusal {
    match error {
        RegistryError::NotRegistered | RegistryError::Unknown => {
            RelayRefusalCode::NotRegistered.into()
        }
        RegistryError::Invitation => RelayRefusalCode::Invitation.into(),
        RegistryError::Revoked => RelayRefusalCode::Revoked.into(),
        RegistryError::TooManyDevices => RelayRefusalCode::Quota.into(),
        RegistryError::State(error) => refuse::of_state(error),
        RegistryError::Damaged(what) => {
            tracing::error!(what, "a record of the state is damaged");
            refuse::busy(refuse::TROUBLE)
        }
    }
}

/// The same for devices of one user behind one public address, and meaningless otherwise.
fn network(user: &UserId, address: IpAddr) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_derive_key("hither.v1 relay same network");
    hasher
        .update(user.as_bytes())
        .update(&Source::from(address).bytes());
    let mut network = [0; 16];
    hasher.finalize_xof().fill(&mut network);
    network
}

/// What the device is told first.
async fn welcome(node: &Node, connection: &Connection) -> Result<Welcome, RegistryError> {
    let stores = node.services.fleet.stores();
    Ok(Welcome {
        user: connection.user,
        ping_ms: ping_ms(node),
        devices: list::everything(node, connection).await?,
        stores: stores
            .into_iter()
            .take(MAX_RELAYS)
            .map(|store| store.address)
            .collect(),
        front: Some(node.address.clone()),
        max_message: max_message(node),
        web: node.web_address(),
    })
}

/// The first word to a page that is no device.
async fn visiting(node: &Arc<Node>, connection: &Connection) -> Result<Visiting, RelayRefusal> {
    let refused = |error: book::VisitError| visit::refusal_of(&error);
    let left_s =
        |until_ms: u64| u32::try_from(until_ms.saturating_sub(now_ms()) / 1000).unwrap_or(u32::MAX);
    let (host, origin, seconds, bytes, online) = match &connection.standing {
        Standing::Visitor(visit) => {
            let record = book::alive(node.state.as_ref(), &visit.key, now_ms()).await;
            let record = record.map_err(refused)?;
            let record = record.ok_or(RelayRefusalCode::Invitation)?;
            let online = front::wake::is_connected(node, &visit.host_user, &visit.host).await;
            let online = online.map_err(|error| refuse::of_state(&error))?;
            let bytes = book::room(&record, &connection.device);
            let seconds = left_s(record.expires_ms);
            (Some(visit.host), record.origin, seconds, bytes, online)
        }
        Standing::Asker(asker) => {
            let bytes = node.config.web.ask_bytes.0;
            let seconds = left_s(asker.until_ms);
            (None, asker.origin.clone(), seconds, bytes, false)
        }
        Standing::Device | Standing::Page => return Err(RelayRefusalCode::Invalid.into()),
    };
    let stores = node.services.fleet.stores().into_iter();
    Ok(Visiting {
        ping_ms: ping_ms(node),
        host,
        origin: origin.parse().ok(),
        seconds,
        bytes,
        max_message: max_message(node),
        stores: stores.take(MAX_RELAYS).map(|store| store.address).collect(),
        online,
    })
}

fn ping_ms(node: &Node) -> u32 {
    u32::try_from(node.config.front.ping.as_millis()).unwrap_or(u32::MAX)
}

fn max_message(node: &Node) -> u32 {
    u32::try_from(node.config.mail.max_message.0).unwrap_or(u32::MAX)
}

/// Leaves everything in order when a connection has ended.
async fn part(node: &Arc<Node>, connection: &Arc<Connection>, mut stream: Stream, ended: Ended) {
    node.metrics.disconnected.add_one();
    let current = node.services.front.remove(connection);
    tracing::debug!(device = %connection.device, ?ended, "a long connection ended");
    if current {
        node.services.groups.forget(&connection.device);
        codes::forget_all(node, connection).await;
        // First when it was seen, then that it is gone, so that others are told both at once.
        saw(&node.registry, node.state.as_ref(), connection).await;
        front::drop_presence(node, connection).await;
    }
    match ended {
        Ended::Gone => {}
        Ended::Silent | Ended::Stuck => node.metrics.silent.add_one(),
        Ended::Refused(Some(refusal)) => refuse::relay(stream, refusal).await,
        Ended::Refused(None) => drop(stream.send.finish().await),
        Ended::Twin => {
            front::wake::remind(node, connection).await;
            refuse::relay(stream, RelayRefusalCode::Twin.into()).await;
        }
        Ended::Replaced => {
            // Word of mail may have been left here after the newer connection had looked into the
            // mailbox.
            front::wake::remind(node, connection).await;
            drop(stream.send.finish().await);
        }
    }
}

impl From<End> for Ended {
    fn from(end: End) -> Self {
        match end {
            End::Replaced => Self::Replaced,
            End::Twin => Self::Twin,
            End::Revoked => Self::Refused(Some(RelayRefusalCode::Revoked.into())),
        }
    }
}

/// Writes down, now and then, that the device is connected.
fn seen_later(node: &Arc<Node>, connection: &Arc<Connection>) {
    let (task, connection) = (Arc::clone(node), Arc::clone(connection));
    node.spawn(async move { saw(&task.registry, task.state.as_ref(), &connection).await });
}

/// Writes down that a device or visitor is connected.
pub(super) async fn saw(registry: &Registry, state: &dyn State, connection: &Connection) {
    let device = &connection.device;
    let saw = match &connection.standing {
        Standing::Device | Standing::Page => registry.saw(device).await,
        Standing::Visitor(visit) => {
            let saw = book::saw(state, &visit.key, device, now_ms()).await;
            match saw {
                Err(book::VisitError::Registry(error)) => Err(error),
                _ => Ok(()),
            }
        }
        // It is forgotten by when it came.
        Standing::Asker(_) => Ok(()),
    };
    if let Err(error) = saw {
        tracing::debug!(%error, "a time of last contact could not be written down");
    }
}

/// What time it is, for entries of devices that are here.
fn now() -> u64 {
    now_ms()
}
