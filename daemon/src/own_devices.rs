//! The user's own devices, as one of them administers them: one is removed, more are invited, a page
//! in a browser becomes one.
//!
//! A removal is durable here first; then the user's other devices are told by sealed letters, which
//! wait for those that are off, the relays are asked to revoke the device, and what it has open to
//! this one is cut. Whoever is told does the same, but for the relays: that is for the device on
//! which the user said it, so that of two devices that remove each other the relay's order decides.
//!
//! ```text
//! letter of the kind "removal" or "page": 1 (1 byte, format) ‖ device id (32) ‖ name (UTF-8, at most 64 bytes)
//! ```
//!
//! A letter of the kind "page" says that a key is that of a page, whatever a relay says of it: no
//! relay makes more of a page than it is. Invariant: neither is believed of a page.

use crate::failure;
use crate::mail::{self, Body, BodyHandler, Content, MailService, Outcome};
use crate::nearby::NearbyService;
use crate::relay_named::{self, ANSWER, Among, Unheard};
use hither_api::{ApiError, DeviceRelation, ErrorCode, InviteInfo, InviteRequest, RemovedInfo};
use hither_content::storage::StorageError;
use hither_proto::{
    DeviceId, DeviceName, MessageId, OwnAnswer, OwnRequest, RelayRefusalCode, RelayUrl,
    display_name,
};
use hither_relay_client::{Relay, RequestError};
use hither_swarm::Warnings;
use hither_util::clock::unix_millis;
use hither_util::tasks::Tasks;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The kind of letters about removed devices.
const KIND: &str = "removal";
/// The kind of letters about pages in browsers that became devices.
const PAGE: &str = "page";
const FORMAT: u8 = 1;
/// Pause before a relay that did not do it is asked again.
const AGAIN: Duration = Duration::from_secs(30);

/// The parts it is made of.
pub(crate) struct OwnDevices {
    device: DeviceId,
    nearby: Arc<NearbyService>,
    mail: Arc<MailService>,
    warnings: Warnings,
    tasks: Tasks,
}

impl OwnDevices {
    /// Makes it; letters about removed devices are taken from now on.
    pub(crate) fn new(
        nearby: &Arc<NearbyService>,
        mail: &Arc<MailService>,
        warnings: &Warnings,
        tasks: &Tasks,
    ) -> Arc<Self> {
        let service = Arc::new(Self {
            device: nearby.device,
            nearby: Arc::clone(nearby),
            mail: Arc::clone(mail),
            warnings: warnings.clone(),
            tasks: tasks.clone(),
        });
        let handler: Arc<dyn BodyHandler> = Arc::clone(&service) as _;
        for kind in [KIND, PAGE] {
            mail.handle_bodies(kind, Arc::downgrade(&handler));
        }
        service
    }

    /// Removes one of the user's devices.
    ///
    /// Errors: none is meant, it is this one or not the user's, or that cannot be kept.
    pub(crate) async fn remove(self: &Arc<Self>, wanted: &str) -> Result<RemovedInfo, ApiError> {
        let relays = &self.nearby.relays;
        let found = relays.find(wanted).await;
        let found = found.map_err(|error| failure::find_device(&error))?;
        let name = display_name(&found.name);
        let refused = |message: String, hint: &str| {
            Err(ApiError::new(ErrorCode::BadRequest, message).with_hint(hint))
        };
        if found.this {
            return refused(
                "A device is removed on another one of yours.".into(),
                "To leave a relay: hither relay remove RELAY",
            );
        }
        if found.relation != DeviceRelation::Own {
            return refused(
                format!("{name} is not one of your devices."),
                "To forget a device of somebody else: hither devices forget DEVICE",
            );
        }
        let device: DeviceId = found.device.parse().map_err(failure::internal)?;
        let of = Arc::clone(self);
        let called = DeviceName::clean(&found.name);
        let told = tokio::task::spawn_blocking(move || of.begin(device, &called))
            .await
            .map_err(failure::internal)??;
        self.cut(device);
        let (done, waiting) = self.tell_relays(device).await;
        Ok(RemovedInfo {
            device: found.device,
            name: found.name,
            relays: done,
            waiting,
            told,
        })
    }

    /// Makes a removal durable and tells the others; returns how many. Blocks.
    fn begin(&self, device: DeviceId, name: &DeviceName) -> Result<u64, ApiError> {
        // Before it is none of them: it is told as well.
        let others = self.own_devices();
        let known = self.nearby.known();
        known
            .remove(device, name, self.device)
            .map_err(|error| failure::storage(&error))?;
        tracing::info!(?device, "a device is removed");
        Ok(self.tell(others, KIND, device, name))
    }

    /// Sends a letter about a device to others, durably; returns how many but that one are told.
    /// Blocks.
    fn tell(
        &self,
        others: HashSet<DeviceId>,
        kind: &str,
        device: DeviceId,
        name: &DeviceName,
    ) -> u64 {
        let mut told = 0;
        for other in others {
            let body = Body {
                kind: kind.into(),
                made_ms: unix_millis(),
                payload: encode(device, name),
                visitor: None,
            };
            let posted =
                mail::message_id().and_then(|id| mail::post(&self.mail, other, id, &body, None));
            match posted {
                Ok(_) => told += u64::from(other != device),
                Err(error) => tracing::warn!(?other, kind, %error, "a device is not told"),
            }
        }
        told
    }

    /// A page in a browser becomes one of the user's devices. That it is a page is durable here
    /// before, and the user's other devices are told so. Blocks.
    ///
    /// Errors: it cannot be kept.
    pub(crate) fn add_page(&self, device: DeviceId, name: &DeviceName) -> Result<(), StorageError> {
        self.nearby.known().mark_page(device)?;
        tracing::info!(?device, "a page in a browser becomes a device");
        let mut others = self.own_devices();
        // Pages are believed nothing of the sort, and need not know.
        others.retain(|other| *other != device && !self.nearby.is_page(*other));
        self.tell(others, PAGE, device, name);
        Ok(())
    }

    /// The user's other devices.
    fn own_devices(&self) -> HashSet<DeviceId> {
        let devices = self.nearby.relays.devices().into_iter();
        devices
            .filter(|one| !one.this && one.relation == DeviceRelation::Own)
            .filter_map(|one| one.device.parse().ok())
            .collect()
    }

    /// Ends what a device has open to this one.
    fn cut(&self, device: DeviceId) {
        let swarm = &self.nearby.swarm;
        swarm.endpoint().disown(device);
        for link in swarm.links().open() {
            if link.device() == device {
                link.close("it is no device of this user's any more");
            }
        }
    }

    /// Asks every relay that lists a device to revoke it; returns where it is done, and why not
    /// elsewhere.
    async fn tell_relays(&self, device: DeviceId) -> (Vec<String>, Vec<String>) {
        let lists = |relay: &Arc<Relay>| relay.presence(device).is_some();
        let all: Vec<_> = self.nearby.relays.all().into_iter().filter(lists).collect();
        let asked = all.iter().map(|relay| ask(relay, device));
        let answers = futures::future::join_all(asked).await;
        let (mut done, mut waiting) = (Vec::new(), Vec::new());
        for (relay, answer) in all.iter().zip(answers) {
            let host = relay.url.at.to_string();
            match answer {
                Ok(()) => done.push(host),
                Err(why) => waiting.push(format!("the relay {host}: {why}")),
            }
        }
        (done, waiting)
    }

    /// Asks for an invitation for more of the user's devices.
    ///
    /// Errors: no relay is meant, or several may be; it is not connected, or gives none.
    pub(crate) async fn invite(&self, request: &InviteRequest) -> Result<InviteInfo, ApiError> {
        let relays = &self.nearby.relays;
        let relay = relay_named::named(relays, request.relay.as_deref(), Among::All)?;
        let host = relay.url.at.to_string();
        let what = OwnRequest::Invite {
            devices: request.uses,
            seconds: request.valid_seconds,
            web: false,
        };
        match relay_named::ask(&relay, what).await {
            Ok(OwnAnswer::Invited(invitation)) => {
                let url = RelayUrl {
                    at: relay.url.at.clone(),
                    key: relay.url.key,
                    invitation: Some(invitation),
                };
                Ok(InviteInfo {
                    url: url.to_string(),
                    host,
                    uses: request.uses,
                    valid_seconds: request.valid_seconds,
                })
            }
            Err(Unheard::Never) => {
                let message = format!("The operator of {host} does not let devices invite others.");
                Err(ApiError::new(ErrorCode::Refused, message)
                    .with_hint("Ask them for an invitation."))
            }
            Ok(_) => Err(failure::internal("another answer than to an invitation")),
            Err(Unheard::Because(why)) => {
                let message = format!("The relay {host}: {why}.");
                Err(ApiError::new(ErrorCode::NoRelay, message))
            }
        }
    }

    /// Tells the user on a device that it is no longer one of theirs.
    fn warn_if_removed(&self) {
        let removed = self.nearby.known().removed();
        if let Some((_, by)) = removed.iter().find(|(device, _)| *device == self.device) {
            let name = by.by.parse().map(|by| self.nearby.relays.name_of(by));
            let name = display_name(&name.unwrap_or_default());
            self.warnings.add(format!(
                "This device was removed from your devices, on {name}: relays and your other devices take nothing of it. To make it one of yours again it needs a new identity (move its data folder away), and hither pair."
            ));
        }
    }
}

/// Asks one relay to revoke a device.
async fn ask(relay: &Arc<Relay>, device: DeviceId) -> Result<(), String> {
    let connection = relay.connection().ok_or("it is not connected now")?;
    match timeout(ANSWER, connection.own(OwnRequest::Remove { device })).await {
        Ok(Ok(OwnAnswer::Removed)) => Ok(()),
        Ok(Err(RequestError::Refused(refusal))) => match refusal.code {
            // It is so already.
            RelayRefusalCode::NotFound => Ok(()),
            RelayRefusalCode::Role => {
                Err("its operator does not let devices remove others: ask them to revoke it".into())
            }
            _ => Err(refusal.to_string()),
        },
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(_)) | Err(_) => Err("it did not answer in time".into()),
    }
}

/// Goes on telling relays of what this device has removed, until they know.
pub(crate) fn start(service: &Arc<OwnDevices>) {
    service.warn_if_removed();
    let of = Arc::clone(service);
    service.tasks.spawn_forever(async move {
        let mut relays = of.nearby.relays.changes();
        loop {
            relays.mark_unchanged();
            let own = of.device.to_string();
            let removed = of.nearby.known().removed().into_iter();
            let (mut fails, mut unreached) = (false, false);
            for (device, _) in removed.filter(|(device, one)| one.by == own && *device != of.device)
            {
                let (_, waiting) = of.tell_relays(device).await;
                fails |= !waiting.is_empty();
                let mut all = of.nearby.relays.all().into_iter();
                unreached |= all
                    .any(|relay| relay.presence(device).is_some() && relay.connection().is_none());
            }
            let again = async {
                match fails {
                    true => tokio::time::sleep(AGAIN).await,
                    false => std::future::pending().await,
                }
            };
            tokio::select! {
                // One that has refused is not asked whenever something changes.
                changed = relays.changed(), if unreached || !fails => if changed.is_err() { return },
                () = again => {}
            }
        }
    });
}

fn encode(device: DeviceId, name: &DeviceName) -> Vec<u8> {
    [&[FORMAT][..], device.as_bytes(), name.as_str().as_bytes()].concat()
}

/// The device that a letter removes, and its name; `None`: it is of a later version, or malformed.
fn decode(payload: &[u8]) -> Option<(DeviceId, DeviceName)> {
    let rest = payload.strip_prefix(&[FORMAT])?;
    let (device, name) = rest.split_at_checked(32)?;
    let name = DeviceName::clean(std::str::from_utf8(name).ok()?);
    Some((DeviceId::from_slice(device).ok()?, name))
}

impl BodyHandler for OwnDevices {
    fn take(
        &self,
        from: DeviceId,
        _: MessageId,
        body: &Body,
    ) -> Result<Option<Content>, StorageError> {
        let Some((device, name)) = decode(&body.payload) else {
            return Ok(None);
        };
        if !self.nearby.is_own(from) || self.nearby.is_page(from) || from == device {
            tracing::warn!(?from, kind = body.kind, "a stranger's word is not taken");
            return Ok(None);
        }
        if body.kind == PAGE {
            // One that is known as more than a page is not made less by another one's word.
            if self.nearby.known().relation(device).is_none() && device != self.device {
                self.nearby.known().mark_page(device)?;
            }
            return Ok(None);
        }
        if self.nearby.known().remove(device, &name, from)? {
            tracing::info!(
                ?device,
                ?from,
                "a device was removed by another one of the user's"
            );
            self.warn_if_removed();
            self.cut(device);
        }
        Ok(None)
    }

    fn sent(&self, _: DeviceId, _: MessageId, _: &Outcome) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_carrier::Identity;

    #[test]
    fn a_letter_names_one_device() {
        let device = Identity::generate().unwrap().device_id();
        let name = DeviceName::clean("phone");
        let payload = encode(device, &name);
        assert_eq!(decode(&payload), Some((device, name)));
        for wrong in [&[][..], &payload[..20], &[2; 40]] {
            assert_eq!(decode(wrong), None);
        }
    }
}
