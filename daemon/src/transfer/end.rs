//! The end of a transfer's run: written down, reported, tidied up.

use super::run::{End, Run};
use super::{Transfer, listing, lock};
use crate::records::TransferState;
use crate::transfer::TransferService;
use hither_api::{ApiError, Done, ErrorCode, Event, Phase};
use hither_content::Selection;
use hither_util::clock::unix_seconds;

impl Run {
    /// Writes down how it ended and notifies the listeners.
    pub(super) fn conclude(&self, end: End) {
        let (service, transfer) = (&self.service, &self.transfer);
        *lock(&transfer.kept) = Some(crate::live_view::keep(service, transfer));
        let journal = service
            .swarm
            .core()
            .with(|engine, _| engine.end_fetch(transfer.share.id));
        let sources = match &journal {
            Some(journal) => transfer.sources_with(service, journal.sources()),
            None => transfer.sources(service),
        };
        let seconds = self.began.elapsed().as_secs_f64();
        *lock(&transfer.earlier) = sources.clone();
        let record = transfer.record();
        let goes_on = matches!(&end, End::Failed(error) if super::follows::goes_on(&record, error));
        let (state, phase) = match &end {
            End::Done { .. } | End::Listed { .. } => (TransferState::Done, Phase::Done),
            End::Paused => (TransferState::Paused, Phase::Paused),
            End::Suspended => (TransferState::Active, Phase::Paused),
            // It is tried again by itself, also after a restart.
            End::Failed(_) if goes_on => (TransferState::Active, Phase::Waiting),
            End::Cancelled | End::Failed(_) => (TransferState::Failed, Phase::Failed),
        };
        self.set_phase(phase);
        let reason = if let End::Failed(error) = &end {
            Some(error.message.clone())
        } else {
            None
        };
        let updated = transfer.update(service, |record| {
            record.state = state;
            record.seconds += seconds;
            record.sources = sources.clone();
            record.priced |= transfer.share.is_priced();
            record.reason = reason;
            record.ended = (state != TransferState::Active).then(unix_seconds);
        });
        if let Err(error) = updated {
            tracing::error!(%error, "a transfer's end could not be recorded");
        }
        if let Some(journal) = journal {
            crate::why::keep(service, transfer, &journal);
        }
        *lock(&transfer.control) = None;
        transfer.outlet.close();
        // Nothing was written and nothing can go on: such a failure is reported and forgotten.
        let record = transfer.record();
        // Data for standard output is nowhere else, and begins anew.
        let nothing_left = record.listing
            || record.spooled
            || (matches!(end, End::Failed(_))
                && record.partial.is_none()
                && record.chosen.is_none());
        self.announce_end(end, transfer.told(service, sources));
        if nothing_left {
            self.discard();
        }
        if goes_on {
            super::follows::go_on_later(service, transfer);
        }
        if state == TransferState::Done {
            service.transfers.forget_old(service);
        }
        service.swarm.workers().buffers.clear();
    }

    fn announce_end(&self, end: End, sources: Vec<hither_api::SourceBytes>) {
        let transfer = &self.transfer;
        if let (End::Done { .. }, Some(message)) = (&end, self.outdated()) {
            transfer.emit(Event::Warning { message });
        }
        let event = match end {
            End::Done {
                path,
                bytes,
                already,
            } => Event::Done(Done::Fetched {
                path: path.display().to_string(),
                bytes,
                seconds: transfer.record().seconds,
                sources,
                currency: transfer.currency(&self.service),
                transfer: transfer.id.clone(),
                already,
            }),
            End::Listed { version, manifest } => {
                let done = listing::done(version, &manifest, &Selection::default(), 0);
                *lock(&transfer.listed) = Some((version, manifest));
                Event::Done(done)
            }
            End::Paused | End::Suspended => Event::Error(
                ApiError::new(
                    ErrorCode::Interrupted,
                    "The transfer was stopped; it can go on.",
                )
                .with_hint("Run the same command again."),
            ),
            End::Cancelled => {
                self.discard();
                Event::Error(ApiError::new(
                    ErrorCode::Declined,
                    "The transfer was cancelled.",
                ))
            }
            End::Failed(error) => Event::Error(error),
        };
        tracing::info!(
            transfer = transfer.id,
            outcome = outcome(&event),
            "a transfer ended"
        );
        transfer.emit(event);
    }

    /// Returns what is said of a later version than the one that is here now, when its head has
    /// been seen.
    fn outdated(&self) -> Option<String> {
        let version = self
            .begun_head()
            .filter(|_| self.transfer.ticket.pin.is_none())?
            .head()
            .version;
        let newest = self.transfer.share.newest()?.head().version;
        (newest > version).then(|| {
            format!(
                "This is version {version}. Version {newest} exists, and nobody who was there had all of it: fetch it again later."
            )
        })
    }

    /// Removes all that a cancelled transfer left.
    fn discard(&self) {
        discard(&self.service, &self.transfer);
    }
}

/// Removes a transfer that does not run, and its partial files.
pub(crate) fn discard(service: &TransferService, transfer: &Transfer) {
    let record = transfer.record();
    if record.state != TransferState::Done
        && let Some(partial) = record
            .partial
            .as_ref()
            .and_then(|p| hither_content::PartialRef::decode(&p.0).ok())
        && let Err(error) = hither_content::FetchTarget::discard_partial(&record.folder, &partial)
    {
        tracing::warn!(%error, "partial files could not be removed");
    }
    if let Err(error) = service.records.remove_transfer(&transfer.id) {
        tracing::warn!(%error, "a transfer could not be forgotten");
    }
    service.transfers.remove(&transfer.id);
}

/// How a transfer ended, for the log: no names of files.
fn outcome(event: &Event) -> String {
    match event {
        Event::Error(error) => error.message.clone(),
        _ => "everything is here".into(),
    }
}
