//! What a relay does for whoever opens a stream to it: the first frame says what the stream is for.
//!
//! Invariants: before the first frame is complete a stream has a second or so and 1 KiB; everything
//! asked for is within a rate (see `limits`); nothing said here names a device's user to anybody
//! else's device.

mod assign;
mod circuit;
mod device;
pub(crate) mod fetches;
mod fleet;
pub(crate) mod front;
pub(crate) mod groups;
mod indexing;
pub mod join;
pub(crate) mod limits;
pub(crate) mod lookup;
mod placement;
pub(crate) mod read;
pub(crate) mod read_auth;
pub(crate) mod read_bulk;
pub mod records;
pub(crate) mod refuse;
pub mod registry;
pub(crate) mod session;
pub(crate) mod sweeps;
pub(crate) mod tokens;
pub(crate) mod traffic;
pub(crate) mod upload;
pub(crate) mod visit;
pub(crate) mod waking;

use crate::config::{Config, Role};
use crate::node::{Node, NodeError};
use crate::ops::labels::Service;
use crate::state::State;
use futures::StreamExt;
use futures::future::BoxFuture;
use hither_carrier::{Incoming, MessageReader, Stream};
use hither_proto::limits::{
    MAX_FRAME_UNPROVEN, MAX_RELAY_FRAME, MAX_RELAY_FRAME_UNKNOWN, PROTOCOL,
};
use hither_proto::{
    DeviceId, Message, Proof, ProofKind, Purpose, Refusal, RelayPurpose, RelayRefusalCode, ShareId,
};
use limits::{Kind, Limiter};
use registry::Registry;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::time::timeout;

/// Times of last contact written down at once when the node ends, and how long that may take.
const NOTES: usize = 256;
const NOTING: Duration = Duration::from_secs(3);
/// Revocations that wait for a slow listener.
const REVOCATIONS: usize = 64;

/// What the services of one node keep in memory.
pub(crate) struct Services {
    pub(crate) limiter: Limiter,
    pub(crate) front: front::Front,
    pub(crate) fleet: fleet::Fleet,
    pub(crate) session: session::NodeSession,
    pub(crate) traffic: traffic::Traffic,
    pub(crate) remote: front::wake::Remote,
    pub(crate) reservations: placement::Reservations,
    pub(crate) indexing: indexing::Indexing,
    pub(crate) circuits: circuit::Circuits,
    pub(crate) groups: groups::ListenerTable,
    pub(crate) tokens: tokens::Tokens,
    pub(crate) visits: visit::Visits,
    pub(crate) waking: waking::Waking,
    revocations: broadcast::Sender<DeviceId>,
}

impl Services {
    pub(crate) fn new(config: &Config, node: DeviceId) -> Self {
        Self {
            limiter: Limiter::new(&config.limits),
            front: front::Front::default(),
            fleet: fleet::Fleet::new(config, node),
            session: session::NodeSession::default(),
            traffic: traffic::Traffic::new(&config.store),
            remote: front::wake::Remote::default(),
            reservations: placement::Reservations::new(config.place.reserve.0),
            indexing: indexing::Indexing::new(&config.index),
            circuits: circuit::Circuits {
                offers: circuit::Offers::default(),
                places: circuit::Places::new(&config.circuit),
            },
            groups: groups::ListenerTable::default(),
            tokens: tokens::Tokens::new(&config.web),
            visits: visit::Visits::new(&config.web),
            waking: waking::Waking::new(&config.wake, config.web.url.as_ref()),
            revocations: broadcast::Sender::new(REVOCATIONS),
        }
    }

    /// Tells whoever serves a device that it was revoked.
    pub(crate) fn revoked(&self, device: DeviceId) {
        // An error means that nobody serves any device.
        let _ = self.revocations.send(device);
    }

    /// Waits until `device` is revoked. Begin to wait before the device is authorized, so that no
    /// revocation falls in between.
    pub(crate) fn revocation_of(&self, device: DeviceId) -> impl Future<Output = ()> + use<> {
        let mut revocations = self.revocations.subscribe();
        async move {
            loop {
                match revocations.recv().await {
                    Ok(revoked) if revoked != device => {}
                    // What was missed may have been this one: who is served is asked to come again.
                    Ok(_) | Err(_) => return,
                }
            }
        }
    }
}

/// What a stream of the link protocol began with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkOpen {
    /// The share.
    pub(crate) share: ShareId,
    /// Not checked yet.
    pub(crate) proof: Proof,
    /// What it claims to be made of.
    pub(crate) proof_kind: ProofKind,
    /// Whose share.
    pub(crate) owner: Option<DeviceId>,
    /// What the stream is for.
    pub(crate) purpose: Purpose,
}

/// Joins the fleet and begins to accept.
pub(crate) async fn start(node: &Arc<Node>) -> Result<(), NodeError> {
    session::start(node).await?;
    fleet::start(node).await?;
    front::start(node).await?;
    if node.plays(Role::Front) {
        groups::start(node).await?;
    }
    if node.store.is_some() {
        placement::start(node);
    }
    indexing::start(node);
    sweeps::start(node);
    node.spawn_until_stop(accept(Arc::clone(node)));
    Ok(())
}

/// See [`Node::drain`].
pub(crate) async fn drain(node: &Node, patience: Duration) {
    // The others must know first, or they would send devices back here.
    if let Err(error) = fleet::announce(node).await {
        tracing::debug!(%error, "the other nodes could not be told that this one is going down");
    }
    node.services.front.move_away(node);
    if timeout(patience, node.services.front.emptied())
        .await
        .is_err()
    {
        tracing::info!(
            left = node.connections(),
            "some devices did not move in time"
        );
    }
}

/// The node's last words: its presence in the fleet ends at once instead of by silence.
pub(crate) async fn end(node: &Node) {
    let here = node.services.front.all().into_iter();
    let notes: Vec<_> = here
        .map(|connection| noting(node.registry.clone(), Arc::clone(&node.state), connection))
        .collect();
    let noted = futures::stream::iter(notes)
        .buffer_unordered(NOTES)
        .for_each(std::future::ready);
    let (noted, ()) = futures::join!(timeout(NOTING, noted), session::end(node));
    if noted.is_err() {
        tracing::info!("not every time of last contact could be written down in time");
    }
}

/// Writes down that whoever is connected is there. Boxed, so that what is done for many at a time
/// can be sent to another thread whatever they have borrowed.
fn noting(
    registry: Registry,
    state: Arc<dyn State>,
    connection: Arc<front::Connection>,
) -> BoxFuture<'static, ()> {
    Box::pin(async move { device::saw(&registry, state.as_ref(), &connection).await })
}

/// Takes what others begin, until the endpoint closes.
async fn accept(node: Arc<Node>) {
    while let Some(incoming) = node.endpoint.accept().await {
        // A link by itself asks for nothing: its streams follow.
        let Incoming::Stream(stream) = incoming else {
            continue;
        };
        node.metrics.streams.add_one();
        let stopping = Arc::clone(&node);
        // Boxed, and gone when the first frame is understood: a task is as large as the largest
        // thing that it ever does, and there is one for each idle device.
        let first = Box::pin(dispatch(Arc::clone(&node), stream));
        node.spawn(async move {
            let served = async move {
                let asked = first.await;
                if let Some(asked) = asked {
                    asked.await;
                }
            };
            tokio::select! {
                () = served => {}
                () = stopping.stopped() => {}
            }
        });
    }
}

/// What a first frame asked for.
enum First {
    Relay(RelayPurpose),
    Link(LinkOpen),
    /// Speaks another protocol; the answer is in the language of a relay or of a link.
    Foreign {
        relay: bool,
    },
}

/// Reads the first frame. What it gives does what was asked for.
async fn dispatch(node: Arc<Node>, mut stream: Stream) -> Option<BoxFuture<'static, ()>> {
    // One too many is still read, so that it can be answered in its own language.
    let crowded = node.services.limiter.stream(stream.remote.ip());
    let mut reader = MessageReader::new(MAX_FRAME_UNPROVEN);
    let first = timeout(
        node.config.front.first_frame.0,
        reader.next(&mut stream.recv),
    )
    .await;
    let first = match first {
        Ok(Ok(Some(message))) => first_of(message),
        // Nothing is answered to who does not speak.
        Ok(Ok(None) | Err(_)) | Err(_) => None,
    };
    let Some(first) = first else {
        node.metrics.bad_first_frames.add_one();
        return None;
    };
    if let Err(wait) = crowded.and_then(|()| first.limit(&node, stream.device)) {
        node.metrics.limited.add_one();
        node.metrics
            .refused(first.service(), RelayRefusalCode::Busy);
        return Some(match first {
            First::Link(_) | First::Foreign { relay: false } => {
                Box::pin(refuse::link(stream, refuse::link_busy(wait)))
            }
            First::Relay(_) | First::Foreign { relay: true } => {
                Box::pin(refuse::relay(stream, refuse::busy(wait)))
            }
        });
    }
    Some(match first {
        First::Relay(purpose) => relay(node, stream, reader, purpose),
        First::Link(open) if open.purpose == Purpose::Lookup => {
            Box::pin(lookup::run(node, stream, open))
        }
        First::Link(open) => {
            let revoked = node.services.revocation_of(stream.device);
            Box::pin(until(revoked, read::run(node, stream, reader, open)))
        }
        First::Foreign { relay } => {
            node.metrics
                .refused(Service::Unknown, RelayRefusalCode::Protocol);
            match relay {
                true => Box::pin(refuse::relay(stream, RelayRefusalCode::Protocol.into())),
                false => Box::pin(refuse::link(stream, Refusal::Protocol)),
            }
        }
    })
}

impl First {
    /// Whether its device may ask for that now.
    fn limit(&self, node: &Node, device: DeviceId) -> Result<(), Duration> {
        let kind = match self {
            Self::Relay(RelayPurpose::Assign) => Kind::Assign,
            Self::Relay(RelayPurpose::Device) => Kind::Hello,
            Self::Relay(RelayPurpose::Upload) => Kind::Upload,
            Self::Relay(RelayPurpose::Node) => Kind::Node,
            Self::Relay(RelayPurpose::Index) => Kind::Index,
            Self::Relay(RelayPurpose::Circuit) => Kind::Circuit,
            Self::Link(LinkOpen {
                purpose: Purpose::Lookup,
                ..
            }) => Kind::Lookup,
            Self::Link(_) => Kind::Read,
            Self::Foreign { .. } => return Ok(()),
        };
        node.services.limiter.device(device, kind)
    }

    fn service(&self) -> Service {
        match self {
            Self::Relay(purpose) => Some(*purpose).into(),
            Self::Link(open) => Some(open.purpose).into(),
            Self::Foreign { .. } => Service::Unknown,
        }
    }
}

/// Serves until that ends, or `end` comes.
async fn until(end: impl Future<Output = ()>, serving: impl Future<Output = ()>) {
    tokio::select! {
        () = serving => {}
        () = end => {}
    }
}

fn relay(
    node: Arc<Node>,
    stream: Stream,
    reader: MessageReader,
    purpose: RelayPurpose,
) -> BoxFuture<'static, ()> {
    let role = match purpose {
        RelayPurpose::Assign => Some(Role::Assign),
        RelayPurpose::Device => Some(Role::Front),
        RelayPurpose::Upload => Some(Role::Store),
        RelayPurpose::Node => Some(Role::Control),
        // Every node says where the index is, and where a device is.
        RelayPurpose::Index | RelayPurpose::Circuit => None,
    };
    if role.is_some_and(|role| !node.plays(role)) {
        node.metrics.refused(Some(purpose), RelayRefusalCode::Role);
        return Box::pin(refuse::relay(stream, RelayRefusalCode::Role.into()));
    }
    match purpose {
        RelayPurpose::Assign => Box::pin(assign::run(
            node,
            stream,
            reader.into_relay(MAX_RELAY_FRAME_UNKNOWN),
        )),
        RelayPurpose::Device => Box::pin(device::run(
            node,
            stream,
            reader.into_relay(MAX_RELAY_FRAME_UNKNOWN),
        )),
        RelayPurpose::Upload => {
            let revoked = node.services.revocation_of(stream.device);
            Box::pin(until(
                revoked,
                upload::run(node, stream, reader.into_relay(MAX_RELAY_FRAME)),
            ))
        }
        RelayPurpose::Node => Box::pin(join::accept(node, stream)),
        RelayPurpose::Index => Box::pin(indexing::run(
            node,
            stream,
            reader.into_relay(MAX_RELAY_FRAME_UNKNOWN),
        )),
        RelayPurpose::Circuit => Box::pin(circuit::run(
            node,
            stream,
            reader.into_relay(MAX_RELAY_FRAME_UNKNOWN),
        )),
    }
}

fn first_of(message: Message) -> Option<First> {
    match message {
        Message::RelayOpen {
            protocol: PROTOCOL,
            purpose: Some(purpose),
        } => Some(First::Relay(purpose)),
        Message::RelayOpen { .. } => Some(First::Foreign { relay: true }),
        Message::Open {
            protocol: PROTOCOL,
            share,
            proof,
            proof_kind,
            owner,
            purpose: Some(purpose),
        } => Some(First::Link(LinkOpen {
            share,
            proof,
            proof_kind,
            owner,
            purpose,
        })),
        Message::Open { .. } => Some(First::Foreign { relay: false }),
        _ => None,
    }
}
