//! Waking a device that is not connected: by web push, mail, or a webhook, as the device has set.
//!
//! Invariants: nothing that is sent says from whom something waits, or what; a device is woken once
//! until it was connected again or [`PAUSE_MS`] passed, whichever node it is that takes its mail;
//! at most [`MAX_AT_ONCE`] are woken at a time, the others are not; who is woken how often is
//! bounded by user and in all (`limits.wake_user`, `limits.wake_total`).

mod mail;
mod post;
mod push;
mod records;

use super::records::{bucket, device_key};
use super::refuse;
use super::registry::{RegistryError, decode, encode};
use crate::config::WakeConfig;
use crate::node::{Node, now_ms};
use crate::state::{Expect, State, StateError};
use bytes::Bytes;
use hither_proto::{
    DeviceId, RelayRefusal, RelayRefusalCode, UserId, WakeChannel, WakeWays, WebAddress,
};
use mail::Mailer;
use post::{PostError, Poster};
use push::Vapid;
use records::WakeRecord;
use std::sync::Arc;
use tokio::sync::{OnceCell, Semaphore};

/// A device is woken no second time for so long, unless it was connected meanwhile.
const PAUSE_MS: u64 = 15 * 60 * 1000;
/// Most devices that are woken at a time.
const MAX_AT_ONCE: usize = 64;
/// Attempts at a change that others make at the same time.
const ATTEMPTS: usize = 16;
/// Key of the key for web push.
const VAPID: &str = "vapid";
/// For how long a push service keeps the message for a browser that is off, seconds.
const TTL_S: u32 = 86_400;
/// The body of a request to a webhook.
const TOLD: &str = "{\"v\":1,\"hither\":\"something waits\"}";

/// Wakes devices.
pub(crate) struct Waking {
    push: bool,
    webhooks: bool,
    contact: Option<String>,
    poster: Option<Poster>,
    mailer: Option<Mailer>,
    vapid: OnceCell<Vapid>,
    places: Arc<Semaphore>,
}

impl Waking {
    /// As configured. What cannot be is off, and told to the operator.
    pub(crate) fn new(config: &WakeConfig, page: Option<&WebAddress>) -> Self {
        let told = |error: String| tracing::error!(%error, "devices are not woken that way");
        let mailer = config.mail.as_ref().map(|mail| Mailer::new(config, mail));
        let poster = Poster::new(config).map_err(told).ok();
        Self {
            push: config.push && poster.is_some(),
            webhooks: config.webhooks && poster.is_some(),
            contact: config
                .contact
                .clone()
                .or_else(|| page.map(WebAddress::to_string)),
            poster,
            mailer: mailer.and_then(|mailer| mailer.map_err(told).ok()),
            vapid: OnceCell::new(),
            places: Arc::new(Semaphore::new(MAX_AT_ONCE)),
        }
    }

    /// The key for web push: the same at all nodes, made by the first that needs it.
    async fn vapid(&self, state: &dyn State) -> Result<&Vapid, RegistryError> {
        self.vapid.get_or_try_init(|| vapid(state)).await
    }
}

async fn vapid(state: &dyn State) -> Result<Vapid, RegistryError> {
    let damaged = RegistryError::Damaged("the key for web push");
    for _ in 0..ATTEMPTS {
        if let Some(kept) = state.get(bucket::WAKE_KEYS, VAPID).await? {
            return Vapid::read(&kept.value).map_err(|_| damaged);
        }
        let made = Vapid::generate().map_err(|error| StateError::Storage(error.to_string()))?;
        match state
            .put(bucket::WAKE_KEYS, VAPID, made.into(), Expect::Absent)
            .await
        {
            // As it is kept now, by this node or another one.
            Ok(_) | Err(StateError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(damaged)
}

/// The ways in which a device can be woken, and the one that it has set.
pub(crate) async fn ways(node: &Node, device: &DeviceId) -> Result<WakeWays, RelayRefusal> {
    let (waking, state) = (&node.services.waking, node.state.as_ref());
    let failed = |error: RegistryError| super::device::refusal_of(&error);
    let push_key = match waking.push {
        true => {
            let vapid = waking.vapid(state).await.map_err(failed)?;
            vapid.public().ok()
        }
        false => None,
    };
    let kept = load(state, device).await.map_err(failed)?;
    Ok(WakeWays {
        push_key,
        mail: waking.mailer.is_some(),
        webhook: waking.webhooks,
        set: kept.and_then(|(_, record)| record.kind()),
    })
}

/// Keeps how a device is woken; durable.
///
/// Errors: `ROLE` for a way that the relay does not have, `INVALID` for one that it does not take.
pub(crate) async fn keep(
    node: &Node,
    device: &DeviceId,
    channel: Option<&WakeChannel>,
) -> Result<(), RelayRefusal> {
    let state = node.state.as_ref();
    let failed = |error: StateError| refuse::of_state(&error);
    let key = device_key(device);
    let Some(channel) = channel else {
        return state
            .delete(bucket::WAKE, &key, Expect::Any)
            .await
            .map(drop)
            .map_err(failed);
    };
    check(&node.services.waking, channel)?;
    let record = encode(&WakeRecord::of(channel));
    state
        .put(bucket::WAKE, &key, record, Expect::Any)
        .await
        .map(drop)
        .map_err(failed)
}

fn check(waking: &Waking, channel: &WakeChannel) -> Result<(), RelayRefusal> {
    let (offered, sound) = match channel {
        WakeChannel::WebPush {
            endpoint,
            key,
            auth,
        } => {
            let poster = waking.poster.as_ref();
            let listed = poster.is_some_and(|poster| poster.target(endpoint).is_ok());
            (waking.push, listed && push::seal(b"{}", key, auth).is_ok())
        }
        WakeChannel::Mail(address) => (waking.mailer.is_some(), mail::is_address(address)),
        WakeChannel::Webhook(url) => {
            let poster = waking.poster.as_ref();
            let listed = poster.is_some_and(|poster| poster.target(url).is_ok());
            (waking.webhooks, listed)
        }
    };
    match (offered, sound) {
        (false, _) => Err(RelayRefusalCode::Role.into()),
        (true, false) => Err(RelayRefusalCode::Invalid.into()),
        (true, true) => Ok(()),
    }
}

/// Nothing wakes a device any more.
pub(crate) async fn forget(state: &dyn State, device: &DeviceId) -> Result<(), StateError> {
    let key = device_key(device);
    state
        .delete(bucket::WAKE, &key, Expect::Any)
        .await
        .map(drop)
}

/// A device is connected: it may be woken again when it has gone.
pub(crate) fn came(node: &Arc<Node>, device: DeviceId) {
    let task = Arc::clone(node);
    node.spawn(async move {
        let came = change(task.state.as_ref(), &device, |record| {
            let woken = record.woken_ms != 0;
            record.woken_ms = 0;
            woken
        });
        if let Err(error) = came.await {
            tracing::debug!(%error, "a device is not woken for a while");
        }
    });
}

/// Something waits for a device of `user` that is connected to no node.
pub(crate) fn wake(node: &Arc<Node>, user: UserId, device: DeviceId) {
    let Ok(place) = Arc::clone(&node.services.waking.places).try_acquire_owned() else {
        return node.metrics.limited.add_one();
    };
    let task = Arc::clone(node);
    node.spawn_until_stop(async move {
        if let Err(error) = woken(&task, user, &device).await {
            tracing::debug!(%device, %error, "a device could not be woken");
        }
        drop(place);
    });
}

/// Reasons why a device was not woken.
#[derive(Debug, thiserror::Error)]
enum WakeError {
    #[error(transparent)]
    State(#[from] RegistryError),
    #[error(transparent)]
    Post(#[from] PostError),
    #[error("the mail could not be sent: {0}")]
    Mail(String),
    #[error("{0}")]
    Refused(&'static str),
    #[error("the server answered {0}")]
    Status(u16),
}

async fn woken(node: &Arc<Node>, user: UserId, device: &DeviceId) -> Result<(), WakeError> {
    let (state, now) = (node.state.as_ref(), now_ms());
    let mut before = 0;
    // The node that changes the record wakes: of several nodes and letters one.
    let claimed = change(state, device, |record| {
        before = record.woken_ms;
        let due = record.woken_ms.saturating_add(PAUSE_MS) <= now;
        if due {
            record.woken_ms = now;
        }
        due
    })
    .await?;
    let Some(record) = claimed else { return Ok(()) };
    let channel = record
        .channel()
        .ok_or(WakeError::Refused("the way that it has set is damaged"))?;
    let done = match node.services.limiter.wake(user) {
        Ok(()) => call(node, &channel).await,
        Err(_) => Err(WakeError::Refused("too many are woken")),
    };
    match &done {
        Ok(()) => node.metrics.woken.add_one(),
        // RFC 8030, section 7.3: the subscription is no more.
        Err(WakeError::Status(404 | 410)) => {
            let key = device_key(device);
            let set = state.get(bucket::WAKE, &key).await.ok().flatten();
            let same = set.filter(|set| {
                decode::<WakeRecord>(&set.value, "a way of waking").is_ok_and(|now| now == record)
            });
            if let Some(set) = same {
                let expect = Expect::Revision(set.revision);
                let _ = state.delete(bucket::WAKE, &key, expect).await; // it has changed if not
            }
        }
        // The next letter tries again, within the limits.
        Err(_) => {
            let back = change(state, device, |record| {
                let own = record.woken_ms == now;
                if own {
                    record.woken_ms = before;
                }
                own
            });
            drop(back.await);
        }
    }
    done
}

/// Calls in that way.
async fn call(node: &Node, channel: &WakeChannel) -> Result<(), WakeError> {
    let waking = &node.services.waking;
    let off = || WakeError::Refused("the relay wakes nobody in that way any more");
    let poster = || waking.poster.as_ref().ok_or_else(off);
    let status = match channel {
        WakeChannel::Mail(address) => {
            let mailer = waking.mailer.as_ref().ok_or_else(off)?;
            return mailer.send(address).await.map_err(WakeError::Mail);
        }
        WakeChannel::Webhook(url) if waking.webhooks => {
            let poster = poster()?;
            let target = poster.target(url)?;
            let headers = [("content-type", "application/json".to_owned())];
            let told = Bytes::from_static(TOLD.as_bytes());
            poster.post(&target, &headers, told).await?
        }
        WakeChannel::WebPush {
            endpoint,
            key,
            auth,
        } if waking.push => {
            let poster = poster()?;
            let target = poster.target(endpoint)?;
            let unfit = |_| WakeError::Refused("a key for web push cannot be used");
            let body = push::seal(b"{}", key, auth).map_err(unfit)?;
            let vapid = waking.vapid(node.state.as_ref()).await?;
            let contact = waking.contact.as_deref();
            let authorization = vapid
                .authorization(&target.origin(), contact, now_ms() / 1000)
                .map_err(unfit)?;
            let headers = [
                ("authorization", authorization),
                ("content-encoding", "aes128gcm".to_owned()),
                ("content-type", "application/octet-stream".to_owned()),
                ("ttl", TTL_S.to_string()),
                ("urgency", "normal".to_owned()),
                ("topic", "hither".to_owned()),
            ];
            poster.post(&target, &headers, body.into()).await?
        }
        WakeChannel::Webhook(_) | WakeChannel::WebPush { .. } => return Err(off()),
    };
    match status {
        200..=299 => Ok(()),
        status => Err(WakeError::Status(status)),
    }
}

async fn load(
    state: &dyn State,
    device: &DeviceId,
) -> Result<Option<(u64, WakeRecord)>, RegistryError> {
    let Some(entry) = state.get(bucket::WAKE, &device_key(device)).await? else {
        return Ok(None);
    };
    let record = decode(&entry.value, "a way of waking")?;
    Ok(Some((entry.revision, record)))
}

/// Changes how a device is woken; `change` says whether it did. `None`: it did not, or there is no
/// way.
async fn change(
    state: &dyn State,
    device: &DeviceId,
    mut change: impl FnMut(&mut WakeRecord) -> bool,
) -> Result<Option<WakeRecord>, RegistryError> {
    for _ in 0..ATTEMPTS {
        let Some((revision, mut record)) = load(state, device).await? else {
            return Ok(None);
        };
        if !change(&mut record) {
            return Ok(None);
        }
        let expect = Expect::Revision(revision);
        match state
            .put(bucket::WAKE, &device_key(device), encode(&record), expect)
            .await
        {
            Ok(_) => return Ok(Some(record)),
            Err(StateError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StateError::Busy("changes of one record at a time".into()).into())
}
