//! Pages of other sites that ask: those of an origin that the operator lists, as the browser named
//! it when it opened the pipe, each for a quarter of an hour.
//!
//! Bounds: so many of one origin and from one address at a time, on each node. A place is taken for
//! the whole time, or until the asker has ended its invitation.

use super::book::{self, Bounds, Host, VisitError};
use super::records::{AskerRecord, VisitKey, asker_user};
use super::{Asker, Standing, refusal_of};
use crate::config::WebConfig;
use crate::node::{Node, now_ms};
use crate::serve::limits::Source;
use crate::serve::records::{bucket, device_key, first_device, mail_queue};
use crate::serve::refuse;
use crate::serve::registry::{RegistryError, decode, encode};
use crate::state::{Expect, MAX_PAGE, State, StateError};
use hither_carrier::Stream;
use hither_proto::{DeviceId, Invitation, RelayRefusal, RelayRefusalCode, UserId, WebAddress};
use hither_util::sync::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// For how long a page may ask.
pub(crate) const ASK_MS: u64 = 15 * 60 * 1000;
/// Most visitors of an asker.
const MAX_ASKED: u32 = 4;
/// An asker is forgotten so long after it came: until then its key asks no second time.
const FORGOTTEN_MS: u64 = 24 * 3600 * 1000;
/// When to come back after being one too many.
const LATER: Duration = Duration::from_secs(30);
/// Attempts at a change that others make at the same time.
const ATTEMPTS: usize = 16;

type Result<T> = std::result::Result<T, RelayRefusal>;

/// A place of an asker.
#[derive(Debug)]
struct Place {
    origin: String,
    source: Source,
    until: Instant,
}

/// Places of askers at this node.
#[derive(Debug)]
pub(crate) struct Askers {
    of_origin: usize,
    of_address: usize,
    places: Mutex<HashMap<DeviceId, Place>>,
}

impl Askers {
    pub(crate) fn new(config: &WebConfig) -> Self {
        Self {
            of_origin: config.asks_per_origin,
            of_address: config.asks_per_address,
            places: Mutex::default(),
        }
    }

    /// Takes a place; false: there is none left. Who has one keeps it.
    fn enter(&self, asker: DeviceId, origin: &str, source: Source, left: Duration) -> bool {
        let now = Instant::now();
        let mut places = self.places.lock();
        places.retain(|_, place| place.until > now);
        if places.contains_key(&asker) {
            return true;
        }
        let count =
            |is: &dyn Fn(&Place) -> bool| places.values().filter(|&place| is(place)).count();
        let full = count(&|place| place.origin == origin) >= self.of_origin
            || count(&|place| place.source == source) >= self.of_address;
        if full {
            return false;
        }
        let origin = origin.to_owned();
        let until = now + left;
        places.insert(
            asker,
            Place {
                origin,
                source,
                until,
            },
        );
        true
    }

    fn leave(&self, asker: &DeviceId) {
        self.places.lock().remove(asker);
    }
}

/// Lets an asker in, if its origin may ask.
pub(super) async fn admit(node: &Node, stream: &Stream) -> Result<(UserId, Standing)> {
    let asker = stream.device;
    let origin = stream
        .origin
        .as_deref()
        .and_then(|origin| origin.parse::<WebAddress>().ok());
    let origin = origin
        .filter(|origin| node.config.web.askers.contains(origin))
        .ok_or(RelayRefusalCode::Role)?
        .to_string();
    let now = now_ms();
    let failed = |error: VisitError| refusal_of(&error);
    let known = known(node.state.as_ref(), &asker).await.map_err(failed)?;
    let since_ms = match &known {
        Some(known) if known.origin != origin => return Err(RelayRefusalCode::Role.into()),
        Some(known) => known.since_ms,
        None => now,
    };
    let until_ms = since_ms.saturating_add(ASK_MS);
    if until_ms <= now {
        return Err(RelayRefusalCode::Invitation.into());
    }
    let left = Duration::from_millis(until_ms - now);
    let source = Source::from(stream.remote.ip());
    if !node
        .services
        .visits
        .askers
        .enter(asker, &origin, source, left)
    {
        return Err(refuse::busy(LATER));
    }
    if known.is_none() {
        let record = encode(&AskerRecord {
            origin: origin.clone(),
            since_ms,
            visit: Vec::new(),
        });
        let key = device_key(&asker);
        match node
            .state
            .put(bucket::ASKERS, &key, record, Expect::Absent)
            .await
        {
            Ok(_) | Err(StateError::Conflict { .. }) => {}
            Err(error) => return Err(refuse::of_state(&error)),
        }
    }
    let standing = Standing::Asker(Asker { origin, until_ms });
    Ok((asker_user(&asker), standing))
}

/// The record of an asker.
pub(super) async fn known(
    state: &dyn State,
    asker: &DeviceId,
) -> std::result::Result<Option<AskerRecord>, VisitError> {
    let entry = state.get(bucket::ASKERS, &device_key(asker)).await?;
    let record = entry.map(|entry| decode(&entry.value, "an asker"));
    Ok(record.transpose()?)
}

/// Makes the one invitation of an asker, or ends it.
pub(crate) async fn invite(
    node: &Node,
    asker: &DeviceId,
    standing: &Asker,
    invitation: &Invitation,
    wanted: Bounds,
) -> Result<()> {
    if wanted.most > MAX_ASKED || wanted.bytes > node.config.web.ask_bytes.0 {
        return Err(RelayRefusalCode::Quota.into());
    }
    let now = now_ms();
    let left = Duration::from_millis(standing.until_ms.saturating_sub(now));
    take(node, asker, &VisitKey::of(invitation)).await?;
    let bounds = Bounds {
        valid: wanted.valid.min(left),
        ..wanted
    };
    let host = Host {
        device: *asker,
        user: asker_user(asker),
        origin: standing.origin.clone(),
    };
    book::invite(node.state.as_ref(), &host, invitation, bounds, now)
        .await
        .map_err(|error| refusal_of(&error))?;
    if wanted.valid.is_zero() {
        node.services.visits.askers.leave(asker);
    }
    Ok(())
}

/// Makes an invitation the asker's one.
async fn take(node: &Node, asker: &DeviceId, visit: &VisitKey) -> Result<()> {
    let key = device_key(asker);
    for _ in 0..ATTEMPTS {
        let entry = node
            .state
            .get(bucket::ASKERS, &key)
            .await
            .map_err(|error| refuse::of_state(&error))?
            .ok_or(RelayRefusalCode::Invitation)?;
        let mut record: AskerRecord = decode(&entry.value, "an asker")
            .map_err(|error: RegistryError| crate::serve::device::refusal_of(&error))?;
        match VisitKey::from_slice(&record.visit) {
            Some(taken) if taken == *visit => return Ok(()),
            Some(_) => return Err(RelayRefusalCode::Quota.into()),
            None => record.visit = visit.as_bytes().to_vec(),
        }
        let expect = Expect::Revision(entry.revision);
        match node
            .state
            .put(bucket::ASKERS, &key, encode(&record), expect)
            .await
        {
            Ok(_) => return Ok(()),
            Err(StateError::Conflict { .. }) => {}
            Err(error) => return Err(refuse::of_state(&error)),
        }
    }
    Err(refuse::busy(refuse::TROUBLE))
}

/// Forgets askers whose time is long over; says how many.
pub(crate) async fn sweep(
    state: &dyn State,
    now_ms: u64,
) -> std::result::Result<usize, VisitError> {
    let (mut after, mut removed) = (None::<String>, 0);
    loop {
        let page = state
            .list(bucket::ASKERS, "", after.as_deref(), MAX_PAGE)
            .await?;
        for found in &page.records {
            let record: AskerRecord = decode(&found.entry.value, "an asker")?;
            let Some(asker) = first_device(&found.key) else {
                continue;
            };
            if record.since_ms.saturating_add(FORGOTTEN_MS) > now_ms {
                continue;
            }
            state
                .delete(bucket::ASKERS, &found.key, Expect::Any)
                .await?;
            state.ack(&mail_queue(&asker), u64::MAX).await?;
            removed += 1;
        }
        after = page.records.last().map(|record| record.key.clone());
        if !page.more {
            return Ok(removed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_carrier::Identity;

    #[test]
    fn c8_places_are_bounded_by_origin_and_by_address_and_end_with_their_time() {
        let mut config = WebConfig::default();
        (config.asks_per_origin, config.asks_per_address) = (2, 3);
        let askers = Askers::new(&config);
        let key = || Identity::generate().unwrap().device_id();
        let from = |text: &str| Source::from(text.parse::<std::net::IpAddr>().unwrap());
        let (one, two, hour) = (
            "https://a.example",
            "https://b.example",
            Duration::from_secs(3600),
        );
        let here = from("192.0.2.1");
        let first = key();
        assert!(askers.enter(first, one, here, hour) && askers.enter(key(), one, here, hour));
        assert!(askers.enter(first, one, here, hour), "it has a place");
        assert!(!askers.enter(key(), one, from("192.0.2.2"), hour));
        assert!(askers.enter(key(), two, here, hour));
        assert!(!askers.enter(key(), two, here, hour));
        askers.leave(&first);
        assert!(askers.enter(key(), two, here, Duration::ZERO));
        assert!(askers.enter(key(), one, here, hour), "its time was over");
    }
}
