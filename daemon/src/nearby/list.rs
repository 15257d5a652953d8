//! Devices nearby as the local API shows them, and what users decide about them.

use super::NearbyService;
use crate::failure;
use hither_api::{
    ApiError, DeviceInfo, DeviceRelation, ErrorCode, IntroductionInfo, NearbyAnswer, NearbyInfo,
    OfferedKind,
};
use hither_proto::{DeviceId, DeviceName, OfferKind, display_name};
use hither_relay_client::{FindDeviceError, resolve};
use std::collections::HashSet;
use std::sync::{Arc, Weak};

/// A device that is written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub device: DeviceId,
    pub name: String,
}

/// The state of things nearby.
pub(crate) fn info(service: &NearbyService) -> NearbyInfo {
    let introductions = service.waiting().into_iter();
    NearbyInfo {
        visible: service.visibility.now(),
        left_seconds: service.visibility.left().map(|left| left.as_secs()),
        words: service.device.words(),
        introductions: introductions
            .map(|(device, introduction, since)| IntroductionInfo {
                device: device.to_string(),
                short: device.short(),
                name: introduction.device_name.to_string(),
                words: device.words(),
                kind: match introduction.kind {
                    OfferKind::Text => OfferedKind::Text,
                    OfferKind::Files => OfferedKind::Files,
                    OfferKind::Share => OfferedKind::Share,
                    OfferKind::Request => OfferedKind::Request,
                    OfferKind::Unknown => OfferedKind::Unknown,
                },
                summary: introduction.summary,
                files: introduction.files,
                bytes: introduction.bytes,
                waiting_seconds: since.elapsed().as_secs(),
            })
            .collect(),
    }
}

/// Shows this device to everybody on this network for ten minutes, or ends that.
pub(crate) fn set_visible(service: &NearbyService, visible: bool) {
    match visible {
        true => service.visibility.open(),
        false => service.visibility.close(),
    }
    service.changed();
}

impl NearbyService {
    /// The strangers that wait for the user's answer, as a sentence for the status.
    pub(crate) fn notice(&self) -> Option<String> {
        let waiting = self.waiting();
        let names: Vec<String> = waiting
            .iter()
            .map(|(device, one, _)| format!("{} ({})", one.device_name, device.words()))
            .collect();
        (!names.is_empty()).then(|| {
            let all = names.join(", ");
            format!("Devices nearby want to send something: {all}. Answer with: hither nearby")
        })
    }

    /// Devices on this network that are not among `listed`, with the names they choose to show to
    /// this one; those that show none are left out. Takes at most 1.5 s.
    pub(crate) async fn strangers(&self, listed: &[DeviceInfo]) -> Vec<DeviceInfo> {
        let listed: HashSet<&str> = listed.iter().map(|one| one.device.as_str()).collect();
        let mut here = self.swarm.links().nearby();
        here.retain(|device| !listed.contains(device.to_string().as_str()));
        let names = self.ask_names(here).await;
        let mut found: Vec<DeviceInfo> = names
            .into_iter()
            .map(|(device, name)| DeviceInfo {
                device: device.to_string(),
                short: device.short(),
                name: name.to_string(),
                words: device.words(),
                relation: DeviceRelation::Nearby,
                online: true,
                same_network: true,
                ..DeviceInfo::default()
            })
            .collect();
        found.sort_by_key(|one| (one.name.to_lowercase(), one.device.clone()));
        found
    }

    /// The device that a user means: one of the user's or a known one, else one on this network
    /// that shows its name.
    ///
    /// Errors: none is meant, several may be, or it is this one.
    pub(crate) async fn find(&self, wanted: &str) -> Result<Found, ApiError> {
        // A known device is not waited for while somebody on this network may be meant.
        let found = match self.relays.find(wanted).await {
            Err(FindDeviceError::Unknown { others, .. }) => {
                let mut listed = self.relays.devices();
                let members = self.members.get().and_then(Weak::upgrade);
                let mut strangers = members.map_or_else(Vec::new, |all| all.members(&listed));
                listed.extend(strangers.iter().cloned());
                strangers.extend(self.strangers(&listed).await);
                let found = resolve(&strangers, wanted).cloned();
                found.map_err(|error| match error {
                    FindDeviceError::Unknown { wanted, .. } => FindDeviceError::Unknown {
                        wanted,
                        others: others || !strangers.is_empty(),
                    },
                    error => error,
                })
            }
            found => found,
        };
        let found = found.map_err(|error| failure::find_device(&error))?;
        if found.this {
            let message = "That is this device itself.";
            return Err(ApiError::new(ErrorCode::BadRequest, message));
        }
        Ok(Found {
            device: found.device.parse().map_err(failure::internal)?,
            name: found.name,
        })
    }
}

/// The user's answer to a stranger that waits; gives the name that it gave itself.
///
/// Errors: none that waits is meant, several may be, or the yes cannot be kept.
pub(crate) async fn answer(
    service: &Arc<NearbyService>,
    answer: &NearbyAnswer,
) -> Result<String, ApiError> {
    let waiting: Vec<DeviceInfo> = service
        .waiting()
        .into_iter()
        .map(|(device, introduction, _)| DeviceInfo {
            device: device.to_string(),
            short: device.short(),
            name: introduction.device_name.to_string(),
            ..DeviceInfo::default()
        })
        .collect();
    let meant = resolve(&waiting, &answer.device).map_err(|error| match error {
        FindDeviceError::Unknown { wanted, .. } => nobody_waits(&wanted),
        error => failure::find_device(&error),
    })?;
    let device: DeviceId = meant.device.parse().map_err(failure::internal)?;
    let decided = service.decide(device, answer.accept).await;
    match decided.map_err(|error| failure::remember(&error))? {
        Some(name) => Ok(name.to_string()),
        // Its stream ended in between.
        None => Err(nobody_waits(&answer.device)),
    }
}

fn nobody_waits(wanted: &str) -> ApiError {
    let message = format!(
        "No device {:?} is waiting for an answer.",
        display_name(wanted)
    );
    ApiError::new(ErrorCode::NotFound, message).with_hint("See who is: hither nearby")
}

/// The known device that a user means.
fn known(service: &NearbyService, wanted: &str) -> Result<DeviceInfo, ApiError> {
    let devices = service.relays.devices();
    let found = resolve(&devices, wanted).map_err(|error| failure::find_device(&error))?;
    Ok(found.clone())
}

/// Forgets a device that the user said yes to: it is a stranger from now on.
///
/// Errors: none is meant, a relay lists it, or that cannot be kept.
pub(crate) async fn forget(
    service: &Arc<NearbyService>,
    wanted: &str,
) -> Result<DeviceInfo, ApiError> {
    let found = known(service, wanted)?;
    let device: DeviceId = found.device.parse().map_err(failure::internal)?;
    let known = Arc::clone(service.known());
    let forgotten = tokio::task::spawn_blocking(move || known.forget(device))
        .await
        .map_err(failure::internal)?
        .map_err(|error| failure::storage(&error))?;
    service.changed();
    if forgotten.is_none() {
        let shown = display_name(&found.name);
        let message = format!("{shown} is not known by a yes of yours: a relay lists it.");
        return Err(ApiError::new(ErrorCode::BadRequest, message)
            .with_hint("To remove one of your devices everywhere: hither devices remove DEVICE"));
    }
    Ok(found)
}

/// Gives a device another name here, whatever it calls itself; with an empty one it is called as it
/// calls itself again.
///
/// Errors: none is meant, or that cannot be kept.
pub(crate) async fn rename(
    service: &Arc<NearbyService>,
    wanted: &str,
    name: &str,
) -> Result<DeviceInfo, ApiError> {
    let found = known(service, wanted)?;
    let device: DeviceId = found.device.parse().map_err(failure::internal)?;
    let name = name.trim();
    let clean = DeviceName::clean(name);
    if (!name.is_empty() && clean.as_str() != name) || found.this {
        let message = match found.this {
            true => "This device's own name is in its configuration.".to_owned(),
            false => format!("A device cannot be called {:?}.", display_name(name)),
        };
        return Err(ApiError::new(ErrorCode::BadRequest, message)
            .with_hint("See: hither config set device_name NAME"));
    }
    let known = Arc::clone(service.known());
    let called = (!name.is_empty()).then_some(clean);
    tokio::task::spawn_blocking(move || known.call(device, called.as_ref()))
        .await
        .map_err(failure::internal)?
        .map_err(|error| failure::remember(&error))?;
    service.changed();
    let devices = service.relays.devices();
    let now = devices.into_iter().find(|one| one.device == found.device);
    Ok(now.unwrap_or(found))
}
