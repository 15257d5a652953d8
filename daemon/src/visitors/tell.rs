//! Relays are told who may visit this device, and which shares of visitors they need not keep any
//! more.
//!
//! Every link is told again at every connection, with the time that it has left by the clock of
//! deadlines; its end is told until the relay has heard it, and then it is forgotten.

use super::records::{LINKS, RELEASES, released};
use super::{LinkRecord, VisitorService, put};
use crate::json_records;
use crate::relay_named::is_never;
use futures::future::join_all;
use hither_content::storage::{Batch, StorageError};
use hither_proto::limits::MAX_VISITORS;
use hither_proto::{DeviceId, OwnRequest, RelayRefusalCode, ShareId};
use hither_relay_client::{RelayConnection, RequestError};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Pause before a relay that did not do it is asked again.
const AGAIN: Duration = Duration::from_secs(30);
/// How often links are looked at that may have ended by themselves.
const LOOK: Duration = Duration::from_secs(60);
/// How long a share that is no longer needed is told of, seconds: a relay keeps those of visitors for
/// no more than a week.
const WEEK: u64 = 7 * 86_400;

/// The answer of a relay about a link.
enum Heard {
    /// It has it as it is.
    Yes,
    /// It has none such, and need not.
    Unknown,
    /// It takes no visitors.
    Never,
    /// Not at this connection.
    Later(String),
    /// It is asked again soon.
    Again(String),
}

/// At which connection what was told of each link: true, that it has ended.
type Told = Vec<(Arc<RelayConnection>, HashMap<u64, bool>)>;

/// Tells every relay, for as long as the daemon runs.
pub(super) async fn run(service: Arc<VisitorService>) {
    let (mut relays, mut links) = (service.relays.changes(), service.changes());
    let mut told = Told::new();
    loop {
        relays.mark_unchanged();
        links.mark_unchanged();
        blocking(&service, VisitorService::forget_over).await;
        let connected: Vec<_> = service
            .relays
            .all()
            .iter()
            .filter_map(|relay| Some((relay.url.key, relay.connection()?)))
            .collect();
        told.retain(|(one, _)| connected.iter().any(|(_, c)| Arc::ptr_eq(one, c)));
        let rounds = connected.iter().map(|(key, connection)| {
            let of = told
                .iter()
                .position(|(one, _)| Arc::ptr_eq(one, connection));
            let before = of.map(|at| told.swap_remove(at).1).unwrap_or_default();
            round(&service, *key, Arc::clone(connection), before)
        });
        let rounds: Vec<_> = rounds.collect();
        let mut fails = false;
        // Beside each other: a relay that does not answer delays no other one.
        for (connection, now, failed) in join_all(rounds).await {
            fails |= failed;
            told.push((connection, now));
        }
        let pause = if fails { AGAIN } else { LOOK };
        tokio::select! {
            changed = relays.changed() => if changed.is_err() { return },
            changed = links.changed() => if changed.is_err() { return },
            () = sleep(pause) => {}
        }
    }
}

/// Tells one relay what it has not heard at this connection; says whether it is to be asked again
/// soon.
async fn round(
    service: &Arc<VisitorService>,
    relay: DeviceId,
    connection: Arc<RelayConnection>,
    mut told: HashMap<u64, bool>,
) -> (Arc<RelayConnection>, HashMap<u64, bool>, bool) {
    let mut fails = false;
    let now = service.time.seconds();
    for (number, record) in service.of_relay(relay) {
        if told.get(&number) == Some(&record.ended) {
            continue;
        }
        let heard = tell(&connection, &record, now).await;
        match heard {
            Heard::Again(_) => fails = true,
            _ => drop(told.insert(number, record.ended)),
        }
        let ended = record.ended;
        blocking(service, move |of| of.heard(number, ended, heard)).await;
    }
    for (key, visitor, share) in service.releases_at(relay) {
        let what = OwnRequest::ReleaseVisitor { visitor, share };
        match connection.own(what).await {
            Err(RequestError::Lost | RequestError::TooMany | RequestError::TimedOut) => {
                fails = true;
            }
            Err(RequestError::Refused(refusal)) if refusal.code == RelayRefusalCode::Busy => {
                fails = true;
            }
            Ok(_) | Err(_) => blocking(service, move |of| of.forget_release(&key)).await,
        }
    }
    (connection, told, fails)
}

async fn tell(connection: &RelayConnection, record: &LinkRecord, now: u64) -> Heard {
    let Some(secret) = record.secret() else {
        return Heard::Unknown;
    };
    let left = record.until.saturating_sub(now).min(u64::from(u32::MAX));
    let what = OwnRequest::InviteVisitors {
        invitation: secret.invitation(),
        seconds: if record.ended { 0 } else { left as u32 },
        bytes: record.max,
        visitors: MAX_VISITORS,
    };
    match connection.own(what).await {
        Ok(_) => Heard::Yes,
        Err(RequestError::Refused(refusal)) if is_never(refusal.code) => Heard::Never,
        Err(RequestError::Refused(refusal))
            if record.ended && refusal.code == RelayRefusalCode::NotFound =>
        {
            Heard::Unknown
        }
        Err(RequestError::Refused(refusal)) => match refusal.retry_after_ms {
            0 => Heard::Later(refusal.to_string()),
            _ => Heard::Again(refusal.to_string()),
        },
        Err(RequestError::TimedOut) => {
            Heard::Later("it does not answer, and may be of an earlier version".into())
        }
        Err(error) => Heard::Again(error.to_string()),
    }
}

/// Runs what writes to the store; what fails is done by the next round.
async fn blocking(
    service: &Arc<VisitorService>,
    work: impl FnOnce(&VisitorService) -> Result<(), StorageError> + Send + 'static,
) {
    let of = Arc::clone(service);
    match tokio::task::spawn_blocking(move || work(&of)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "inbox links cannot be kept"),
        Err(error) => tracing::debug!(%error, "inbox links are not kept"),
    }
}

impl VisitorService {
    /// The links of a relay.
    fn of_relay(&self, relay: DeviceId) -> Vec<(u64, LinkRecord)> {
        let (relay, state) = (relay.to_string(), self.state());
        let all = state.links.iter();
        all.filter(|(_, link)| link.record.relay == relay)
            .map(|(number, link)| (*number, link.record.clone()))
            .collect()
    }

    /// The shares that a relay need not keep any more. One that this device is still fetching, by
    /// whatever way, is left there meanwhile.
    fn releases_at(&self, relay: DeviceId) -> Vec<(Vec<u8>, DeviceId, ShareId)> {
        let relay = relay.to_string();
        let all: Vec<_> = {
            let state = self.state();
            let of_relay = state.releases.iter().filter(|(_, one)| one.relay == relay);
            of_relay.map(|(key, _)| key.clone()).collect()
        };
        let keys = all.into_iter().filter_map(|key| {
            let (visitor, share) = released(&key)?;
            Some((key, visitor, share))
        });
        keys.filter(|(_, _, share)| !self.is_fetching(*share))
            .collect()
    }

    fn is_fetching(&self, share: ShareId) -> bool {
        let share = self.swarm.shares().get(share);
        let progress = share.and_then(|share| *share.progress().borrow());
        progress.is_some_and(|progress| !progress.complete)
    }

    /// Notes what a relay said of a link. Blocks.
    fn heard(&self, number: u64, ended: bool, heard: Heard) -> Result<(), StorageError> {
        let mut state = self.state();
        let Some(link) = state.links.get_mut(&number) else {
            return Ok(());
        };
        if link.record.ended != ended {
            return Ok(()); // It was ended meanwhile, and is told anew.
        }
        let before = (link.record.told, link.reason.clone());
        match heard {
            Heard::Yes | Heard::Unknown | Heard::Never if ended => {
                let mut batch = Batch::new();
                batch.remove(LINKS, &number.to_be_bytes());
                self.storage.commit(batch)?;
                state.links.remove(&number);
                drop(state);
                self.changed();
                return Ok(());
            }
            Heard::Yes | Heard::Unknown => {
                if !link.record.told {
                    let record = LinkRecord {
                        told: true,
                        ..link.record.clone()
                    };
                    let mut batch = Batch::new();
                    put(&mut batch, number, &record);
                    self.storage.commit(batch)?;
                    link.record = record;
                }
                (link.reason, link.refused) = (None, false);
            }
            Heard::Never => {
                link.reason = Some("it takes no visitors".into());
                link.refused = true;
            }
            Heard::Later(why) | Heard::Again(why) => link.reason = Some(why),
        }
        let changed = before != (link.record.told, link.reason.clone());
        drop(state);
        if changed {
            self.changed();
        }
        Ok(())
    }

    /// Forgets what is over: links whose time has passed, ended ones of a relay that this device has
    /// left, and shares that no relay keeps any more. Blocks.
    fn forget_over(&self) -> Result<(), StorageError> {
        let now = self.time.seconds();
        let joined: Vec<String> = self.relays.all().iter().map(|relay| relay.key()).collect();
        let (links, releases): (Vec<u64>, Vec<Vec<u8>>) = {
            let state = self.state();
            let is_over = |record: &LinkRecord| {
                record.until <= now || record.ended && !joined.contains(&record.relay)
            };
            let links = state.links.iter();
            let links = links.filter(|(_, link)| is_over(&link.record));
            let releases = state.releases.iter();
            let releases = releases.filter(|(_, one)| {
                now.saturating_sub(one.since) > WEEK || !joined.contains(&one.relay)
            });
            (
                links.map(|(number, _)| *number).collect(),
                releases.map(|(key, _)| key.clone()).collect(),
            )
        };
        if !links.is_empty() {
            self.forget(&links)?;
            self.changed();
        }
        releases
            .iter()
            .try_for_each(|key| self.forget_release(key))?;
        self.forget_old()
    }

    fn forget_release(&self, key: &[u8]) -> Result<(), StorageError> {
        json_records::remove(self.storage.as_ref(), RELEASES, key)?;
        self.state().releases.remove(key);
        Ok(())
    }
}
