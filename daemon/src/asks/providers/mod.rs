//! Providers of answers: each file finds one sort of thing. What the user configures goes first.
//!
//! Invariants: nothing is run by a shell; whatever is run or read is bounded in time and size; only
//! what the user's folders hold is found, and never what belongs to Hither itself.

mod command;
mod desktop;
mod files;
mod live;
mod media;
mod qr;

pub(super) use files::{candidates, chosen};
pub(super) use media::thumbnail;

use super::AskService;
use crate::failure;
use hither_api::{ApiError, ErrorCode};
use hither_proto::{Ask, AskKind, EntryName, Which};
use std::path::PathBuf;
use std::sync::Arc;

/// A file that answers a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) name: EntryName,
    pub(super) media_type: String,
    pub(super) bytes: u64,
    /// Unix milliseconds; 0: not known.
    pub(super) made_ms: u64,
}

/// The things that a provider found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Provided {
    Text(String),
    Files(Vec<Found>),
}

/// Returns whether a kind is answered with files.
pub(super) const fn has_files(kind: AskKind) -> bool {
    matches!(
        kind,
        AskKind::Photo | AskKind::Video | AskKind::Audio | AskKind::File | AskKind::Qr
    )
}

/// Finds or makes what a request is for. `folder`: files have to be below it.
///
/// Errors: `NotFound`, there is nothing of that kind or name; `Refused`, this device cannot do that;
/// anything else, it was tried and failed.
pub(super) async fn provide(
    service: &Arc<AskService>,
    ask: &Ask,
    folder: Option<PathBuf>,
) -> Result<Provided, ApiError> {
    let rules = service.rules.get();
    let seconds = match ask.which {
        Which::Live(seconds) => Some(seconds),
        _ => None,
    };
    let configured = rules.command(ask.kind.name(), seconds.is_some());
    if let Some(line) = configured {
        return command::provide(service, ask.kind, line, seconds).await;
    }
    match (ask.kind, seconds) {
        (AskKind::Clipboard, _) => desktop::clipboard().await.map(Provided::Text),
        (AskKind::Playing, _) => desktop::playing(false).await.map(Provided::Text),
        (AskKind::Place, _) => desktop::playing(true).await.map(Provided::Text),
        (AskKind::Location, _) => match rules.location.as_str() {
            "" => desktop::location().await.map(Provided::Text),
            fixed => Ok(Provided::Text(fixed.to_owned())),
        },
        (AskKind::Photo | AskKind::Video | AskKind::Audio, Some(seconds)) => {
            live::record(service, ask.kind, seconds).await
        }
        (AskKind::Qr, Some(_)) => {
            let taken = live::record(service, AskKind::Photo, 0).await?;
            read_code(taken).await
        }
        (AskKind::File, Some(_)) => Err(unsupported("A file cannot be recorded.")),
        (AskKind::Photo | AskKind::Video | AskKind::Audio | AskKind::File | AskKind::Qr, None) => {
            let (own, folders) = (Arc::clone(&service.own), rules.folders());
            let (kind, which) = (ask.kind, ask.which.clone());
            let look = move || files::find(&own, kind, &which, &folders, folder.as_deref());
            let found = tokio::task::spawn_blocking(look)
                .await
                .map_err(failure::internal)??;
            match kind {
                AskKind::Qr => read_code(Provided::Files(found)).await,
                _ => Ok(Provided::Files(found)),
            }
        }
    }
}

/// The words of the first code on a picture.
async fn read_code(pictures: Provided) -> Result<Provided, ApiError> {
    let Provided::Files(pictures) = pictures else {
        return Ok(pictures);
    };
    let read = move || pictures.iter().find_map(|one| qr::read(&one.path));
    let words = tokio::task::spawn_blocking(read)
        .await
        .map_err(failure::internal)?;
    words
        .map(Provided::Text)
        .ok_or_else(|| ApiError::new(ErrorCode::NotFound, "There is no QR code on that picture."))
}

/// This device cannot do something.
fn unsupported(what: &str) -> ApiError {
    ApiError::new(ErrorCode::Refused, what)
}
