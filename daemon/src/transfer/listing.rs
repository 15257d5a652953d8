//! A look at what is in a share: the list of its files is fetched, and nothing else.

use super::{Control, Request, Transfer, selection, start};
use crate::transfer::TransferService;
use futures::{Stream, StreamExt, stream};
use hither_api::{ApiError, Done, EntryInfo, EntryType, ErrorCode, Event, Existing};
use hither_content::{Selection, each_path};
use hither_proto::{EntryKind, Manifest, Ticket};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

/// Lists what a ticket opens. The last event is `done`, after one for each entry, or `error`. A
/// stream that is dropped ends the look.
pub(crate) fn list(
    service: &Arc<TransferService>,
    ticket: Ticket,
    paths: Vec<String>,
    wait: Option<Duration>,
) -> Result<impl Stream<Item = Event> + use<>, ApiError> {
    selection::check(&paths)?;
    let share = ticket.share();
    if let Some(running) = service.transfers.running(share).filter(|t| !t.is_listing()) {
        return Ok(of_running(&running, &paths)?.left_stream());
    }
    let request = Request {
        ticket,
        folder: None,
        named: None,
        paths: Vec::new(),
        listing: true,
        from: 0,
        existing: Existing::Fail,
        accept: false,
        follow: false,
        mode: None,
        max_cost: None,
        umask: 0o077,
        names: None,
        wait,
    };
    let transfer = start::begin(service, request)?;
    let (events, told) = transfer.listen();
    let looking = Looking {
        transfer,
        events,
        told: told.into_iter().find(Event::is_last),
    };
    let listed = stream::once(async move { looking.ended(&paths).await });
    Ok(listed.flat_map(stream::iter).right_stream())
}

/// Lists a share that is being fetched, as it is.
fn of_running(
    running: &Transfer,
    paths: &[String],
) -> Result<impl Stream<Item = Event> + use<>, ApiError> {
    let version = running.share.newest().map(|head| head.head().version);
    let known = version.and_then(|version| running.share.version(version));
    let Some(known) = known else {
        return Err(ApiError::new(
            ErrorCode::AlreadyFetching,
            "This share is being fetched, and what is in it is not known yet.",
        )
        .with_hint("Run the same command again in a moment."));
    };
    Ok(stream::iter(entries(
        known.number(),
        &known.manifest(),
        paths,
    )))
}

/// A look that goes on.
struct Looking {
    transfer: Arc<Transfer>,
    events: broadcast::Receiver<Event>,
    told: Option<Event>,
}

impl Looking {
    /// Waits for its end; returns all that is to be told.
    async fn ended(mut self, paths: &[String]) -> Vec<Event> {
        let last = match self.told.take() {
            Some(last) => last,
            None => loop {
                match self.events.recv().await {
                    Ok(event) if event.is_last() => break event,
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return Vec::new(),
                }
            },
        };
        let listed = self.transfer.listed.lock().take();
        match (last, listed) {
            (Event::Done(_), Some((version, manifest))) => entries(version, &manifest, paths),
            (last, _) => vec![last],
        }
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        // Nobody waits for it any more; one that has ended does not hear it.
        self.transfer.control(Control::Cancel);
    }
}

/// One event for each entry that is wanted, and the last one.
fn entries(version: u64, manifest: &Manifest, paths: &[String]) -> Vec<Event> {
    let chosen = match selection::select(manifest, paths, false) {
        Ok(chosen) => chosen,
        Err(error) => return vec![Event::Error(error)],
    };
    let single = manifest.is_single_file();
    let mut events = Vec::new();
    each_path(manifest, |index, entry, path| {
        if (index == 0 && !single) || !chosen.has(index) {
            return;
        }
        let (kind, bytes) = match entry.kind {
            EntryKind::File { size, .. } => (EntryType::File, Some(size)),
            EntryKind::Folder => (EntryType::Folder, None),
            EntryKind::Symlink { .. } => (EntryType::Symlink, None),
        };
        let path = if single { entry.name.as_str() } else { path };
        events.push(Event::Entry(EntryInfo {
            path: path.to_owned(),
            kind,
            bytes,
            modified: entry.mtime_ns.div_euclid(1_000_000_000),
        }));
    });
    events.push(Event::Done(done(version, manifest, &chosen, events.len())));
    events
}

/// The last event of a listing.
pub(super) fn done(version: u64, manifest: &Manifest, chosen: &Selection, entries: usize) -> Done {
    let (files, bytes) = chosen.size(manifest);
    Done::Listed {
        name: manifest.name().as_str().to_owned(),
        version,
        entries: entries as u64,
        files,
        bytes,
    }
}
