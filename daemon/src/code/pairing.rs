//! The grants of pairing, and taking them.
//!
//! The two devices remember each other as the user's own, and the new one learns of the user's other
//! devices. Invariant: nothing is remembered or given before the user of the device that shows the
//! code has said yes to what is named there.

use super::enter::{Met, broken};
use super::shown::ShownCode;
use super::talk::{STEP, TalkError};
use super::{CodeService, relays};
use crate::failure;
use hither_api::{ApiError, CodeMet, Done, ErrorCode, Event};
use hither_proto::limits::MAX_DEVICES;
use hither_proto::{CodeGift, DeviceId, DeviceName, PairDevice, PairGrant};
use hither_relay_client::Relay;
use hither_swarm::{KnownDevices, Relation, RememberError};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Everything that the new device would get.
pub(super) struct Offer {
    /// The user's other devices, at most [`MAX_DEVICES`].
    pub(super) devices: Vec<PairDevice>,
    /// Hosts of the relays at which it would become the user's.
    pub(super) hosts: Vec<String>,
}

impl Offer {
    /// Everything that can be granted to a device now. A page in a browser gets the relay that serves
    /// it, and learns there of other devices.
    pub(super) fn make(service: &CodeService, to: DeviceId, page: Option<&Relay>) -> Self {
        if let Some(relay) = page {
            return Self {
                devices: Vec::new(),
                hosts: vec![relay.url.at.to_string()],
            };
        }
        let own = service
            .known
            .all()
            .into_iter()
            .filter(|(device, known)| known.relation == Relation::Own && *device != to);
        let devices = own.map(|(device, known)| PairDevice {
            device,
            name: DeviceName::clean(&known.name),
        });
        Self {
            devices: devices.take(MAX_DEVICES).collect(),
            hosts: relays::hosts(&service.relays),
        }
    }

    /// Grants it to a device, which is the user's own from now on. Also returns the hosts of the
    /// relays that it is invited to; why others give no invitation goes to `events`.
    ///
    /// Errors: the device cannot be remembered.
    pub(super) async fn grant(
        self,
        service: &CodeService,
        (device, name): (DeviceId, DeviceName),
        code: &ShownCode,
    ) -> Result<(PairGrant, Vec<String>), ApiError> {
        let (urls, refused) = match &code.page {
            None => {
                remember(&service.known, vec![PairDevice { device, name }]).await?;
                relays::invitations(&service.relays).await
            }
            // Whose it is says the relay, which forgets a page that comes no more.
            Some(relay) => {
                let url = relays::page_invitation(relay).await?;
                mark_page(service, device, name).await?;
                (vec![url], Vec::new())
            }
        };
        for message in refused {
            code.tell(Event::Warning { message }).await;
        }
        let hosts = urls.iter().map(|url| url.at.to_string()).collect();
        let grant = PairGrant {
            name: service.name.clone(),
            devices: self.devices,
            relays: urls,
        };
        Ok((grant, hosts))
    }
}

/// Remembers that a device is a page in a browser, and tells the user's other devices; durable when
/// this returns.
async fn mark_page(
    service: &CodeService,
    device: DeviceId,
    name: DeviceName,
) -> Result<(), ApiError> {
    let of = Arc::clone(&service.own_devices);
    let work = tokio::task::spawn_blocking(move || of.add_page(device, &name));
    let kept = work.await.map_err(failure::internal)?;
    kept.map_err(|error| failure::storage(&error))
}

/// Remembers devices as the user's own; durable when this returns.
async fn remember(known: &Arc<KnownDevices>, devices: Vec<PairDevice>) -> Result<(), ApiError> {
    let known = Arc::clone(known);
    let work = tokio::task::spawn_blocking(move || {
        devices
            .iter()
            .try_for_each(|one| known.remember(one.device, &one.name, Relation::Own))
    });
    work.await
        .map_err(failure::internal)?
        .map_err(|error| match error {
            RememberError::Full => {
                let message = "This device knows as many devices as it can.";
                ApiError::new(ErrorCode::OverQuota, message)
                    .with_hint("Forget some: hither devices forget DEVICE")
            }
            RememberError::Storage(error) => failure::storage(&error),
        })
}

/// Waits at the new device until the user of the other one has answered, and takes what is granted.
pub(super) async fn join(
    service: &Arc<CodeService>,
    mut met: Met,
    events: &mpsc::Sender<Event>,
) -> Result<Done, ApiError> {
    let introduction = CodeGift::Introduction(service.name.clone());
    met.talk
        .give(&introduction)
        .await
        .map_err(|error| broken(&error))?;
    let _ = events
        .send(Event::CodeMet(CodeMet {
            device: met.device.to_string(),
            words: met.words.to_string(),
            ..CodeMet::default()
        }))
        .await;
    let grant = loop {
        match met.talk.take(STEP).await {
            Ok(CodeGift::Wait) => {}
            Ok(CodeGift::Grant(grant)) => break *grant,
            Ok(CodeGift::Declined) => {
                return Err(ApiError::new(
                    ErrorCode::Declined,
                    "The user of the other device said no.",
                ));
            }
            Ok(_) => return Err(broken(&TalkError::Unexpected)),
            Err(error) => return Err(broken(&error)),
        }
    };
    let shows = PairDevice {
        device: met.device,
        name: grant.name.clone(),
    };
    let mut devices = grant.devices;
    devices.retain(|one| one.device != service.device && one.device != met.device);
    let count = devices.len() as u64;
    devices.push(shows);
    remember(&service.known, devices).await?;
    let urls = grant.relays;
    // It is kept; whether the other side hears of it changes nothing here.
    let _ = met.talk.give_last(&CodeGift::Taken).await;
    let mut joined = Vec::new();
    for url in urls {
        match service.relays.join(&url).await {
            Ok(_) => joined.push(url.at.to_string()),
            Err(error) => {
                let why = failure::join(&error).message;
                let message = format!("The relay {} was not joined: {why}", url.at);
                let _ = events.send(Event::Warning { message }).await;
            }
        }
    }
    Ok(Done::Paired {
        paired: met.device.to_string(),
        name: grant.name.as_str().to_owned(),
        words: met.words.to_string(),
        devices: count,
        relays: joined,
    })
}
