//! The folders that the user of this device exposes.

use super::records::{self, EXPOSURES, ExposureRecord, ToRecord};
use super::{ExposedService, MAX_EXPOSURES};
use crate::failure;
use crate::publish::Exposed;
use hither_api::{ApiError, ErrorCode, ExposeRequest, ExposureInfo};
use hither_content::storage::StorageError;
use hither_content::{Beneath, BeneathError, Place};
use hither_proto::{DeviceId, DriveRefusal, EntryName, display_name};
use hither_util::clock::unix_seconds;
use std::path::Path;
use std::sync::Arc;

/// The target of a path of another device.
pub(super) struct Choice {
    pub(super) exposed: Exposed,
    pub(super) beneath: Beneath,
}

impl ExposedService {
    /// Exposes a folder to a device, or to the members of a group.
    ///
    /// Errors: nobody is meant, or it cannot be exposed or kept.
    pub(crate) async fn expose(
        self: &Arc<Self>,
        request: ExposeRequest,
    ) -> Result<ExposureInfo, ApiError> {
        let to = self.to(&request.to).await?;
        let of = Arc::clone(self);
        let work = move || of.keep_exposure(&request.path, to);
        let record = tokio::task::spawn_blocking(work)
            .await
            .map_err(failure::internal)??;
        self.audit(self.device, &expose_words(&record), "exposed");
        self.changed();
        Ok(self.info_of_exposure(&record))
    }

    /// A device goes before a group of the same name: it is one, the group may be many.
    async fn to(&self, wanted: &str) -> Result<ToRecord, ApiError> {
        match self.nearby.find(wanted).await {
            Ok(found) if self.nearby.may_send(found.device) => {
                Ok(ToRecord::Device(found.device.to_string()))
            }
            Ok(found) => {
                let name = display_name(&found.name);
                let message = format!("{name} is not known to this device.");
                Err(ApiError::new(ErrorCode::Refused, message)
                    .with_hint("Get to know it first: hither nearby"))
            }
            Err(error) => match self.groups.resolve(wanted, &self.device) {
                Ok((group, _)) => Ok(ToRecord::Group(group.to_string())),
                Err(_) => Err(error),
            },
        }
    }

    fn keep_exposure(&self, path: &Path, to: ToRecord) -> Result<ExposureRecord, ApiError> {
        let shown = display_name(&path.to_string_lossy());
        if !path.is_absolute() {
            let message = format!("The path must be absolute: {shown}.");
            return Err(ApiError::new(ErrorCode::BadRequest, message));
        }
        let found = Beneath::exposable(path, &self.own.look());
        let (place, root) = found.map_err(|error| unexposable(&shown, &error))?;
        let mut state = self.state();
        let same = state.exposures.values().find(|one| {
            one.to == to && one.parent == place.parent && *one.file_name == *place.name
        });
        let name = match same {
            // The folder may be another one than before.
            Some(same) => same.name.clone(),
            None if state.exposures.len() >= MAX_EXPOSURES => {
                let message = format!("At most {MAX_EXPOSURES} folders can be exposed.");
                return Err(ApiError::new(ErrorCode::TooLong, message)
                    .with_hint("End one: hither expose --end NAME"));
            }
            None => free_name(&place, |name| state.exposures.contains_key(name))
                .ok_or_else(|| unexposable(&shown, &BeneathError::Unsuitable))?,
        };
        let record = ExposureRecord {
            name: name.clone(),
            parent: place.parent,
            file_name: place.name.to_string_lossy().into_owned(),
            root: root.into(),
            to,
            at: unix_seconds(),
        };
        records::put(self.storage.as_ref(), EXPOSURES, name.as_bytes(), &record)
            .map_err(|e| failure::storage(&e))?;
        state.exposures.insert(name, record.clone());
        Ok(record)
    }

    /// Every exposed folder.
    pub(crate) fn exposures(&self) -> Vec<ExposureInfo> {
        let all: Vec<_> = self.state().exposures.values().cloned().collect();
        all.iter().map(|one| self.info_of_exposure(one)).collect()
    }

    /// Ends an exposure at once: what others have under way out of it ends, and so does what was
    /// shared out of it. Blocks.
    ///
    /// Errors: there is none of that name, or it cannot be kept.
    pub(crate) fn end_exposure(&self, name: &str) -> Result<ExposureInfo, ApiError> {
        let missing = || {
            let message = format!("Nothing is exposed as {}.", display_name(name));
            ApiError::new(ErrorCode::NotFound, message).with_hint("See what is: hither expose")
        };
        let ended = self.forget_exposure(name);
        let record = ended.map_err(|e| failure::storage(&e))?;
        let record = record.ok_or_else(missing)?;
        self.stop_where(DriveRefusal::Nothing, |running| running.exposure == name);
        let library = &self.publisher.library;
        // A publication that is under way sees that the exposure is gone, and ends its share itself.
        for (share, of) in library.share_records() {
            if of.exposed.as_deref() == Some(name) {
                library.unshare(&share)?;
            }
        }
        self.audit(self.device, &expose_words(&record), "ended");
        self.changed();
        Ok(self.info_of_exposure(&record))
    }

    fn forget_exposure(&self, name: &str) -> Result<Option<ExposureRecord>, StorageError> {
        let mut state = self.state();
        if state.exposures.contains_key(name) {
            records::remove(self.storage.as_ref(), EXPOSURES, name.as_bytes())?;
        }
        Ok(state.exposures.remove(name))
    }

    /// The exposed folder of this name, if it is exposed to a device.
    pub(super) fn exposed_to(&self, from: DeviceId, name: &str) -> Option<ExposureRecord> {
        let record = self.state().exposures.get(name).cloned()?;
        self.is_for(from, &record.to).then_some(record)
    }

    /// Every folder that is exposed to a device.
    pub(super) fn all_exposed_to(&self, from: DeviceId) -> Vec<ExposureRecord> {
        let mut all: Vec<_> = self.state().exposures.values().cloned().collect();
        all.retain(|one| self.is_for(from, &one.to));
        all
    }

    fn is_for(&self, from: DeviceId, to: &ToRecord) -> bool {
        match to {
            // Forgotten or revoked, a device is a stranger again.
            ToRecord::Device(device) => *device == from.to_string() && self.nearby.may_send(from),
            ToRecord::Group(group) => self.groups.all().iter().any(|(id, known)| {
                id.to_string() == *group
                    && known
                        .membership_of(&self.device)
                        .is_some_and(|members| members.role(&from).is_some())
            }),
        }
    }

    fn info_of_exposure(&self, record: &ExposureRecord) -> ExposureInfo {
        let (device, group, to) = match &record.to {
            ToRecord::Device(id) => {
                let name = id.parse().map(|device| self.name_of(device));
                (Some(id.clone()), None, name.unwrap_or_default())
            }
            ToRecord::Group(id) => (None, Some(id.clone()), self.groups.name(id)),
        };
        ExposureInfo {
            name: record.name.clone(),
            path: record.place().path().to_string_lossy().into_owned(),
            device,
            group,
            to,
            since: record.at,
        }
    }
}

impl ExposureRecord {
    /// Its place.
    pub(super) fn place(&self) -> Place {
        Place {
            parent: self.parent.clone(),
            name: self.file_name.clone().into(),
        }
    }
}

fn expose_words(record: &ExposureRecord) -> String {
    let (ToRecord::Device(to) | ToRecord::Group(to)) = &record.to;
    format!("expose {} to {to}", record.name)
}

/// The last name of a path, made another one where it is taken.
fn free_name(place: &Place, is_taken: impl Fn(&str) -> bool) -> Option<String> {
    let first = EntryName::parse(place.name.to_str()?).ok()?;
    let first = first.as_str().to_owned();
    let others = (2..=MAX_EXPOSURES + 1).map(|number| format!("{first}-{number}"));
    std::iter::once(first.clone())
        .chain(others)
        .find(|name| EntryName::parse(name).is_ok() && !is_taken(name))
}

fn unexposable(shown: &str, error: &BeneathError) -> ApiError {
    match error {
        BeneathError::Nothing => {
            ApiError::new(ErrorCode::NotFound, format!("There is no folder {shown}."))
        }
        BeneathError::Unsuitable => {
            ApiError::new(ErrorCode::Unsharable, format!("{shown} cannot be exposed.")).with_hint(
                "Folders can, except the root of a file system and what belongs to Hither itself.",
            )
        }
        BeneathError::Io(_) => ApiError::new(ErrorCode::Unreadable, format!("{shown}: {error}.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exposed_folders_of_one_name_get_different_ones() {
        let place = Place {
            parent: "/home".into(),
            name: "docs".into(),
        };
        assert_eq!(free_name(&place, |_| false).as_deref(), Some("docs"));
        let taken = ["docs", "docs-2"];
        let free = free_name(&place, |name| taken.contains(&name));
        assert_eq!(free.as_deref(), Some("docs-3"));
        assert_eq!(free_name(&place, |_| true), None);
    }
}
