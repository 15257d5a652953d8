//! Uploads of browsers: files, written into the receive folder under names that are free,
//! and texts; both are in the inbox then.
//!
//! A file is written under a hidden name, made durable, and moved; only then it is there and its
//! sender is told. What is broken off leaves nothing.

use super::{Page, PageService};
use crate::failure;
use crate::mail::{Arrival, PageMessage};
use crate::receive::ReceiveService;
use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures::StreamExt;
use hither_api::{ApiError, ErrorCode};
use hither_proto::{DeviceId, EntryName, display_name};
use hither_util::pieces::PIECE;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Files that are written at a time, of all pages.
pub(super) const AT_ONCE: usize = 4;
/// Longest text, bytes.
pub(super) const MAX_TEXT: usize = 64 << 10;
/// The time that a piece of a file, or a place for it, may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most files and texts that come by one page.
const MOST: u64 = 1000;
/// Most bytes that come by one page, in multiples of `receive.max`.
const FACTOR: u64 = 10;
/// Pieces of a file that wait for the disk.
const WAITING: usize = 8;

/// The fate of a file.
#[derive(Debug, Serialize)]
pub(super) struct Taken {
    /// The name that it got.
    name: String,
    size: u64,
}

/// The beginning and the end of the names of files that are being written.
fn hidden(device: DeviceId) -> (String, &'static str) {
    (format!(".hither-page-{}-", device.short()), ".part")
}

/// Removes what an earlier run of this device left of files that it was writing.
pub(super) fn clear(receive: &ReceiveService, device: DeviceId) {
    let (begins, ends) = hidden(device);
    let entries = std::fs::read_dir(receive.folder());
    for entry in entries.into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(&begins) && name.ends_with(ends) {
            // Whatever stays is looked at again with the next page.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// A file that is being written.
struct Writing {
    file: File,
    path: PathBuf,
    kept: bool,
}

impl Writing {
    fn create(folder: &Path, device: DeviceId) -> io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).create(folder)?;
        let (begins, ends) = hidden(device);
        let path = folder.join(format!("{begins}{}{ends}", crate::browser::secret()?));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o644);
        Ok(Self {
            file: options.open(&path)?,
            path,
            kept: false,
        })
    }

    /// Makes it durable and gives it its name, or another beside what is there.
    fn finish(mut self, folder: &Path, name: &EntryName) -> io::Result<PathBuf> {
        self.file.sync_all()?;
        let path = crate::receive::move_new(&self.path, folder, name)?;
        self.kept = true;
        File::open(folder)?.sync_all()?;
        Ok(path)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn written(error: &io::Error) -> ApiError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ApiError::new(
            ErrorCode::NoSpace,
            "There is no room for that on this device.",
        ),
        _ => {
            tracing::warn!(%error, "a file that a browser sent cannot be written");
            ApiError::new(
                ErrorCode::NotWritable,
                "That cannot be written on this device.",
            )
        }
    }
}

fn too_much(most: u64) -> ApiError {
    let message = format!(
        "That is more than this device takes: {}.",
        failure::size(most)
    );
    ApiError::new(ErrorCode::OverQuota, message)
}

/// Reads a small body, for as long as a piece of a file may take.
///
/// Errors: it is longer than `most`, breaks off or does not go on.
pub(super) async fn read(body: Body, most: usize) -> Result<Bytes, ApiError> {
    let read = tokio::time::timeout(PATIENCE, axum::body::to_bytes(body, most)).await;
    read.map_err(|_| broken())?.map_err(|error| {
        let is_long = std::error::Error::source(&error)
            .is_some_and(|source| source.is::<http_body_util::LengthLimitError>());
        match is_long {
            true => ApiError::new(ErrorCode::TooLong, "That text is too long."),
            false => broken(),
        }
    })
}

/// Returns whether so many bytes more may come by a page.
fn check(service: &PageService, page: &Page, bytes: u64) -> Result<(), ApiError> {
    if page.received.load(Ordering::Relaxed) >= MOST {
        let message = format!("No more than {MOST} files and texts come by one page.");
        return Err(ApiError::new(ErrorCode::OverQuota, message));
    }
    let Some(max) = service.receive.settings.get().max else {
        return Ok(());
    };
    let all = page.bytes.load(Ordering::Relaxed).saturating_add(bytes);
    match bytes > max || all > max.saturating_mul(FACTOR) {
        true => Err(too_much(max)),
        false => Ok(()),
    }
}

/// Takes a file; it is durable in the receive folder when this returns.
pub(super) async fn file(
    service: &Arc<PageService>,
    page: &Arc<Page>,
    name: &str,
    length: Option<u64>,
    mut body: BodyDataStream,
) -> Result<Taken, ApiError> {
    let name = EntryName::parse(name).map_err(|error| {
        ApiError::new(
            ErrorCode::BadRequest,
            format!("No file can be called that: {error}."),
        )
    })?;
    check(service, page, length.unwrap_or_default())?;
    let place = tokio::time::timeout(PATIENCE, service.uploads.acquire()).await;
    let _place = place.map_err(|_| {
        let message = "Others are sending; there is no place free.";
        ApiError::new(ErrorCode::OverQuota, message).with_hint("Try again in a moment.")
    })?;
    let (to, from) = mpsc::channel(WAITING);
    let folder = service.receive.folder();
    let (into, called, device) = (folder.clone(), name.clone(), service.device);
    let writing = tokio::task::spawn_blocking(move || write(&into, &called, device, from));
    let (mut bytes, mut since, mut until) = (0, 0, Instant::now() + PATIENCE);
    let received = loop {
        let next = tokio::select! {
            biased;
            () = page.ended.cancelled() => break Err(ended()),
            next = tokio::time::timeout_at(until, body.next()) => next,
        };
        match next {
            Ok(None) => break Ok(()),
            Ok(Some(Ok(piece))) => {
                bytes += piece.len() as u64;
                since += piece.len();
                if since >= PIECE {
                    (since, until) = (0, Instant::now() + PATIENCE);
                }
                if let Err(error) = check(service, page, bytes) {
                    break Err(error);
                }
                if to.send(Some(piece)).await.is_err() {
                    break Ok(()); // The disk says why, below.
                }
            }
            Ok(Some(Err(_))) | Err(_) => break Err(broken()),
        }
    };
    let received = received.and_then(|()| match page.ended.is_cancelled() {
        true => Err(ended()),
        false => Ok(()),
    });
    if received.is_ok() && length.is_none_or(|length| length == bytes) {
        let _ = to.send(None).await; // Now it is whole.
    }
    drop(to);
    let path = writing.await.map_err(failure::internal)?;
    received?;
    let path = path.map_err(|error| written(&error))?;
    if let Err(error) = keep(service, page, &path, bytes).await {
        // Its sender is told that it was not taken.
        let _ = std::fs::remove_file(&path);
        return Err(error);
    }
    page.bytes.fetch_add(bytes, Ordering::Relaxed);
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    Ok(Taken {
        name: display_name(&name.unwrap_or_default()),
        size: bytes,
    })
}

fn broken() -> ApiError {
    ApiError::new(ErrorCode::Interrupted, "It broke off on the way.")
}

fn ended() -> ApiError {
    ApiError::new(ErrorCode::Interrupted, "The page has ended.")
}

/// Writes the pieces that come, and keeps them where a last `None` says that it is whole.
fn write(
    folder: &Path,
    name: &EntryName,
    device: DeviceId,
    mut from: mpsc::Receiver<Option<Bytes>>,
) -> io::Result<PathBuf> {
    let mut writing = Writing::create(folder, device)?;
    while let Some(piece) = from.blocking_recv() {
        match piece {
            Some(piece) => writing.file.write_all(&piece)?,
            None => return writing.finish(folder, name),
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// Shows a file in the inbox.
async fn keep(
    service: &Arc<PageService>,
    page: &Arc<Page>,
    path: &Path,
    bytes: u64,
) -> Result<(), ApiError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let message = PageMessage::File {
        name: name.into_owned(),
        length: bytes,
        arrival: Arrival::Arrived {
            paths: vec![path.to_string_lossy().into_owned()],
        },
    };
    add(service, page, message).await
}

/// Takes a text into the inbox; it is durable when this returns.
pub(super) async fn text(
    service: &Arc<PageService>,
    page: &Arc<Page>,
    text: String,
) -> Result<(), ApiError> {
    if text.trim().is_empty() {
        let message = "There is nothing in that text.";
        return Err(ApiError::new(ErrorCode::BadRequest, message));
    }
    let bytes = text.len() as u64;
    check(service, page, bytes)?;
    add(service, page, PageMessage::Text(text)).await?;
    page.bytes.fetch_add(bytes, Ordering::Relaxed);
    Ok(())
}

async fn add(
    service: &Arc<PageService>,
    page: &Arc<Page>,
    message: PageMessage,
) -> Result<(), ApiError> {
    let of = Arc::clone(service);
    let untold = !service.receive.settings.get().hook.is_empty();
    let id = crate::mail::message_id()?;
    let add = move || of.mail.inbox.add(of.device, id, message, untold);
    let added = tokio::task::spawn_blocking(add);
    let added = added.await.map_err(failure::internal)?;
    match added.map_err(|error| failure::storage(&error))? {
        true => {
            page.received.fetch_add(1, Ordering::Relaxed);
            service.changed();
            Ok(())
        }
        false => Err(ApiError::new(
            ErrorCode::OverQuota,
            "The inbox of this device is full.",
        )),
    }
}
