//! The shares that a page shows, and what is in them.

use super::Page;
use crate::failure;
use crate::library::Library;
use crate::records::ShareRecord;
use bytes::Bytes;
use hither_api::ApiError;
use hither_content::{Holding, Layout};
use hither_proto::{EntryKind, Manifest, ShareId};
use hither_swarm::{Share, Version};
use serde::Serialize;
use std::sync::Arc;

/// One share in the list.
#[derive(Debug, Serialize)]
pub(super) struct Listed {
    id: String,
    name: String,
    kind: Kind,
    size: u64,
    files: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    File,
    Folder,
    Symlink,
}

/// One share, whole.
#[derive(Debug, Serialize)]
struct Contents {
    name: String,
    entries: Vec<Listing>,
}

/// One entry of a share.
#[derive(Debug, Serialize)]
struct Listing {
    /// Its number, by which it is downloaded.
    index: u32,
    /// The names on the way to it, the share's own first.
    path: Vec<String>,
    kind: Kind,
    size: u64,
    modified_ms: i64,
}

/// The shares that a page shows.
pub(super) fn shown(library: &Library, page: &Page) -> Vec<(Arc<Share>, ShareRecord)> {
    let mut all = library.share_records();
    all.retain(|(share, record)| match &page.shares {
        Some(named) => named.contains(&share.id),
        None => is_for_anybody(library, share, record),
    });
    all.sort_by(|(_, one), (_, other)| one.name.cmp(&other.name));
    all
}

/// Returns whether a share was made here and is for nobody in particular: not a group's, not one
/// that a device asked for, not one that ends with its first reader.
fn is_for_anybody(library: &Library, share: &Share, record: &ShareRecord) -> bool {
    share.owner == library.device
        && record.group.is_none()
        && record.exposed.is_none()
        && !record.once
        && !record.no_list
}

/// A share that a page shows, as it is now.
pub(super) fn find(
    library: &Library,
    page: &Page,
    id: &str,
) -> Option<(ShareRecord, Arc<Version>)> {
    let id = ShareId::from_hex(id).ok()?;
    let shown = shown(library, page);
    let (share, record) = shown.into_iter().find(|(share, _)| share.id == id)?;
    Some((record, share.current()?))
}

/// The list.
pub(super) fn list(library: &Library, page: &Page) -> Vec<Listed> {
    let shown = shown(library, page);
    let listed = shown.iter().filter_map(|(share, record)| {
        let version = share.current()?;
        let single = version.manifest().is_single_file();
        Some(Listed {
            id: share.id.to_string(),
            name: record.name.clone(),
            kind: if single { Kind::File } else { Kind::Folder },
            size: version.head.head().bytes,
            files: record.files,
        })
    });
    listed.collect()
}

/// Everything that is in a share.
fn contents(record: &ShareRecord, manifest: &Manifest) -> Contents {
    let mut path: Vec<String> = Vec::new();
    let entry = |(index, entry): (u32, &hither_proto::Entry)| {
        path.truncate(entry.depth as usize);
        path.push(entry.name.as_str().to_owned());
        let (kind, size) = match entry.kind {
            EntryKind::File { size, .. } => (Kind::File, size),
            EntryKind::Folder => (Kind::Folder, 0),
            EntryKind::Symlink { .. } => (Kind::Symlink, 0),
        };
        Listing {
            index,
            path: path.clone(),
            kind,
            size,
            modified_ms: entry.mtime_ns / 1_000_000,
        }
    };
    let entries = (0..).zip(manifest.entries()).map(entry).collect();
    Contents {
        name: record.name.clone(),
        entries,
    }
}

/// The listing of one share as it is sent: the one that was asked for last is kept, and made once,
/// however many ask for it.
#[derive(Default)]
pub(super) struct Listings {
    last: tokio::sync::Mutex<Option<(ListingOf, Bytes)>>,
}

/// A share, its version and what it is called here.
type ListingOf = (String, u64, String);

impl Listings {
    /// The listing of a share's version.
    pub(super) async fn of(
        &self,
        share: &str,
        record: &ShareRecord,
        version: &Arc<Version>,
    ) -> Result<Bytes, ApiError> {
        let wanted = (share.to_owned(), version.number(), record.name.clone());
        let mut last = self.last.lock().await;
        if let Some((_, bytes)) = last.as_ref().filter(|(kept, _)| *kept == wanted) {
            return Ok(bytes.clone());
        }
        let (record, version) = (record.clone(), Arc::clone(version));
        let made = tokio::task::spawn_blocking(move || {
            serde_json::to_vec(&contents(&record, &version.manifest()))
        });
        let made = made.await.map_err(failure::internal)?;
        let bytes = Bytes::from(made.map_err(failure::internal)?);
        *last = Some((wanted, bytes.clone()));
        Ok(bytes)
    }
}

/// A file of a share that can be read.
pub(super) struct ShownFile {
    pub holding: Arc<Holding>,
    /// The number of its entry.
    pub entry: u32,
    pub size: u64,
    /// Its beginning in the stream of all files, bytes.
    pub offset: u64,
}

impl ShownFile {
    /// The file that an entry is, if it is one.
    pub(super) fn find(holding: Arc<Holding>, entry: u32) -> Option<Self> {
        match holding.manifest().entries().get(entry as usize)?.kind {
            EntryKind::File { size, offset } => Some(Self {
                holding,
                entry,
                size,
                offset,
            }),
            EntryKind::Folder | EntryKind::Symlink { .. } => None,
        }
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        self.holding.manifest().entries()[self.entry as usize]
            .name
            .as_str()
    }

    pub(super) fn layout(&self) -> &Arc<Layout> {
        self.holding.layout()
    }
}
