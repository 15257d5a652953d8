//! What a device and an index node say to each other: who holds what of the shares behind topics.
//!
//! Holdings and their changes are those of the link protocol ([`Announcement`], [`Delta`]), with
//! tighter bounds.

use super::encode::{addresses, key};
use super::parse::{few, relays, sealed};
use super::{RelayAddress, RelayRefusal};
use crate::device::DeviceId;
use crate::ids::{IndexTopic, ShareSecret};
use crate::limits::{
    INDEX_HEARTBEAT_MS, MAX_INDEX_HOLDERS, MAX_INDEX_POSITIONS, MAX_INDEX_RANGES, MAX_INDEX_SEALED,
};
use crate::message::{Announcement, Delta, MessageError};
use crate::range::Ranges;
use crate::wire;
use crate::wire::relay_frame::Body;
use bytes::Bytes;

type Parsed<T> = Result<T, MessageError>;

/// A device that holds something of a share, as the index tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexHolder {
    /// The device; it has proven its key to the index.
    pub device: DeviceId,
    /// It reaches the index from the same public address as the reader: probably the same LAN.
    pub same_site: bool,
    /// What it holds, at most [`MAX_INDEX_RANGES`] runs.
    pub holding: Announcement,
    /// Where it listens, sealed for ticket holders; 1 to [`MAX_INDEX_SEALED`] bytes.
    pub sealed: Bytes,
}

/// One message between a device and an index node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexMessage {
    /// First message of a device.
    Hello,
    /// Where the index is: first message of a node, repeated when that has changed.
    Welcome {
        /// At most [`MAX_RELAYS`](crate::limits::MAX_RELAYS). [`index_node`] says which of them a
        /// share belongs to.
        nodes: Vec<RelayAddress>,
        /// How often the node wants a sign of life, milliseconds (within [`INDEX_HEARTBEAT_MS`]);
        /// after three times as long it forgets what the device announced.
        heartbeat_ms: u32,
    },
    /// What the sender holds, replacing what it said before.
    Announce {
        /// The share.
        topic: IndexTopic,
        /// At most [`MAX_INDEX_RANGES`] runs.
        holding: Announcement,
        /// Where it listens, sealed for ticket holders; 1 to [`MAX_INDEX_SEALED`] bytes.
        sealed: Bytes,
    },
    /// What changed of that.
    Delta {
        /// The share.
        topic: IndexTopic,
        /// At most [`MAX_INDEX_RANGES`] runs in all.
        change: Delta,
    },
    /// The sender holds nothing of it any more.
    Withdraw {
        /// The share.
        topic: IndexTopic,
    },
    /// Who holds it? Answered with [`Holders`](Self::Holders), then with what changes.
    Subscribe {
        /// The share.
        topic: IndexTopic,
        /// Who is always to be named.
        owner: DeviceId,
    },
    /// No more of that.
    Unsubscribe {
        /// The share.
        topic: IndexTopic,
    },
    /// Holders.
    Holders {
        /// The share.
        topic: IndexTopic,
        /// What was told of the topic before is void.
        first: bool,
        /// New ones, and those to be taken anew; at most [`MAX_INDEX_HOLDERS`].
        holders: Vec<IndexHolder>,
        /// Those that are none any more; at most [`MAX_INDEX_HOLDERS`].
        gone: Vec<DeviceId>,
    },
    /// What changed at a holder that was named before.
    Changed {
        /// The share.
        topic: IndexTopic,
        /// The holder.
        device: DeviceId,
        /// At most [`MAX_INDEX_RANGES`] runs in all.
        change: Delta,
    },
    /// A delta is missing: announce in full.
    Resync {
        /// The share.
        topic: IndexTopic,
    },
    /// Something about a topic is refused; the stream stays.
    Refused {
        /// The share.
        topic: IndexTopic,
        /// Why, and when to come back.
        refusal: RelayRefusal,
    },
}

/// Which of the index nodes a share belongs to, and what it is called there: the one whose topic is
/// the highest. So the shares are spread, everybody who knows the secret finds the same node, and
/// when a node goes only its shares move.
pub fn index_node<'a>(
    secret: &ShareSecret,
    nodes: &'a [RelayAddress],
) -> Option<(IndexTopic, &'a RelayAddress)> {
    nodes
        .iter()
        .map(|node| (secret.index_topic(&node.key), node))
        .max_by_key(|(topic, _)| *topic)
}

impl IndexMessage {
    /// What of a frame is not of the index is malformed here.
    pub(super) fn parse(body: Body) -> Parsed<Self> {
        let topic = |bytes: &[u8]| IndexTopic::from_slice(bytes);
        Ok(match body {
            Body::IndexHello(_) => Self::Hello,
            Body::IndexWelcome(m) => {
                if !INDEX_HEARTBEAT_MS.contains(&m.heartbeat_ms) {
                    return Err(MessageError::Value("time between signs of life"));
                }
                Self::Welcome {
                    nodes: relays(m.nodes)?,
                    heartbeat_ms: m.heartbeat_ms,
                }
            }
            Body::IndexAnnounce(m) => Self::Announce {
                topic: topic(&m.topic)?,
                holding: holding(m.holding)?,
                sealed: sealed(m.sealed, MAX_INDEX_SEALED)?,
            },
            Body::IndexDelta(m) => Self::Delta {
                topic: topic(&m.topic)?,
                change: change(m.change)?,
            },
            Body::IndexWithdraw(m) => Self::Withdraw {
                topic: topic(&m.topic)?,
            },
            Body::IndexSubscribe(m) => Self::Subscribe {
                topic: topic(&m.topic)?,
                owner: DeviceId::from_slice(&m.owner)?,
            },
            Body::IndexUnsubscribe(m) => Self::Unsubscribe {
                topic: topic(&m.topic)?,
            },
            Body::IndexHolders(m) => holders(m)?,
            Body::IndexChanged(m) => Self::Changed {
                topic: topic(&m.topic)?,
                device: DeviceId::from_slice(&m.device)?,
                change: change(m.change)?,
            },
            Body::IndexResync(m) => Self::Resync {
                topic: topic(&m.topic)?,
            },
            Body::IndexRefused(m) => Self::Refused {
                topic: topic(&m.topic)?,
                refusal: RelayRefusal::from_wire(m.code(), m.retry_after_ms),
            },
            _ => return Err(MessageError::Malformed),
        })
    }

    pub(super) fn to_wire(&self) -> Body {
        let topic = |topic: &IndexTopic| Bytes::copy_from_slice(topic.as_bytes());
        match self {
            Self::Hello => Body::IndexHello(wire::IndexHello {}),
            Self::Welcome {
                nodes,
                heartbeat_ms,
            } => Body::IndexWelcome(wire::IndexWelcome {
                nodes: addresses(nodes),
                heartbeat_ms: *heartbeat_ms,
            }),
            Self::Announce {
                topic: t,
                holding,
                sealed,
            } => Body::IndexAnnounce(wire::IndexAnnounce {
                topic: topic(t),
                holding: Some(holding.to_wire()),
                sealed: sealed.clone(),
            }),
            Self::Delta { topic: t, change } => Body::IndexDelta(wire::IndexDelta {
                topic: topic(t),
                change: Some(change.to_wire()),
            }),
            Self::Withdraw { topic: t } => {
                Body::IndexWithdraw(wire::IndexWithdraw { topic: topic(t) })
            }
            Self::Subscribe { topic: t, owner } => Body::IndexSubscribe(wire::IndexSubscribe {
                topic: topic(t),
                owner: key(owner),
            }),
            Self::Unsubscribe { topic: t } => {
                Body::IndexUnsubscribe(wire::IndexUnsubscribe { topic: topic(t) })
            }
            Self::Holders {
                topic: t,
                first,
                holders,
                gone,
            } => Body::IndexHolders(wire::IndexHolders {
                topic: topic(t),
                first: *first,
                holders: holders.iter().map(holder_to_wire).collect(),
                gone: gone.iter().map(key).collect(),
            }),
            Self::Changed {
                topic: t,
                device,
                change,
            } => Body::IndexChanged(wire::IndexChanged {
                topic: topic(t),
                device: key(device),
                change: Some(change.to_wire()),
            }),
            Self::Resync { topic: t } => Body::IndexResync(wire::IndexResync { topic: topic(t) }),
            Self::Refused { topic: t, refusal } => Body::IndexRefused(wire::IndexRefused {
                topic: topic(t),
                code: refusal.code_to_wire(),
                retry_after_ms: refusal.retry_after_ms,
            }),
        }
    }
}

fn holding(m: Option<wire::Announce>) -> Parsed<Announcement> {
    let m = m.ok_or(MessageError::Malformed)?;
    few(&m.held, MAX_INDEX_RANGES, "number of ranges")?;
    let holding = Announcement::parse(&m)?;
    in_bounds(&holding.held)?;
    Ok(holding)
}

fn change(m: Option<wire::HaveDelta>) -> Parsed<Delta> {
    let m = m.ok_or(MessageError::Malformed)?;
    if m.added.len() + m.removed.len() > MAX_INDEX_RANGES {
        return Err(MessageError::Value("number of ranges"));
    }
    let change = Delta::parse(&m)?;
    in_bounds(&change.added)?;
    in_bounds(&change.removed)?;
    Ok(change)
}

fn in_bounds(ranges: &Ranges) -> Parsed<()> {
    match ranges
        .as_slice()
        .iter()
        .all(|range| range.end() <= MAX_INDEX_POSITIONS)
    {
        true => Ok(()),
        false => Err(MessageError::Value("position")),
    }
}

fn holders(m: wire::IndexHolders) -> Parsed<IndexMessage> {
    let gone = few(&m.gone, MAX_INDEX_HOLDERS, "number of holders")?;
    let gone = gone
        .iter()
        .map(|device| DeviceId::from_slice(device))
        .collect::<Result<_, _>>()?;
    few(&m.holders, MAX_INDEX_HOLDERS, "number of holders")?;
    let holders = m.holders.into_iter().map(|m| {
        Ok(IndexHolder {
            device: DeviceId::from_slice(&m.device)?,
            same_site: m.same_site,
            holding: holding(m.holding)?,
            sealed: sealed(m.sealed, MAX_INDEX_SEALED)?,
        })
    });
    Ok(IndexMessage::Holders {
        topic: IndexTopic::from_slice(&m.topic)?,
        first: m.first,
        holders: holders.collect::<Parsed<_>>()?,
        gone,
    })
}

fn holder_to_wire(holder: &IndexHolder) -> wire::IndexHolder {
    wire::IndexHolder {
        device: key(&holder.device),
        same_site: holder.same_site,
        holding: Some(holder.holding.to_wire()),
        sealed: holder.sealed.clone(),
    }
}
