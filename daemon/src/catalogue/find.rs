//! The shares of other devices, as the local API shows them, and the lookup of a share by the names
//! of its owner and its own.

use super::notice::Entry;
use crate::catalogue::CatalogueService;
use crate::{failure, groups, mail};
use hither_api::{ApiError, DeviceInfo, ErrorCode, FindRequest, FoundShare, ListedShare};
use hither_proto::{DeviceId, ShareId, display_name};
use hither_util::clock::unix_seconds;
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Longest wait for what a device is about to tell.
const PATIENCE: Duration = Duration::from_secs(3);

fn listed(device: &DeviceInfo, share: ShareId, entry: &Entry) -> ListedShare {
    ListedShare {
        device: device.device.clone(),
        device_name: device.name.clone(),
        share: share.to_string(),
        name: display_name(&entry.name),
        version: entry.version,
        files: entry.files,
        bytes: entry.bytes,
        published: entry.published,
        group: None,
        expires: entry.expires,
    }
}

/// Returns the shares of a device that it has not ended by itself, the newest first. Blocks.
fn shares_of(
    catalogue: &CatalogueService,
    device: DeviceId,
) -> Result<Vec<(ShareId, Entry)>, ApiError> {
    let all = catalogue
        .state
        .remote
        .of(device)
        .map_err(|error| failure::storage(&error))?;
    let now = unix_seconds();
    let mut all: Vec<_> = all
        .into_iter()
        .filter(|(_, entry)| entry.expires.is_none_or(|at| at > now))
        .collect();
    all.sort_by_key(|(_, entry)| Reverse(entry.published));
    Ok(all)
}

/// Everything that the user's other devices and members of this device's groups share, without
/// tickets.
pub(crate) async fn list(catalogue: &Arc<CatalogueService>) -> Result<Vec<ListedShare>, ApiError> {
    mail::settle(&catalogue.mail).await;
    let of = Arc::clone(catalogue);
    let look = move || {
        let mut all = Vec::new();
        for device in of.relays.devices().iter().filter(|device| !device.this) {
            let Ok(id) = device.device.parse() else {
                continue;
            };
            all.extend(
                shares_of(&of, id)?
                    .iter()
                    .map(|(share, entry)| listed(device, *share, entry)),
            );
        }
        // A share of a device of the user with a group was reported twice.
        let of_groups = groups::shares(&of.groups).into_iter();
        let of_groups: Vec<_> = of_groups
            .filter(|one| all.iter().all(|other| other.share != one.share))
            .collect();
        all.extend(of_groups);
        Ok(all)
    };
    tokio::task::spawn_blocking(look)
        .await
        .map_err(failure::internal)?
}

/// The share of a name that a device has; the newest, when there are several.
pub(crate) async fn find(
    catalogue: &Arc<CatalogueService>,
    request: &FindRequest,
) -> Result<FoundShare, ApiError> {
    catalogue.relays.settle().await;
    // The user's own devices go first; a member of a group is known at once or not at all.
    if !catalogue.relays.knows(&request.owner)
        && let Some(member) = groups::member(&catalogue.groups, &request.owner)
    {
        return groups::find(&catalogue.groups, member?, &request.name).await;
    }
    let device = catalogue
        .relays
        .find(&request.owner)
        .await
        .map_err(|e| failure::find_device(&e))?;
    if device.this {
        return Err(
            ApiError::new(ErrorCode::BadRequest, "That is this device itself.")
                .with_hint("See what it shares, and where that is, with: hither list"),
        );
    }
    let id: DeviceId = device.device.parse().map_err(failure::internal)?;
    let (mut news, deadline) = (catalogue.state.news.subscribe(), Instant::now() + PATIENCE);
    loop {
        news.mark_unchanged();
        let (of, owner, name) = (Arc::clone(catalogue), device.clone(), request.name.clone());
        let look = tokio::task::spawn_blocking(move || look(&of, &owner, id, &name));
        let (found, behind) = look.await.map_err(failure::internal)??;
        if let Some(found) = found {
            return Ok(found);
        }
        if !behind || !matches!(timeout_at(deadline, news.changed()).await, Ok(Ok(()))) {
            return Err(missing(&device, &request.name, behind));
        }
    }
}

/// The share of a name, and whether the device shares something else than is known here. Blocks.
fn look(
    catalogue: &CatalogueService,
    device: &DeviceInfo,
    id: DeviceId,
    name: &str,
) -> Result<(Option<FoundShare>, bool), ApiError> {
    let mut all = shares_of(catalogue, id)?;
    all.retain(|(_, entry)| entry.name == name || display_name(&entry.name) == name);
    let found = all.first().map(|(share, entry)| FoundShare {
        share: listed(device, *share, entry),
        ticket: entry.ticket.clone(),
        same_name: all.len() as u64 - 1,
    });
    let told = super::advertiser::listed(catalogue)
        .remove(&id)
        .and_then(|reader| reader.digest);
    let known = catalogue
        .state
        .remote
        .digest(id)
        .map_err(|error| failure::storage(&error))?;
    Ok((found, told.is_none_or(|told| told != known)))
}

fn missing(device: &DeviceInfo, name: &str, behind: bool) -> ApiError {
    let (owner, name) = (
        if device.name.is_empty() {
            &device.short
        } else {
            &device.name
        },
        display_name(name),
    );
    if behind {
        let message = format!("It is not known here yet whether {owner} shares \"{name}\".");
        return ApiError::new(ErrorCode::NoHolder, message)
            .with_hint("Devices tell each other through a relay that both have joined. Without one, use a ticket.");
    }
    ApiError::new(
        ErrorCode::NotFound,
        format!("{owner} shares nothing called \"{name}\"."),
    )
    .with_hint("See what your other devices share with: hither list --all")
}
