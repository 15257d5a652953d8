//! The call that completes a path which a user types into the dashboard.
//!
//! Invariants: names are told and nothing else, of one folder, at most [`MOST`]; what belongs to
//! Hither itself is neither listed nor looked into.

use super::Answer;
use crate::failure;
use crate::publish::Publisher;
use axum::Json;
use axum::extract::{Query, State};
use hither_api::{ApiError, ErrorCode, PathEntry, PathsInfo};
use hither_content::OwnSeen;
use serde::Deserialize;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Most names that are told.
const MOST: usize = 200;
/// Most entries of a folder that are looked at.
const LOOKED_AT: usize = 20_000;
/// Longest wait for a disk.
const DISK: Duration = Duration::from_secs(5);

/// The path as far as it is typed.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
pub(super) struct Typed {
    /// An absolute path: of a folder with a `/` at its end, or with the beginning of a name in it.
    under: String,
}

/// Names that complete a path of this machine, for a form of the user.
#[utoipa::path(get, path = "/v1/paths", params(Typed), responses((status = 200, body = PathsInfo)))]
pub(super) async fn complete(
    State(publisher): State<Arc<Publisher>>,
    Query(Typed { under }): Query<Typed>,
) -> Answer<PathsInfo> {
    let looked = tokio::task::spawn_blocking(move || names(&under, &publisher.library.own.look()));
    let silent = |_| {
        let message = "The disk does not say in time what is there.";
        ApiError::new(ErrorCode::Unreadable, message)
    };
    let looked = timeout(DISK, looked).await.map_err(silent)?;
    Ok(Json(looked.map_err(failure::internal)??))
}

/// The folder that is typed, and the beginning of a name in it.
fn split(under: &str) -> Option<(PathBuf, &str)> {
    let (folder, begins) = under.rsplit_once('/')?;
    let folder = PathBuf::from(format!("{folder}/"));
    folder.is_absolute().then_some((folder, begins))
}

/// Blocks.
fn names(under: &str, own: &OwnSeen) -> Result<PathsInfo, ApiError> {
    let (folder, begins) = split(under)
        .ok_or_else(|| ApiError::new(ErrorCode::BadRequest, "The path must be absolute."))?;
    // One answer for what is not there and what is never told.
    let nothing = || ApiError::new(ErrorCode::NotFound, "There is no such folder.");
    if own.covers(&folder) {
        return Err(nothing());
    }
    let entries = std::fs::read_dir(&folder).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            ApiError::new(ErrorCode::Unreadable, "That folder cannot be read.")
        }
        _ => nothing(),
    })?;
    let mut found: Vec<PathEntry> = entries
        .take(LOOKED_AT)
        .filter_map(|entry| told(&entry.ok()?, begins, &folder, own))
        .collect();
    found.sort_by(|a, b| (!a.folder, &a.name).cmp(&(!b.folder, &b.name)));
    let more = found.len() > MOST;
    found.truncate(MOST);
    Ok(PathsInfo {
        folder: folder.display().to_string(),
        entries: found,
        more,
    })
}

/// One entry, where its name is text that begins so. Hidden ones are told when a dot was typed.
fn told(
    entry: &std::fs::DirEntry,
    begins: &str,
    folder: &Path,
    own: &OwnSeen,
) -> Option<PathEntry> {
    let name = entry.file_name().into_string().ok()?;
    let hidden = name.starts_with('.') && !begins.starts_with('.');
    if !name.starts_with(begins) || hidden || own.covers(&folder.join(&name)) {
        return None;
    }
    let is_folder = std::fs::metadata(entry.path()).is_ok_and(|meta| meta.is_dir());
    Some(PathEntry {
        name,
        folder: is_folder,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_content::OwnData;

    #[test]
    fn w9_a_path_is_completed_and_hithers_own_is_not_told() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        for folder in ["pictures", "data", "place"] {
            std::fs::create_dir(at(folder)).unwrap();
        }
        std::fs::write(at("plan"), b"").unwrap();
        std::fs::write(at(".profile"), b"").unwrap();
        std::fs::write(at("data").join("key"), b"secret").unwrap();
        let own = OwnData::open(&at("data"), &[at("data")], &[]);
        let typed = |text: &str| names(&format!("{}/{text}", home.path().display()), &own.look());
        let listed = |text: &str| -> Vec<(String, bool)> {
            let entries = typed(text).unwrap().entries.into_iter();
            entries.map(|entry| (entry.name, entry.folder)).collect()
        };
        let both = |name: &str, folder| (name.to_owned(), folder);
        assert_eq!(listed("pl"), [both("place", true), both("plan", false)]);
        assert_eq!(
            listed(""),
            [
                both("pictures", true),
                both("place", true),
                both("plan", false)
            ]
        );
        assert_eq!(listed(".p"), [both(".profile", false)]);
        assert!(typed("data/").is_err() && typed("nowhere/").is_err());
        assert!(names("pictures/", &own.look()).is_err());
        assert!(names("", &own.look()).is_err());
    }
}
